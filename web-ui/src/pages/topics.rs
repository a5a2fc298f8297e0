//! The topics that the node holds records of.

use std::time::Duration;

use anode_shared::status::TopicStatus;
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::{self, Problem};
use crate::browser;
use crate::components::el::{Show, el, memo, part, show_more, skeleton, together};
use crate::components::page;
use crate::components::title::title;
use crate::components::when::When;
use crate::state::number::{count, rate};
use crate::state::question::percent;
use crate::state::topics::{DRAWN, matching};

/// How often the list is fetched anew while somebody looks: the node walks its whole table for it.
const REFRESH: Duration = Duration::from_secs(10);

/// The page.
#[component]
pub fn TopicsPage() -> impl IntoView {
    let page = page();
    let topics = RwSignal::new(None::<Vec<TopicStatus>>);
    let problem = RwSignal::new(None::<Problem>);
    let search = RwSignal::new(String::new());
    Effect::new(move |_| search.set(page.location.with(|location| location.value("q")).unwrap_or_default()));
    let load = move || {
        if browser::is_hidden() {
            return;
        }
        spawn_local(async move {
            match api::topics().await {
                Ok(list) => {
                    // The page may be gone by now.
                    topics.try_set(Some(list));
                    problem.try_set(None);
                }
                Err(refusal) => {
                    problem.try_set(Some(refusal));
                }
            }
        });
    };
    load();
    if let Ok(timer) = set_interval_with_handle(load, REFRESH) {
        on_cleanup(move || timer.clear());
    }
    let on_input = move |event| {
        let text: String = event_target_value(&event);
        let query =
            if text.trim().is_empty() { String::new() } else { format!("?q={}", percent(text.trim())) };
        browser::set_address(&query);
        search.set(text);
    };
    let failed = move || {
        problem.get().map(|problem| {
            let then = if topics.with(Option::is_some) { " What is shown is older." } else { "" };
            el("p").class("error").attr("role", "alert").put(problem.detail).put(then).view()
        })
    };
    let field = el("input")
        .attr("type", "search")
        .attr("aria-label", "Search topics")
        .attr("placeholder", "Part of a name, or a pattern: prices.*")
        .attr("autocomplete", "off")
        .attr("autocapitalize", "off")
        .attr("spellcheck", "false")
        .value(search)
        .on("input", on_input);
    let cut = move || {
        topics.with(|topics| topics.as_ref().is_some_and(|topics| topics.len() == api::TOPICS)).then(|| {
            el("p").class("hint").put(format!("The first {} by name; the API has the others.", api::TOPICS))
        })
    };
    let is_failed = Signal::derive(move || problem.with(Option::is_some));
    let panel = el("section")
        .class("panel topics-panel")
        .attr("aria-label", "All topics")
        .put(el("div").class("find").attr("role", "search").put(field).put(part(cut)).put(part(failed)))
        .put(view! { <List topics search is_failed /> });
    together(vec![title("Topics"), panel.view()])
}

#[component]
fn List(
    topics: RwSignal<Option<Vec<TopicStatus>>>,
    search: RwSignal<String>,
    is_failed: Signal<bool>,
) -> impl IntoView {
    let found = memo(move || {
        topics.with(|topics| topics.as_ref().map(|topics| search.with(|search| matching(topics, search))))
    });
    let drawn = RwSignal::new(DRAWN);
    part(move || match found.get() {
        None if is_failed.get() => ().into_any(),
        None => skeleton("Loading topics"),
        Some(found) if found.is_empty() => {
            let words = if topics.with(|topics| topics.as_ref().is_some_and(Vec::is_empty)) {
                "No topic yet: topics come with their first record."
            } else {
                "No topic matches."
            };
            el("div").class("empty").put(el("p").class("big").put(words)).view()
        }
        Some(found) => {
            let rest = found.len().saturating_sub(drawn.get());
            let rows =
                found.into_iter().take(drawn.get()).map(|topic| view! { <One topic /> }).collect::<Vec<_>>();
            together(vec![
                el("table")
                    .class("topics")
                    .put(
                        el("thead").put(
                            el("tr")
                                .put(el("th").attr("scope", "col").put("Topic"))
                                .put(el("th").attr("scope", "col").class("number").put("Records"))
                                .put(el("th").attr("scope", "col").class("number").put("Rate"))
                                .put(el("th").attr("scope", "col").put("Last record")),
                        ),
                    )
                    .put(el("tbody").put(rows))
                    .view(),
                (rest > 0).then(|| show_more(rest, drawn)).show(),
            ])
        }
    })
}

#[component]
fn One(topic: TopicStatus) -> impl IntoView {
    #[expect(clippy::cast_precision_loss, reason = "shown rounded anyway")]
    let records = count(topic.count as f64);
    el("tr")
        .put(
            el("th").attr("scope", "row").put(
                el("a")
                    .attr("href", format!("/records?topics={}", percent(&topic.topic)))
                    .put(topic.topic.clone()),
            ),
        )
        .put(el("td").class("number").attr("data-label", "Records").put(records))
        .put(el("td").class("number").attr("data-label", "Rate").put(format!("{}/s", rate(topic.rate))))
        .put(el("td").attr("data-label", "Last record").put(view! { <When time=topic.last_record /> }))
        .view()
}
