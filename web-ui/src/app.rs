//! The page.

use leptos::mount::mount_to_body;
use leptos::prelude::*;

use crate::components::cards::Cards;
use crate::components::events::Events;
use crate::components::header::Header;
use crate::components::publish::Publish;
use crate::components::records::LiveRecords;
use crate::components::summary::Summary;
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
    provide_context(Page::open());
    view! {
        <a class="skip" href="#records">"Skip to the live records"</a>
        <Header />
        <main>
            <Summary />
            <Cards />
            <div class="columns">
                <LiveRecords />
                <div class="aside">
                    <Publish />
                    <Events />
                </div>
            </div>
        </main>
        <footer>
            <a href="/api/docs">"API"</a>
            <a href="/api/openapi.json">"OpenAPI"</a>
            <a href="/metrics">"Metrics"</a>
            <span>"This page uses the public API only."</span>
        </footer>
    }
}
