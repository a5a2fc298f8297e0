//! What can be done with one source.

use anode_shared::source::SourceState;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::JsCast as _;
use web_sys::{Event, KeyboardEvent};

use super::access::REASON;
use super::el::{el, live, memo, part};
use super::notice::UNDO;
use super::page;
use super::source_row::Source;
use crate::api::{self, Order};
use crate::browser;
use crate::state::question::percent;
use crate::state::source::pattern;
use crate::streams::{Notice, Page};

/// Which source's menu is open: one at a time.
#[derive(Debug, Clone, Copy)]
pub struct OpenMenu(pub RwSignal<Option<String>>);

/// The button that opens the menu, and the menu.
#[component]
pub fn SourceMenu(
    /// The source's name.
    name: String,
    /// The source.
    source: Source,
) -> impl IntoView {
    let OpenMenu(open) = expect_context();
    let name = StoredValue::new(name);
    let is_open = memo(move || {
        open.with(|open| open.as_ref().is_some_and(|open| name.with_value(|name| open == name)))
    });
    let id = format!("actions-{}", name.get_value());
    let button = id.clone();
    let toggle = move |event: Event| {
        // The document closes menus on any other click.
        event.stop_propagation();
        if is_open.get_untracked() {
            open.set(None);
        } else {
            open.set(Some(name.get_value()));
            browser::focus(format!("menu-{}", name.get_value()));
        }
    };
    let on_key = move |event: Event| match event.unchecked_ref::<KeyboardEvent>().key().as_str() {
        "Escape" => {
            open.set(None);
            browser::focus(button.clone());
        }
        "ArrowDown" => step(&event, 1),
        "ArrowUp" => step(&event, -1),
        "Tab" => open.set(None),
        _ => {}
    };
    el("div")
        .class("actions")
        .on("keydown", on_key)
        .put(
            el("button")
                .attr("id", id)
                .attr("type", "button")
                .class("icon")
                .attr("aria-haspopup", "menu")
                .attr("aria-expanded", live(move || is_open.get().to_string()))
                .attr("aria-label", format!("Actions for {}", name.get_value()))
                .on("click", toggle)
                .put("⋯"),
        )
        .put(part(move || is_open.get().then(|| view! { <Items name=name.get_value() source open /> })))
        .view()
}

/// Moves the focus to the next item, or to the one before.
fn step(event: &Event, by: i32) {
    let Some(item) = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok()) else {
        return;
    };
    if item.get_attribute("role").as_deref() != Some("menuitem") {
        return;
    }
    event.prevent_default();
    let next = if by > 0 { item.next_element_sibling() } else { item.previous_element_sibling() };
    if let Some(next) = next.and_then(|next| next.dyn_into::<web_sys::HtmlElement>().ok()) {
        // Fails for no element.
        let _ = next.focus();
    }
}

#[component]
fn Items(name: String, source: Source, open: RwSignal<Option<String>>) -> impl IntoView {
    let page = page();
    let is_paused = memo(move || {
        source.with(|source| source.as_ref().is_some_and(|source| source.status.state == SourceState::Paused))
    });
    let is_stuck = memo(move || {
        let state = source.with(|source| source.as_ref().map(|source| source.status.state));
        matches!(state, Some(SourceState::BackingOff | SourceState::AuthFailed | SourceState::Stale))
    });
    let topic =
        source.with_untracked(|source| source.as_ref().map(|source| pattern(&source.definition.topic)));
    let records = format!("/records?topics={}", percent(&topic.unwrap_or_default()));
    let ordered = name.clone();
    let pause = move || {
        let order = if is_paused.get_untracked() { Order::Resume } else { Order::Pause };
        tell(page, ordered.clone(), order);
    };
    let (deleted, tried) = (name.clone(), name.clone());
    let again = move || {
        let name = tried.clone();
        // Resuming one that is not paused tries it at once.
        let act = move || tell(page, name.clone(), Order::Resume);
        is_stuck.get().then(|| view! { <Item text="Try now" act open /> })
    };
    let go = move |address: String| {
        move || {
            page.go(&address);
        }
    };
    let pause_word = move || if is_paused.get() { "Resume" } else { "Pause" };
    el("div")
        .class("menu")
        .attr("role", "menu")
        .attr("aria-label", format!("Actions for {name}"))
        .put(view! { <Item id=format!("menu-{name}") text="Live records" changes=false act=go(records) open /> })
        .put(view! { <Item text=pause_word act=pause open /> })
        .put(part(again))
        .put(view! { <Item text="Edit" act=go(format!("/sources/{name}/edit")) open /> })
        .put(view! { <Item text="Duplicate" act=go(format!("/sources/new?from={name}")) open /> })
        .put(view! { <Item text="Delete" act=move || remove(page, deleted.clone()) open /> })
        .view()
}

/// One thing that can be done.
#[component]
fn Item(
    /// The element's id.
    #[prop(optional)]
    id: String,
    /// What it is called.
    #[prop(into)]
    text: Signal<&'static str>,
    /// Whether it needs a token.
    #[prop(default = true)]
    changes: bool,
    /// What it does.
    act: impl Fn() + 'static,
    /// The menu that it closes.
    open: RwSignal<Option<String>>,
) -> impl IntoView {
    let page = page();
    let is_barred = memo(move || changes && !page.access.get().may_change());
    let on_click = move |_| {
        if !is_barred.get_untracked() {
            open.set(None);
            act();
        }
    };
    el("button")
        .attr("id", id)
        .attr("type", "button")
        .attr("role", "menuitem")
        .attr("tabindex", "-1")
        .attr("aria-disabled", live(move || is_barred.get().to_string()))
        .attr("aria-describedby", live(move || if is_barred.get() { REASON } else { "" }))
        .on("click", on_click)
        .put(text)
        .view()
}

fn tell(page: Page, name: String, order: Order) {
    spawn_local(async move {
        match api::order(&name, order).await {
            Ok(()) if order == Order::Pause => page.say(format!("{name} is paused."), false),
            Ok(()) => page.say(format!("{name} is read again."), false),
            Err(problem) => page.refused(&problem),
        }
        browser::focus(format!("actions-{name}"));
    });
}

/// Deletes a source, and keeps its definition in case that was a mistake.
fn remove(page: Page, name: String) {
    spawn_local(async move {
        let definition = api::source(&name).await.ok();
        match api::remove(&name).await {
            Ok(()) => {
                page.notice.set(Some(Notice {
                    words: format!("{name} is deleted; its records stay."),
                    is_bad: false,
                    undo: definition.map(Box::new),
                }));
                browser::focus(UNDO.to_owned());
            }
            Err(problem) => page.refused(&problem),
        }
    });
}
