//! What the page is made of: each component only shows state.

pub mod el;
pub mod control;
pub mod copy;
pub mod when;
pub mod shape;
pub mod sparkline;
pub mod theme;
pub mod title;
pub mod banner;
pub mod notice;
pub mod access;
pub mod header;
pub mod node;
pub mod summary;
pub mod cards;
pub mod records;
pub mod ask;
pub mod row;
pub mod empty;
pub mod publish;
pub mod events;
pub mod beats;
pub mod source_state;
pub mod source_menu;
pub mod source_row;
pub mod strip;
pub mod mesh_picture;
pub mod node_row;
pub mod steps;
pub mod field;
pub mod headers;
pub mod source_fields;
pub mod trial;
pub mod json_tree;

use leptos::prelude::*;

use crate::streams::Page;

/// The page that the app provides.
pub fn page() -> Page {
    expect_context()
}
