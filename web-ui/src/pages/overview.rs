//! How the node is: each component, its sources, and what happened lately.

use leptos::prelude::*;

use crate::components::cards::Cards;
use crate::components::el::{el, together};
use crate::components::events::Events;
use crate::components::node::NodeFacts;
use crate::components::steps::{Clients, Steps};
use crate::components::strip::Strip;
use crate::components::summary::Summary;
use crate::components::title::title;

/// The page.
#[component]
pub fn Overview() -> impl IntoView {
    together(vec![
        title("Overview"),
        view! { <Summary /> }.into_any(),
        view! { <Steps /> }.into_any(),
        view! { <Cards /> }.into_any(),
        el("div")
            .class("columns")
            .put(el("div").class("aside").put(view! { <Strip /> }).put(view! { <Events of="" /> }))
            .put(
                el("div").class("aside").put(view! { <NodeFacts /> }).put(
                    el("section")
                        .class("panel")
                        .attr("aria-labelledby", "clients-title")
                        .put(el("h2").attr("id", "clients-title").put("Connect a client"))
                        .put(view! { <Clients /> }),
                ),
            )
            .view(),
    ])
}
