//! The state of the whole node in a sentence.

use anode_shared::status::State;
use leptos::prelude::*;

use super::page;
use super::shape::Shape;
use crate::state::ago::ago;
use crate::state::link::Link;
use crate::state::summary::summary;

/// One sentence, and how old it is where it is not the present.
#[component]
pub fn Summary() -> impl IntoView {
    let page = page();
    let shown =
        Memo::new(move |_| page.status.with(|status| status.as_ref().map(|s| summary(&s.components))));
    let stale = move || {
        let is_stale = !page.is_live() && page.status.with(Option::is_some);
        is_stale.then(|| format!("Last heard {}: ", ago(page.heard_at.get(), page.now.get())))
    };
    let sentence = move || match shown.get() {
        Some((state, sentence)) => {
            let state = if page.is_live() { state } else { State::Off };
            view! { <Shape state /> <span class="stale">{stale}</span> <span role="status">{sentence}</span> }
                .into_any()
        }
        None => {
            let words = match page.watch.get() {
                Link::Waiting { .. } => "The node does not answer.",
                Link::Refused => "The node lets nobody look without a token.",
                _ => "Asking the node how it is …",
            };
            view! { <span role="status">{words}</span> }.into_any()
        }
    };
    view! { <p class="summary">{sentence}</p> }
}
