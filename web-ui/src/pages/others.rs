//! The sources of other nodes, as those tell them when somebody looks: to be read, not to be changed.

use std::time::Duration;

use anode_shared::source::SourceView;
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api;
use crate::browser;
use crate::components::el::{El, el, part, said, together};
use crate::components::shape::Shape;
use crate::components::title::title;
use crate::state::number::rate;
use crate::state::source::{kind_word, reason, shape, word};
use crate::state::summary::capital;

/// How often the nodes are asked anew while somebody looks.
const REFRESH: Duration = Duration::from_secs(5);

/// What the nodes told last, and what is to be said of that.
#[derive(Debug, Default)]
struct Told {
    sources: Vec<SourceView>,
    words: String,
}

/// The page.
#[component]
pub fn OthersPage(
    /// The peer id of a node, or `all`.
    node: String,
) -> impl IntoView {
    let told = RwSignal::new(Told { words: "Asking …".to_owned(), ..Told::default() });
    let load = move || {
        let node = node.clone();
        if browser::is_hidden() {
            return;
        }
        spawn_local(async move {
            let answer = api::sources_of(&node).await;
            // The page may be gone by now.
            told.try_update(|told| match answer {
                Ok(list) => {
                    told.words = match list.unreachable.first() {
                        Some(node) => format!("{} told nothing: {}.", node.name, node.detail),
                        None if list.sources.is_empty() => "No source.".to_owned(),
                        None => String::new(),
                    };
                    told.sources = list.sources;
                }
                Err(problem) => told.words = problem.detail,
            });
        });
    };
    load();
    if let Ok(timer) = set_interval_with_handle(load, REFRESH) {
        on_cleanup(move || timer.clear());
    }
    let rows = move || told.with(|told| told.sources.iter().map(row).collect::<Vec<_>>());
    let column = |name: &'static str| el("th").attr("scope", "col").put(name);
    together(vec![
        title("Sources in the mesh"),
        el("section")
            .class("panel topics-panel")
            .attr("aria-label", "Sources in the mesh")
            .put(
                el("div")
                    .class("title")
                    .put(el("a").attr("href", "/sources").put("This node"))
                    .put(el("a").attr("href", "/sources?node=all").put("All nodes"))
                    .put(
                        el("span")
                            .class("note")
                            .attr("role", "status")
                            .put(said(move || told.with(|told| told.words.clone()))),
                    ),
            )
            .put(
                el("table")
                    .class("topics others")
                    .put(
                        el("thead")
                            .put(el("tr").put(["Name", "Node", "State", "Rate", "Last value"].map(column))),
                    )
                    .put(el("tbody").put(part(rows))),
            )
            .view(),
    ])
}

fn row(source: &SourceView) -> El {
    let (of, status) = (&source.definition, &source.status);
    let node = source
        .node
        .as_ref()
        .map(|node| el("a").attr("href", format!("/mesh?node={}", node.id)).put(node.name.clone()));
    el("tr")
        .put(
            el("th")
                .attr("scope", "row")
                .put(el("strong").put(of.name.clone()))
                .put(el("span").class("about").put(format!("{} · {}", kind_word(of.kind), of.topic))),
        )
        .put(el("td").attr("data-label", "Node").put(node))
        .put(
            el("td")
                .put(view! { <Shape state=shape(status.state) /> })
                .put(" ")
                .put(el("strong").put(capital(word(status.state))))
                .put(reason(status).map(|why| el("span").class("why").put(why.to_owned()))),
        )
        .put(el("td").attr("data-label", "Rate").put(format!("{}/s", rate(status.records_per_s))))
        .put(el("td").class("value-cell").put(el("span").class("value").put(status.last_value.clone())))
}
