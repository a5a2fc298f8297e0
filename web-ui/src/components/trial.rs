//! What testing a source showed.

use std::fmt::Write as _;

use anode_shared::source::{Answer, Phases, SourceDefinition, SourceTest, TestRecord};
use leptos::prelude::*;

use super::el::{Show, el, live, memo, part, together};
use super::field::Editing;
use super::json_tree::{JsonTree, Pick};
use super::shape::Shape;
use crate::state::form::Field;
use crate::state::json::pretty;
use crate::state::number::{bytes, fixed};
use crate::state::tree::{self, Step, expression, of_each, where_there};
use crate::state::trial::{phases, verdict};
use anode_shared::status::State;

/// How many of the records are shown.
const RECORDS: usize = 20;

/// The element that says what came of a test.
pub const VERDICT: &str = "trial-verdict";

/// What a test is, where none was made.
const EMPTY: &str = "Test asks the feed once, or listens for up to 5 s, and registers nothing. Here you see what came, how long \
                     each step took, and the records that it makes.";

/// A test, as far as it got.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Trial {
    /// None was made.
    #[default]
    None,
    /// It runs.
    Running,
    /// It is over.
    Done {
        /// What was tested.
        definition: Box<SourceDefinition>,
        /// What it showed.
        test: Box<SourceTest>,
    },
}

/// The result, or how to get one.
#[component]
pub fn TrialView(
    /// The test.
    trial: RwSignal<Trial>,
) -> impl IntoView {
    let editing: Editing = expect_context();
    let is_old = memo(move || match &*trial.read() {
        Trial::Done { definition, .. } => {
            editing.form.with(|form| form.definition().ok().as_ref() != Some(&**definition))
        }
        Trial::None | Trial::Running => false,
    });
    let said = move || match &*trial.read() {
        Trial::None => String::new(),
        Trial::Running => "Testing …".to_owned(),
        Trial::Done { test, .. } => verdict(test),
    };
    let shape = move || match &*trial.read() {
        Trial::Done { test, .. } => {
            let state = if test.ok { State::Ok } else { State::Down };
            Some(view! { <Shape state /> })
        }
        Trial::None | Trial::Running => None,
    };
    let body = move || match trial.get() {
        Trial::None => el("p").class("hint").put(EMPTY).view(),
        Trial::Running => el("div").class("skeleton").put(el("i")).put(el("i")).put(el("i")).view(),
        Trial::Done { test, .. } => view! { <Outcome test /> }.into_any(),
    };
    el("section")
        .class("panel trial")
        .attr("aria-labelledby", "trial-title")
        .put(el("h2").attr("id", "trial-title").put("Test result"))
        .put(
            el("p")
                .attr("id", VERDICT)
                .class("verdict")
                .attr("role", "status")
                .put(part(shape))
                .put(part(said)),
        )
        .put(part(move || {
            is_old.get().then(|| {
                el("p")
                    .class("hint is-old")
                    .put("The form has changed since: test again to see what it makes now.")
                    .view()
            })
        }))
        .put(part(body))
        .view()
}

#[component]
fn Outcome(test: Box<SourceTest>) -> impl IntoView {
    let SourceTest { phases, address, http_status, headers, answers, records, error, .. } = *test;
    let error = error.map(|error| el("p").class("error").attr("role", "alert").put(error.detail));
    let facts = [("Status", http_status.map(|status| status.to_string())), ("Address", address)]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| fact(name.to_owned(), value)));
    let count = headers.len();
    let headers = headers.into_iter().map(|(name, value)| fact(name, value)).collect::<Vec<_>>();
    together(vec![
        error.show(),
        view! { <PhaseBar phases /> }.into_any(),
        el("dl").class("facts").put(facts.collect::<Vec<_>>()).view(),
        (count > 0)
            .then(|| {
                el("details")
                    .put(el("summary").put(format!("{count} headers")))
                    .put(el("dl").class("lines").put(headers))
                    .view()
            })
            .show(),
        (!answers.is_empty()).then(|| view! { <Records records /> }).show(),
        (!answers.is_empty()).then(|| view! { <Answers answers /> }).show(),
    ])
}

fn fact(name: String, value: String) -> AnyView {
    el("div").put(el("dt").put(name)).put(el("dd").put(value)).view()
}

/// How long each phase took, as a bar and in words.
#[component]
fn PhaseBar(phases: Phases) -> impl IntoView {
    let all = self::phases(&phases);
    let mut svg = r#"<svg viewBox="0 0 100 10" preserveAspectRatio="none">"#.to_owned();
    for phase in &all {
        let (x, width) = (fixed(phase.from, 2), fixed(phase.width, 2));
        let _ = write!(svg, r#"<rect class="{}" x="{x}" width="{width}" height="10"/>"#, phase.id);
    }
    let words = all
        .iter()
        .map(|phase| {
            el("div")
                .put(el("dt").class(phase.id).put(phase.name))
                .put(el("dd").class("number").put(phase.text.clone()))
                .view()
        })
        .collect::<Vec<_>>();
    el("div")
        .class("phases")
        .put(el("div").attr("aria-hidden", "true").draw(svg))
        .put(el("dl").class("facts").put(words))
        .view()
}

#[component]
fn Records(records: Vec<TestRecord>) -> impl IntoView {
    let count = records.len();
    let one = |record: TestRecord| {
        let payload = match (&record.payload, &record.content_type) {
            (Some(json), _) => json.to_string(),
            (None, kind) => format!("{} (base64)", kind.as_deref().unwrap_or("bytes")),
        };
        el("li")
            .put(el("strong").put(record.topic))
            .put(" ")
            .put(el("code").put(tree::preview(&payload)))
            .view()
    };
    let words = match count {
        0 => "It makes no record of this answer.".to_owned(),
        1 => "The record that it makes".to_owned(),
        _ if count > RECORDS => format!("The first {RECORDS} of {count} records that it makes"),
        _ => format!("The {count} records that it makes"),
    };
    together(vec![
        el("h3").put(words).view(),
        el("ol").class("made").put(records.into_iter().take(RECORDS).map(one).collect::<Vec<_>>()).view(),
    ])
}

/// The raw answers, one at a time.
#[component]
fn Answers(answers: Vec<Answer>) -> impl IntoView {
    let editing: Editing = expect_context();
    let count = answers.len();
    let (place, is_raw) = (RwSignal::new(0_usize), RwSignal::new(false));
    let picked = RwSignal::new(None::<Vec<Step>>);
    let answers = StoredValue::new(answers);
    let pick = Callback::new(move |steps: Vec<Step>| {
        // What only some answers have would be an error with the others.
        let everywhere = answers.with_value(|answers| {
            answers.iter().all(|answer| tree::has(answer.text.as_deref().unwrap_or_default(), &steps))
        });
        let text = if everywhere { None } else { where_there(&steps) };
        let whole = if steps.is_empty() { String::new() } else { expression(&steps) };
        editing.set(Field::Emit, text.unwrap_or(whole));
        picked.set(Some(steps));
    });
    let steps = move |by: bool| {
        place.update(|place| *place = if by { (*place + 1).min(count - 1) } else { place.saturating_sub(1) });
    };
    let turn = (count > 1).then(|| {
        el("div")
            .class("switch")
            .attr("role", "group")
            .attr("aria-label", "Message")
            .put(
                el("button")
                    .attr("type", "button")
                    .attr("aria-label", "Previous message")
                    .on("click", move |_| steps(false))
                    .put("‹"),
            )
            .put(el("span").class("number").put(part(move || format!("{} of {count}", place.get() + 1))))
            .put(
                el("button")
                    .attr("type", "button")
                    .attr("aria-label", "Next message")
                    .on("click", move |_| steps(true))
                    .put("›"),
            )
            .view()
    });
    let layout = move |raw: bool, name: &'static str| {
        el("button")
            .attr("type", "button")
            .attr("aria-pressed", live(move || (is_raw.get() == raw).to_string()))
            .on("click", move |_| is_raw.set(raw))
            .put(name)
            .view()
    };
    together(vec![
        el("div")
            .class("title")
            .put(el("h3").put("What came"))
            .put(turn)
            .put(
                el("div")
                    .class("switch")
                    .attr("role", "group")
                    .attr("aria-label", "Layout")
                    .put(layout(false, "Tree"))
                    .put(layout(true, "Raw")),
            )
            .view(),
        view! { <Picked picked /> }.into_any(),
        part(move || {
            answers
                .with_value(|answers| answers.get(place.get()).cloned())
                .map(|answer| view! { <One answer is_raw=is_raw.get() pick /> })
        })
        .show(),
    ])
}

#[component]
fn One(answer: Answer, is_raw: bool, pick: Pick) -> impl IntoView {
    #[expect(clippy::cast_precision_loss, reason = "shown rounded anyway")]
    let size = bytes(answer.bytes as f64);
    let size = answer.event.map_or_else(|| size.clone(), |event| format!("event {event}, {size}"));
    let body = match answer.text {
        Some(text) if !is_raw && tree::parts(&text).is_some() => {
            view! { <JsonTree json=text pick /> }.into_any()
        }
        Some(text) => {
            let is_json = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            let text = if is_json && !is_raw { pretty(&text) } else { text };
            el("pre")
                .attr("tabindex", "0")
                .attr("role", "group")
                .attr("aria-label", "Raw answer")
                .put(text)
                .view()
        }
        None => el("p").class("hint").put("Not text: the record carries the bytes as they came.").view(),
    };
    together(vec![el("p").class("hint").put(size).view(), body.show()])
}

/// What was written for the chosen value, and what could be instead.
#[component]
fn Picked(picked: RwSignal<Option<Vec<Step>>>) -> impl IntoView {
    let editing: Editing = expect_context();
    let emit = memo(move || editing.form.with(|form| form.get(Field::Emit).to_owned()));
    let said = move || {
        picked.with(Option::is_some).then(|| match emit.get() {
            emit if emit.is_empty() => "Emit is empty: the whole answer.".to_owned(),
            emit => format!("Emit is now {emit}"),
        })
    };
    let other = move |text: Option<String>, name: &'static str| {
        text.map(|text| {
            let written = text.clone();
            el("button")
                .attr("type", "button")
                .attr("title", text.clone())
                .attr("aria-pressed", live(move || (emit.get() == written).to_string()))
                .on("click", move |_| editing.set(Field::Emit, text.clone()))
                .put(name)
                .view()
        })
    };
    let others = move || {
        picked.get().filter(|steps| !steps.is_empty()).map(|steps| {
            el("div")
                .class("switch")
                .attr("role", "group")
                .attr("aria-label", "Other expressions")
                .put(other(Some(expression(&steps)), "This value"))
                .put(other(where_there(&steps), "Only where it is there"))
                .put(other(of_each(&steps), "Of each element"))
                .view()
        })
    };
    together(vec![
        el("p").class("hint picked").attr("role", "status").put(part(said)).view(),
        part(others).show(),
        part(move || {
            picked.with(Option::is_none).then(|| {
                el("p")
                    .class("hint")
                    .put("Choose a value: the expression that picks it is written into Emit.")
                    .view()
            })
        })
        .show(),
    ])
}
