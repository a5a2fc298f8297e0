//! A state as a shape, so that it is told without its colour.

use anode_shared::status::State;
use leptos::prelude::*;

/// A disc, a triangle, a square or a ring.
#[component]
pub fn Shape(
    /// The state that it stands for.
    state: State,
) -> impl IntoView {
    let (class, path) = match state {
        State::Ok => ("shape ok", "M6 1a5 5 0 1 0 0 10a5 5 0 0 0 0-10Z"),
        State::Degraded => ("shape degraded", "M6 .8L11.8 11H.2Z"),
        State::Down => ("shape down", "M1.2 1.2h9.6v9.6H1.2Z"),
        State::Off => (
            "shape off",
            "M6 1a5 5 0 1 0 0 10a5 5 0 0 0 0-10Zm0 1.6a3.4 3.4 0 1 1 0 6.8a3.4 3.4 0 0 1 0-6.8Z",
        ),
    };
    view! {
        <svg class=class viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
            <path d=path fill="currentColor" fill-rule="evenodd" />
        </svg>
    }
}
