//! A reader of a real store that keeps account of what it is handed, and takes its account along to other nodes.

use std::collections::BTreeMap;

use anode_shared::cursor::Cursor;
use anode_shared::frames::GapReason;
use anode_shared::ids::{LogKey, RecordId};
use anode_shared::topic::Topics;
use bytes::Bytes;

use crate::store::{Item, Reader, Start, Store, Then};

/// How many steps a reader may take at one moment.
const STEPS: usize = 100_000;

/// What a reader was handed so far.
#[derive(Debug)]
pub(super) struct Account {
    reader: Reader,
    /// For each log the seq that must come next: by a record, or by a gap.
    next: BTreeMap<LogKey, u64>,
    pub(super) records: BTreeMap<RecordId, Bytes>,
    gaps: BTreeMap<(LogKey, u64), (u64, GapReason)>,
    /// It stays, and is looked at in the end.
    pub(super) audits: bool,
}

impl Account {
    /// Begins with the earliest record.
    pub(super) fn open(store: &Store, audits: bool) -> Self {
        let reader = attach(store, &Start::Earliest);
        Self { reader, next: BTreeMap::new(), records: BTreeMap::new(), gaps: BTreeMap::new(), audits }
    }

    /// Goes on at another node, from the cursor that this one gives.
    pub(super) fn move_to(&mut self, store: &Store) {
        let cursor = Cursor::parse(&self.reader.read_cursor().to_string()).unwrap();
        self.reader = attach(store, &Start::After(cursor));
    }

    pub(super) fn gaps(&self) -> u64 {
        self.gaps.len() as u64
    }

    /// Why it was told that a record does not come, if it was.
    pub(super) fn gap_of(&self, id: RecordId) -> Option<GapReason> {
        let (_, (to, reason)) = self.gaps.range((id.key, 0)..=(id.key, id.seq)).next_back()?;
        (*to >= id.seq).then_some(*reason)
    }

    /// Reads all that is there; says what it should not have met.
    pub(super) fn read(&mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            let mut step = self.reader.poll();
            if step.then == Then::Blocking {
                step.items.extend(self.reader.poll_storage().items);
            }
            for item in step.items {
                self.take(item)?;
            }
            if matches!(step.then, Then::Live | Then::Until(_)) {
                return Ok(());
            }
        }
        Err("a reader reads for ever".to_owned())
    }

    fn take(&mut self, item: Item) -> Result<(), String> {
        match item {
            Item::Records(slice) => {
                for index in slice.range() {
                    let id = slice.batch().id(index);
                    self.follow(id.key, id.seq, id.seq, "a record")?;
                    let payload = Bytes::copy_from_slice(slice.batch().record(index).payload);
                    self.records.insert(id, payload);
                }
            }
            Item::Gap(gap) => {
                self.follow(gap.log, gap.from, gap.to, "a gap")?;
                self.gaps.insert((gap.log, gap.from), (gap.to, gap.reason));
            }
            Item::CaughtUp => {}
        }
        Ok(())
    }

    fn follow(&mut self, key: LogKey, from: u64, to: u64, what: &str) -> Result<(), String> {
        let next = self.next.entry(key).or_insert(1);
        if from != *next || to < from {
            return Err(format!(
                "a reader came to {what} from {from} to {to} of {key} where {next} comes next"
            ));
        }
        *next = to + 1;
        Ok(())
    }
}

fn attach(store: &Store, start: &Start) -> Reader {
    store.reader(start, Topics::default(), &|_, _| true).unwrap()
}
