//! A field of a source's form, with its label, its hint and its error.

use anode_shared::source::FieldError;
use leptos::prelude::*;

use super::control::labelled;
use super::el::{Say, Show, el, memo};
use crate::api::Problem;
use crate::browser;
use crate::state::form::{Field, Form, field_of};

/// The form that is edited, and what is wrong with it.
#[derive(Debug, Clone, Copy)]
pub struct Editing {
    /// What stands in the fields.
    pub form: RwSignal<Form>,
    /// What is wrong with them, as far as it is known.
    pub errors: RwSignal<Vec<FieldError>>,
    /// What is wrong besides.
    pub other: RwSignal<Option<String>>,
}

impl Editing {
    /// Begins with these fields.
    pub fn new(form: Form) -> Self {
        Self { form: RwSignal::new(form), errors: RwSignal::default(), other: RwSignal::default() }
    }

    /// Forgets what was wrong.
    pub fn clear(self) {
        self.errors.set(Vec::new());
        self.other.set(None);
    }

    /// Shows what is wrong: each error at its field, the others together. The first field takes the focus.
    pub fn show(self, errors: Vec<FieldError>) {
        let place = |error: &FieldError| self.form.with_untracked(|form| field_of(&error.field, form));
        let others: Vec<String> = errors
            .iter()
            .filter(|error| place(error).is_none())
            .map(|error| format!("{}: {}", error.field, error.detail))
            .collect();
        if let Some(field) = errors.iter().filter_map(place).min() {
            browser::focus(field.id());
        }
        self.other.set((!others.is_empty()).then(|| others.join("; ")));
        self.errors.set(errors);
    }

    /// Shows what the node refused.
    pub fn show_problem(self, problem: Problem) {
        if problem.errors.is_empty() {
            self.other.set(Some(problem.detail));
        } else {
            self.show(problem.errors);
        }
    }

    /// Writes into a field, whose error is then over.
    pub fn set(self, field: Field, text: String) {
        self.form.update(|form| form.set(field, text));
        let form = self.form.read_untracked();
        if self.errors.with_untracked(|errors| !errors.is_empty()) {
            self.errors.update(|errors| errors.retain(|error| field_of(&error.field, &form) != Some(field)));
        }
    }
}

/// One field with its label, its hint and its error.
#[derive(Debug)]
#[must_use]
pub struct TextField {
    field: Field,
    placeholder: &'static str,
    hint: Say,
    rows: u8,
    is_fixed: bool,
}

/// Begins a field of one line.
pub fn text_field(field: Field) -> TextField {
    TextField { field, placeholder: "", hint: Say::Nothing, rows: 1, is_fixed: false }
}

impl TextField {
    /// What stands there while it is empty.
    pub fn placeholder(mut self, text: &'static str) -> Self {
        self.placeholder = text;
        self
    }

    /// What to know about it.
    pub fn hint(mut self, hint: impl Into<Say>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Gives it several lines.
    pub fn rows(mut self, rows: u8) -> Self {
        self.rows = rows;
        self
    }

    /// Makes it one that can only be read.
    pub fn fixed(mut self, is_fixed: bool) -> Self {
        self.is_fixed = is_fixed;
        self
    }
}

impl Show for TextField {
    fn show(self) -> AnyView {
        let Self { field, placeholder, hint, rows, is_fixed } = self;
        let editing: Editing = expect_context();
        let value = memo(move || editing.form.with(|form| form.get(field).to_owned()));
        let error = memo(move || {
            editing.errors.with(|errors| {
                let form = editing.form.read();
                let error = errors.iter().find(|error| field_of(&error.field, &form) == Some(field));
                error.map(|error| error.detail.clone())
            })
        });
        let control = if rows > 1 {
            el("textarea").attr("rows", rows.to_string())
        } else {
            el("input").attr("type", "text")
        };
        let control = control
            .attr("placeholder", placeholder)
            .attr("readonly", is_fixed)
            .attr("inputmode", if field.is_number() { "numeric" } else { "text" })
            .value(value)
            .on("input", move |event| editing.set(field, event_target_value(&event)));
        labelled(&field.id(), field.label(), control, hint, error).view()
    }
}
