//! The headers of a source's request, and the frames that open its socket: lists of fields.

use leptos::prelude::*;

use super::el::{Say, el, list, live, memo};
use super::field::{Editing, text_field};
use crate::browser;
use crate::state::form::{Field, Form, is_broken_json};

/// The headers.
#[component]
pub fn HeaderFields() -> impl IntoView {
    let editing: Editing = expect_context();
    let count = memo(move || editing.form.with(Form::headers));
    let add = move |_| {
        let place = count.get_untracked();
        editing.form.update(Form::add_header);
        browser::focus(Field::HeaderName(place).id());
    };
    el("fieldset")
        .class("list")
        .put(el("legend").put("Headers"))
        .put(list(
            move || places(count.get()),
            move |place| {
                let place = place.parse().unwrap_or_default();
                let what = format!("Remove header {}", place + 1);
                el("div")
                    .class("pair")
                    .put(text_field(Field::HeaderName(place)).placeholder("X-Key"))
                    .put(text_field(Field::HeaderValue(place)).placeholder("${secret:NAME}"))
                    .put(view! { <Remove field=Field::HeaderName(place) what /> })
                    .view()
            },
        ))
        .put(el("button").attr("type", "button").on("click", add).put("Add a header"))
        .view()
}

/// The opening frames.
#[component]
pub fn FrameFields() -> impl IntoView {
    let editing: Editing = expect_context();
    let count = memo(move || editing.form.with(Form::frames));
    let add = move |_| {
        let place = count.get_untracked();
        editing.form.update(Form::add_frame);
        browser::focus(Field::Frame(place).id());
    };
    el("fieldset")
        .class("list")
        .put(el("legend").put("Opening frames"))
        .put(el("p").class("hint").put("Sent in this order once the socket is open, mostly to subscribe."))
        .put(list(
            move || places(count.get()),
            move |place| {
                let place = place.parse().unwrap_or_default();
                let what = format!("Remove opening frame {}", place + 1);
                let hint = as_sent(editing, Field::Frame(place));
                el("div")
                    .class("pair is-frame")
                    .put(
                        text_field(Field::Frame(place))
                            .placeholder(r#"{"method": "subscribe"}"#)
                            .rows(3)
                            .hint(hint),
                    )
                    .put(view! { <Remove field=Field::Frame(place) what /> })
                    .view()
            },
        ))
        .put(el("button").attr("type", "button").on("click", add).put("Add an opening frame"))
        .view()
}

/// The places of a list, each by its number.
fn places(count: usize) -> Vec<String> {
    (0..count).map(|place| place.to_string()).collect()
}

/// A word where a text looks like JSON and is none.
pub fn as_sent(editing: Editing, field: Field) -> Say {
    live(move || {
        let is_broken = editing.form.with(|form| is_broken_json(form.get(field)));
        if is_broken { "This is not JSON: it is sent as it stands." } else { "" }
    })
}

#[component]
fn Remove(field: Field, what: String) -> impl IntoView {
    let editing: Editing = expect_context();
    let remove = move |_| {
        editing.form.update(|form| form.remove(field));
        editing.clear();
    };
    el("button")
        .attr("type", "button")
        .class("icon")
        .attr("aria-label", what)
        .on("click", remove)
        .put("×")
        .view()
}
