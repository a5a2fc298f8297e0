//! The live records.

use leptos::prelude::*;

use super::ask::Ask;
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
    let is_paused = Memo::new(move |_| page.records.with(|records| records.is_paused()));
    let toggle = move |_| {
        page.records.update(|records| if records.is_paused() { records.resume() } else { records.pause() });
    };
    view! {
        <section id="records" class="panel records" aria-labelledby="records-title" tabindex="-1">
            <div class="title">
                <h2 id="records-title">"Live records"</h2>
                <Note page />
                <button type="button" class="pause" on:click=toggle>
                    {move || if is_paused.get() { "Resume" } else { "Pause" }}
                </button>
            </div>
            <Ask />
            <List page />
        </section>
    }
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
    view! { <span class="note number">{note}</span> }
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
    let place = Memo::new(move |_| match page.records.with(|records| records.rows().len()) {
        _ if page.feed.get() == Link::Refused => Place::Refused,
        0 if page.caught_up.get() => Place::Empty,
        0 => Place::Loading,
        _ => Place::Rows,
    });
    let drawn = RwSignal::new(DRAWN);
    let rows =
        move || page.records.with(|records| records.rows().take(drawn.get()).cloned().collect::<Vec<_>>());
    let older =
        Memo::new(move |_| page.records.with(|records| records.rows().len().saturating_sub(drawn.get())));
    let more = move || {
        (older.get() > 0).then(|| {
            view! {
                <button type="button" class="more" on:click=move |_| drawn.set(SHOWN)>
                    {move || format!("Show {} older", older.get())}
                </button>
            }
        })
    };
    move || match place.get() {
        Place::Loading => view! { <Skeleton /> }.into_any(),
        Place::Empty => view! { <Empty /> }.into_any(),
        Place::Refused => view! { <Refused /> }.into_any(),
        Place::Rows => view! {
            <div class="list">
                <div class="columns-of-rows" aria-hidden="true">
                    <span>"Time"</span>
                    <span>"Topic"</span>
                    <span>"Payload"</span>
                    <span>"From"</span>
                    <span>"Id"</span>
                </div>
                <ol class="rows">
                    <For each=rows key=|entry| entry.key let:entry>
                        <RowView row=entry.row />
                    </For>
                </ol>
                {more}
            </div>
        }
        .into_any(),
    }
}

#[component]
fn Skeleton() -> impl IntoView {
    view! {
        <div class="skeleton" role="status">
            <span class="unseen">"Loading records"</span>
            {[(); 6].map(|()| view! { <i></i> })}
        </div>
    }
}
