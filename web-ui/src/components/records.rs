//! The live records.

use leptos::prelude::*;

use super::ask::Ask;
use super::el::{el, memo, part, skeleton};
use super::empty::{Empty, Refused};
use super::page;
use super::row::RowView;
use crate::state::link::Link;
use crate::state::number::count;
use crate::state::records::SHOWN;
use crate::streams::Page;

/// How many rows are drawn until more are asked for: drawing is what costs, and a screen shows 30.
const DRAWN: usize = 100;

/// The question, the rows, and what is not among them.
#[component]
pub fn LiveRecords() -> impl IntoView {
    let page = page();
    let is_paused = memo(move || page.records.with(|records| records.is_paused()));
    let toggle = move |_| {
        page.records.update(|records| if records.is_paused() { records.resume() } else { records.pause() });
    };
    el("section")
        .attr("id", "records")
        .class("panel records")
        .attr("aria-labelledby", "records-title")
        .attr("tabindex", "-1")
        .put(
            el("div")
                .class("title")
                .put(el("h2").attr("id", "records-title").put("Live records"))
                .put(view! { <Note page /> })
                .put(
                    el("button")
                        .attr("type", "button")
                        .class("pause")
                        .on("click", toggle)
                        .put(part(move || if is_paused.get() { "Resume" } else { "Pause" })),
                ),
        )
        .put(view! { <Ask /> })
        .put(view! { <List page /> })
        .view()
}

/// How many rows are held back or left out.
#[component]
fn Note(page: Page) -> impl IntoView {
    let note = move || {
        page.records.with(|records| {
            if records.is_paused() {
                return match records.held_back() {
                    0 => "Paused".to_owned(),
                    held => format!("Paused, {} held back", words(held)),
                };
            }
            match records.left_out() {
                0 => String::new(),
                left_out => format!("The newest {SHOWN}; {} older left out", words(left_out)),
            }
        })
    };
    el("span").class("note number").put(part(note)).view()
}

fn words(number: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown rounded anyway")]
    count(number as f64)
}

/// What stands where the rows do.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Loading,
    Empty,
    Rows,
    Refused,
}

#[component]
fn List(page: Page) -> impl IntoView {
    let place = memo(move || match page.records.with(|records| records.rows().len()) {
        _ if page.feed.get() == Link::Refused => Place::Refused,
        0 if page.caught_up.get() => Place::Empty,
        0 => Place::Loading,
        _ => Place::Rows,
    });
    let drawn = RwSignal::new(DRAWN);
    let rows =
        move || page.records.with(|records| records.rows().take(drawn.get()).cloned().collect::<Vec<_>>());
    let older = memo(move || page.records.with(|records| records.rows().len().saturating_sub(drawn.get())));
    let more = move || {
        (older.get() > 0).then(|| {
            el("button")
                .attr("type", "button")
                .class("more")
                .on("click", move |_| drawn.set(SHOWN))
                .put(part(move || format!("Show {} older", older.get())))
                .view()
        })
    };
    part(move || match place.get() {
        Place::Loading => view! { <Skeleton /> }.into_any(),
        Place::Empty => view! { <Empty /> }.into_any(),
        Place::Refused => view! { <Refused /> }.into_any(),
        Place::Rows => el("div")
            .class("list")
            .put(
                el("div")
                    .class("columns-of-rows")
                    .attr("aria-hidden", "true")
                    .put(el("span").put("Time"))
                    .put(el("span").put("Topic"))
                    .put(el("span").put("Payload"))
                    .put(el("span").put("From"))
                    .put(el("span").put("Id")),
            )
            .put(el("ol").class("rows").put(view! { <For each=rows key=|entry| entry.key let:entry>
                <RowView row=entry.row />
            </For> }))
            .put(part(more))
            .view(),
    })
}

#[component]
fn Skeleton() -> impl IntoView {
    skeleton("Loading records")
}
