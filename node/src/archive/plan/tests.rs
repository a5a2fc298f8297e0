//! A model of stores and a keyspace, driven by dice: nothing is lost, nothing goes back, no hole is forgotten.

use std::collections::BTreeSet;

use super::*;

/// A small generator (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}

/// What the keyspace holds of one log.
#[derive(Debug, Default)]
struct Keyspace {
    rows: BTreeSet<u64>,
    holes: BTreeSet<Range>,
    position: u64,
}

impl Keyspace {
    fn mend(&mut self, mending: &Mending) {
        mending.delete.iter().for_each(|hole| _ = self.holes.remove(hole));
        self.holes.extend(&mending.write);
    }

    /// Everything up to the position is there, or named.
    fn check(&self, seed: u64) {
        for seq in 1..=self.position {
            let named = self.holes.iter().any(|hole| hole.first <= seq && seq <= hole.last);
            assert!(self.rows.contains(&seq) || named, "seed {seed}: {seq} is lost below {}", self.position);
        }
    }
}

/// One node: what it holds of the log, and its plan while it archives.
#[derive(Debug)]
struct Node {
    held: BTreeSet<u64>,
    head: u64,
    floor: u64,
    /// What cannot be read although the view says that it is held.
    damaged: BTreeSet<u64>,
    plan: Option<Plan>,
    under_way: Vec<Task>,
    written: Vec<(Task, Option<Range>)>,
}

impl Node {
    fn new() -> Self {
        Self {
            held: BTreeSet::new(),
            head: 0,
            floor: 1,
            damaged: BTreeSet::new(),
            plan: None,
            under_way: Vec::new(),
            written: Vec::new(),
        }
    }

    fn view(&self) -> LogView {
        let (mut missing, mut open) = (Vec::new(), None);
        for seq in self.floor..=self.head {
            match (self.held.contains(&seq), open) {
                (false, None) => open = Some(seq),
                (true, Some(first)) => {
                    missing.push((first, seq - 1));
                    open = None;
                }
                _ => {}
            }
        }
        missing.extend(open.map(|first| (first, self.head)));
        LogView { head: self.head, held: self.head, floor: self.floor, missing, forked: None }
    }

    fn stop(&mut self) {
        self.plan = None;
        self.under_way.clear();
        self.written.clear();
    }

    /// Begins something, or lets something that is under way go a step further.
    fn step(&mut self, keyspace: &mut Keyspace, dice: &mut Dice) {
        let view = self.view();
        let Some(plan) = &mut self.plan else { return };
        match dice.below(4) {
            0 => self.under_way.extend(plan.next(&view)),
            1 | 2 if !self.under_way.is_empty() => {
                let place = usize::try_from(dice.below(self.under_way.len() as u64)).unwrap();
                let task = self.under_way.swap_remove(place);
                self.write(task, keyspace, dice);
            }
            _ if !self.written.is_empty() => {
                let place = usize::try_from(dice.below(self.written.len() as u64)).unwrap();
                let (task, range) = self.written.swap_remove(place);
                match (task, range) {
                    (Task::Fill(_), filled) => {
                        let mending = plan.filled(filled);
                        keyspace.mend(&mending);
                        plan.mended(&mending);
                    }
                    (_, Some(range)) => {
                        plan.done(range.first);
                    }
                    _ => {}
                }
                // The position is written now and then, and only goes up.
                if dice.below(2) == 0 {
                    keyspace.position = keyspace.position.max(plan.archived_to());
                }
            }
            _ => {}
        }
    }

    fn write(&mut self, task: Task, keyspace: &mut Keyspace, dice: &mut Dice) {
        let Some(plan) = &mut self.plan else { return };
        match task {
            Task::Read(range) | Task::Fill(range) => {
                let most = range.first + dice.below(5);
                let readable =
                    |seq: &u64| *seq >= self.floor && self.held.contains(seq) && !self.damaged.contains(seq);
                let last = (range.first..=range.last.min(most)).take_while(readable).last();
                let read = last.map(|last| Range::new(range.first, last));
                let fill = matches!(task, Task::Fill(_));
                match read {
                    Some(read) => {
                        if !fill {
                            plan.took(read);
                        }
                        keyspace.rows.extend(read.first..=read.last);
                        self.written.push((task, Some(read)));
                    }
                    None if fill => self.written.push((task, None)),
                    None => {
                        let gone = Range::new(range.first, range.first);
                        plan.unreadable(gone);
                        keyspace.holes.insert(gone);
                        self.written.push((Task::Pass(gone), Some(gone)));
                    }
                }
            }
            Task::Pass(range) => {
                keyspace.holes.insert(range);
                self.written.push((task, Some(range)));
            }
        }
    }
}

/// Two nodes, one log: batches come, go missing, are repaired and expire; nodes stop, start and take over from each other.
fn play(seed: u64) {
    let mut dice = Dice(seed);
    let (mut keyspace, mut nodes) = (Keyspace::default(), [Node::new(), Node::new()]);
    let (mut top, mut highest) = (0, 0);
    for _ in 0..600 {
        let which = usize::from(dice.below(2) == 0);
        let node = &mut nodes[which];
        match dice.below(24) {
            0..=4 => {
                top += 1;
                for node in &mut nodes {
                    if dice.below(4) > 0 {
                        node.held.insert(top);
                        node.head = top;
                    }
                }
            }
            5 => node.held.extend((node.floor..=node.head).filter(|_| dice.below(2) == 0)),
            6 if dice.below(6) == 0 => {
                node.floor = (node.floor + dice.below(4)).min(node.head + 1);
                let floor = node.floor;
                node.held.retain(|seq| *seq >= floor);
            }
            7 => _ = node.damaged.insert(1 + dice.below(top.max(1))),
            8 if dice.below(3) == 0 => node.stop(),
            9 if node.plan.is_none() => {
                node.plan = Some(Plan::new(keyspace.position, keyspace.holes.iter().copied()));
            }
            _ => node.step(&mut keyspace, &mut dice),
        }
        assert!(keyspace.position >= highest, "seed {seed}: the position went back");
        highest = keyspace.position;
        keyspace.check(seed);
    }
    // In the end everything is repaired, and one node goes on alone.
    let node = &mut nodes[0];
    (node.head, node.floor) = (top, 1);
    node.held.extend(1..=top);
    node.damaged.clear();
    node.stop();
    node.plan = Some(Plan::new(keyspace.position, keyspace.holes.iter().copied()));
    for _ in 0..20_000 {
        node.step(&mut keyspace, &mut dice);
    }
    keyspace.position = keyspace.position.max(node.plan.as_ref().unwrap().archived_to());
    keyspace.check(seed);
    assert_eq!(
        (keyspace.position, keyspace.rows.len() as u64),
        (top, top),
        "seed {seed}: {:?}",
        keyspace.holes
    );
    assert!(keyspace.holes.is_empty(), "seed {seed}: {:?}", keyspace.holes);
}

#[test]
fn it_loses_nothing_goes_never_back_and_forgets_no_hole() {
    for seed in 0..400 {
        play(seed);
    }
}

fn view(head: u64, floor: u64, missing: &[(u64, u64)], forked: Option<u64>) -> LogView {
    LogView { head, held: head + 5, floor, missing: missing.to_vec(), forked }
}

#[test]
fn it_takes_what_is_visible_and_passes_what_is_missing() {
    for (head, floor, missing, forked, archived_to, expected) in [
        (10, 1, &[][..], None, 0, Some(Task::Read(Range::new(1, 10)))),
        (10, 1, &[], None, 10, None),
        (10, 1, &[(4, 6)], None, 0, Some(Task::Read(Range::new(1, 3)))),
        (10, 1, &[(4, 6)], None, 3, Some(Task::Pass(Range::new(4, 6)))),
        (10, 1, &[(4, 6), (8, 9)], None, 4, Some(Task::Pass(Range::new(5, 6)))),
        (10, 1, &[(11, 14)], None, 10, None),
        (10, 8, &[], None, 2, Some(Task::Pass(Range::new(3, 7)))),
        (10, 1, &[], Some(6), 0, Some(Task::Read(Range::new(1, 5)))),
        (10, 1, &[], Some(6), 5, None),
        (10, 11, &[], None, 0, Some(Task::Pass(Range::new(1, 10)))),
    ] {
        let mut plan = Plan::new(archived_to, []);
        assert_eq!(
            plan.next(&view(head, floor, missing, forked)),
            expected,
            "{missing:?} from {archived_to}"
        );
    }
}

#[test]
fn it_moves_only_over_what_is_done_in_whatever_order() {
    let mut plan = Plan::new(0, []);
    let log = view(30, 1, &[(11, 12)], None);
    for (task, range) in [
        (Task::Read(Range::new(1, 10)), Some(Range::new(1, 4))),
        (Task::Read(Range::new(5, 10)), Some(Range::new(5, 10))),
        (Task::Pass(Range::new(11, 12)), None),
        (Task::Read(Range::new(13, 30)), Some(Range::new(13, 20))),
    ] {
        assert_eq!(plan.next(&log), Some(task));
        range.into_iter().for_each(|range| plan.took(range));
    }
    assert_eq!(plan.next(&log), None, "four pieces are under way");
    for (first, moved, to) in
        [(5, false, 0), (13, false, 0), (1, true, 10), (1, false, 10), (11, true, 20), (99, false, 20)]
    {
        assert_eq!((plan.done(first), plan.archived_to()), (moved, to), "after {first}");
    }
    assert_eq!(plan.holes().collect::<Vec<_>>(), [Range::new(11, 12)]);
    assert_eq!(lag(&log, plan.archived_to()), 10);
}

#[test]
fn it_counts_what_is_held_and_not_archived() {
    for (head, floor, missing, forked, archived_to, expected) in [
        (10, 1, &[][..], None, 0, 10),
        (10, 1, &[(4, 6)], None, 0, 7),
        (10, 1, &[(4, 6), (11, 12)], None, 5, 4),
        (10, 8, &[], None, 2, 3),
        (10, 11, &[], None, 2, 0),
        (10, 1, &[], Some(6), 2, 3),
        (10, 1, &[], None, 10, 0),
    ] {
        assert_eq!(
            lag(&view(head, floor, missing, forked), archived_to),
            expected,
            "{missing:?} {archived_to}"
        );
    }
}

#[test]
fn it_fills_holes_of_logs_that_others_archive() {
    let mut plan = Plan::filler();
    let log = view(30, 1, &[(4, 6)], None);
    assert_eq!(plan.next(&log), None);
    plan.learn([Range::new(2, 8)]);
    assert_eq!(plan.next(&log), Some(Task::Fill(Range::new(2, 3))));
    plan.mended(&plan.filled(Some(Range::new(2, 3))));
    assert_eq!(plan.next(&log), Some(Task::Fill(Range::new(7, 8))));
    plan.mended(&plan.filled(Some(Range::new(7, 8))));
    assert_eq!((plan.next(&log), plan.holes().collect::<Vec<_>>()), (None, vec![Range::new(4, 6)]));
}

#[test]
fn it_mends_holes_from_either_end_and_the_middle() {
    for (filled, write, gone) in [
        (Range::new(10, 20), &[][..], true),
        (Range::new(10, 12), &[Range::new(13, 20)], true),
        (Range::new(18, 20), &[Range::new(10, 17)], true),
        (Range::new(13, 15), &[Range::new(16, 20), Range::new(10, 12)], true),
        (Range::new(1, 9), &[], false),
        (Range::new(5, 30), &[], true),
    ] {
        let mut plan = Plan::new(40, [Range::new(10, 20)]);
        let mending = plan.filled(Some(filled));
        let delete = if gone { vec![Range::new(10, 20)] } else { Vec::new() };
        assert_eq!(mending, Mending { write: write.to_vec(), delete }, "{filled:?}");
        plan.mended(&mending);
        let left: u64 = plan.holes().map(Range::count).sum();
        assert_eq!(left, 11 - filled.with(Range::new(10, 20)).map_or(0, Range::count));
    }
}
