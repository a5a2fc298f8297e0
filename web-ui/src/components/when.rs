//! A time, relative, with the absolute one on hover.

use leptos::prelude::*;

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
    view! { <time datetime=time.clone() title=time>{move || ago(at, now.get())}</time> }
}
