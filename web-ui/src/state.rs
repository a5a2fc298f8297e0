//! What the page knows, as plain data: no browser, no clock, tested on the host.

pub mod link;
pub mod backoff;
pub mod place;
pub mod inbox;
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
