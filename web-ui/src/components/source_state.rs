//! A source's state as a shape and a word, with its age and its reason.

use leptos::prelude::*;

use super::el::{el, memo, part, together};
use super::page;
use super::shape::Shape;
use super::source_row::Source;
use crate::state::ago::span;
use crate::state::row::millis;
use crate::state::source::{reason, shape, word};
use crate::state::summary::capital;

/// The state.
#[component]
pub fn SourceStateView(
    /// The source.
    source: Source,
) -> impl IntoView {
    let now = page().now;
    let state = memo(move || source.with(|source| source.as_ref().map(|source| source.status.state)));
    let since = memo(move || source.with(|source| source.as_ref().map(|source| source.status.since.clone())));
    let why = memo(move || source.with(|source| reason(&source.as_ref()?.status).map(str::to_owned)));
    let age = move || {
        let since = since.get()?;
        let at = millis(&since);
        let words = move || span(((now.get() - at) / 1e3).max(0.0));
        Some(el("time").attr("datetime", since.clone()).attr("title", since).put(part(words)).view())
    };
    part(move || {
        state.get().map(|state| {
            together(vec![
                el("span")
                    .class("source-state")
                    .attr("data-source-state", state.as_str())
                    .put(view! { <Shape state=shape(state) /> })
                    .put(el("strong").put(capital(word(state))))
                    .put(el("span").class("age").put(part(age)))
                    .view(),
                part(move || {
                    why.get().map(|why| el("span").class("why").attr("title", why.clone()).put(why).view())
                }),
            ])
        })
    })
}
