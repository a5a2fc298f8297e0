//! A small form that publishes one record.

use super::el::{El, Say, el, live, part, together};
use anode_shared::publish::{Ack, check_topic};
use leptos::prelude::*;
use leptos::task::spawn_local;
use serde_json::value::RawValue;
use web_sys::Event;

use super::access::AccessHint;
use super::control::{alert, labelled};
use super::page;
use crate::api::{self, Problem, Published};
use crate::state::access::Access;
use crate::state::row::short_id;
use crate::streams::Page;

/// What the last try came to.
#[derive(Debug, Clone, Default)]
struct Outcome {
    topic: Option<String>,
    payload: Option<String>,
    other: Option<String>,
    stored: Option<String>,
}

impl Outcome {
    fn of(answer: Result<Published, Problem>) -> Self {
        match answer {
            Ok(published) => Self { stored: Some(stored(&published)), ..Self::default() },
            Err(Problem { code, detail, .. }) => match code.as_str() {
                "bad_topic" => Self { topic: Some(detail), ..Self::default() },
                "bad_record" | "too_big" => Self { payload: Some(detail), ..Self::default() },
                _ => Self { other: Some(detail), ..Self::default() },
            },
        }
    }
}

fn stored(published: &Published) -> String {
    let id = published.ids.first().map(|id| short_id(id)).unwrap_or_default();
    let whom = match published.ack {
        Ack::Durable => "on this node's disk",
        Ack::Replicated => "on another node's disk too",
        Ack::Archived => "in the archive",
    };
    format!("Stored {whom}: {id}")
}

/// The record as the contract's JSON, or what is wrong with the fields.
fn record(topic: &str, payload: &str) -> Result<String, Outcome> {
    let topic_error = check_topic(topic).err().map(|error| error.to_string());
    let json: Result<&RawValue, _> = serde_json::from_str(payload);
    match (topic_error, json) {
        (None, Ok(json)) => Ok(format!(r#"{{"topic":"{topic}","payload":{json}}}"#)),
        (topic, json) => {
            let payload = json.err().map(|error| format!("This is not JSON: {error}."));
            Err(Outcome { topic, payload, ..Outcome::default() })
        }
    }
}

/// Topic and payload, and what came of them.
#[component]
pub fn Publish() -> impl IntoView {
    let page = page();
    let (topic, payload) =
        (RwSignal::new("hello.world".to_owned()), RwSignal::new(r#"{"says": "hi"}"#.to_owned()));
    let (outcome, is_busy) = (RwSignal::new(Outcome::default()), RwSignal::new(false));
    let on_submit = move |event: Event| {
        event.prevent_default();
        if is_busy.get_untracked() {
            return;
        }
        match record(topic.get_untracked().trim(), &payload.get_untracked()) {
            Err(wrong) => outcome.set(wrong),
            Ok(record) => {
                is_busy.set(true);
                spawn_local(async move {
                    outcome.set(Outcome::of(api::publish(&record).await));
                    is_busy.set(false);
                });
            }
        }
    };
    let error = move |pick: fn(&Outcome) -> &Option<String>| {
        Signal::derive(move || outcome.with(|o| pick(o).clone()))
    };
    let write = |control: El, value: RwSignal<String>| {
        control.value(value).on("input", move |event| value.set(event_target_value(&event)))
    };
    let topic_field = write(el("input").attr("type", "text"), topic);
    let payload_field = write(el("textarea").attr("rows", "3"), payload);
    let button = el("button")
        .attr("type", "submit")
        .class("primary")
        .attr("aria-disabled", live(move || is_busy.get().to_string()))
        .put("Publish");
    let stored = part(move || outcome.with(|outcome| outcome.stored.clone()));
    let form = el("form")
        .on("submit", on_submit)
        .put(labelled("publish-topic", "Topic", topic_field, Say::Nothing, error(|o| &o.topic)))
        .put(labelled(
            "publish-payload",
            "Payload (JSON)",
            payload_field,
            Say::Nothing,
            error(|o| &o.payload),
        ))
        .put(alert("publish-error", "Publishing", error(|o| &o.other)))
        .put(
            el("div")
                .class("bar")
                .put(button)
                .put(el("span").attr("role", "status").class("stored").put(stored)),
        );
    el("section")
        .class("panel publish")
        .attr("aria-labelledby", "publish-title")
        .put(el("h2").attr("id", "publish-title").put("Publish a record"))
        .put(form)
        .put(view! { <Token page /> })
        .view()
}

/// Whether this page may publish, and how it would.
#[component]
fn Token(page: Page) -> impl IntoView {
    let forget = move |_| {
        api::forget_token();
        page.access.set(Access::None);
    };
    part(move || {
        if page.access.get().may_change() {
            return el("p")
                .class("hint")
                .put("This browser keeps the node's token. ")
                .put(el("button").attr("type", "button").class("copy").on("click", forget).put("Forget it"))
                .view();
        }
        together(vec![
            view! { <AccessHint /> }.into_any(),
            el("p")
                .class("hint")
                .put("Under ")
                .put(el("code").put("--open-publish"))
                .put(" it may publish all the same.")
                .view(),
        ])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_payload_as_typed() {
        let record = record("a.b", r#" {"x": 1.50} "#).unwrap();
        assert_eq!(record, r#"{"topic":"a.b","payload":{"x": 1.50}}"#);
    }

    #[test]
    fn it_says_what_is_wrong_at_the_field() {
        let wrong = record("A", "{").unwrap_err();
        assert!(wrong.topic.is_some_and(|words| words.contains("a-z")));
        assert!(wrong.payload.is_some_and(|words| words.contains("not JSON")));
    }
}
