//! Which node this is, and whether the page is connected to it.

use anode_shared::status::{NodeStatus, State};
use leptos::prelude::*;

use super::copy::Copy;
use super::page;
use super::shape::Shape;
use super::theme::Theme;
use crate::state::ago::span;
use crate::state::link::{connection, countdown};
use crate::state::number::bytes;
use crate::state::row::short;

/// The top of the page.
#[component]
pub fn Header() -> impl IntoView {
    let page = page();
    let node =
        Memo::new(move |_| page.status.with(|status| status.as_ref().map(|status| status.node.clone())));
    let name = move || node.get().map_or_else(|| "aNode".to_owned(), |node| node.name);
    Effect::new(move |_| {
        let state = if page.is_live() || node.get().is_none() { "" } else { "(offline) " };
        document().set_title(&format!("{state}{} · aNode", name()));
    });
    view! {
        <header class="top">
            <div class="who">
                <Logo />
                <h1>{name}</h1>
            </div>
            {move || node.get().map(|node| view! { <Facts node /> })}
            <div class="right">
                <ConnectionState />
                <Theme />
            </div>
        </header>
    }
}

#[component]
fn Logo() -> impl IntoView {
    view! {
        <svg class="logo" viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
            <path d="M8 23L16 8L24 23Z" fill="none" stroke="currentColor" stroke-width="2" />
            <circle cx="16" cy="8" r="4.5" fill="currentColor" />
            <circle cx="8" cy="23" r="4.5" fill="currentColor" />
            <circle cx="24" cy="23" r="4.5" fill="currentColor" />
        </svg>
    }
}

#[component]
fn Facts(node: NodeStatus) -> impl IntoView {
    let page = page();
    let started = page.heard_at.get_untracked() / 1e3 - whole(node.uptime_s);
    let uptime = move || {
        // While offline nobody knows whether it still runs.
        let until = if page.is_live() { page.now.get() } else { page.heard_at.get() };
        span(until / 1e3 - started)
    };
    let shown = short(&node.id);
    let (age, room) = (whole(node.retention.age_s), whole(node.retention.bytes));
    let keeps = format!("{}, up to {}", span(age), bytes(room));
    let id = Signal::stored(node.id.clone());
    view! {
        <dl class="facts">
            <div>
                <dt>"Network"</dt>
                <dd>{node.network}</dd>
            </div>
            <div>
                <dt>"Version"</dt>
                <dd>{node.version}</dd>
            </div>
            <div>
                <dt>"Up"</dt>
                <dd class="number">{uptime}</dd>
            </div>
            <div>
                <dt>"Keeps"</dt>
                <dd class="number">{keeps}</dd>
            </div>
            <div>
                <dt>"Peer id"</dt>
                <dd>
                    <code title=node.id>{shown}</code>
                    <Copy text=id what="peer id" />
                </dd>
            </div>
        </dl>
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown rounded anyway")]
fn whole(number: u64) -> f64 {
    number as f64
}

/// Live, connecting or offline, with the countdown to the next try.
#[component]
fn ConnectionState() -> impl IntoView {
    let page = page();
    let shown = Memo::new(move |_| connection(page.watch.get(), page.feed.get()));
    let state = Memo::new(move |_| shown.get().state);
    let shape = move || match state.get() {
        "live" => State::Ok,
        "connecting" => State::Degraded,
        _ => State::Down,
    };
    let until = move || shown.get().retry_at.map(|at| countdown(at, page.now.get()));
    view! {
        <div class="connection" data-state=state>
            {move || view! { <Shape state=shape() /> }}
            <span role="status">{move || shown.get().word}</span>
            <span class="until">{until}</span>
        </div>
    }
}
