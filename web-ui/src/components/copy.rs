//! A button that copies a text.

use std::time::Duration;

use leptos::prelude::*;

use super::el::{el, part, together};

use crate::browser;

/// How long the button says what it did.
const SHOWN: Duration = Duration::from_millis(1_600);

/// Copies `text` and says so.
#[component]
pub fn Copy(
    /// What is copied.
    #[prop(into)]
    text: Signal<String>,
    /// What it is, for those who do not see where the button stands: `peer id`.
    what: &'static str,
) -> impl IntoView {
    let said = RwSignal::new("");
    let on_click = move |_| {
        browser::copy(text.get_untracked(), move |copied| {
            said.set(if copied { "Copied" } else { "Not allowed" });
            set_timeout(move || said.set(""), SHOWN);
        });
    };
    together(vec![
        el("button")
            .attr("type", "button")
            .class("copy")
            .attr("aria-label", format!("Copy {what}"))
            .on("click", on_click)
            .put(part(move || if said.get().is_empty() { "Copy" } else { said.get() }))
            .view(),
        el("span").class("unseen").attr("role", "status").put(said).view(),
    ])
}
