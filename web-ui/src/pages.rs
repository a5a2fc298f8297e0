//! The pages: what stands on each of them.

pub mod overview;
pub mod sources;
pub mod others;
pub mod source_form;
pub mod mesh;
pub mod topics;
pub mod records;
