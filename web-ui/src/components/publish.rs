//! A small form that publishes one record.

use anode_shared::publish::{Ack, check_topic};
use leptos::ev::SubmitEvent;
use leptos::prelude::*;
use leptos::task::spawn_local;
use serde_json::value::RawValue;

use super::ask::Alert;
use super::page;
use crate::api::{self, Problem, Published};
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
    let on_submit = move |event: SubmitEvent| {
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
    let (topic_error, payload_error) = (error(|o| &o.topic), error(|o| &o.payload));
    view! {
        <section class="panel publish" aria-labelledby="publish-title">
            <h2 id="publish-title">"Publish a record"</h2>
            <form on:submit=on_submit>
                <div class="field">
                    <label for="publish-topic">"Topic"</label>
                    <input
                        id="publish-topic"
                        type="text"
                        autocomplete="off"
                        autocapitalize="off"
                        spellcheck="false"
                        aria-invalid=move || topic_error.get().is_some().to_string()
                        aria-describedby="publish-topic-error"
                        prop:value=topic
                        on:input=move |event| topic.set(event_target_value(&event))
                    />
                    <Alert id="publish-topic-error" error=topic_error />
                </div>
                <div class="field">
                    <label for="publish-payload">"Payload (JSON)"</label>
                    <textarea
                        id="publish-payload"
                        rows="3"
                        spellcheck="false"
                        aria-invalid=move || payload_error.get().is_some().to_string()
                        aria-describedby="publish-payload-error"
                        prop:value=payload
                        on:input=move |event| payload.set(event_target_value(&event))
                    ></textarea>
                    <Alert id="publish-payload-error" error=payload_error />
                </div>
                <Alert id="publish-error" error=error(|o| &o.other) />
                <div class="bar">
                    <button type="submit" class="primary" aria-disabled=move || is_busy.get().to_string()>
                        "Publish"
                    </button>
                    <span role="status" class="stored">{error(|o| &o.stored)}</span>
                </div>
            </form>
            <Token page />
        </section>
    }
}

/// Whether this page may publish, and how it would.
#[component]
fn Token(page: Page) -> impl IntoView {
    let forget = move |_| {
        api::forget_token();
        page.has_token.set(false);
    };
    move || {
        if page.has_token.get() {
            view! {
                <p class="hint">
                    "This browser keeps the node's token. " <button type="button" class="copy" on:click=forget>"Forget it"</button>
                </p>
            }
            .into_any()
        } else {
            view! {
                <p class="hint">
                    "This browser has no token. Unless the node runs with " <code>"--open-publish"</code>
                    ", open the link that " <code>"anode link"</code> " prints."
                </p>
            }
            .into_any()
        }
    }
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
