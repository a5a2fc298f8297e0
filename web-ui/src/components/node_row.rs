//! One node as rows of the table: how it is, and, where it is looked at, what else is known of it.

use anode_shared::mesh::PeerStatus;
use leptos::prelude::*;

use super::copy::Copy;
use super::el::{el, list, live, memo, part, said, together};
use super::page;
use super::shape::Shape;
use crate::state::ago::span;
use crate::state::mesh::{CELLS, FACTS, Fact, Nodes, shape};
use crate::state::row::{millis, short};
use crate::state::summary::capital;

/// The element that takes the focus when a node is chosen.
pub fn row_id(id: &str) -> String {
    format!("node-{id}")
}

/// The rows.
#[component]
pub fn NodeRow(
    /// The node's id.
    id: String,
    /// The node that is looked at.
    chosen: Memo<String>,
) -> impl IntoView {
    let page = page();
    let key = StoredValue::new(id.clone());
    let of = move |words: fn(&Nodes, &PeerStatus) -> String| tell(key, words);
    let is_chosen = memo(move || key.with_value(|id| chosen.with(|chosen| chosen == id)));
    let state = memo(move || with(key, |_, node| node.state.word()));
    let age = move || {
        let since = of(|_, node| node.since.clone());
        // Of itself, the node says elsewhere how long it is up.
        if since.is_empty() {
            return since;
        }
        span(((page.now.get() - millis(&since)) / 1e3).max(0.0))
    };
    let target =
        move || if is_chosen.get() { "/mesh".to_owned() } else { format!("/mesh?node={}", key.get_value()) };
    let cell =
        move |(label, words): Fact| el("td").attr("data-label", label).put(said(move || of(words))).view();
    let name = el("a")
        .class("name")
        .attr("id", row_id(&id))
        .attr("href", live(target))
        .attr("aria-expanded", live(move || is_chosen.get().to_string()))
        .put(said(move || of(|_, node| node.name.clone())));
    let about = move || {
        of(|nodes, node| {
            format!("{}{}", if nodes.is_own(&node.id) { "this node · " } else { "" }, short(&node.id))
        })
    };
    together(vec![
        el("tr")
            .attr("data-node", id)
            .put(el("th").attr("scope", "row").put(name).put(el("span").class("about").put(said(about))))
            .put(
                el("td")
                    .class("state-cell")
                    .put(part(move || with(key, |_, node| view! { <Shape state=shape(node.state) /> })))
                    .put(" ")
                    .put(el("strong").put(said(move || capital(state.get().unwrap_or_default()))))
                    .put(" ")
                    .put(
                        el("span")
                            .class("age")
                            .attr("title", live(move || of(|_, node| node.since.clone())))
                            .put(said(age)),
                    ),
            )
            .put(CELLS.map(cell))
            .view(),
        part(move || is_chosen.get().then(|| view! { <Detail node=key /> })),
    ])
}

#[component]
fn Detail(node: StoredValue<String>) -> impl IntoView {
    let fact = move |(label, words): Fact| {
        el("div").put(el("dt").put(label)).put(el("dd").put(said(move || tell(node, words)))).view()
    };
    let id = node.get_value();
    let addresses = move || with(node, |_, node| node.addresses.clone()).unwrap_or_default();
    let address = |address: String| {
        el("li")
            .put(el("code").put(address.clone()))
            .put(view! { <Copy text=Signal::stored(address) what="address" /> })
            .view()
    };
    el("tr")
        .class("detail")
        .put(
            el("td").attr("colspan", (CELLS.len() + 2).to_string()).put(
                el("dl")
                    .class("facts")
                    .put(
                        el("div").put(el("dt").put("Peer id")).put(
                            el("dd")
                                .put(el("code").put(id.clone()))
                                .put(view! { <Copy text=Signal::stored(id.clone()) what="peer id" /> }),
                        ),
                    )
                    .put(
                        el("div")
                            .put(el("dt").put("Addresses"))
                            .put(el("dd").put(el("ul").put(list(addresses, address)))),
                    )
                    .put(FACTS.map(fact))
                    .put(el("div").put(el("dt").put("Sources")).put(
                        el("dd").put(el("a").attr("href", format!("/sources?node={id}")).put("Its sources")),
                    )),
            ),
        )
        .view()
}

/// What is read off a node, while it is known.
fn with<T>(id: StoredValue<String>, read: impl Fn(&Nodes, &PeerStatus) -> T) -> Option<T> {
    page().nodes.with(|nodes| id.with_value(|id| nodes.get(id).map(|node| read(nodes, node))))
}

fn tell(id: StoredValue<String>, words: fn(&Nodes, &PeerStatus) -> String) -> String {
    with(id, words).unwrap_or_default()
}
