//! One row of the live list.

use std::sync::Arc;

use leptos::prelude::*;

use super::copy::Copy;
use super::page;
use super::when::When;
use crate::state::question::Question;
use crate::state::row::{Payload, RecordRow, Row, gap_words, short_id};

/// A record, a gap, or a word of the page itself.
#[component]
pub fn RowView(
    /// What is shown.
    row: Arc<Row>,
) -> impl IntoView {
    match &*row {
        Row::Record(record) => {
            let record = Arc::new(RecordRow::clone(record));
            view! { <RecordView record /> }.into_any()
        }
        Row::Gap(gap) => view! {
            <li class="gap">
                <strong>"Gap"</strong>
                <span>{gap_words(gap)}</span>
                <code>{format!("{} {}–{}", short_id(&gap.log), gap.from, gap.to)}</code>
            </li>
        }
        .into_any(),
        Row::Note(text) => view! { <li class="gap">{text.clone()}</li> }.into_any(),
    }
}

#[component]
fn RecordView(record: Arc<RecordRow>) -> impl IntoView {
    let is_open = RwSignal::new(false);
    let shown = Arc::clone(&record);
    view! {
        <li class="row" data-record-id=record.id.clone()>
            <button
                type="button"
                class="line"
                aria-expanded=move || is_open.get().to_string()
                on:click=move |_| is_open.update(|open| *open = !*open)
            >
                <When time=record.time.clone() />
                <span class="topic">{record.topic.clone()}</span>
                <span class="preview">{record.payload.preview()}</span>
                <span class="from">{record.from.clone()}</span>
                <span class="id" title=record.id.clone()>{short_id(&record.id)}</span>
            </button>
            {move || is_open.get().then(|| view! { <Detail record=Arc::clone(&shown) /> })}
        </li>
    }
}

#[component]
fn Detail(record: Arc<RecordRow>) -> impl IntoView {
    let is_pretty = RwSignal::new(true);
    let id = record.id.clone();
    let (page, topic) = (page(), record.topic.clone());
    let only = move |_| page.ask(Question { topics: topic.clone(), filter: String::new() });
    let payload = Arc::clone(&record);
    let text = Signal::derive(move || {
        if is_pretty.get() { payload.payload.pretty() } else { payload.payload.raw().to_owned() }
    });
    let layouts = matches!(record.payload, Payload::Json(_)).then(|| {
        let choice = move |pretty: bool, name: &'static str| {
            view! {
                <button
                    type="button"
                    aria-pressed=move || (is_pretty.get() == pretty).to_string()
                    on:click=move |_| is_pretty.set(pretty)
                >
                    {name}
                </button>
            }
        };
        view! {
            <div class="switch" role="group" aria-label="Layout">
                {choice(true, "Pretty")} {choice(false, "Raw")}
            </div>
        }
    });
    view! {
        <div class="opened">
            <dl class="facts">
                <Fact name="Time" value=Some(record.time.clone()) />
                <Fact name="From" value=record.from.clone() />
                <Fact name="Signed" value=record.signed.clone() />
                <Fact name="Type" value=Some(record.payload.kind().to_owned()) />
                <div class="wide">
                    <dt>"Id"</dt>
                    <dd>
                        <code>{record.id.clone()}</code>
                        <Copy text=Signal::stored(id) what="record id" />
                        <a href=format!("/api/v1/records/{}", record.id)>"Proof"</a>
                    </dd>
                </div>
            </dl>
            <div class="bar">
                {layouts} <Copy text what="payload" />
                <button type="button" class="copy" on:click=only>
                    "Only this topic"
                </button>
            </div>
            <pre tabindex="0" role="group" aria-label="Payload">{text}</pre>
        </div>
    }
}

#[component]
fn Fact(name: &'static str, value: Option<String>) -> impl IntoView {
    value.map(|value| {
        view! {
            <div>
                <dt>{name}</dt>
                <dd>{value}</dd>
            </div>
        }
    })
}
