//! Turns the dashboard's files into what the node serves: named by content, compressed ahead of time.

pub(crate) mod glue;
pub(crate) mod names;
pub(crate) mod pack;
pub(crate) mod manifest;
pub(crate) mod budget;
pub(crate) mod css;
