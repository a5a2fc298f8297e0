//! A control with its label, its hint and its error.

use leptos::prelude::*;

use super::el::{El, Say, el, live, part};

/// Puts a label before a control, and below it what to know about it and what is wrong with it.
pub fn labelled(
    id: &str,
    label: impl Into<String>,
    control: El,
    hint: Say,
    error: impl Into<Signal<Option<String>>>,
) -> El {
    let (label, error) = (label.into(), error.into());
    let (alert_id, about) = (format!("{id}-error"), format!("{id}-hint"));
    let control = control
        .attr("id", id.to_owned())
        .attr("autocomplete", "off")
        .attr("autocapitalize", "off")
        .attr("spellcheck", "false")
        .attr("aria-invalid", live(move || error.with(Option::is_some).to_string()))
        .attr("aria-describedby", format!("{about} {alert_id}"));
    el("div")
        .class("field")
        .put(el("label").attr("for", id.to_owned()).put(label.clone()))
        .put(control)
        .put(el("p").attr("id", about).class("hint").put(hint))
        .put(alert(alert_id, label, error))
}

/// An error in words, read aloud when it appears, with what it is about.
pub fn alert(
    id: impl Into<String>,
    about: impl Into<String>,
    error: impl Into<Signal<Option<String>>>,
) -> AnyView {
    let (about, error) = (about.into(), error.into());
    let words = move || {
        error.get().map(|error| {
            let about = el("span").class("unseen").put(format!("{about}: "));
            el("p").class("error").attr("role", "alert").put(about).put(error)
        })
    };
    el("div").attr("id", id.into()).put(part(words)).view()
}
