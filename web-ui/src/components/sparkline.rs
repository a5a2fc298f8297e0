//! The last minute of a rate as a line.

use leptos::prelude::*;

use super::page;
use crate::state::number::whole;
use crate::state::spark::{HEIGHT, WIDTH, paths};

/// Draws the samples kept under `key`.
#[component]
pub fn Sparkline(
    /// `<component>.<figure>`.
    key: String,
) -> impl IntoView {
    let samples = page().samples;
    let drawn = Memo::new(move |_| samples.with(|samples| paths(&samples.of(&key))));
    view! {
        <svg class="spark" viewBox=format!("0 0 {} {}", whole(WIDTH), whole(HEIGHT)) preserveAspectRatio="none" aria-hidden="true">
            <path class="area" d=move || drawn.get().1 />
            <path class="stroke" d=move || drawn.get().0 vector-effect="non-scaling-stroke" />
        </svg>
    }
}
