//! The harness of the end-to-end tests: it drives the built `anode` binary from outside, as users do.
//!
//! Nothing here knows the node's code. What it expects is the published contract: routes, frames and the
//! promises about delivery. The judges ([`checker`], [`openapi`], [`strace`]) are pure and have tables that
//! show what they find.

pub mod scale;
pub mod words;
pub mod checker;
pub mod place;
pub mod openapi;
pub mod http;
pub mod socket;
pub mod sse;
pub mod process;
pub mod node;
pub mod ledger;
pub mod load;
pub mod reader;
pub mod history;
pub mod market;
pub mod sources;
pub mod tap;
pub mod upstream;
pub mod canary;
pub mod sniffer;
pub mod cassandra;
pub mod detour;
pub mod spaces;
pub mod names;
pub mod relay;
pub mod mesh;
pub mod forge;
pub mod guest;
pub mod raw;
pub mod strace;
pub mod snippets;
pub mod browser;
