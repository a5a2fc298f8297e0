//! A JSON answer as a tree; choosing a value in it writes the expression that picks it.

use leptos::prelude::*;

use super::el::{Show, el, live, part, together};
use super::field::Editing;
use crate::state::form::Field;
use crate::state::tree::{Shape, Step, expression, parts, preview, shape};

/// Levels that are open from the start.
const OPEN: usize = 3;
/// Lists and objects with more parts than this begin closed, but for the outermost.
const MANY: usize = 24;

/// Called with the way to the value that was chosen.
pub type Pick = Callback<Vec<Step>>;

/// The tree.
#[component]
pub fn JsonTree(
    /// The answer.
    json: String,
    /// What to do with a choice.
    pick: Pick,
) -> impl IntoView {
    el("ul").class("tree").put(node(json, Vec::new(), pick)).view()
}

/// One value with all that it holds.
fn node(json: String, steps: Vec<Step>, pick: Pick) -> AnyView {
    let label = steps.last().map_or_else(|| "payload".to_owned(), Step::label);
    match (shape(&json), parts(&json)) {
        (Shape::Object | Shape::List, Some(parts)) => {
            let is_open = RwSignal::new(steps.len() < OPEN && (steps.is_empty() || parts.count <= MANY));
            let sign = match shape(&json) {
                Shape::Object => format!("{{{}}}", parts.count),
                _ => format!("[{}]", parts.count),
            };
            let (rest, shown, at) =
                (parts.count - parts.shown.len(), StoredValue::new(parts.shown), steps.clone());
            let children = move || {
                let child = |(step, json): (Step, String)| {
                    let mut steps = at.clone();
                    steps.push(step);
                    node(json, steps, pick)
                };
                is_open.get().then(|| {
                    el("ul")
                        .put(shown.get_value().into_iter().map(child).collect::<Vec<_>>())
                        .put((rest > 0).then(|| el("li").class("hint").put(format!("… {rest} more")).view()))
                        .view()
                })
            };
            el("li")
                .put(
                    el("button")
                        .attr("type", "button")
                        .class("fold")
                        .attr("aria-expanded", live(move || is_open.get().to_string()))
                        .on("click", move |_| is_open.update(|open| *open = !*open))
                        .put(el("span").class("key").put(label))
                        .put(" ")
                        .put(el("span").class("sign").put(sign)),
                )
                .put(view! { <Use steps pick text="use".to_owned() class="copy" /> })
                .put(part(children))
                .view()
        }
        _ => el("li").put(view! { <Use steps pick text=preview(&json) label class="pick" /> }).view(),
    }
}

/// The button that chooses a value.
#[component]
fn Use(
    steps: Vec<Step>,
    pick: Pick,
    text: String,
    #[prop(optional, into)] label: Option<String>,
    class: &'static str,
) -> impl IntoView {
    let editing: Editing = expect_context();
    let expression = expression(&steps);
    let name = match &label {
        Some(_) => format!("Use {expression}: {text}"),
        None => format!("Use {expression}"),
    };
    let is_chosen = move || editing.form.with(|form| form.get(Field::Emit) == expression);
    el("button")
        .attr("type", "button")
        .class(class)
        .attr("aria-label", name)
        .attr("aria-pressed", live(move || is_chosen().to_string()))
        .on("click", move |_| pick.run(steps.clone()))
        .put(label.map(|label| together(vec![el("span").class("key").put(label).view(), ": ".show()])))
        .put(el("span").class("json").put(text))
        .view()
}
