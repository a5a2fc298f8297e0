//! The place of a time in a log, looked for by halves: times never fall along a log.

use anode_shared::time::Micros;

use super::loaded::Loaded;

/// Where the first record at a time or later lies, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Halves {
    time: Micros,
    /// All before it is older, as far as anybody has it.
    pub(crate) low: u64,
    /// It and all behind is not older, or nobody has it.
    pub(crate) high: u64,
    /// It and all behind is not older.
    pub(crate) newer: u64,
}

impl Halves {
    /// Looks between two seqs; all before the first is older, the second and all behind is not.
    pub(crate) fn new(time: Micros, low: u64, high: u64) -> Self {
        Self { time, low, high, newer: high }
    }

    /// The seq to look at, or the next one that somebody has, below `high`; none once the place is found.
    pub(crate) fn probe(&self) -> Option<u64> {
        (self.low < self.high).then(|| self.middle())
    }

    fn middle(&self) -> u64 {
        self.low + (self.high - self.low) / 2
    }

    /// The batch that holds the probe, or the next one that somebody has.
    pub(crate) fn saw(&mut self, batch: &Loaded) {
        let records = (0..batch.len()).map(|index| (batch.record(index).time, batch.seq(index)));
        let (mut before, mut first) = (false, None);
        for (time, seq) in records {
            before |= time < self.time;
            first = first.or((time >= self.time).then_some(seq));
        }
        match first {
            None => self.low = batch.header().last() + 1,
            Some(seq) if before => (self.low, self.high, self.newer) = (seq, seq, seq),
            Some(seq) => (self.high, self.newer) = (seq.min(self.middle()), self.newer.min(seq)),
        }
        self.high = self.high.max(self.low);
        self.newer = self.newer.max(self.low);
    }

    /// Nobody has the probe, nor anything behind it below `high`.
    pub(crate) fn lacks(&mut self) {
        self.high = self.middle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::kit::{NOW, foreign};

    #[test]
    fn it_finds_the_first_record_at_a_time_by_halves() {
        let batches: Vec<Loaded> =
            foreign(9, 5, &[3, 2, 4, 1, 7, 3]).into_iter().map(|bytes| Loaded::new(bytes).unwrap()).collect();
        // Record n was made at n; peers have those from `kept` on.
        for kept in [1, 6] {
            for time in 1..=18_u64 {
                let mut halves = Halves::new(NOW + time, kept, 18);
                let mut steps = 0;
                while let Some(seq) = halves.probe() {
                    let holds =
                        |batch: &&Loaded| (batch.header().first..=batch.header().last()).contains(&seq);
                    halves.saw(batches.iter().find(holds).unwrap());
                    steps += 1;
                }
                let place = time.clamp(kept, 18);
                assert_eq!((halves.low, halves.newer), (place, place), "from {kept}, at {time}");
                assert!(steps <= 6);
            }
        }
    }

    #[test]
    fn it_passes_what_nobody_has() {
        let batches: Vec<Loaded> =
            foreign(9, 5, &[3, 2, 4, 3]).into_iter().map(|bytes| Loaded::new(bytes).unwrap()).collect();
        // 4 and 5 are lost, and in the end 10 to 12; 13 is not older.
        for (lost, time, place) in
            [(4, 6, (4, 6)), (4, 3, (3, 3)), (4, 8, (8, 8)), (10, 11, (10, 13)), (10, 9, (9, 9))]
        {
            let mut halves = Halves::new(NOW + time, 1, 13);
            let mut steps = 0;
            while let Some(seq) = halves.probe() {
                let has = |batch: &&Loaded| batch.header().first != lost && batch.header().last() >= seq;
                match batches.iter().find(has).filter(|batch| batch.header().first < halves.high) {
                    Some(batch) => halves.saw(batch),
                    None => halves.lacks(),
                }
                steps += 1;
            }
            assert_eq!((halves.low, halves.newer), place, "without {lost}, at {time}");
            assert!(steps <= 6);
        }
    }
}
