//! Logs that the store does not hold: on whose account each stands, and which goes where there are too many.
//!
//! Anybody can name logs, and sign what nobody needs. So a log that is only told of stands on the account of the peer that told
//! of it, and one that its origin's own beacon names on that origin's. Where all accounts together are too full, the fullest
//! loses its oldest log: whoever brings much crowds out itself, and never those who bring little.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use anode_shared::ids::{LogKey, Origin};

/// The most logs on all accounts.
pub(super) const MOST_LOGS: usize = 65_536;
/// The most logs on one account: as many as are remembered of what one peer says.
pub(super) const MOST_OF_ONE: usize = 16_384;

/// What one brought.
#[derive(Debug, Default)]
struct Account {
    logs: BTreeSet<LogKey>,
    /// Its connection closed since.
    gone: bool,
    /// When it brought something last, counted in all that was brought.
    heard: u64,
}

/// Who loses a log first comes last: whoever is gone, then who brought most, then who was silent longest.
type Place = (bool, usize, Reverse<u64>, Origin);

/// All accounts.
#[derive(Debug, Default)]
pub(super) struct Brought {
    accounts: BTreeMap<Origin, Account>,
    places: BTreeSet<Place>,
    total: usize,
    count: u64,
}

fn place(who: Origin, account: &Account) -> Place {
    (account.gone, account.logs.len(), Reverse(account.heard), who)
}

impl Brought {
    /// How many logs stand on all accounts.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.total
    }

    /// Changes an account; one without logs goes.
    fn change(&mut self, who: Origin, change: impl FnOnce(&mut Account)) {
        let mut account = self.accounts.remove(&who).unwrap_or_default();
        self.places.remove(&place(who, &account));
        let before = account.logs.len();
        change(&mut account);
        self.total = self.total + account.logs.len() - before;
        if !account.logs.is_empty() {
            self.places.insert(place(who, &account));
            self.accounts.insert(who, account);
        }
    }

    /// Puts a log on an account. Gives the one that has to go for it, and whose that was.
    pub(super) fn add(&mut self, who: Origin, log: LogKey) -> Option<(Origin, LogKey)> {
        self.count += 1;
        let heard = self.count;
        self.change(who, |account| {
            account.logs.insert(log);
            (account.gone, account.heard) = (false, heard);
        });
        let full = self.accounts.get(&who).is_some_and(|account| account.logs.len() > MOST_OF_ONE);
        let loser = match self.places.last() {
            _ if full => who,
            Some((.., loser)) if self.total > MOST_LOGS => *loser,
            _ => return None,
        };
        let oldest = *self.accounts.get(&loser)?.logs.first()?;
        self.take(loser, oldest);
        Some((loser, oldest))
    }

    /// Takes a log off an account.
    pub(super) fn take(&mut self, who: Origin, log: LogKey) {
        self.change(who, |account| _ = account.logs.remove(&log));
    }

    /// Whether somebody's connection closed, and nothing came of it since.
    pub(super) fn is_gone(&self, who: Origin) -> bool {
        self.accounts.get(&who).is_some_and(|account| account.gone)
    }

    /// Somebody's connection closed: what it brought goes before all else.
    pub(super) fn closed(&mut self, who: Origin) {
        self.change(who, |account| account.gone = true);
    }
}

#[cfg(test)]
mod tests {
    use anode_shared::ids::LogId;

    use super::*;

    fn who(n: u8) -> Origin {
        Origin([n; 32])
    }

    fn log(n: usize) -> LogKey {
        LogKey { log: LogId(n as u64), origin: who(200) }
    }

    /// How many logs each of the first accounts holds.
    fn sizes(brought: &Brought, count: u8) -> Vec<usize> {
        (1..=count).map(|n| brought.accounts.get(&who(n)).map_or(0, |account| account.logs.len())).collect()
    }

    #[test]
    fn it_lets_the_fullest_account_lose_its_oldest_log() {
        let mut brought = Brought::default();
        // Four who bring as much as they may, then one who brings little.
        for n in 0..4 * MOST_OF_ONE {
            let by = u8::try_from(1 + n % 4).unwrap();
            assert_eq!(brought.add(who(by), log(n)), None, "{n}");
        }
        assert_eq!(brought.len(), MOST_LOGS);
        assert_eq!(brought.add(who(1), log(4 * MOST_OF_ONE)), Some((who(1), log(0))), "its own oldest");
        for n in 0..100 {
            let (loser, _) = brought.add(who(5), log(n)).unwrap();
            assert_ne!(loser, who(5), "who brings little loses nothing");
        }
        assert_eq!(sizes(&brought, 5), [16_359, 16_359, 16_359, 16_359, 100]);
        brought.closed(who(5));
        let (loser, oldest) = brought.add(who(6), log(7)).unwrap();
        assert_eq!((loser, oldest), (who(5), log(0)), "who is gone loses first");
        assert_eq!((brought.len(), brought.places.len()), (MOST_LOGS, brought.accounts.len()));
    }

    #[test]
    fn it_lets_who_was_silent_longest_lose_among_equals() {
        let mut brought = Brought::default();
        let many = |n: usize| {
            let mut bytes = [7; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            Origin(bytes)
        };
        (0..MOST_LOGS).for_each(|n| assert_eq!(brought.add(many(n), log(n)), None));
        // It speaks again and again, as the living do.
        assert_eq!(brought.add(many(0), log(0)), None);
        assert_eq!(brought.add(many(MOST_LOGS), log(MOST_LOGS)), Some((many(1), log(1))));
        brought.take(many(2), log(2));
        assert_eq!(brought.add(many(1), log(1)), None, "there is room again");
    }
}
