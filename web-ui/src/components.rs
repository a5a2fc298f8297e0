//! What the page is made of: each component only shows state.

pub mod copy;
pub mod when;
pub mod shape;
pub mod sparkline;
pub mod theme;
pub mod header;
pub mod summary;
pub mod cards;
pub mod records;
pub mod ask;
pub mod row;
pub mod empty;
pub mod publish;
pub mod events;

use leptos::prelude::*;

use crate::streams::Page;

/// The page that the app provides.
pub fn page() -> Page {
    expect_context()
}
