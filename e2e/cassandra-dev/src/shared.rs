//! One Cassandra for all tests that only need some Cassandra; each takes a keyspace of its own.

use std::env;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::cassandra::Cassandra;
use crate::plan::Plan;

/// The variable that names the address of the shared one, which `cargo xtask test` sets.
pub const SHARED: &str = "TEST_CASSANDRA";

/// The longest name of a keyspace is 48 bytes; a number of up to 25 follows.
const LONGEST: usize = 20;

/// The address of the shared Cassandra: the one that [`SHARED`] names, else one of this process, which the first
/// who asks waits for.
///
/// # Errors
/// Fails as [`Plan::start`] does.
pub fn shared() -> Result<String> {
    static OWN: Mutex<Option<Cassandra>> = Mutex::new(None);
    if let Ok(address) = env::var(SHARED) {
        return Ok(address);
    }
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cassandra) = &*own {
        return Ok(cassandra.address());
    }
    Ok(own.insert(Plan::new().start()?).address())
}

/// A name that no other test's keyspace has: `history_5fe1_68f1a0c2_0`.
#[must_use]
pub fn unique_keyspace(test: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let plain = |char: &char| char.is_ascii_alphanumeric() || *char == '_';
    let name: String = test.chars().filter(plain).take(LONGEST).collect();
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}_{:x}_{second:x}_{count:x}", name.to_ascii_lowercase(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_keyspaces() {
        let name = unique_keyspace("It's_A::name that is far too long");
        assert!(name.starts_with("its_anamethatisfarto_"), "{name}");
        assert!(name.len() <= 48 && name != unique_keyspace("It's_A::name that is far too long"));
    }
}
