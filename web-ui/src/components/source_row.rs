//! One source in the table.

use std::sync::Arc;

use anode_shared::source::SourceView;
use leptos::prelude::*;

use super::beats::Beats;
use super::el::{el, live, memo, part};
use super::page;
use super::source_menu::SourceMenu;
use super::source_state::SourceStateView;
use super::when::When;
use crate::state::number::rate;
use crate::state::source::{kind_word, next};

/// A source as the node last described it; none once it is gone.
pub type Source = Memo<Option<Arc<SourceView>>>;

/// The source of that name.
pub fn source(name: &str) -> Source {
    let (page, name) = (page(), name.to_owned());
    memo(move || page.sources.with(|sources| sources.as_ref()?.get(&name)))
}

/// A row.
#[component]
pub fn SourceRow(
    /// The source's name.
    name: String,
) -> impl IntoView {
    let page = page();
    let source = source(&name);
    let value = move || source.with(|source| source.as_ref()?.status.last_value.clone());
    let last = memo(move || source.with(|source| source.as_ref()?.status.last_record.clone()));
    let coming =
        move || source.with(|source| source.as_ref().and_then(|source| next(source, page.now.get())));
    let (known, shown, title) = (name.clone(), name.clone(), name.clone());
    let class = move || {
        page.fresh.with(|fresh| if fresh.as_deref() == Some(known.as_str()) { "is-fresh" } else { "" })
    };
    let about = move || {
        source.with(|source| {
            let of = &source.as_ref()?.definition;
            let words = format!("{} · {}", kind_word(of.kind), of.topic);
            Some(el("span").class("about").attr("title", of.url.clone()).put(words))
        })
    };
    el("tr")
        .class(live(class))
        .attr("data-source", shown)
        .put(el("th").attr("scope", "row").put(el("span").class("name").put(title)).put(part(about)))
        .put(el("td").class("state-cell").put(view! { <SourceStateView source /> }))
        .put(el("td").class("beats-cell").put(view! { <Beats source /> }))
        .put(el("td").class("rate-cell number").attr("data-label", "Rate").put(part(move || speed(source))))
        .put(
            el("td")
                .class("value-cell")
                .put(
                    el("span")
                        .class("value")
                        .attr("title", live(move || value().unwrap_or_default()))
                        .put(part(move || value().unwrap_or_else(|| "–".to_owned()))),
                )
                .put(
                    el("span").class("age").put(part(move || last.get().map(|time| view! { <When time /> }))),
                ),
        )
        .put(el("td").class("next-cell number").put(part(coming)))
        .put(el("td").class("menu-cell").put(view! { <SourceMenu name source /> }))
        .view()
}

/// How many records a second it makes.
pub fn speed(source: Source) -> Option<String> {
    source.with(|source| source.as_ref().map(|source| format!("{}/s", rate(source.status.records_per_s))))
}
