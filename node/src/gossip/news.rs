//! What happened in the mesh, in words.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anode_shared::ids::{LogKey, Origin};
use anode_shared::status::Level;

use super::presence::PeerState;
use super::view::TWIN;

/// How often the same stranger is told of: it may try for ever.
const STRANGER: Duration = Duration::from_secs(600);
/// The most strangers, and the most forked logs, that are remembered as told.
const MOST: usize = 1_024;
/// Over how long records must be missing before their repair is worth an event: gossip loses a batch now and then.
const WORTH: Duration = Duration::from_secs(1);
/// How often repair is told of at most.
const REPAIRS: Duration = Duration::from_secs(10);

/// Something that happened in the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A peer is known now that was not.
    Joined {
        /// Who.
        peer: Origin,
        /// Its name.
        name: String,
    },
    /// A peer's state changed.
    Changed {
        /// Whose.
        peer: Origin,
        /// Its name.
        name: String,
        /// What it was.
        from: PeerState,
        /// What it is.
        to: PeerState,
    },
    /// A node of another network or protocol was turned away.
    Refused {
        /// Its peer id.
        peer: String,
        /// What this node speaks.
        ours: String,
        /// What it speaks.
        theirs: String,
    },
    /// A handshake failed as it does between nodes of which one lacks the other's network key.
    Garbled {
        /// With whom.
        address: String,
        /// Whether this node has a key.
        key: bool,
    },
    /// A log was proved forked.
    Forked {
        /// Which.
        log: LogKey,
        /// Its origin's name, where that is known.
        name: Option<String>,
        /// The first seq that does not count.
        from: u64,
    },
    /// What was missing is here.
    Repaired {
        /// How many records peers gave.
        records: u64,
        /// In what time.
        took: Duration,
    },
    /// A peer broke the rules again and again and is cut off for a while.
    Cut {
        /// Which.
        peer: Origin,
        /// What it did, after "it".
        what: &'static str,
    },
    /// Two nodes speak with one identity.
    Twin {
        /// Which.
        peer: Origin,
        /// Whether it is this node's own.
        own: bool,
    },
}

impl News {
    /// How much it matters, its kind in one word or two, and the same in a sentence.
    pub fn words(&self) -> (Level, &'static str, String) {
        match self {
            Self::Joined { peer, name } => {
                (Level::Info, "peer_joined", format!("{name} ({peer}) joined the mesh"))
            }
            Self::Changed { peer, name, from, to } => {
                let (level, kind, what) = match to {
                    PeerState::Alive if *from == PeerState::Suspect => {
                        (Level::Info, "peer_alive", "is heard again")
                    }
                    PeerState::Alive => (Level::Info, "peer_back", "is back"),
                    PeerState::Suspect => {
                        (Level::Warn, "peer_suspect", "is silent, or its connection closed")
                    }
                    PeerState::Left => (Level::Info, "peer_left", "left the mesh"),
                    PeerState::Dead => {
                        (Level::Warn, "peer_dead", "has been silent for too long and counts as dead")
                    }
                };
                (level, kind, format!("{name} ({peer}) {what}"))
            }
            Self::Refused { peer, ours, theirs } => {
                (Level::Warn, "peer_refused", format!("{peer} was turned away: {}", differ(ours, theirs)))
            }
            Self::Garbled { address, key } => {
                let lacks = if *key {
                    "it has another network key, or none"
                } else {
                    "it has a network key, and this node has none"
                };
                (
                    Level::Warn,
                    "peer_refused",
                    format!(
                        "the node at {address} was not understood: perhaps {lacks}; give both the same --network-key"
                    ),
                )
            }
            Self::Forked { log, name, from } => {
                let name = name.as_ref().map_or_else(String::new, |name| format!(" of {name}"));
                (
                    Level::Error,
                    "log_forked",
                    format!(
                        "the log {log}{name} ends before seq {from}: its origin signed two different continuations"
                    ),
                )
            }
            Self::Repaired { records, took } => (
                Level::Info,
                "records_repaired",
                format!(
                    "peers gave {records} records that were missing here, in {:.1} s; nothing is missing now",
                    took.as_secs_f64()
                ),
            ),
            Self::Cut { peer, what } => {
                (Level::Warn, "peer_cut", format!("{peer} {what} and is cut off for ten minutes"))
            }
            Self::Twin { own: true, .. } => (Level::Error, "identity_twice", TWIN.to_owned()),
            Self::Twin { peer, .. } => (
                Level::Warn,
                "identity_twice",
                format!(
                    "two nodes run with the identity {peer}; stop one of them, and give it its own --data-dir"
                ),
            ),
        }
    }
}

/// Why two nodes do not speak with each other, by what each says that it speaks: `/anode/<version>/<network>`.
fn differ(ours: &str, theirs: &str) -> String {
    let parts = |text: &str| {
        let (version, network) = text.strip_prefix("/anode/")?.split_once('/')?;
        Some((version.to_owned(), network.to_owned()))
    };
    match (parts(ours), parts(theirs)) {
        (Some((ours, _)), Some((theirs, _))) if ours != theirs => {
            format!("it speaks version {theirs} of the protocol, this node {ours}; bring both to one version")
        }
        (Some((_, ours)), Some((_, theirs))) => {
            format!("it belongs to the network `{theirs}`, this node to `{ours}`; --network names it")
        }
        _ => format!("it is no aNode, for it speaks `{theirs}`"),
    }
}

/// Whether a dial failed as it does where somebody was there and was not understood, by libp2p's words: it wraps errors so
/// often that nothing else is left of them. Without a key a silence says nothing.
pub(super) fn is_garbled(error: &str, key: bool) -> bool {
    let lower = error.to_lowercase();
    let nobody = ["os error", "dns", "resolve", "not supported"].iter().any(|word| lower.contains(word));
    // Whoever does not understand may also reset the connection, in the midst of the handshake.
    lower.contains("handshake failed") || !nobody && (key || !lower.contains("timeout"))
}

/// What is told, and when it is enough.
#[derive(Debug, Default)]
pub(super) struct Teller {
    strangers: BTreeMap<String, (String, Instant)>,
    forked: BTreeSet<LogKey>,
    /// How many records repair had stored when last none was missing.
    stored: u64,
    /// Between which looks records were missing, where they are.
    missing: Option<(Instant, Instant)>,
    /// What repair did and was not told of yet.
    untold: (u64, Duration),
    told: Option<Instant>,
}

impl Teller {
    /// A stranger was turned away, for a reason.
    pub(super) fn refused(&mut self, news: News, now: Instant) -> Option<News> {
        let (who, why) = match &news {
            News::Refused { peer, theirs, .. } => (peer.clone(), theirs.clone()),
            News::Garbled { address, .. } => (address.clone(), String::new()),
            _ => return Some(news),
        };
        self.strangers.retain(|_, (_, told)| now.saturating_duration_since(*told) < STRANGER);
        let known = self.strangers.get(&who).is_some_and(|(told, _)| *told == why);
        if known || self.strangers.len() >= MOST {
            return None;
        }
        self.strangers.insert(who, (why, now));
        Some(news)
    }

    /// A log ends at a fork. What was known at the start is no news.
    pub(super) fn forked(
        &mut self,
        log: LogKey,
        name: Option<String>,
        from: u64,
        at_start: bool,
    ) -> Option<News> {
        let news = self.forked.len() < MOST && self.forked.insert(log) && !at_start;
        news.then_some(News::Forked { log, name, from })
    }

    /// So many records are missing, and so many were stored by repair since the start.
    pub(super) fn repairing(&mut self, missing: u64, stored: u64, now: Instant) -> Option<News> {
        if missing > 0 {
            self.missing.get_or_insert((now, now)).1 = now;
            return None;
        }
        let records = stored - std::mem::replace(&mut self.stored, stored);
        let (from, to) = self.missing.take().unwrap_or((now, now));
        if to - from >= WORTH && records > 0 {
            self.untold = (self.untold.0 + records, self.untold.1 + (to - from));
        }
        let soon = self.told.is_some_and(|told| now.saturating_duration_since(told) < REPAIRS);
        if self.untold.0 == 0 || soon {
            return None;
        }
        self.told = Some(now);
        let (records, took) = std::mem::take(&mut self.untold);
        Some(News::Repaired { records, took })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anode_shared::ids::LogId;

    #[test]
    fn it_says_on_both_sides_why_nodes_stay_apart() {
        let check = |ours: &str, theirs: &str, words: &[&str]| {
            let said = differ(ours, theirs);
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        };
        check("/anode/1/red", "/anode/1/blue", &["network `blue`", "to `red`", "--network"]);
        check("/anode/1/red", "/anode/2/red", &["version 2", "node 1"]);
        check("/anode/1/red", "/anode/2/blue", &["version 2"]);
        check("/anode/1/red", "ipfs/0.1.0", &["no aNode", "`ipfs/0.1.0`"]);
        for (key, words) in [(true, "another network key, or none"), (false, "this node has none")] {
            let (_, kind, said) = News::Garbled { address: "/ip4/1.2.3.4".to_owned(), key }.words();
            assert!(
                kind == "peer_refused" && said.contains(words) && said.contains("--network-key"),
                "{said}"
            );
        }
    }

    #[test]
    fn it_tells_strangers_from_silence() {
        for (error, key, garbled) in [
            ("Failed to negotiate: Handshake failed: input error", false, true),
            ("Failed to negotiate: Connection refused (os error 111)", true, false),
            ("Failed to negotiate: Handshake failed: Connection reset by peer (os error 104)", false, true),
            ("Failed to negotiate: Timeout has been reached", true, true),
            ("Failed to negotiate: Timeout has been reached", false, false),
            ("failed to resolve dns name", true, false),
        ] {
            assert_eq!(is_garbled(error, key), garbled, "{error}");
        }
    }

    #[test]
    fn it_tells_of_a_stranger_once_in_a_while() {
        let (mut teller, start) = (Teller::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let news = |peer: u64, theirs: &str| News::Refused {
            peer: peer.to_string(),
            ours: "o".to_owned(),
            theirs: theirs.to_owned(),
        };
        for (peer, theirs, seconds, tells) in [
            (1, "a", 0, true),
            (1, "a", 1, false),
            (2, "a", 2, true),
            (1, "b", 3, true),
            (1, "b", 602, false),
            (1, "b", 603, true),
        ] {
            let told = teller.refused(news(peer, theirs), at(seconds));
            assert_eq!(told.is_some(), tells, "{peer} {theirs} {seconds}");
        }
        let told = (0..2 * MOST as u64).filter(|peer| teller.refused(news(*peer, "c"), at(604)).is_some());
        assert!(told.count() <= MOST && teller.strangers.len() <= MOST);
    }

    #[test]
    fn it_tells_of_a_fork_once() {
        let mut teller = Teller::default();
        let log = |number| LogKey { origin: Origin([7; 32]), log: LogId(number) };
        assert_eq!(teller.forked(log(1), None, 5, true), None, "an old one");
        assert_eq!(teller.forked(log(1), None, 5, false), None);
        let news = teller.forked(log(2), Some("red".to_owned()), 5, false).unwrap();
        assert!(news.words().2.contains("of red ends before seq 5"), "{}", news.words().2);
        assert_eq!(teller.forked(log(2), None, 4, false), None);
    }

    #[test]
    fn it_tells_of_repairs_that_took_their_time() {
        let (mut teller, start) = (Teller::default(), Instant::now());
        let mut look = |tenths: u64, missing, stored| {
            let news = teller.repairing(missing, stored, start + Duration::from_millis(tenths * 100));
            news.map(|news| match news {
                News::Repaired { records, took } => (records, took.as_millis()),
                _ => unreachable!(),
            })
        };
        for (tenths, missing, stored, told) in [
            (0, 0, 10, None),
            // Too short.
            (5, 3, 10, None),
            (10, 0, 13, None),
            (15, 9, 15, None),
            (30, 1, 21, None),
            (35, 0, 22, Some((9, 1_500))),
            // Too soon, so told together.
            (40, 5, 22, None),
            (60, 5, 25, None),
            (65, 0, 27, None),
            (70, 5, 27, None),
            (80, 5, 27, None),
            (85, 0, 28, None),
            (134, 0, 28, None),
            (135, 0, 28, Some((6, 3_000))),
            // Nobody gave anything: it lay below somebody's floor.
            (300, 5, 28, None),
            (320, 0, 28, None),
            (500, 0, 28, None),
        ] {
            assert_eq!(look(tenths, missing, stored), told, "{tenths}");
        }
    }
}
