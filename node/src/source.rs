//! Sources: upstreams that the node reads, each in a task of its own.

pub mod limits;
pub mod failure;
pub mod guard;
pub mod tls;
pub mod connector;
pub mod secrets;
pub mod request;
pub mod handshake;
