//! A card for each component of the node.

use anode_shared::status::{Component, State};
use leptos::prelude::*;

use super::page;
use super::shape::Shape;
use super::sparkline::Sparkline;
use super::when::When;
use crate::state::figures::{Figure, figures};
use crate::state::summary::{capital, word};

/// The components in the order in which data flows.
const NAMES: [&str; 6] = ["sources", "pipeline", "store", "gossip", "archive", "feed"];
/// How many figures besides rates a card shows before it hides the rest.
const SHOWN: usize = 6;

/// All cards.
#[component]
pub fn Cards() -> impl IntoView {
    let page = page();
    let class = move || if page.is_live() { "cards" } else { "cards is-stale" };
    view! {
        <section class=class aria-label="Components">{NAMES.map(|name| view! { <Card name /> })}</section>
    }
}

#[component]
fn Card(name: &'static str) -> impl IntoView {
    let page = page();
    let component = Memo::new(move |_| {
        page.status.with(|status| {
            let status = status.as_ref()?;
            status.components.iter().find(|(other, _)| *other == name).map(|(_, component)| component.clone())
        })
    });
    let state = Memo::new(move |_| component.with(|c| c.as_ref().map(|c| c.state)));
    let class = move || match state.get() {
        None => "card is-loading".to_owned(),
        Some(state) => format!("card {}", word(state)),
    };
    let since = Memo::new(move |_| component.with(|c| c.as_ref().map(|c| c.since.clone())));
    let head = move || {
        let (state, since) = (state.get()?, since.get()?);
        let since =
            (state != State::Off).then(|| view! { <span class="since">"since "<When time=since /></span> });
        Some(view! { <Shape state /> {word(state)} {since} })
    };
    view! {
        <article class=class>
            <h2>
                {capital(name)} <span class="state">{head}</span>
            </h2>
            {move || component.get().map(|component| view! { <Body name component /> })}
        </article>
    }
}

#[component]
fn Body(name: &'static str, component: Component) -> impl IntoView {
    let all = if component.state == State::Off { Vec::new() } else { figures(&component) };
    let (rates, mut others): (Vec<Figure>, Vec<Figure>) =
        all.into_iter().partition(|figure| figure.rate.is_some());
    let more = others.split_off(others.len().min(SHOWN));
    view! {
        {component.detail.map(|detail| view! { <p class="detail">{capital(&detail)}</p> })}
        <div class="rates">{rates.into_iter().map(|figure| view! { <Rate name figure /> }).collect_view()}</div>
        <List figures=others />
        {(!more.is_empty())
            .then(|| {
                view! {
                    <details>
                        <summary>{format!("{} more", more.len())}</summary>
                        <List figures=more />
                    </details>
                }
            })}
    }
}

#[component]
fn Rate(name: &'static str, figure: Figure) -> impl IntoView {
    view! {
        <div class="rate">
            <span class="label">{figure.label}</span>
            <Sparkline key=format!("{name}.{}", figure.key) />
            <span class="number">{figure.text}</span>
        </div>
    }
}

#[component]
fn List(figures: Vec<Figure>) -> impl IntoView {
    let one = |figure: Figure| {
        view! {
            <div>
                <dt>{figure.label}</dt>
                <dd class="number">{figure.text}</dd>
            </div>
        }
    };
    (!figures.is_empty())
        .then(|| view! { <dl class="figures">{figures.into_iter().map(one).collect_view()}</dl> })
}
