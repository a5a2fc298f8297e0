//! The state of the whole node in a sentence.

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
    let age = move || {
        let is_stale = !page.is_live() && page.status.with(Option::is_some);
        is_stale.then(|| format!("Last heard {}.", ago(page.heard_at.get(), page.now.get())))
    };
    let sentence = move || match shown.get() {
        Some((state, sentence)) => view! { <Shape state /> {sentence} }.into_any(),
        None if matches!(page.watch.get(), Link::Waiting { .. }) => "The node does not answer.".into_any(),
        None if page.watch.get() == Link::Refused => "The node lets nobody look without a token.".into_any(),
        None => "Asking the node how it is …".into_any(),
    };
    view! {
        <p class="summary">
            <span role="status">{sentence}</span>
            <span class="stale">{age}</span>
        </p>
    }
}
