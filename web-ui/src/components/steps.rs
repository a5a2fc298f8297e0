//! The way to the first record, and how a client connects.

use leptos::prelude::*;

use super::copy::Copy;
use super::el::{el, live, memo, part};
use super::page;
use crate::browser;
use crate::state::command::{clients, publish};
use crate::state::start::Progress;

/// Three steps, shown until there is a record.
#[component]
pub fn Steps() -> impl IntoView {
    let page = page();
    let progress = memo(move || {
        let sources = page.sources.read();
        page.status.with(|status| status.as_ref().map(|status| Progress::of(status, sources.as_ref())))
    });
    let is_new = memo(move || progress.get().is_some_and(Progress::is_new));
    let class = move |done: bool| if done { "step is-done" } else { "step" };
    let done = move |pick: fn(Progress) -> bool| progress.get().is_some_and(pick);
    part(move || {
        is_new.get().then(|| {
            el("section")
                .class("panel steps")
                .attr("aria-labelledby", "steps-title")
                .put(el("h2").attr("id", "steps-title").put("Three steps to the first record"))
                .put(
                    el("ol")
                        .put(
                            el("li")
                                .class(live(move || class(done(|progress| progress.has_source))))
                                .put(el("h3").put("Add a source"))
                                .put(el("p").put(
                                    "A REST, SSE or WebSocket feed: paste its URL, test it, register it.",
                                ))
                                .put(
                                    el("a")
                                        .class("button primary")
                                        .attr("href", "/sources/new")
                                        .put("Add a source"),
                                )
                                .put(el("details").put(el("summary").put("Or push a record yourself")).put(
                                    view! { <Snippet text=publish(&browser::origin()) what="command" /> },
                                )),
                        )
                        .put(
                            el("li")
                                .class(live(move || class(done(|progress| progress.has_record))))
                                .put(el("h3").put("See it live"))
                                .put(
                                    el("p").put(
                                        "Each record shows on the records page the moment it is stored.",
                                    ),
                                )
                                .put(
                                    el("a")
                                        .class("button")
                                        .attr("href", "/records")
                                        .put("Open the live records"),
                                ),
                        )
                        .put(
                            el("li")
                                .class(live(move || class(done(|progress| progress.has_client))))
                                .put(el("h3").put("Connect a client"))
                                .put(el("p").put("Any browser, script or service follows the same feed."))
                                .put(view! { <Clients /> }),
                        ),
                )
                .view()
        })
    })
}

/// How a client connects, in the words of several.
#[component]
pub fn Clients() -> impl IntoView {
    let chosen = RwSignal::new(0_usize);
    let all = StoredValue::new(clients(&browser::origin()));
    let names = all.with_value(|all| [0, 1, 2].map(|place| (place, all[place].0)));
    let button = move |(place, name): (usize, &'static str)| {
        el("button")
            .attr("type", "button")
            .attr("aria-pressed", live(move || (chosen.get() == place).to_string()))
            .on("click", move |_| chosen.set(place))
            .put(name)
            .view()
    };
    let text = move || all.with_value(|all| all[chosen.get()].1.clone());
    el("div")
        .class("clients")
        .put(
            el("div")
                .class("switch")
                .attr("role", "group")
                .attr("aria-label", "Kind of client")
                .put(names.map(button)),
        )
        .put(part(move || view! { <Snippet text=text() what="snippet" /> }))
        .view()
}

/// A text to copy.
#[component]
pub fn Snippet(
    /// The text.
    text: String,
    /// What it is.
    what: &'static str,
) -> impl IntoView {
    el("div")
        .class("command")
        .put(el("pre").attr("tabindex", "0").attr("role", "group").attr("aria-label", what).put(text.clone()))
        .put(view! { <Copy text=Signal::stored(text) what /> })
        .view()
}
