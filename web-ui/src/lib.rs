//! aNode's dashboard: pages over the node's public API.
//!
//! `state` holds what the page knows as plain structs, `streams` fills it, `components` and `pages` only show it.

pub mod state;
pub mod browser;
pub mod api;
pub mod live;
pub mod streams;
pub mod components;
pub mod pages;
pub mod app;

pub use app::start;
