//! A real Apache Cassandra for tests and development, on loopback, with a small heap.
//!
//! [`Cassandra`] is one node that its owner starts, freezes, kills and starts again; [`shared`] is one for all
//! tests that only need some Cassandra. Its jars come from Maven's central repository, pinned in `jars.lock`.
//! It needs `curl`, `setpriv` and Java 17 or 11.

mod cassandra;
mod shared;
mod probe;
mod plan;
mod files;
mod spawner;
pub mod image;
pub mod jars;
pub mod java;

pub use cassandra::Cassandra;
pub use plan::{Login, Plan};
pub use shared::{SHARED, shared, unique_keyspace};

/// Tells the person at the terminal something; test runners show it where a test fails.
#[expect(clippy::print_stderr, reason = "it is for people, and the test runner captures it")]
fn say(line: &str) {
    eprintln!("{line}");
}
