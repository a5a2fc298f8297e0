//! What happened lately.

use anode_shared::status::{Event, Level, State};
use leptos::prelude::*;

use super::page;
use super::shape::Shape;
use super::when::When;

/// The recent events, newest first.
#[component]
pub fn Events() -> impl IntoView {
    let page = page();
    let is_empty = move || page.events.with(Vec::is_empty);
    let none = move || {
        let words = if page.status.with(Option::is_some) { "Nothing happened yet." } else { "Loading …" };
        is_empty().then(|| view! { <p class="hint">{words}</p> })
    };
    view! {
        <section class="panel" aria-labelledby="events-title">
            <h2 id="events-title">"Recent events"</h2>
            {none}
            <div class="scroll" tabindex="0" role="group" aria-label="Events">
                <ol class="events">
                    <For each=move || page.events.get() key=|event| (event.id, event.time.clone()) let:event>
                        <One event />
                    </For>
                </ol>
            </div>
        </section>
    }
}

#[component]
fn One(event: Event) -> impl IntoView {
    let (state, word) = match event.level {
        Level::Info => (State::Off, "Information"),
        Level::Warn => (State::Degraded, "Warning"),
        Level::Error => (State::Down, "Error"),
    };
    view! {
        <li>
            <Shape state />
            <div>
                <span class="unseen">{word}": "</span>
                {event.detail}
                <small>{event.component} " · " {event.kind.replace('_', " ")} " · " <When time=event.time /></small>
            </div>
        </li>
    }
}
