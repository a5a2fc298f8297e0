//! Which node this is, and whether the page is connected to it.

use anode_shared::status::State;
use leptos::prelude::*;

use super::el::{el, live, memo, part};
use super::page;
use super::shape::Shape;
use super::theme::Theme;
use crate::state::link::{connection, countdown};
use crate::state::route::SECTIONS;

/// The top of the page.
#[component]
pub fn Header() -> impl IntoView {
    let page = page();
    let name = memo(move || {
        page.status.with(|status| {
            status.as_ref().map_or_else(|| "aNode".to_owned(), |status| status.node.name.clone())
        })
    });
    let route = page.route();
    Effect::new(move |_| {
        let state = if page.is_live() || page.status.with(Option::is_none) { "" } else { "(offline) " };
        document().set_title(&format!("{state}{} · {} · aNode", route.get().title(), name.get()));
    });
    let link = move |(path, name): (&'static str, &'static str)| {
        let current = move || if route.get().section() == path { "page" } else { "" };
        el("a").attr("href", path).attr("aria-current", live(current)).put(name).view()
    };
    el("header")
        .class("top")
        .put(
            el("a")
                .class("who")
                .attr("href", "/")
                .attr("aria-label", live(move || format!("{}: overview", name.get())))
                .put(view! { <Logo /> })
                .put(el("span").put(name)),
        )
        .put(el("nav").attr("aria-label", "Pages").put(SECTIONS.map(link)))
        .put(el("div").class("right").put(view! { <ConnectionState /> }).put(view! { <Theme /> }))
        .view()
}

#[component]
fn Logo() -> impl IntoView {
    el("span")
        .class("logo")
        .attr("aria-hidden", "true")
        .draw(
            r#"<svg viewBox="0 0 32 32"><path d="M8 23L16 8L24 23Z" fill="none" stroke="currentColor" stroke-width="2"/><circle cx="16" cy="8" r="4.5"/><circle cx="8" cy="23" r="4.5"/><circle cx="24" cy="23" r="4.5"/></svg>"#,
        )
        .view()
}

/// Live, connecting or offline, with the countdown to the next try.
#[component]
fn ConnectionState() -> impl IntoView {
    let page = page();
    let shown = memo(move || connection(page.watch.get(), page.feed.get()));
    let state = memo(move || shown.get().state);
    let shape = move || match state.get() {
        "live" => State::Ok,
        "connecting" => State::Degraded,
        _ => State::Down,
    };
    let until = move || shown.get().retry_at.map(|at| countdown(at, page.now.get()));
    el("div")
        .class("connection")
        .attr("data-state", state)
        .put(part(move || view! { <Shape state=shape() /> }))
        .put(el("span").attr("role", "status").put(part(move || shown.get().word)))
        .put(el("span").class("until").put(part(until)))
        .view()
}
