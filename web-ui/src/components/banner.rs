//! What every page says above all else: that it is not the present, or that the node shows it nothing.

use leptos::prelude::*;

use super::el::{el, memo, part};
use super::page;
use super::shape::Shape;
use crate::state::ago::span;
use crate::state::link::Link;
use anode_shared::status::State;

/// One sentence where something stands between the page and the node.
#[component]
pub fn Banner() -> impl IntoView {
    let page = page();
    let state = memo(move || match page.watch.get() {
        Link::Live => None,
        Link::Refused => Some((State::Down, true)),
        Link::Connecting | Link::Waiting { .. } | Link::Asleep => {
            page.status.with(Option::is_some).then_some((State::Degraded, false))
        }
    });
    let words = move |is_refused: bool| {
        if is_refused {
            let why = page.refusal.get().map(|problem| problem.detail).unwrap_or_default();
            return format!(
                "The node shows nothing without a token: {why}. Open the link that `anode link` prints."
            );
        }
        let age = ((page.now.get() - page.heard_at.get()) / 1e3).max(0.0);
        format!("Not connected: what is shown is {} old.", span(age))
    };
    part(move || {
        state.get().map(|(state, is_refused)| {
            el("p")
                .class("banner")
                .put(view! { <Shape state /> })
                .put(el("span").put(part(move || words(is_refused))))
                .view()
        })
    })
}
