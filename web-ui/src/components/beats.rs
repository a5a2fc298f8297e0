//! A source's recent beats as bars.

use anode_shared::source::Beat;
use leptos::prelude::*;

use super::el::{el, memo};
use super::source_row::Source;
use crate::state::beats::{HEIGHT, WIDTH, path, words};

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
    let bars = move |class: &'static str, beat: Beat| {
        view! { <path class=class d=line(source, beat) /> }
    };
    let picture = view! {
        <svg viewBox=format!("0 0 {WIDTH} {HEIGHT}") preserveAspectRatio="none" aria-hidden="true">
            {bars("data", Beat::Data)} {bars("quiet", Beat::Quiet)} {bars("error", Beat::Error)}
        </svg>
    };
    el("span")
        .class("beats")
        .attr("tabindex", "0")
        .attr("role", "img")
        .attr("aria-label", said)
        .put(picture.into_any())
        .put(el("span").class("tip").attr("aria-hidden", "true").put(said))
        .view()
}

/// The bars of one kind.
fn line(source: Source, beat: Beat) -> Signal<String> {
    Signal::derive(move || {
        source
            .with(|source| source.as_ref().map(|source| path(&source.status.beats, beat)).unwrap_or_default())
    })
}
