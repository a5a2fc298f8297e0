//! The sources on the overview: how many are in which state, and those to look at first.

use anode_shared::source::SourceState;
use leptos::prelude::*;

use super::beats::Beats;
use super::el::{el, list, memo, part};
use super::page;
use super::shape::Shape;
use super::source_row::{source, speed};
use super::source_state::SourceStateView;
use crate::state::source::{shape, word};

/// How many sources are shown; all of them have their own page.
const SHOWN: usize = 8;

/// The strip.
#[component]
pub fn Strip() -> impl IntoView {
    let page = page();
    let counts = memo(move || page.sources.with(|sources| sources.as_ref().map(|sources| sources.counts())));
    let names =
        memo(move || page.sources.with(|sources| sources.as_ref().map(|sources| sources.first(SHOWN))));
    let total =
        memo(move || page.sources.with(|sources| sources.as_ref().map_or(0, |sources| sources.len())));
    let chips = move || {
        let count = |(state, count): (SourceState, usize)| {
            el("li")
                .put(
                    el("a")
                        .attr("href", format!("/sources?state={}", state.as_str()))
                        .put(view! { <Shape state=shape(state) /> })
                        .put(format!("{count} {}", word(state))),
                )
                .view()
        };
        counts.get().map(|counts| counts.into_iter().map(count).collect::<Vec<_>>())
    };
    let rows = move || match names.get() {
        None => el("p").class("hint").attr("role", "status").put("Loading sources …").view(),
        Some(names) if names.is_empty() => el("p")
            .class("hint")
            .put("No source yet. ")
            .put(el("a").attr("href", "/sources/new").put("Add the first one"))
            .view(),
        Some(_) => el("ul")
            .class("strip")
            .put(list(move || names.get().unwrap_or_default(), |name| view! { <One name /> }.into_any()))
            .view(),
    };
    el("section")
        .class("panel")
        .attr("aria-labelledby", "strip-title")
        .put(
            el("div")
                .class("title")
                .put(el("h2").attr("id", "strip-title").put("Sources"))
                .put(el("ul").class("chips").put(part(chips)))
                .put(
                    el("a")
                        .class("all")
                        .attr("href", "/sources")
                        .put(part(move || format!("All {}", total.get()))),
                ),
        )
        .put(part(rows))
        .view()
}

#[component]
fn One(name: String) -> impl IntoView {
    let source = source(&name);
    el("li")
        .put(el("a").class("name").attr("href", format!("/sources?q={name}")).put(name))
        .put(el("div").class("state-cell").put(view! { <SourceStateView source /> }))
        .put(view! { <Beats source /> })
        .put(el("span").class("number").put(part(move || speed(source))))
        .view()
}
