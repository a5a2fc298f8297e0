//! The state of the whole node in a sentence.

use anode_shared::status::State;
use leptos::prelude::*;

use super::el::{el, memo, part, together};
use super::page;
use super::shape::Shape;
use crate::state::link::Link;
use crate::state::summary::summary;

/// One sentence.
#[component]
pub fn Summary() -> impl IntoView {
    let page = page();
    let shown = memo(move || page.status.with(|status| status.as_ref().map(|s| summary(&s.components))));
    let sentence = move || match shown.get() {
        Some((state, sentence)) => {
            let state = if page.is_live() { state } else { State::Off };
            together(vec![
                view! { <Shape state /> }.into_any(),
                el("span").attr("role", "status").put(sentence).view(),
            ])
        }
        None => {
            let words = match page.watch.get() {
                Link::Waiting { .. } => "The node does not answer.",
                Link::Refused => "The node lets nobody look without a token.",
                _ => "Asking the node how it is …",
            };
            el("span").attr("role", "status").put(words).view()
        }
    };
    el("p").class("summary").put(part(sentence)).view()
}
