//! The live records, and a form that publishes one.

use leptos::prelude::*;

use crate::components::el::{el, together};
use crate::components::publish::Publish;
use crate::components::records::LiveRecords;
use crate::components::title::title;

/// The page.
#[component]
pub fn RecordsPage() -> impl IntoView {
    together(vec![
        title("Live records"),
        el("div")
            .class("columns")
            .put(view! { <LiveRecords /> })
            .put(el("div").class("aside").put(view! { <Publish /> }))
            .view(),
    ])
}
