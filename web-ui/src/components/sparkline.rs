//! The last minute of a rate as a line.

use leptos::prelude::*;

use super::el::{el, live};
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
    let draw = move || {
        let (line, area) = samples.with(|samples| paths(&samples.of(&key)));
        format!(
            r#"<svg viewBox="0 0 {} {}" preserveAspectRatio="none"><path class="area" d="{area}"/><path class="stroke" d="{line}" vector-effect="non-scaling-stroke"/></svg>"#,
            whole(WIDTH),
            whole(HEIGHT)
        )
    };
    el("div").class("spark").attr("aria-hidden", "true").draw(live(draw)).view()
}
