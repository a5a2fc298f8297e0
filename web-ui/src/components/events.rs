//! What happened lately.

use anode_shared::status::{Event, Level, State};
use leptos::prelude::*;

use super::el::{Show, el, list, part};
use super::page;
use super::shape::Shape;
use super::when::When;
use crate::state::events::shorter;

/// The recent events, newest first.
#[component]
pub fn Events(
    /// The only component whose events are shown; all are where it is empty.
    of: &'static str,
) -> impl IntoView {
    let page = page();
    let is_shown = move |event: &&Event| of.is_empty() || event.component == of;
    let keys = move || page.events.with(|events| events.iter().filter(is_shown).map(key).collect::<Vec<_>>());
    let none = move || {
        let words = if page.status.with(Option::is_some) { "Nothing happened yet." } else { "Loading …" };
        keys().is_empty().then(|| el("p").class("hint").put(words).view())
    };
    let show = move |name: String| {
        let event =
            page.events.with_untracked(|events| events.iter().find(|event| key(event) == name).cloned());
        event.map(|event| view! { <One event /> }).show()
    };
    el("section")
        .class("panel")
        .attr("aria-labelledby", "events-title")
        .put(el("h2").attr("id", "events-title").put("Recent events"))
        .put(part(none))
        .put(
            el("div")
                .class("scroll")
                .attr("tabindex", "0")
                .attr("role", "group")
                .attr("aria-label", "Events")
                .put(el("ol").class("events").put(list(keys, show))),
        )
        .view()
}

/// What no other event has: a node that was started anew counts from one again.
fn key(event: &Event) -> String {
    format!("{} {}", event.id, event.time)
}

#[component]
fn One(event: Event) -> impl IntoView {
    let (state, word) = match event.level {
        Level::Info => (State::Off, "Information"),
        Level::Warn => (State::Degraded, "Warning"),
        Level::Error => (State::Down, "Error"),
    };
    el("li")
        .put(view! { <Shape state /> })
        .put(
            el("div")
                .put(el("span").class("unseen").put(word).put(": "))
                .attr("title", event.detail.clone())
                .put(shorter(&event.detail))
                .put(
                    el("small")
                        .put(event.component)
                        .put(" · ")
                        .put(event.kind.replace('_', " "))
                        .put(" · ")
                        .put(view! { <When time=event.time /> }),
                ),
        )
        .view()
}
