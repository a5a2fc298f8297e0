//! A state as a shape, so that it is told without its colour.

use anode_shared::status::State;
use leptos::prelude::*;

use super::el::el;
use crate::state::picture::outline;

/// A disc, a triangle, a square or a ring.
#[component]
pub fn Shape(
    /// The state that it stands for.
    state: State,
) -> impl IntoView {
    let (class, path) = outline(state);
    let svg = format!(r#"<svg viewBox="0 0 12 12"><path d="{path}"/></svg>"#);
    el("span").class(class).attr("aria-hidden", "true").draw(svg).view()
}
