//! The title of a page.

use leptos::prelude::*;

use super::el::{Say, el};

/// The element that takes the focus when the page changes.
pub const TITLE: &str = "page-title";

/// The page's only `h1`.
pub fn title(text: impl Into<String>) -> AnyView {
    el("h1").attr("id", TITLE).attr("tabindex", "-1").put(Say::from(text.into())).view()
}
