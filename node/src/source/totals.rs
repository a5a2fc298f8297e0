//! Counts over all sources, and who hears what happens to them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use anode_shared::source::SourceKind;
use anode_shared::status::Level;

/// Hears what happens to sources: how much it matters, a word for it, and a sentence.
pub type Told = dyn Fn(Level, &str, &str) + Send + Sync;

/// Counts over all sources, those that are gone included.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each is named for what it counts")]
pub struct Totals {
    pub records: [AtomicU64; 3],
    pub bytes: [AtomicU64; 3],
    pub errors: [AtomicU64; 3],
    pub polls: AtomicU64,
    pub unchanged_polls: AtomicU64,
    pub connections: AtomicU64,
    pub open_connections: AtomicI64,
    pub messages: AtomicU64,
    pub left_out: AtomicU64,
    pub expression_errors: AtomicU64,
    pub waits_for_the_store: AtomicU64,
}

impl Totals {
    pub(super) fn add(counters: &[AtomicU64; 3], kind: SourceKind, count: usize) {
        counters[kind as usize].fetch_add(count as u64, Ordering::Relaxed);
    }
}
