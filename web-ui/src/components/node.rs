//! Which node this is.

use leptos::prelude::*;

use super::copy::Copy;
use super::el::{el, memo, part, said};
use super::page;
use crate::state::ago::span;
use crate::state::mesh::Nodes;
use crate::state::number::bytes;
use crate::state::row::short;
use anode_shared::status::NodeStatus;

/// The node's own facts.
#[component]
pub fn NodeFacts() -> impl IntoView {
    let page = page();
    let node = memo(move || page.status.with(|status| status.as_ref().map(|status| status.node.clone())));
    el("section")
        .class("panel")
        .attr("aria-labelledby", "node-title")
        .put(el("h2").attr("id", "node-title").put("Node"))
        .put(part(move || node.get().map(|node| view! { <Facts node /> })))
        .view()
}

#[component]
fn Facts(node: NodeStatus) -> impl IntoView {
    let page = page();
    let started = page.heard_at.get_untracked() / 1e3 - whole(node.uptime_s);
    let uptime = move || {
        // While offline nobody knows whether it still runs.
        let until = if page.is_live() { page.now.get() } else { page.heard_at.get() };
        span(until / 1e3 - started)
    };
    let shown = short(&node.id);
    let (age, room) = (whole(node.retention.age_s), whole(node.retention.bytes));
    let keeps = format!("{}, up to {}", span(age), bytes(room));
    let id = Signal::stored(node.id.clone());
    el("dl")
        .class("facts")
        .put(el("div").put(el("dt").put("Network")).put(el("dd").put(node.network)))
        .put(el("div").put(el("dt").put("Mesh")).put(
            el("dd").put(el("a").attr("href", "/mesh").put(said(move || page.nodes.with(Nodes::census)))),
        ))
        .put(el("div").put(el("dt").put("Version")).put(el("dd").put(node.version)))
        .put(el("div").put(el("dt").put("Up")).put(el("dd").class("number").put(part(uptime))))
        .put(el("div").put(el("dt").put("Keeps")).put(el("dd").class("number").put(keeps)))
        .put(
            el("div").put(el("dt").put("Peer id")).put(
                el("dd")
                    .put(el("code").attr("title", node.id).put(shown))
                    .put(view! { <Copy text=id what="peer id" /> }),
            ),
        )
        .view()
}

#[expect(clippy::cast_precision_loss, reason = "shown rounded anyway")]
fn whole(number: u64) -> f64 {
    number as f64
}
