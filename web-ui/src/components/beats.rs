//! A source's recent beats as bars.

use leptos::prelude::*;

use super::el::{el, live, memo};
use super::source_row::Source;
use crate::state::beats::{picture, words};

/// The bars, with the same in words for who looks closer.
#[component]
pub fn Beats(
    /// The source.
    source: Source,
) -> impl IntoView {
    let said = memo(move || {
        source.with(|source| {
            source
                .as_ref()
                .map(|source| words(&source.status.beats, source.definition.kind))
                .unwrap_or_default()
        })
    });
    let draw = move || {
        source.with(|source| source.as_ref().map(|source| picture(&source.status.beats)).unwrap_or_default())
    };
    el("span")
        .class("beats")
        .attr("tabindex", "0")
        .attr("role", "img")
        .attr("aria-label", said)
        .put(el("span").attr("aria-hidden", "true").draw(live(draw)))
        .put(el("span").class("tip").attr("aria-hidden", "true").put(said))
        .view()
}
