//! The mesh: every node, a picture of them, and what happened among them.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api;
use crate::browser;
use crate::components::el::{el, list, live, memo, part, said, show_more, skeleton, together};
use crate::components::events::Events;
use crate::components::mesh_picture::MeshPicture;
use crate::components::node_row::{NodeRow, row_id};
use crate::components::page;
use crate::components::steps::Snippet;
use crate::components::title::title;
use crate::state::command::second;
use crate::state::events::{MESH, complete};
use crate::state::mesh::{CELLS, Nodes};
use crate::state::number::{count, whole};

/// How many nodes are listed until more are asked for.
const DRAWN: usize = 100;

/// The page.
#[component]
pub fn MeshPage() -> impl IntoView {
    let page = page();
    let chosen = memo(move || page.location.with(|location| location.value("node").unwrap_or_default()));
    Effect::new(move |_| {
        let id = chosen.get();
        if !id.is_empty() {
            browser::focus(row_id(&id));
        }
    });
    spawn_local(async move {
        // Where that fails, what was pushed is all that is shown.
        if let Ok(all) = api::events().await {
            page.events.update(|kept| complete(kept, all));
        }
    });
    let is_told = memo(move || page.nodes.with(Nodes::is_told));
    let class = move || if page.is_live() { "columns mesh-columns" } else { "columns mesh-columns is-stale" };
    together(vec![
        title("Mesh"),
        view! { <Alone /> }.into_any(),
        el("div")
            .class(live(class))
            .put(
                el("section")
                    .class("panel topics-panel")
                    .attr("aria-labelledby", "nodes-title")
                    .put(
                        el("div")
                            .class("title")
                            .put(el("h2").attr("id", "nodes-title").put("Nodes"))
                            .put(
                                el("span")
                                    .class("note")
                                    .attr("role", "status")
                                    .put(said(move || page.nodes.with(Nodes::census))),
                            )
                            .put(view! { <Filling /> }),
                    )
                    .put(part(move || {
                        if is_told.get() {
                            view! { <Table chosen /> }.into_any()
                        } else {
                            skeleton("Loading nodes")
                        }
                    })),
            )
            .put(
                el("div")
                    .class("aside")
                    .put(view! { <MeshPicture chosen /> })
                    .put(view! { <Events of=MESH /> }),
            )
            .view(),
    ])
}

/// How far repair has come, while records are missing here.
#[component]
fn Filling() -> impl IntoView {
    let page = page();
    part(move || {
        page.nodes.with(Nodes::filling).map(|(done, all)| {
            let words = format!("Filling in: {} of {} records came", count(done), count(all));
            el("label").class("filling").put(words).put(
                el("progress").attr("value", whole(done).to_string()).attr("max", whole(all).to_string()),
            )
        })
    })
}

/// What a mesh of one is told.
#[component]
fn Alone() -> impl IntoView {
    let page = page();
    let is_alone = memo(move || page.nodes.with(Nodes::is_alone));
    part(move || {
        is_alone.get().then(|| {
            let command = page.status.with(|status| status.as_ref().map(|status| second(&status.node)));
            el("section")
                .class("panel command")
                .attr("aria-label", "A second node")
                .put(el("p").class("big").put("This node is alone."))
                .put(
                    el("p")
                        .put("Start a second one: each then has every record of both, and either may stop."),
                )
                .put(command.map(|text| view! { <Snippet text what="command" /> }))
        })
    })
}

#[component]
fn Table(chosen: Memo<String>) -> impl IntoView {
    let page = page();
    let ids = memo(move || page.nodes.with(Nodes::ids));
    let drawn = RwSignal::new(DRAWN);
    let shown = move || {
        let mut shown = Vec::new();
        for id in ids.get() {
            // Whoever is looked at is there, be it the last.
            if shown.len() < drawn.get() || chosen.with(|chosen| *chosen == id) {
                shown.push(id);
            }
        }
        shown
    };
    let rest = move || ids.with(|ids| ids.len().saturating_sub(drawn.get()));
    let column = |name: &'static str| el("th").attr("scope", "col").put(name);
    let rows = list(shown, move |id| view! { <NodeRow id chosen /> }.into_any());
    together(vec![
        el("table")
            .class("topics nodes")
            .put(
                el("thead").put(
                    el("tr").put(["Node", "State"].map(column)).put(CELLS.map(|(name, _)| column(name))),
                ),
            )
            .put(el("tbody").put(rows))
            .view(),
        part(move || (rest() > 0).then(|| show_more(rest(), drawn))),
    ])
}
