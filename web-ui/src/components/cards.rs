//! A card for each component of the node.

use anode_shared::status::{Component, State};
use leptos::prelude::*;

use super::el::{Show, el, live, memo, part, together};
use super::page;
use super::shape::Shape;
use super::sparkline::Sparkline;
use super::when::When;
use crate::state::figures::{Figure, figures};
use crate::state::summary::{capital, word};

/// The components in the order in which data flows.
const NAMES: [&str; 6] = ["sources", "pipeline", "store", "gossip", "archive", "feed"];
/// Where what a component holds is listed.
const LISTS: [(&str, &str); 4] =
    [("sources", "/sources"), ("store", "/topics"), ("gossip", "/mesh"), ("feed", "/records")];
/// How many figures besides rates a card shows before it hides the rest.
const SHOWN: usize = 6;

/// All cards.
#[component]
pub fn Cards() -> impl IntoView {
    let page = page();
    let class = move || if page.is_live() { "cards" } else { "cards is-stale" };
    el("section")
        .class(live(class))
        .attr("aria-label", "Components")
        .put(NAMES.map(|name| view! { <Card name /> }))
        .view()
}

#[component]
fn Card(name: &'static str) -> impl IntoView {
    let page = page();
    let component = memo(move || {
        page.status.with(|status| {
            let status = status.as_ref()?;
            status.components.iter().find(|(other, _)| *other == name).map(|(_, component)| component.clone())
        })
    });
    let state = memo(move || component.with(|c| c.as_ref().map(|c| c.state)));
    let class = move || match state.get() {
        None => "card is-loading".to_owned(),
        Some(state) => format!("card {}", word(state)),
    };
    let since = memo(move || component.with(|c| c.as_ref().map(|c| c.since.clone())));
    let head = move || {
        let (state, since) = (state.get()?, since.get()?);
        let since = (state != State::Off)
            .then(|| el("span").class("since").put("since ").put(view! { <When time=since /> }).view());
        Some(together(vec![view! { <Shape state /> }.into_any(), word(state).show(), since.show()]))
    };
    let title = match LISTS.iter().find(|(of, _)| *of == name) {
        Some((_, path)) => el("a").attr("href", *path).put(capital(name)).view(),
        None => capital(name).into_any(),
    };
    el("article")
        .class(live(class))
        .put(el("h2").put(title).put(el("span").class("state").put(part(head))))
        .put(part(move || component.get().map(|component| view! { <Body name component /> })))
        .view()
}

#[component]
fn Body(name: &'static str, component: Component) -> impl IntoView {
    let all = if component.state == State::Off { Vec::new() } else { figures(&component) };
    let (rates, mut others): (Vec<Figure>, Vec<Figure>) =
        all.into_iter().partition(|figure| figure.rate.is_some());
    let more = others.split_off(others.len().min(SHOWN));
    together(vec![
        component.detail.map(|detail| el("p").class("detail").put(capital(&detail)).view()).show(),
        el("div")
            .class("rates")
            .put(rates.into_iter().map(|figure| view! { <Rate name figure /> }).collect::<Vec<_>>())
            .view(),
        view! { <List figures=others /> }.into_any(),
        (!more.is_empty())
            .then(|| {
                el("details")
                    .put(el("summary").put(format!("{} more", more.len())))
                    .put(view! { <List figures=more /> })
                    .view()
            })
            .show(),
    ])
}

#[component]
fn Rate(name: &'static str, figure: Figure) -> impl IntoView {
    el("div")
        .class("rate")
        .put(el("span").class("label").put(figure.label))
        .put(view! { <Sparkline key=format!("{name}.{}", figure.key) /> })
        .put(el("span").class("number").put(figure.text))
        .view()
}

#[component]
fn List(figures: Vec<Figure>) -> impl IntoView {
    let one = |figure: Figure| {
        el("div").put(el("dt").put(figure.label)).put(el("dd").class("number").put(figure.text)).view()
    };
    (!figures.is_empty())
        .then(|| el("dl").class("figures").put(figures.into_iter().map(one).collect::<Vec<_>>()).view())
}
