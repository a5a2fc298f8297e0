//! A node of aNode: one binary that takes data in, keeps it, and hands it on.
//!
//! Read [`node`] first: it alone wires the stages, in the order in which data flows.

pub mod config;
pub mod identity;
pub mod telemetry;
pub mod node;
pub mod source;
pub mod store;
pub mod expression;
pub mod pipeline;
pub mod gossip;
pub mod known;
pub mod archive;
pub mod feed;
pub mod api;
pub mod metrics;
pub mod client;
pub mod demo;
pub mod cli;
pub mod bench;
