//! When somebody is dialled: ever less often where it does not work, and those of whom only others told a few a second at most.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Target;
use crate::gossip::dice::Dice;
use crate::gossip::rates::Pace;

/// The first wait before a dial is tried again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait: a peer that is back is found within a minute, for ever.
const LAST_WAIT: Duration = Duration::from_secs(60);
/// How many peers of whom only others told may be dialled at once, as when a node comes into a large mesh.
const CALLS: u32 = 20;
/// How often another one may: whoever makes up peers to have somebody dialled by a whole mesh gets no more than that of each node.
const CALL: Duration = Duration::from_millis(500);

/// How many peers may be visited at once, as when somebody looks at all of a large mesh; another one as often as one is called.
/// Visits count apart: whoever looks at will must not keep a node from its links.
const VISITS: u32 = 32;

#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    count: u32,
    under_way: bool,
    next: Option<Instant>,
}

/// The dials of a node.
#[derive(Debug)]
pub(super) struct Dials {
    tries: BTreeMap<Target, Tries>,
    calls: Pace,
    visits: Pace,
}

impl Default for Dials {
    fn default() -> Self {
        Self { tries: BTreeMap::new(), calls: Pace::new(CALL, CALLS), visits: Pace::new(CALL, VISITS) }
    }
}

impl Dials {
    /// Whether nothing is remembered.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.tries.is_empty()
    }

    /// How many are under way, but for visits.
    pub(super) fn under_way(&self) -> usize {
        let counts =
            |(target, tries): &(&Target, &Tries)| tries.under_way && !matches!(target, Target::Visit(_));
        self.tries.iter().filter(counts).count()
    }

    /// Whether one to a target is under way.
    pub(super) fn is_under_way(&self, target: Target) -> bool {
        self.tries.get(&target).is_some_and(|tries| tries.under_way)
    }

    /// How often in a row it did not work.
    pub(super) fn count(&self, target: Target) -> u32 {
        self.tries.get(&target).map_or(0, |tries| tries.count)
    }

    /// Whether a target may be dialled now.
    pub(super) fn is_ready(&self, target: Target, now: Instant) -> bool {
        let ready = |tries: &Tries| !tries.under_way && tries.next.is_none_or(|next| next <= now);
        self.tries.get(&target).is_none_or(ready)
    }

    /// A dial begins.
    pub(super) fn begin(&mut self, target: Target) {
        self.tries.entry(target).or_default().under_way = true;
    }

    /// A dial is over: whether it brought anything that lasts is not known yet.
    pub(super) fn over(&mut self, target: Target) {
        self.tries.get_mut(&target).into_iter().for_each(|tries| tries.under_way = false);
    }

    /// What a dial brought has lasted: the next one begins anew, unless the target rests.
    pub(super) fn lasted(&mut self, target: Target, now: Instant) {
        if self.tries.get(&target).is_some_and(|tries| tries.next.is_none_or(|next| next <= now)) {
            self.tries.remove(&target);
        }
    }

    /// A target is not dialled any more.
    pub(super) fn forget(&mut self, target: Target) {
        self.tries.remove(&target);
    }

    /// A target is left alone until then.
    pub(super) fn rest(&mut self, target: Target, until: Instant) {
        self.tries.entry(target).or_default().next = Some(until);
    }

    /// It did not work: waits twice as long as the last time, give or take a quarter, so that not all come at once.
    pub(super) fn failed(&mut self, target: Target, dice: &mut Dice, now: Instant) {
        let tries = self.tries.entry(target).or_default();
        let wait = (FIRST_WAIT * 2_u32.saturating_pow(tries.count.min(16))).min(LAST_WAIT);
        let quarter = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) / 4;
        let jitter = Duration::from_millis(dice.below(2 * quarter + 1));
        let next = now + wait - Duration::from_millis(quarter) + jitter;
        tries.count = tries.count.saturating_add(1);
        tries.under_way = false;
        tries.next = tries.next.max(Some(next));
    }

    /// Takes one of the calls to those of whom only others told; says no where too many were made.
    pub(super) fn may_call(&mut self, now: Instant) -> bool {
        self.calls.take(now)
    }

    /// Takes one of the visits; says no where too many were made.
    pub(super) fn may_visit(&mut self, now: Instant) -> bool {
        self.visits.take(now)
    }

    /// Forgets what has not been tried for so long that it would begin anew, but for what is kept.
    pub(super) fn prune(&mut self, keep: impl Fn(&Target) -> bool, now: Instant) {
        self.tries.retain(|target, tries| {
            let recent = tries.next.is_some_and(|next| next + 2 * LAST_WAIT > now);
            keep(target) || tries.under_way || recent
        });
    }
}
