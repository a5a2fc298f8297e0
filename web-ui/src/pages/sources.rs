//! All sources of the node.

use anode_shared::source::SourceState;
use leptos::prelude::*;

use crate::browser;
use crate::components::access::{AccessHint, REASON};
use crate::components::el::{El, el, list, live, memo, part, show_more, skeleton, together};
use crate::components::page;
use crate::components::shape::Shape;
use crate::components::source_menu::OpenMenu;
use crate::components::source_row::SourceRow;
use crate::components::title::title;
use crate::state::source::{STATES, shape, word};
use crate::state::sources::{Filter, Sources};
use crate::state::summary::capital;

/// How many rows are drawn until more are asked for.
const DRAWN: usize = 100;

/// The page.
#[component]
pub fn SourcesPage() -> impl IntoView {
    let page = page();
    let filter = RwSignal::new(Filter::default());
    // Links and the history's buttons change the address; typing does not come back from there.
    Effect::new(move |_| filter.set(page.location.with(|location| Filter::from_query(&location.query))));
    let open = OpenMenu(RwSignal::new(None));
    provide_context(open);
    let close = window_event_listener(leptos::ev::click, move |_| open.0.set(None));
    on_cleanup(move || {
        close.remove();
        page.fresh.set(None);
    });
    let ask = move |change: &dyn Fn(&mut Filter)| {
        filter.update(change);
        browser::set_address(&filter.with_untracked(Filter::to_query));
    };
    together(vec![
        el("div")
            .class("head")
            .put(title("Sources"))
            .put(el("a").class("all").attr("href", "/sources?node=all").put("Of all nodes"))
            .put(view! { <AddSource /> })
            .view(),
        view! { <AccessHint /> }.into_any(),
        el("section")
            .class("panel sources-panel")
            .attr("aria-label", "All sources")
            .put(
                el("div")
                    .class("find")
                    .attr("role", "search")
                    .put(
                        el("input")
                            .attr("type", "search")
                            .attr("aria-label", "Search sources")
                            .attr("placeholder", "Name, URL or topic")
                            .attr("autocomplete", "off")
                            .attr("spellcheck", "false")
                            .value(live(move || filter.with(|filter| filter.text.clone())))
                            .on("input", move |event| {
                                let text = event_target_value(&event);
                                ask(&|filter| filter.text.clone_from(&text));
                            }),
                    )
                    .put(view! { <States filter choose=move |state| ask(&|filter| filter.state = state) /> }),
            )
            .put(view! { <Table filter /> })
            .view(),
    ])
}

#[component]
fn AddSource() -> impl IntoView {
    let page = page();
    let is_barred = memo(move || !page.access.get().may_change());
    part(move || {
        if is_barred.get() {
            el("a")
                .class("button")
                .attr("href", "/sources/new")
                .attr("aria-describedby", REASON)
                .put("Add a source")
                .view()
        } else {
            el("a")
                .class("button primary")
                .attr("href", "/sources/new")
                .attr("aria-describedby", "")
                .put("Add a source")
                .view()
        }
    })
}

/// A button for each state that any source is in.
#[component]
fn States(
    filter: RwSignal<Filter>,
    choose: impl Fn(Option<SourceState>) + Copy + Send + 'static,
) -> impl IntoView {
    let page = page();
    let counts =
        memo(move || page.sources.with(|sources| sources.as_ref().map(Sources::counts).unwrap_or_default()));
    let total = move || counts.with(|counts| counts.iter().map(|(_, count)| count).sum::<usize>());
    let of = move |state| {
        counts.with(|counts| counts.iter().find(|(other, _)| *other == state).map_or(0, |(_, count)| *count))
    };
    let button = move |state: SourceState| {
        let is_chosen = move || filter.with(|filter| filter.state == Some(state));
        el("button")
            .attr("type", "button")
            .class(live(move || if of(state) == 0 && !is_chosen() { "absent" } else { "" }))
            .attr("aria-pressed", live(move || is_chosen().to_string()))
            .on("click", move |_| choose((!is_chosen()).then_some(state)))
            .put(view! { <Shape state=shape(state) /> })
            .put(capital(word(state)))
            .put(" ")
            .put(el("span").class("number").put(part(move || of(state))))
            .view()
    };
    el("div")
        .class("switch states")
        .attr("role", "group")
        .attr("aria-label", "State")
        .put(
            el("button")
                .attr("type", "button")
                .attr("aria-pressed", live(move || filter.with(|filter| filter.state.is_none()).to_string()))
                .on("click", move |_| choose(None))
                .put("All ")
                .put(el("span").class("number").put(part(total))),
        )
        .put(STATES.map(button))
        .view()
}

/// What stands where the rows do.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Loading,
    Empty,
    NoneMatches,
    Rows,
}

#[component]
fn Table(filter: RwSignal<Filter>) -> impl IntoView {
    let page = page();
    let names = memo(move || {
        page.sources
            .with(|sources| sources.as_ref().map(|sources| filter.with(|filter| sources.matching(filter))))
    });
    let is_none = memo(move || page.sources.with(|sources| sources.as_ref().is_some_and(Sources::is_empty)));
    let place = memo(move || match names.with(|names| names.as_ref().map(Vec::len)) {
        None => Place::Loading,
        Some(_) if is_none.get() => Place::Empty,
        Some(0) => Place::NoneMatches,
        Some(_) => Place::Rows,
    });
    let drawn = RwSignal::new(DRAWN);
    let shown = move || names.get().unwrap_or_default().into_iter().take(drawn.get()).collect::<Vec<_>>();
    let more =
        memo(move || names.with(|names| names.as_ref().map_or(0, Vec::len).saturating_sub(drawn.get())));
    let class = move || if page.is_live() { "sources" } else { "sources is-stale" };
    part(move || match place.get() {
        Place::Loading => skeleton("Loading sources"),
        Place::Empty => {
            let what = "A source is a REST, SSE or WebSocket feed that this node reads; subscribers get its records.";
            let first = el("a").class("button").attr("href", "/sources/new").put("Add the first source");
            el("div")
                .class("empty")
                .put(el("p").class("big").put("No source yet."))
                .put(el("p").put(what))
                .put(first)
                .view()
        }
        Place::NoneMatches => el("div")
            .class("empty")
            .put(el("p").class("big").put("No source matches."))
            .put(el("a").attr("href", "/sources").put("Show all"))
            .view(),
        Place::Rows => {
            let rows = list(shown, |name| view! { <SourceRow name /> }.into_any());
            let table = el("table").class(live(class)).put(head()).put(el("tbody").put(rows));
            let rest = part(move || (more.get() > 0).then(|| show_more(more.get(), drawn)));
            together(vec![table.view(), rest])
        }
    })
}

/// The names of the columns.
fn head() -> El {
    let names = ["Name", "State", "Recent", "Rate", "Last value", "Next"];
    let column = |name: &'static str| el("th").attr("scope", "col").put(name);
    let actions = el("th").attr("scope", "col").put(el("span").class("unseen").put("Actions"));
    el("thead").put(el("tr").put(names.map(column)).put(actions))
}
