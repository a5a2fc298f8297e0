//! Sets of seqs as ranges.

use std::collections::BTreeMap;

use anode_shared::mesh::total;

/// Seqs from one to another, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first.
    pub from: u64,
    /// The last; not below the first.
    pub to: u64,
}

impl Span {
    /// The seqs from one to another, unless there are none.
    pub fn new(from: u64, to: u64) -> Option<Self> {
        (from <= to).then_some(Self { from, to })
    }

    /// How many seqs.
    pub fn count(self) -> u64 {
        (self.to - self.from).saturating_add(1)
    }

    /// What both have.
    pub fn meet(self, other: Self) -> Option<Self> {
        Self::new(self.from.max(other.from), self.to.min(other.to))
    }
}

/// A set of seqs. All ends stay below 2^64 - 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans(BTreeMap<u64, u64>);

impl Spans {
    /// The ranges, rising; none touches another.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Span> {
        self.0.iter().map(|(from, to)| Span { from: *from, to: *to })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many ranges.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many seqs.
    pub fn count(&self) -> u64 {
        total(self.iter().map(Span::count))
    }

    /// The highest seq.
    pub fn last(&self) -> Option<u64> {
        self.0.last_key_value().map(|(_, to)| *to)
    }

    /// Adds a range.
    pub fn add(&mut self, span: Span) {
        let (mut from, mut to) = (span.from, span.to);
        while let Some((start, end)) = self.0.range(..=to.saturating_add(1)).next_back() {
            let (start, end) = (*start, *end);
            if end.saturating_add(1) < from {
                break;
            }
            (from, to) = (from.min(start), to.max(end));
            self.0.remove(&start);
        }
        self.0.insert(from, to);
    }

    /// Takes a range out.
    pub fn remove(&mut self, span: Span) {
        while let Some((start, end)) = self.0.range(..=span.to).next_back() {
            let (start, end) = (*start, *end);
            if end < span.from {
                break;
            }
            self.0.remove(&start);
            if end > span.to {
                self.0.insert(span.to + 1, end);
            }
            if start < span.from {
                self.0.insert(start, span.from - 1);
            }
        }
    }

    /// Takes all of another set out.
    pub fn remove_all(&mut self, other: &Self) {
        other.iter().for_each(|span| self.remove(span));
    }

    /// The ranges within one.
    pub fn within(&self, span: Span) -> Self {
        let before = self.0.range(..span.from).next_back();
        let inside = self.0.range(span.from..=span.to);
        let all = before
            .into_iter()
            .chain(inside)
            .filter_map(|(from, to)| span.meet(Span { from: *from, to: *to }));
        Self(all.map(|span| (span.from, span.to)).collect())
    }

    /// The range that holds a seq.
    pub fn around(&self, seq: u64) -> Option<Span> {
        let (from, to) = self.0.range(..=seq).next_back()?;
        (*to >= seq).then_some(Span { from: *from, to: *to })
    }

    /// Whether it holds a seq.
    pub fn has(&self, seq: u64) -> bool {
        self.around(seq).is_some()
    }
}

impl FromIterator<Span> for Spans {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut all = Self::default();
        spans.into_iter().for_each(|span| all.add(span));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::gossip::dice::Dice;

    #[test]
    fn it_is_a_set() {
        let seed = 11;
        let mut dice = Dice::new(seed);
        let (mut spans, mut set) = (Spans::default(), BTreeSet::new());
        for step in 0..20_000 {
            let from = dice.below(60);
            let span = Span { from, to: from + dice.below(9) };
            if dice.below(2) == 0 {
                spans.add(span);
                set.extend(span.from..=span.to);
            } else {
                spans.remove(span);
                (span.from..=span.to).for_each(|seq| _ = set.remove(&seq));
            }
            let seqs: BTreeSet<u64> = spans.iter().flat_map(|span| span.from..=span.to).collect();
            assert_eq!(seqs, set, "seed {seed}, step {step}");
            assert_eq!(spans.count(), set.len() as u64);
            let ends: Vec<Span> = spans.iter().collect();
            assert!(ends.windows(2).all(|pair| pair[0].to + 1 < pair[1].from), "none touch: {ends:?}");
            let inside: BTreeSet<u64> =
                spans.within(span).iter().flat_map(|span| span.from..=span.to).collect();
            assert_eq!(inside, set.range(span.from..=span.to).copied().collect());
            assert_eq!(spans.has(from), set.contains(&from));
        }
    }
}
