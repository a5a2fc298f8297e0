//! The machine, event by event.

use proptest::prelude::*;

use super::*;
use SourceState::{AuthFailed, BackingOff, Connecting, Invalid, Live, Paused, Stale};

/// What happens to a source, at a second.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Opened,
    Answered,
    Idled,
    Reached,
    Failed,
    Refused,
    Asked(u64),
    Late,
    Unable,
    Paused,
}

struct Subject {
    start: Instant,
    machine: Machine,
}

impl Subject {
    fn new() -> Self {
        let start = Instant::now();
        let now = Moment { at: start, wall: 0 };
        Self { start, machine: Machine::new(Duration::from_secs(10), now) }
    }

    fn now(&self, second: u64) -> Moment {
        Moment { at: self.start + Duration::from_secs(second), wall: second * 1_000_000 }
    }

    fn happens(&mut self, second: u64, what: Happens) {
        let now = self.now(second);
        let failing = |auth, retry_after| Failing {
            reason: "why".to_owned(),
            auth,
            retry_after,
            at_least: Duration::ZERO,
        };
        match what {
            Happens::Opened => self.machine.opened(now),
            Happens::Answered => self.machine.answered(now),
            Happens::Idled => self.machine.idled(),
            Happens::Reached => self.machine.reached(now),
            Happens::Failed => drop(self.machine.failed(failing(false, None), 1.0, now)),
            Happens::Refused => drop(self.machine.failed(failing(true, None), 0.0, now)),
            Happens::Asked(seconds) => {
                self.machine.failed(failing(false, Some(Duration::from_secs(seconds))), 0.0, now);
            }
            Happens::Late => drop(self.machine.late(now)),
            Happens::Unable => self.machine.invalid("why".to_owned(), now),
            Happens::Paused => self.machine.paused(now),
        }
    }
}

#[test]
fn it_goes_from_state_to_state() {
    use Happens::{Answered, Asked, Failed, Idled, Late, Opened, Reached, Refused, Unable};
    for (story, state, since, next) in [
        (&[][..], Connecting, 0, None),
        (&[(1, Opened)], Connecting, 0, None),
        (&[(1, Answered), (2, Answered)], Live, 1, None),
        (&[(1, Answered), (2, Failed)], BackingOff, 2, Some(3)),
        (&[(1, Failed), (2, Failed), (4, Failed)], BackingOff, 1, Some(8)),
        (&[(1, Failed), (2, Answered), (4, Failed)], BackingOff, 4, Some(5)),
        (&[(1, Failed), (2, Opened)], Connecting, 2, None),
        (&[(1, Failed), (2, Opened), (11, Late)], Connecting, 2, None),
        (&[(1, Failed), (2, Opened), (12, Late)], Stale, 12, None),
        (&[(1, Answered), (10, Late)], Live, 1, None),
        (&[(1, Answered), (11, Late)], Stale, 11, None),
        (&[(1, Opened), (2, Idled)], Connecting, 0, None),
        (&[(1, Answered), (10, Idled), (11, Late)], Stale, 11, None),
        (&[(1, Answered), (9, Opened), (12, Late)], Live, 1, None),
        (&[(1, Answered), (11, Late), (12, Opened)], Stale, 11, None),
        (&[(1, Answered), (11, Late), (12, Opened), (13, Answered)], Live, 13, None),
        (&[(1, Answered), (11, Late), (12, Failed)], BackingOff, 12, Some(13)),
        (&[(1, Failed), (99, Late)], BackingOff, 1, Some(2)),
        (&[(1, Refused)], AuthFailed, 1, Some(61)),
        (&[(1, Refused), (61, Refused)], AuthFailed, 1, Some(121)),
        (&[(1, Refused), (61, Answered)], Live, 61, None),
        (&[(1, Asked(20))], BackingOff, 1, Some(21)),
        (&[(1, Asked(90_000))], BackingOff, 1, Some(3_601)),
        (&[(1, Answered), (2, Reached)], Live, 1, None),
        (&[(1, Failed), (2, Reached)], Connecting, 2, None),
        (&[(1, Refused), (61, Reached)], Connecting, 61, None),
        (&[(1, Unable), (2, Reached)], Connecting, 2, None),
        (&[(1, Answered), (2, Failed), (3, Reached), (10, Late)], Connecting, 3, None),
        (&[(1, Answered), (2, Failed), (3, Reached), (11, Late)], Stale, 11, None),
        (&[(1, Answered), (11, Late), (12, Reached)], Stale, 11, None),
        (&[(1, Failed), (2, Failed), (4, Reached), (5, Failed)], BackingOff, 5, Some(6)),
        (&[(1, Answered), (2, Unable), (99, Late)], Invalid, 2, None),
        (&[(1, Answered), (2, Happens::Paused), (99, Late)], Paused, 2, None),
    ] {
        let mut subject = Subject::new();
        story.iter().for_each(|(second, what)| subject.happens(*second, *what));
        let machine = &subject.machine;
        let found = (machine.state(), machine.since() / 1_000_000, machine.next().map(|at| at / 1_000_000));
        assert_eq!(found, (state, since, next), "{story:?}");
        let says = !matches!(state, Connecting | Live | Paused);
        assert_eq!(machine.reason().is_some(), says, "{story:?}");
    }
}

#[test]
fn it_says_what_came_instead_of_data() {
    for (messages, words) in [(0, "no data for 10 s"), (1, "a message came"), (7, "7 messages came")] {
        let mut subject = Subject::new();
        subject.happens(1, Happens::Answered);
        (0..messages).for_each(|_| subject.happens(2, Happens::Idled));
        subject.happens(11, Happens::Late);
        let reason = subject.machine.reason().unwrap_or_default();
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn it_waits_as_long_as_makes_sense() {
    let mut subject = Subject::new();
    let failing = Failing { at_least: Duration::from_secs(300), ..Failing::default() };
    let wait = subject.machine.failed(failing, 0.5, subject.now(0));
    assert_eq!(wait, Duration::from_secs(300));
}

proptest! {
    #[test]
    fn it_is_live_only_after_an_answer_and_never_late(story in prop::collection::vec((0_u64..15, 0_usize..10), 0..40)) {
        let mut subject = Subject::new();
        let (mut second, mut answered) = (0, None);
        for (wait, what) in story {
            second += wait;
            let what = [Happens::Opened, Happens::Answered, Happens::Failed, Happens::Refused, Happens::Asked(5),
                Happens::Late, Happens::Unable, Happens::Paused, Happens::Idled, Happens::Reached][what];
            subject.happens(second, what);
            if matches!(what, Happens::Answered) {
                answered = Some(second);
            }
            let state = subject.machine.state();
            prop_assert!(state != Live || answered.is_some());
            prop_assert_eq!(subject.machine.next().is_some(), matches!(state, BackingOff | AuthFailed));
            prop_assert!(subject.machine.since() <= second * 1_000_000);
            if matches!(what, Happens::Late) && state == Live {
                prop_assert!(subject.now(second).at < subject.machine.stale_at());
            }
        }
    }
}
