//! The choice between light, dark, and what the system says.

use leptos::prelude::*;

use super::el::{el, live};

use crate::browser;

/// Under which name the browser keeps the choice; `boot.js` reads it before the first paint.
const THEME: &str = "anode-theme";

/// The choices: what is kept, and what is shown.
const CHOICES: [(&str, &str); 3] = [("", "Auto"), ("light", "Light"), ("dark", "Dark")];

/// Lets the visitor choose.
#[component]
pub fn Theme() -> impl IntoView {
    let kept = browser::storage().and_then(|storage| storage.get_item(THEME).ok().flatten());
    let theme = RwSignal::new(kept.unwrap_or_default());
    let choose = move |choice: &'static str| {
        if let Some(root) = document().document_element() {
            // Fails only for names that no attribute may have.
            let _ = root.set_attribute("data-theme", choice);
        }
        if let Some(storage) = browser::storage() {
            let _ = storage.set_item(THEME, choice);
        }
        theme.set(choice.to_owned());
    };
    let button = move |(choice, name): (&'static str, &'static str)| {
        el("button")
            .attr("type", "button")
            .attr("aria-pressed", live(move || (theme.get() == choice).to_string()))
            .on("click", move |_| choose(choice))
            .put(name)
            .view()
    };
    el("div")
        .class("switch")
        .attr("role", "group")
        .attr("aria-label", "Theme")
        .put(CHOICES.map(button))
        .view()
}
