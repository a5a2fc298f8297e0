//! The whole system from outside: the built binary, real processes, real kills, a real browser.
//!
//! `ANODE_BIN` names the binary (else `target/debug/anode`), `ANODE_E2E_FULL=1` runs the same tests with
//! larger numbers, `ANODE_SEED` repeats a run.

mod spine;
mod feed;
mod rpc;
mod history;
mod api;
mod proof;
mod bad_input;
mod auth;
mod limits;
mod cli;
mod demo;
mod lifecycle;
mod kills;
mod retention;
mod crowd;
mod syscalls;
mod damage;
mod disk;
mod mesh;
mod sources;
mod cassandra;
mod archive;
mod outage;
mod newest;
mod archived;
mod page;
mod browser;
mod readme;
mod compose;
