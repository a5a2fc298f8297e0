//! Which start of a node is at the other end of each connection: two nodes with one identity hold theirs at the same time.
//!
//! Beacons do not tell: to gossipsub all connections with one identity are one peer, and only the first is greeted. A node that
//! was killed may be back before its old connection ends, so both ends must be heard after both are known.

use std::collections::BTreeMap;
use std::time::Instant;

use anode_shared::ids::Origin;

/// A connection whose other end said which start it is.
#[derive(Debug, Clone, Copy)]
struct End<C> {
    connection: C,
    run: u64,
    known: Instant,
    heard: Option<Instant>,
}

/// All connections, by whose identity is at the other end; as many as there are connections.
#[derive(Debug)]
pub struct Runs<C>(BTreeMap<Origin, (Vec<End<C>>, bool)>);

impl<C> Default for Runs<C> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<C: Copy + PartialEq> Runs<C> {
    /// The other end of a connection said which start of its node it is.
    pub fn known(&mut self, peer: Origin, connection: C, run: u64, now: Instant) {
        let (ends, _) = self.0.entry(peer).or_default();
        if !ends.iter().any(|end| end.connection == connection) {
            ends.push(End { connection, run, known: now, heard: None });
        }
    }

    /// The other end of a connection answered. Says once whether two nodes have its identity.
    pub fn heard(&mut self, peer: Origin, connection: C, now: Instant) -> bool {
        let Some((ends, told)) = self.0.get_mut(&peer) else { return false };
        ends.iter_mut().filter(|end| end.connection == connection).for_each(|end| end.heard = Some(now));
        let newest = ends.iter().map(|end| end.known).max();
        let alive = |end: &&End<C>| end.heard >= newest;
        let runs = || ends.iter().filter(alive).map(|end| end.run);
        let twins = runs().min() != runs().max();
        twins && !std::mem::replace(told, true)
    }

    /// A connection closed. Says whether the others are another start's, which was never greeted then.
    pub fn closed(&mut self, peer: Origin, connection: C) -> bool {
        let Some((ends, told)) = self.0.get_mut(&peer) else { return false };
        let run = ends.iter().find(|end| end.connection == connection).map(|end| end.run);
        ends.retain(|end| end.connection != connection);
        *told &= ends.iter().any(|end| end.run != ends[0].run);
        let others = run.is_some_and(|run| ends.iter().any(|end| end.run != run));
        if ends.is_empty() {
            self.0.remove(&peer);
        }
        others
    }
}

/// What a node says of its start beside its software, and how that is read.
pub fn agent(version: &str, run: u64) -> String {
    format!("anode/{version} {run:016x}")
}

/// The start that a node names.
pub fn run_of(agent: &str) -> Option<u64> {
    let (_, run) = agent.strip_prefix("anode/")?.split_once(' ')?;
    u64::from_str_radix(run, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: Origin = Origin([1; 32]);

    enum Step {
        Known(u8, u64),
        Heard(u8),
        Closed(u8),
    }
    use Step::{Closed, Heard, Known};

    /// Plays steps a second apart, and compares at which of them twins are told of.
    fn check(what: &str, steps: &[Step], expected: &[usize]) {
        let (mut runs, start) = (Runs::default(), Instant::now());
        let mut told = Vec::new();
        for (second, step) in steps.iter().enumerate() {
            let now = start + Duration::from_secs(second as u64);
            match *step {
                Known(connection, run) => runs.known(A, connection, run, now),
                Heard(connection) => told.extend(runs.heard(A, connection, now).then_some(second)),
                Closed(connection) => _ = runs.closed(A, connection),
            }
        }
        assert_eq!(told, expected, "{what}");
    }

    #[test]
    fn it_tells_twins_from_what_looks_like_them() {
        check("two of one start", &[Known(1, 7), Known(2, 7), Heard(1), Heard(2)], &[]);
        check("twins", &[Known(1, 7), Known(2, 8), Heard(1), Heard(2), Heard(1), Heard(2)], &[3]);
        check(
            "an old connection that is silent",
            &[Known(1, 7), Heard(1), Known(2, 8), Heard(2), Heard(2)],
            &[],
        );
        check("an old connection that ends", &[Known(1, 7), Heard(1), Known(2, 8), Closed(1), Heard(2)], &[]);
        check(
            "twins that come again",
            &[Known(1, 7), Known(2, 8), Heard(1), Heard(2), Closed(1), Known(3, 7), Heard(2), Heard(3)],
            &[3, 7],
        );
        check("one who says nothing of its start", &[Known(1, 7), Heard(1), Heard(2)], &[]);
    }

    #[test]
    fn it_forgets_who_is_gone() {
        let (mut runs, now) = (Runs::default(), Instant::now());
        runs.known(A, 1, 7, now);
        assert!(!runs.closed(A, 2) && !runs.closed(A, 1) && runs.0.is_empty());
        for (connection, run) in [(1, 7), (2, 7), (3, 8)] {
            runs.known(A, connection, run, now);
        }
        assert_eq!([1, 2, 3].map(|connection| runs.closed(A, connection)), [true, true, false]);
        assert!(runs.0.is_empty());
    }

    #[test]
    fn it_reads_what_it_says() {
        assert_eq!(run_of(&agent("0.1.0", 0x1234)), Some(0x1234));
        for other in ["anode/0.1.0", "js-libp2p", "anode/0.1.0 x", ""] {
            assert_eq!(run_of(other), None, "{other}");
        }
    }
}
