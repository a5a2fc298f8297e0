//! A time, relative, with the absolute one on hover.

use leptos::prelude::*;

use super::el::{el, part};
use super::page;
use crate::state::ago::ago;
use crate::state::row::millis;

/// Says how long ago `time` was.
#[component]
pub fn When(
    /// RFC 3339.
    time: String,
) -> impl IntoView {
    let now = page().now;
    let at = millis(&time);
    el("time").attr("datetime", time.clone()).attr("title", time).put(part(move || ago(at, now.get()))).view()
}
