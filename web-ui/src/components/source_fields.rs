//! All fields of a source's form.

use anode_shared::source::SourceKind;
use leptos::prelude::*;

use super::el::{Show, el, live, memo, part, together};
use super::field::{Editing, text_field};
use super::headers::{FrameFields, HeaderFields, as_sent};
use crate::state::form::{Field, Form};
use crate::state::source::kind_word;

/// What `emit` is.
const EMIT: &str = "A CEL expression over the answer: a list makes a record of each element, null none. Test, then \
                    click a value.";
/// What `only_changes` is.
const ONLY_CHANGES: &str = "A record that says the same as the last one of its topic is left out.";

/// The fields that the kind uses.
#[component]
pub fn SourceFields(
    /// Whether the source is there already: then its name stays.
    is_there: bool,
) -> impl IntoView {
    let editing: Editing = expect_context();
    let kind = memo(move || editing.form.with(Form::kind));
    let is_post = memo(move || editing.form.with(|form| form.is_post));
    let request = move || (kind.get() == SourceKind::Rest).then(|| request(editing, is_post));
    let frames = move || (kind.get() == SourceKind::Websocket).then(|| view! { <FrameFields /> });
    let name = text_field(Field::Name).placeholder("coinbase-btc").fixed(is_there).hint(if is_there {
        "The name stays: duplicate the source for another one."
    } else {
        ""
    });
    let topic = text_field(Field::Topic)
        .placeholder("prices.btc-usd")
        .hint("May hold ${…} over each element: prices.${payload.symbol.lowerAscii()}");
    together(vec![
        text_field(Field::Url)
            .placeholder("https://api.example.com/price")
            .hint("http(s):// is polled or streamed, ws(s):// is a socket. Paste it first: the rest follows.")
            .show(),
        view! { <Kinds kind /> }.into_any(),
        el("div").class("pair").put(name).put(topic).view(),
        part(request),
        part(frames),
        text_field(Field::Emit).rows(2).placeholder("the whole answer").hint(EMIT).show(),
        check("Only changes", ONLY_CHANGES, |form| form.only_changes, |form, on| form.only_changes = on),
        view! { <HeaderFields /> }.into_any(),
        view! { <Secrets /> }.into_any(),
        view! { <More kind /> }.into_any(),
        check("Paused", "Registered without being read.", |form| form.paused, |form, on| form.paused = on),
    ])
}

/// How often and how it is asked.
fn request(editing: Editing, is_post: Memo<bool>) -> AnyView {
    let body = move || {
        is_post.get().then(|| text_field(Field::Body).rows(4).hint(as_sent(editing, Field::Body)).show())
    };
    let interval = text_field(Field::Interval).placeholder("1000").hint("From one poll to the next.");
    let method = view! { <Method is_post /> };
    together(vec![el("div").class("pair").put(interval).put(method).view(), part(body)])
}

#[component]
fn Kinds(kind: Memo<SourceKind>) -> impl IntoView {
    let editing: Editing = expect_context();
    let one = move |this: SourceKind| {
        el("label")
            .class("radio")
            .put(
                el("input")
                    .attr("type", "radio")
                    .attr("name", "source-kind")
                    .checked(move || kind.get() == this)
                    .on("change", move |_| {
                        editing.form.update(|form| form.set_kind(this));
                        editing.clear();
                    }),
            )
            .put(kind_word(this))
            .view()
    };
    el("fieldset")
        .class("kinds")
        .put(el("legend").put("Kind"))
        .put([SourceKind::Rest, SourceKind::Sse, SourceKind::Websocket].map(one))
        .view()
}

#[component]
fn Method(is_post: Memo<bool>) -> impl IntoView {
    let editing: Editing = expect_context();
    let choose = move |event| {
        let is_post = event_target_value(&event) == "POST";
        editing.form.update(|form| form.is_post = is_post);
    };
    el("div")
        .class("field")
        .put(el("label").attr("for", "source-method").put("Method"))
        .put(
            el("select")
                .attr("id", "source-method")
                .value(live(move || if is_post.get() { "POST" } else { "GET" }))
                .on("change", choose)
                .put(el("option").attr("selected", !is_post.get_untracked()).put("GET"))
                .put(el("option").attr("selected", is_post.get_untracked()).put("POST")),
        )
        .view()
}

/// A box to tick.
fn check(
    text: &'static str,
    hint: &'static str,
    get: fn(&Form) -> bool,
    set: fn(&mut Form, bool),
) -> AnyView {
    let editing: Editing = expect_context();
    el("label")
        .class("check")
        .put(el("input").attr("type", "checkbox").checked(move || editing.form.with(get)).on(
            "change",
            move |event| {
                editing.form.update(|form| set(form, event_target_checked(&event)));
            },
        ))
        .put(el("span").put(text).put(el("small").put(hint)))
        .view()
}

/// How secrets are written, and where the node looks for those that the form names.
#[component]
fn Secrets() -> impl IntoView {
    let editing: Editing = expect_context();
    let names = memo(move || editing.form.with(Form::secrets));
    let one = |name: String| {
        el("li")
            .put(el("code").put(format!("${{secret:{name}}}")))
            .put(" is read from the variable ")
            .put(el("code").put(format!("ANODE_SECRET_{name}")))
            .put(" of the node, or from ")
            .put(el("code").put(format!("{name} = \"…\"")))
            .put(" in ")
            .put(el("code").put("secrets.toml"))
            .put(" of its data directory.")
            .view()
    };
    let needed = move || {
        let names = names.get();
        if names.is_empty() {
            return el("p")
                .class("hint")
                .put("Keys and passwords go by name, never by value: write ")
                .put(el("code").put("${secret:NAME}"))
                .put(" in the URL, a header, the body or a frame.")
                .view();
        }
        el("ul").class("hint secrets").put(names.into_iter().map(one).collect::<Vec<_>>()).view()
    };
    el("div").attr("role", "note").attr("aria-label", "Secrets").put(part(needed)).view()
}

/// Times that most sources need not set.
#[component]
fn More(kind: Memo<SourceKind>) -> impl IntoView {
    let editing: Editing = expect_context();
    let is_open = editing.form.with_untracked(Form::has_more);
    let socket = move || {
        (kind.get() == SourceKind::Websocket).then(|| {
            let frame = text_field(Field::PingFrame).placeholder(r#"{"method": "ping"}"#);
            [
                text_field(Field::PingEvery).placeholder("none").show(),
                frame.hint(as_sent(editing, Field::PingFrame)).show(),
            ]
        })
    };
    let lasting = move || {
        (kind.get() != SourceKind::Rest).then(|| {
            let hint = "For upstreams that close old connections without a word.";
            text_field(Field::Reconnect).placeholder("never").hint(hint).show()
        })
    };
    let stale = move || {
        let usual = if kind.get() == SourceKind::Rest { "three intervals" } else { "60000" };
        text_field(Field::Stale)
            .placeholder(usual)
            .hint("Without data for this long the source is stale.")
            .show()
    };
    let timeout = text_field(Field::Timeout).placeholder("5000").hint("For a poll, or for connecting.");
    let grid = el("div").class("grid").put(timeout).put(part(stale)).put(part(lasting)).put(part(socket));
    el("details").class("times").attr("open", is_open).put(el("summary").put("Times")).put(grid).view()
}
