//! The mesh as a picture: its nodes, and the links between them.

use leptos::prelude::*;

use super::el::{el, live, memo, part};
use super::page;
use crate::state::picture::{DRAWN, dots, links};

/// The picture.
#[component]
pub fn MeshPicture(
    /// The node that is looked at.
    chosen: Memo<String>,
) -> impl IntoView {
    let page = page();
    // Drawn anew only where it became another one: whoever stands in it by keyboard stays there.
    let nodes = memo(move || page.nodes.with(dots));
    let between = memo(move || page.nodes.with(|nodes| chosen.with(|chosen| links(nodes, chosen))));
    let cut = move || {
        (page.nodes.with(|nodes| nodes.all().count()) > DRAWN)
            .then(|| el("p").class("hint").put(format!("The first {DRAWN} by name are drawn.")))
    };
    el("section")
        .class("panel")
        .attr("aria-labelledby", "picture-title")
        .put(el("h2").attr("id", "picture-title").put("Picture"))
        .put(
            el("div")
                .class("mesh")
                .attr("role", "group")
                .attr("aria-labelledby", "picture-title")
                .put(el("div").class("links").attr("aria-hidden", "true").draw(live(move || between.get())))
                .put(el("div").draw(live(move || nodes.get()))),
        )
        .put(part(cut))
        .view()
}
