//! What the live list shows before there is a record.

use leptos::prelude::*;

use super::el::el;
use super::page;
use super::steps::Snippet;
use crate::browser;
use crate::state::command::publish;
use crate::state::question::Question;

/// How to get a first record, or a wider question.
#[component]
pub fn Empty() -> impl IntoView {
    let page = page();
    let is_narrow = page.question.with(|question| *question != Question::default());
    if is_narrow {
        return el("div")
            .class("empty")
            .put(el("p").class("big").put("No record matches yet."))
            .put(el("p").put("Listening: the next one that matches appears here by itself."))
            .put(view! { <ShowAll /> })
            .view();
    }
    el("div")
        .class("empty")
        .put(el("p").class("big").put("No record yet."))
        .put(el("p").put("Publish one, and it appears here by itself:"))
        .put(view! { <Snippet text=publish(&browser::origin()) what="command" /> })
        .put(
            el("p")
                .put("Run it in the folder in which the node was started, or put the token of ")
                .put(el("code").put("anode link"))
                .put(" in place of ")
                .put(el("code").put("$(…)"))
                .put("."),
        )
        .view()
}

/// What stands there while the node does not take the question.
#[component]
pub fn Refused() -> impl IntoView {
    let page = page();
    let is_narrow = page.question.with(|question| *question != Question::default());
    let words = if is_narrow { "No records, until the question above is changed." } else { "No records." };
    el("div")
        .class("empty")
        .put(el("p").class("big").put(words))
        .put(is_narrow.then(|| view! { <ShowAll /> }))
        .view()
}

#[component]
fn ShowAll() -> impl IntoView {
    let page = page();
    el("button")
        .attr("type", "button")
        .on("click", move |_| page.ask(Question::default()))
        .put("Show every topic")
        .view()
}
