//! What publishers sent and what the node acknowledged, shared by all of a test's publishers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};

use crate::checker::Owed;
use crate::words::Id;

/// The shared account of a test's publishes.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Account>>);

#[derive(Debug, Default)]
struct Account {
    acked: BTreeMap<Id, String>,
    sent: u64,
    settled: u64,
    cut: u64,
    refused: u64,
    open: usize,
    faults: Vec<String>,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that records were handed to the network.
    pub fn sent(&self, count: u64) {
        self.lock().sent += count;
    }

    /// Notes an acknowledgement; the same id for another key is a fault.
    pub fn acked(&self, id: Id, key: String) {
        let mut account = self.lock();
        account.settled += 1;
        if let Some(other) = account.acked.insert(id.clone(), key.clone()) {
            account.faults.push(format!("{id} acknowledged for {other} and for {key}"));
        }
    }

    /// Notes refusals, such as for overload.
    pub fn refused(&self, count: u64) {
        let mut account = self.lock();
        account.settled += count;
        account.refused += count;
    }

    /// Notes that a connection ended with so many records unanswered.
    pub fn cut(&self, count: u64) {
        self.lock().cut += count;
    }

    /// Notes that a publisher's connection opened.
    pub fn opened(&self) {
        self.lock().open += 1;
    }

    /// Notes that a publisher's connection ended, after [`Ledger::cut`].
    pub fn closed(&self) {
        self.lock().open -= 1;
    }

    /// Notes something that must not be.
    pub fn fault(&self, fault: String) {
        self.lock().faults.push(fault);
    }

    /// Records that were sent and are not answered yet.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let account = self.lock();
        account.sent - account.settled - account.cut
    }

    /// Records whose connection ended before their answer.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.lock().cut
    }

    /// Refused records.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.lock().refused
    }

    /// Open connections of publishers.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.lock().open
    }

    /// How many records are acknowledged.
    #[must_use]
    pub fn acked_count(&self) -> usize {
        self.lock().acked.len()
    }

    /// What a reader from the very beginning is owed.
    #[must_use]
    pub fn owed(&self) -> Owed {
        Owed { acked: self.lock().acked.clone(), ..Owed::default() }
    }

    /// Fails where a publisher met something that must not be.
    ///
    /// # Errors
    /// As said; the text names the first ten.
    pub fn ensure_sound(&self) -> Result<()> {
        let account = self.lock();
        let shown: Vec<&str> = account.faults.iter().take(10).map(String::as_str).collect();
        ensure!(shown.is_empty(), "{} faults of publishing:\n  {}", account.faults.len(), shown.join("\n  "));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_balances() {
        let ledger = Ledger::default();
        ledger.sent(5);
        ledger.acked(Id::new("a", 1), "k1".to_owned());
        ledger.refused(1);
        ledger.cut(2);
        assert_eq!((ledger.in_flight(), ledger.unanswered(), ledger.acked_count()), (1, 2, 1));
        assert!(ledger.ensure_sound().is_ok());
        ledger.acked(Id::new("a", 1), "k2".to_owned());
        assert!(ledger.ensure_sound().is_err(), "one id for two records was not noticed");
    }
}
