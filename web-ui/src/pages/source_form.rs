//! The form for a source: new, changed or doubled.

use anode_shared::source::FieldError;
use leptos::prelude::*;
use leptos::task::spawn_local;
use web_sys::Event;

use crate::api::{self, Problem};
use crate::browser;
use crate::components::access::{AccessHint, REASON};
use crate::components::control::alert;
use crate::components::el::{el, live, memo, part, skeleton, together};
use crate::components::field::Editing;
use crate::components::page;
use crate::components::source_fields::SourceFields;
use crate::components::steps::Snippet;
use crate::components::title::title;
use crate::components::trial::{Trial, TrialView, VERDICT};
use crate::state::command::{curl, json};
use crate::state::form::Form;
use crate::state::route::Location;
use crate::state::sources::Sources;
use crate::streams::Page;

/// The page.
#[component]
pub fn SourceForm(
    /// The source that is changed; none for a new one.
    edits: Option<String>,
) -> impl IntoView {
    let page = page();
    let from = page.location.with_untracked(|location: &Location| location.value("from"));
    let (is_there, is_copy) = (edits.is_some(), edits.is_none() && from.is_some());
    let filled = RwSignal::new(None::<Result<Form, Problem>>);
    match edits.clone().or(from) {
        None => filled.set(Some(Ok(Form::default()))),
        Some(name) => spawn_local(async move {
            let form = api::source(&name).await.map(Form::of);
            filled.try_set(Some(form.map(|form| if is_copy { form.duplicate() } else { form })));
        }),
    }
    let name = match edits {
        Some(name) => format!("Edit {name}"),
        None => "New source".to_owned(),
    };
    let body = move || match filled.get() {
        None => skeleton("Loading the source"),
        Some(Err(problem)) => together(vec![
            el("p").class("error").attr("role", "alert").put(problem.detail).view(),
            el("p").put(el("a").attr("href", "/sources").put("Back to all sources")).view(),
        ]),
        Some(Ok(form)) => view! { <Body form is_there /> }.into_any(),
    };
    together(vec![title(name), part(body)])
}

#[component]
fn Body(form: Form, is_there: bool) -> impl IntoView {
    let page = page();
    let editing = Editing::new(form.clone());
    provide_context(editing);
    page.draft.set(Some((editing.form, form)));
    let (trial, is_saving) = (RwSignal::new(Trial::None), RwSignal::new(false));
    let is_barred = memo(move || !page.access.get().may_change());
    let is_testing = memo(move || trial.with(|trial| *trial == Trial::Running));
    let on_test = move |_| {
        if !is_barred.get_untracked() && !is_testing.get_untracked() {
            test(editing, trial);
        }
    };
    let on_submit = move |event: Event| {
        event.prevent_default();
        if !is_barred.get_untracked() && !is_saving.get_untracked() {
            save(page, editing, is_saving, is_there);
        }
    };
    let wrong = Signal::derive(move || {
        let count = editing.errors.with(Vec::len);
        let other = editing.other.get();
        match (count, other) {
            (_, Some(other)) => Some(other),
            (0, None) => None,
            (1, None) => Some("One field needs a look.".to_owned()),
            (count, None) => Some(format!("{count} fields need a look.")),
        }
    });
    el("div")
        .class("columns form-columns")
        .put(
            el("form")
                .class("panel source-form")
                .attr("aria-label", "Source")
                .on("submit", on_submit)
                .attr("novalidate", true)
                .put(view! { <SourceFields is_there /> })
                .put(alert("source-form-error", "Form", wrong))
                .put(
                    el("div")
                        .class("bar")
                        .put(view! { <AccessHint /> })
                        .put(
                            el("button")
                                .attr("type", "button")
                                .attr(
                                    "aria-disabled",
                                    live(move || (is_barred.get() || is_testing.get()).to_string()),
                                )
                                .attr(
                                    "aria-describedby",
                                    live(move || if is_barred.get() { REASON } else { "" }),
                                )
                                .on("click", on_test)
                                .put(part(move || if is_testing.get() { "Testing …" } else { "Test" })),
                        )
                        .put(
                            el("button")
                                .attr("type", "submit")
                                .class("primary")
                                .attr(
                                    "aria-disabled",
                                    live(move || (is_barred.get() || is_saving.get()).to_string()),
                                )
                                .attr(
                                    "aria-describedby",
                                    live(move || if is_barred.get() { REASON } else { "" }),
                                )
                                .put(if is_there { "Save" } else { "Register" }),
                        )
                        .put(el("a").attr("href", "/sources").put("Cancel")),
                ),
        )
        .put(
            el("div")
                .class("aside")
                .put(view! { <TrialView trial /> })
                .put(view! { <Written editing is_there /> }),
        )
        .view()
}

/// The definition as JSON and as a command.
#[component]
fn Written(editing: Editing, is_there: bool) -> impl IntoView {
    let definition = memo(move || editing.form.with(|form| form.definition().ok()));
    let texts = move || match definition.get() {
        None => el("p").class("hint").put("Once the form is complete.").view(),
        Some(definition) => together(vec![
            el("h3").put("As JSON").view(),
            view! { <Snippet text=json(&definition) what="JSON" /> }.into_any(),
            el("h3").put("As a command").view(),
            view! { <Snippet text=curl(&browser::origin(), &definition, is_there) what="command" /> }
                .into_any(),
        ]),
    };
    el("section")
        .class("panel")
        .attr("aria-label", "The same without this page")
        .put(el("details").put(el("summary").put("The same as JSON and curl")).put(part(texts)))
        .view()
}

/// Tries the source, and shows what came of it.
fn test(editing: Editing, trial: RwSignal<Trial>) {
    editing.clear();
    let definition = match editing.form.with_untracked(Form::definition) {
        Ok(definition) => definition,
        Err(errors) => return editing.show(errors),
    };
    trial.set(Trial::Running);
    spawn_local(async move {
        let answer = api::test(&definition).await;
        // The page may be gone by now.
        if trial.try_get_untracked().is_none() {
            return;
        }
        match answer {
            Ok(test) => {
                if let Some(error) = &test.error
                    && let Some(field) = &error.field
                {
                    let (field, detail) = (field.clone(), error.detail.clone());
                    editing.errors.set(vec![FieldError { field, detail }]);
                }
                trial.set(Trial::Done { definition: Box::new(definition), test: Box::new(test) });
                // On a phone it stands below the form.
                browser::reveal(VERDICT);
            }
            Err(problem) => {
                trial.set(Trial::None);
                editing.show_problem(problem);
            }
        }
    });
}

/// Registers the source or replaces it, and goes to the list.
fn save(page: Page, editing: Editing, is_saving: RwSignal<bool>, is_there: bool) {
    editing.clear();
    let definition = match editing.form.with_untracked(Form::definition) {
        Ok(definition) => definition,
        Err(errors) => return editing.show(errors),
    };
    is_saving.set(true);
    spawn_local(async move {
        let answer = api::register(&definition, is_there).await;
        is_saving.try_set(false);
        match answer {
            Ok(()) => {
                let words = if is_there { "saved" } else { "registered" };
                page.draft.set(None);
                page.go("/sources");
                page.say(format!("{} is {words}.", definition.name), false);
                page.fresh.set(Some(definition.name));
            }
            Err(problem) => {
                if matches!(problem.status, 401 | 403) {
                    page.look_at_token();
                }
                let is_taken = |sources: &Option<Sources>| {
                    sources.as_ref().is_some_and(|sources| sources.get(&definition.name).is_some())
                };
                if problem.status == 409 && page.sources.with_untracked(is_taken) {
                    let detail = "there is a source of this name already".to_owned();
                    return editing.show(vec![FieldError { field: "name".to_owned(), detail }]);
                }
                editing.show_problem(problem);
            }
        }
    });
}
