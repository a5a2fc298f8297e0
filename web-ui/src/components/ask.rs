//! The fields that say which records are shown.

use leptos::ev::SubmitEvent;
use leptos::prelude::*;

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
    let on_submit = move |event: SubmitEvent| {
        event.prevent_default();
        apply();
    };
    let error = move |field: Field| {
        Memo::new(move |_| {
            let refusal = page.refusal.get().filter(|refusal| field_of(&refusal.code) == field);
            refusal.map(|refusal| refusal.detail)
        })
    };
    Effect::new(move |_| {
        let asked = page.question.get();
        topics.set(asked.topics);
        filter.set(asked.filter);
    });
    view! {
        <form class="ask" on:submit=on_submit>
            <Text
                name="topics"
                label="Topics"
                placeholder="every topic; or prices.* sensors.>"
                value=topics
                apply
                error=error(Field::Topics)
            />
            <Text
                name="filter"
                label="Filter"
                placeholder="payload.price > 100.0"
                value=filter
                apply
                error=error(Field::Filter)
            />
            <button type="submit">"Apply"</button>
            <Alert id="ask-error" error=error(Field::Neither) />
        </form>
    }
}

/// One field with its label and its error.
#[component]
fn Text(
    name: &'static str,
    label: &'static str,
    placeholder: &'static str,
    value: RwSignal<String>,
    apply: impl Fn() + Copy + Send + Sync + 'static,
    error: Memo<Option<String>>,
) -> impl IntoView {
    let alert = format!("{name}-error");
    view! {
        <div class=format!("field {name}")>
            <label for=name>{label}</label>
            <input
                id=name
                name=name
                type="text"
                autocomplete="off"
                autocapitalize="off"
                spellcheck="false"
                placeholder=placeholder
                aria-invalid=move || error.with(Option::is_some).to_string()
                aria-describedby=alert.clone()
                prop:value=value
                on:input=move |event| value.set(event_target_value(&event))
                on:change=move |_| apply()
            />
            <Alert id=alert error label />
        </div>
    }
}

/// An error in words, read aloud when it appears.
#[component]
pub fn Alert(
    /// By which a field names it.
    #[prop(into)]
    id: String,
    /// The words.
    #[prop(into)]
    error: Signal<Option<String>>,
    /// Which field it is about.
    #[prop(optional)]
    label: &'static str,
) -> impl IntoView {
    let words = move || {
        error.get().map(|error| {
            let before = if label.is_empty() { String::new() } else { format!("{label}: ") };
            view! { <p class="error" role="alert">{before}{error}</p> }
        })
    };
    view! { <div id=id>{words}</div> }
}
