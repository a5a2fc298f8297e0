//! The fields that say which records are shown.

use leptos::prelude::*;
use web_sys::Event;

use super::control::{alert, labelled};
use super::el::{Say, el, memo};
use super::page;
use crate::state::question::Question;

/// Which field a refusal is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Topics,
    Filter,
    Neither,
}

fn field_of(code: &str) -> Field {
    match code {
        "bad_topic" => Field::Topics,
        "bad_filter" => Field::Filter,
        _ => Field::Neither,
    }
}

/// Topic patterns and a filter.
#[component]
pub fn Ask() -> impl IntoView {
    let page = page();
    let start = page.question.get_untracked();
    let (topics, filter) = (RwSignal::new(start.topics), RwSignal::new(start.filter));
    let apply = move || page.ask(Question { topics: topics.get_untracked(), filter: filter.get_untracked() });
    let on_submit = move |event: Event| {
        event.prevent_default();
        apply();
    };
    let error = move |field: Field| {
        memo(move || {
            let refusal = page.refusal.get().filter(|refusal| field_of(&refusal.code) == field);
            refusal.map(|refusal| refusal.detail)
        })
    };
    Effect::new(move |_| {
        let asked = page.question.get();
        topics.set(asked.topics);
        filter.set(asked.filter);
    });
    let text = move |name,
                     label: &'static str,
                     placeholder: &'static str,
                     value: RwSignal<String>,
                     error: Memo<Option<String>>| {
        let field = el("input").attr("type", "text").attr("placeholder", placeholder);
        let field = field.value(value).on("change", move |_| apply());
        labelled(
            name,
            label,
            field.on("input", move |event| value.set(event_target_value(&event))),
            Say::Nothing,
            error,
        )
    };
    el("form")
        .class("ask")
        .on("submit", on_submit)
        .put(text("topics", "Topics", "every topic; or prices.* sensors.>", topics, error(Field::Topics)))
        .put(text("filter", "Filter", "payload.price > 100.0", filter, error(Field::Filter)))
        .put(el("button").attr("type", "submit").put("Apply"))
        .put(alert("ask-error", "Records", error(Field::Neither)))
        .view()
}
