//! What the page knows, as plain data: no browser, no clock, tested on the host.

pub mod route;
pub mod access;
pub mod link;
pub mod backoff;
pub mod place;
pub mod inbox;
pub mod heard;
pub mod row;
pub mod json;
pub mod records;
pub mod question;
pub mod figures;
pub mod number;
pub mod ago;
pub mod spark;
pub mod events;
pub mod summary;
pub mod source;
pub mod sources;
pub mod beats;
pub mod form;
pub mod tree;
pub mod trial;
pub mod command;
pub mod topics;
pub mod start;
