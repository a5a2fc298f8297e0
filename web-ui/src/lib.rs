//! aNode's dashboard: one live page over the node's public API.
//!
//! `state` holds what the page knows as plain structs, `streams` fills it, `components` only show it.

pub mod state;
pub mod browser;
pub mod api;
pub mod live;
pub mod streams;
pub mod components;
pub mod app;

pub use app::start;
