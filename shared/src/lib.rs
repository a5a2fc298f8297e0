//! The words that node, dashboard and clients speak. No I/O and no clock: it builds for WASM as it is.
//!
//! `FORMAT.md` beside this crate describes every byte that is signed, stored or sent.

pub mod time;
pub mod topic;
pub mod ids;
pub mod codec;
pub mod record;
pub mod publish;
pub mod merkle;
pub mod archive;
pub mod batch;
pub mod cursor;
pub mod frames;
pub mod source;
pub mod status;
pub mod mesh;
pub mod beacon;
pub mod repair;

#[cfg(test)]
mod tests;
