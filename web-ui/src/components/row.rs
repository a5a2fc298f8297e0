//! One row of the live list.

use std::sync::Arc;

use leptos::prelude::*;

use super::copy::Copy;
use super::el::{el, live, part};
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
        Row::Gap(gap) => el("li")
            .class("gap")
            .put(el("strong").put("Gap"))
            .put(el("span").put(gap_words(gap)))
            .put(el("code").put(format!("{} {}–{}", short_id(&gap.log), gap.from, gap.to)))
            .view(),
        Row::Note(text) => el("li").class("gap").put(text.clone()).view(),
    }
}

#[component]
fn RecordView(record: Arc<RecordRow>) -> impl IntoView {
    let is_open = RwSignal::new(false);
    let shown = Arc::clone(&record);
    el("li")
        .class("row")
        .attr("data-record-id", record.id.clone())
        .put(
            el("button")
                .attr("type", "button")
                .class("line")
                .attr("aria-expanded", live(move || is_open.get().to_string()))
                .on("click", move |_| is_open.update(|open| *open = !*open))
                .put(view! { <When time=record.time.clone() /> })
                .put(el("span").class("topic").put(record.topic.clone()))
                .put(el("span").class("preview").put(record.payload.preview()))
                .put(el("span").class("from").put(record.from.clone()))
                .put(el("span").class("id").attr("title", record.id.clone()).put(short_id(&record.id))),
        )
        .put(part(move || is_open.get().then(|| view! { <Detail record=Arc::clone(&shown) /> })))
        .view()
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
            el("button")
                .attr("type", "button")
                .attr("aria-pressed", live(move || (is_pretty.get() == pretty).to_string()))
                .on("click", move |_| is_pretty.set(pretty))
                .put(name)
                .view()
        };
        el("div")
            .class("switch")
            .attr("role", "group")
            .attr("aria-label", "Layout")
            .put(choice(true, "Pretty"))
            .put(choice(false, "Raw"))
            .view()
    });
    el("div")
        .class("opened")
        .put(
            el("dl")
                .class("facts")
                .put(view! { <Fact name="Time" value=Some(record.time.clone()) /> })
                .put(view! { <Fact name="From" value=record.from.clone() /> })
                .put(view! { <Fact name="Signed" value=record.signed.clone() /> })
                .put(view! { <Fact name="Type" value=Some(record.payload.kind().to_owned()) /> })
                .put(
                    el("div").class("wide").put(el("dt").put("Id")).put(
                        el("dd")
                            .put(el("code").put(record.id.clone()))
                            .put(view! { <Copy text=Signal::stored(id) what="record id" /> })
                            .put(el("a").attr("href", format!("/api/v1/records/{}", record.id)).put("Proof")),
                    ),
                ),
        )
        .put(
            el("div").class("bar").put(layouts).put(view! { <Copy text what="payload" /> }).put(
                el("button").attr("type", "button").class("copy").on("click", only).put("Only this topic"),
            ),
        )
        .put(el("pre").attr("tabindex", "0").attr("role", "group").attr("aria-label", "Payload").put(text))
        .view()
}

#[component]
fn Fact(name: &'static str, value: Option<String>) -> impl IntoView {
    value.map(|value| el("div").put(el("dt").put(name)).put(el("dd").put(value)).view())
}
