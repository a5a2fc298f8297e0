//! The page.

use leptos::mount::mount_to_body;
use leptos::prelude::*;

use crate::browser;
use crate::components::banner::Banner;
use crate::components::el::{el, part, together};
use crate::components::header::Header;
use crate::components::notice::NoticeBar;
use crate::components::title::{TITLE, title};
use crate::pages::mesh::MeshPage;
use crate::pages::others::OthersPage;
use crate::pages::overview::Overview;
use crate::pages::records::RecordsPage;
use crate::pages::source_form::SourceForm;
use crate::pages::sources::SourcesPage;
use crate::pages::topics::TopicsPage;
use crate::state::route::Route;
use crate::streams::Page;

/// Puts the page into the document.
pub fn start() {
    // Until now the document showed that it loads.
    if let Some(placeholder) = document().get_element_by_id("loading") {
        placeholder.remove();
    }
    mount_to_body(App);
}

/// The whole page.
#[component]
pub fn App() -> impl IntoView {
    let page = Page::open();
    provide_context(page);
    let route = page.route();
    Effect::new(move |before: Option<Route>| {
        let now = route.get();
        if before.is_some_and(|before| before != now) {
            browser::focus(TITLE.to_owned());
        }
        now
    });
    let shown = move || match route.get() {
        Route::Overview => view! { <Overview /> }.into_any(),
        Route::Sources => view! { <SourcesPage /> }.into_any(),
        Route::Others(node) => view! { <OthersPage node /> }.into_any(),
        Route::NewSource => view! { <SourceForm edits=None /> }.into_any(),
        Route::EditSource(name) => view! { <SourceForm edits=Some(name) /> }.into_any(),
        Route::Mesh => view! { <MeshPage /> }.into_any(),
        Route::Topics => view! { <TopicsPage /> }.into_any(),
        Route::Records => view! { <RecordsPage /> }.into_any(),
        Route::Unknown => together(vec![
            title("No such page"),
            el("p")
                .put("There is nothing at this address. ")
                .put(el("a").attr("href", "/").put("Go to the overview"))
                .view(),
        ]),
    };
    together(vec![
        el("a").class("skip").attr("href", "#content").put("Skip to the content").view(),
        view! { <Header /> }.into_any(),
        el("main")
            .attr("id", "content")
            .attr("tabindex", "-1")
            .put(view! { <Banner /> }.into_any())
            .put(part(shown))
            .view(),
        el("footer")
            .put(el("a").attr("href", "/api/docs").put("API"))
            .put(el("a").attr("href", "/api/openapi.json").put("OpenAPI"))
            .put(el("a").attr("href", "/metrics").put("Metrics"))
            .put(el("span").put("This page uses the public API only."))
            .view(),
        view! { <NoticeBar /> }.into_any(),
    ])
}
