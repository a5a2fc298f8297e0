//! The pages: what stands on each of them.

pub mod overview;
pub mod sources;
pub mod source_form;
pub mod topics;
pub mod records;
