//! web-ui.
