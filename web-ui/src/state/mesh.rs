//! The nodes of the mesh as this one knows them, and each of them in words.

use std::collections::BTreeMap;

use anode_shared::mesh::{PeerLink, PeerState, PeerStatus};
use anode_shared::status::{Component, State, Status};

use super::ago::span;
use super::number::{count, millis};
use super::row::short;
use super::summary::word;

/// In which order the states deserve a look.
const ORDER: [PeerState; 4] = [PeerState::Suspect, PeerState::Dead, PeerState::Alive, PeerState::Left];
/// What stands where there is nothing to say.
const NOTHING: &str = "–";
/// Clocks that differ by less, milliseconds, are right enough.
const CLOCK_MS: f64 = 1_000.0;

/// All nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    /// The node that shows the page, as it would show another one.
    own: Option<PeerStatus>,
    /// The others, by name.
    others: Vec<PeerStatus>,
    /// Whether the others were told.
    is_told: bool,
    /// How many records this node accepted.
    accepted: f64,
    /// How many records are missing here, and the most that were since none was.
    missing: (f64, f64),
}

impl Nodes {
    /// Takes what the node says of itself.
    pub fn look(&mut self, status: &Status) {
        let figure = |of: &Component, name: &str| {
            of.figures.get(name).and_then(serde_json::Value::as_f64).unwrap_or_default()
        };
        let (of, node) = (&status.components, &status.node);
        let missing = figure(&of.gossip, "missing_records");
        self.missing = (missing, if missing > 0.0 { missing.max(self.missing.1) } else { 0.0 });
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, of far less")]
        let few = |of: &Component, name: &str| figure(of, name).round() as u32;
        self.accepted = figure(&of.pipeline, "records");
        self.own = Some(PeerStatus {
            id: node.id.clone(),
            name: node.name.clone(),
            version: node.version.clone(),
            addresses: node.addresses.clone(),
            state: PeerState::Alive,
            since: String::new(),
            last_seen: String::new(),
            connected: false,
            rtt_ms: None,
            // The node does not name its own logs, and its components have their own page.
            heads: BTreeMap::new(),
            lag: 0,
            links: Vec::new(),
            clock_offset_ms: None,
            records_per_s: few(&of.pipeline, "records_per_s"),
            subscribers: few(&of.feed, "subscribers"),
            sources: few(&of.sources, "sources"),
            components: BTreeMap::new(),
        });
        self.link();
    }

    /// Takes what changed of the others. The first message of a connection is the whole truth.
    pub fn merge(&mut self, changed: Vec<PeerStatus>, removed: &[String], is_first: bool) {
        if is_first {
            self.others.clear();
            self.is_told = true;
        }
        self.others.retain(|known| {
            !removed.contains(&known.id) && changed.iter().all(|changed| changed.id != known.id)
        });
        for peer in changed {
            let place =
                self.others.partition_point(|known| (&known.name, &known.id) < (&peer.name, &peer.id));
            self.others.insert(place, peer);
        }
        self.link();
    }

    /// Has this node name its connections, as the others name theirs.
    fn link(&mut self) {
        if let Some(own) = &mut self.own {
            let linked = self.others.iter().filter(|peer| peer.connected);
            own.links = linked.map(|peer| PeerLink { id: peer.id.clone(), rtt_ms: peer.rtt_ms }).collect();
        }
    }

    /// Whether all is known that there is.
    pub fn is_told(&self) -> bool {
        self.is_told && self.own.is_some()
    }

    /// Whether no other node was ever met.
    pub fn is_alone(&self) -> bool {
        self.is_told && self.others.is_empty()
    }

    /// Whether it is the node that shows the page.
    pub fn is_own(&self, id: &str) -> bool {
        self.own.as_ref().is_some_and(|own| own.id == id)
    }

    /// All nodes: this one, then the others by name.
    pub fn all(&self) -> impl Iterator<Item = &PeerStatus> {
        self.own.iter().chain(&self.others)
    }

    /// The node of that id.
    pub fn get(&self, id: &str) -> Option<&PeerStatus> {
        self.all().find(|node| node.id == id)
    }

    /// The ids: this node, then the others, trouble before health.
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.own.iter().map(|own| own.id.clone()).collect();
        for state in ORDER {
            for peer in &self.others {
                if peer.state == state {
                    ids.push(peer.id.clone());
                }
            }
        }
        ids
    }

    /// The states that any is in: `3 alive, 1 dead`.
    pub fn census(&self) -> String {
        let mut words = String::new();
        for state in [PeerState::Alive, PeerState::Suspect, PeerState::Dead, PeerState::Left] {
            let count = self.all().filter(|node| node.state == state).count();
            if count > 0 {
                let comma = if words.is_empty() { "" } else { ", " };
                words += &format!("{comma}{count} {}", state.word());
            }
        }
        words
    }

    /// How many records came of those that were missing, and how many those were; none where none is missing.
    pub fn filling(&self) -> Option<(f64, f64)> {
        let (missing, most) = self.missing;
        (missing > 0.0).then_some((most - missing, most))
    }

    fn name(&self, id: &str) -> String {
        self.get(id).map_or_else(|| short(id), |node| node.name.clone())
    }
}

/// The shape that stands for a state.
pub fn shape(state: PeerState) -> State {
    match state {
        PeerState::Alive => State::Ok,
        PeerState::Suspect => State::Degraded,
        PeerState::Dead => State::Down,
        PeerState::Left => State::Off,
    }
}

/// Something to say of a node: what it is, and how it is said.
pub type Fact = (&'static str, fn(&Nodes, &PeerStatus) -> String);

/// What the table says of each.
pub const CELLS: [Fact; 5] = [
    ("Version", |_, node| node.version.clone()),
    ("Round trip", |_, node| node.rtt_ms.map_or_else(|| NOTHING.to_owned(), millis)),
    ("Lag", |nodes, node| match node.lag {
        _ if nodes.is_own(&node.id) => NOTHING.to_owned(),
        0 => "up to date".to_owned(),
        lag => format!("{} records", count(figure(lag))),
    }),
    ("Accepted", |nodes, node| {
        let own = if nodes.is_own(&node.id) { nodes.accepted } else { 0.0 };
        count(own + node.heads.values().map(|head| figure(*head)).sum::<f64>())
    }),
    ("Load", load),
];

/// What is said besides of the one that is looked at; nothing where it is as it should be.
pub const FACTS: [Fact; 4] = [
    ("Links", |nodes, node| {
        let one = |link: &PeerLink| {
            let rtt = link.rtt_ms.map(|rtt| format!(" {}", millis(rtt))).unwrap_or_default();
            format!("{}{rtt}", nodes.name(&link.id))
        };
        node.open_links().iter().map(one).collect::<Vec<_>>().join(", ")
    }),
    ("Logs", |_, node| {
        node.heads
            .iter()
            .map(|(log, head)| format!("{log} up to {}", count(figure(*head))))
            .collect::<Vec<_>>()
            .join(", ")
    }),
    ("Components", |_, node| {
        let trouble = node.components.iter().filter(|(_, state)| !matches!(state, State::Ok | State::Off));
        trouble.map(|(name, state)| format!("{name} {}", word(*state))).collect::<Vec<_>>().join(", ")
    }),
    ("Clock", |_, node| match node.clock_offset_ms {
        Some(offset) if offset.abs() >= CLOCK_MS => {
            format!("{} {}", span(offset.abs() / 1e3), if offset > 0.0 { "ahead" } else { "behind" })
        }
        _ => String::new(),
    }),
];

/// What a node has to do; who is gone has nothing to.
fn load(_: &Nodes, node: &PeerStatus) -> String {
    if !matches!(node.state, PeerState::Alive | PeerState::Suspect) {
        return NOTHING.to_owned();
    }
    let mut words = format!("{}/s", count(node.records_per_s.into()));
    for (number, one) in [(node.sources, "source"), (node.subscribers, "subscriber")] {
        if number > 0 {
            words += &format!(", {number} {one}{}", if number == 1 { "" } else { "s" });
        }
    }
    words
}

#[expect(clippy::cast_precision_loss, reason = "shown rounded anyway")]
fn figure(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A peer with links to others of these ids.
    pub(in crate::state) fn peer(id: &str, name: &str, state: PeerState, links: &[&str]) -> PeerStatus {
        let link = |id: &&str| PeerLink { id: (*id).to_owned(), rtt_ms: Some(0.5) };
        PeerStatus {
            id: id.to_owned(),
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            addresses: Vec::new(),
            state,
            since: String::new(),
            last_seen: String::new(),
            connected: links.contains(&"me"),
            rtt_ms: None,
            heads: BTreeMap::from([("l1".to_owned(), 1_000), ("l2".to_owned(), 234)]),
            lag: 0,
            links: links.iter().map(link).collect(),
            clock_offset_ms: None,
            records_per_s: 20,
            subscribers: 2,
            sources: 1,
            components: BTreeMap::from([
                ("store".to_owned(), State::Degraded),
                ("feed".to_owned(), State::Ok),
            ]),
        }
    }

    fn status(missing: u64) -> Status {
        let off = r#"{"state":"off","detail":null,"since":""}"#;
        let json = format!(
            r#"{{"node":{{"id":"me","name":"m","network":"","version":"","uptime_s":0,"addresses":[],"retention":{{"age_s":0,"bytes":0}}}},
                "components":{{"sources":{off},"archive":{off},"store":{off},"feed":{off},
                "pipeline":{{"state":"ok","detail":null,"since":"","records":7}},
                "gossip":{{"state":"ok","detail":null,"since":"","missing_records":{missing}}}}}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    /// This node, and some others.
    pub(in crate::state) fn mesh(others: Vec<PeerStatus>) -> Nodes {
        let mut nodes = Nodes::default();
        nodes.look(&status(0));
        nodes.merge(others, &[], true);
        nodes
    }

    fn said(facts: &[Fact], name: &str, nodes: &Nodes, id: &str) -> String {
        let (_, words) = facts.iter().find(|(other, _)| *other == name).unwrap();
        words(nodes, nodes.get(id).unwrap())
    }

    #[test]
    fn it_shows_trouble_first_and_itself_before_all() {
        let nodes = mesh(vec![
            peer("d", "a", PeerState::Left, &[]),
            peer("c", "z", PeerState::Alive, &[]),
            peer("b", "y", PeerState::Alive, &[]),
            peer("a", "x", PeerState::Dead, &[]),
            peer("e", "w", PeerState::Suspect, &[]),
        ]);
        assert_eq!(nodes.ids(), ["me", "e", "a", "b", "c", "d"]);
        assert_eq!(nodes.census(), "3 alive, 1 suspect, 1 dead, 1 left");
    }

    #[test]
    fn it_follows_what_the_node_says() {
        let mut nodes = Nodes::default();
        nodes.merge(vec![peer("a", "a", PeerState::Alive, &["me"])], &[], true);
        assert!(!nodes.is_told() && !nodes.is_alone(), "it does not know itself yet");
        nodes.look(&status(0));
        assert!(nodes.is_told() && nodes.is_own("me") && !nodes.is_own("a"));
        assert_eq!(nodes.get("me").unwrap().links.len(), 1);
        nodes.merge(vec![peer("a", "b", PeerState::Dead, &[])], &[], false);
        assert_eq!((nodes.ids().len(), nodes.get("a").unwrap().name.as_str()), (2, "b"));
        assert!(nodes.get("me").unwrap().links.is_empty());
        nodes.merge(Vec::new(), &["a".to_owned()], false);
        assert!(nodes.is_alone());
        nodes.merge(vec![peer("b", "b", PeerState::Alive, &[])], &[], false);
        nodes.merge(vec![peer("c", "c", PeerState::Alive, &[])], &[], true);
        assert_eq!(nodes.ids(), ["me", "c"]);
    }

    #[test]
    fn it_counts_what_came_of_what_was_missing() {
        let mut nodes = Nodes::default();
        for (missing, filling) in [
            (0, None),
            (100, Some((0.0, 100.0))),
            (40, Some((60.0, 100.0))),
            (130, Some((0.0, 130.0))),
            (0, None),
            (10, Some((0.0, 10.0))),
        ] {
            nodes.look(&status(missing));
            assert_eq!(nodes.filling(), filling, "{missing}");
        }
    }

    #[test]
    fn it_says_how_a_node_is() {
        let mut late = peer("a", "a", PeerState::Alive, &["me", "gone-and-never-heard-of"]);
        (late.lag, late.rtt_ms, late.clock_offset_ms) = (1_200, Some(12.3), Some(-4_200.0));
        let nodes = mesh(vec![late, peer("b", "b", PeerState::Dead, &["me"])]);
        for (facts, name, id, words) in [
            (&CELLS[..], "Lag", "a", "1,200 records"),
            (&CELLS, "Lag", "b", "up to date"),
            (&CELLS, "Lag", "me", "–"),
            (&CELLS, "Round trip", "a", "12 ms"),
            (&CELLS, "Round trip", "b", "–"),
            (&CELLS, "Accepted", "a", "1,234"),
            (&CELLS, "Accepted", "me", "7"),
            (&CELLS, "Load", "a", "20/s, 1 source, 2 subscribers"),
            (&CELLS, "Load", "b", "–"),
            (&FACTS, "Links", "a", "m 0.5 ms, gone-a…ard-of 0.5 ms"),
            (&FACTS, "Links", "b", ""),
            (&FACTS, "Logs", "a", "l1 up to 1,000, l2 up to 234"),
            (&FACTS, "Components", "a", "store degraded"),
            (&FACTS, "Clock", "a", "4 s behind"),
            (&FACTS, "Clock", "b", ""),
        ] {
            assert_eq!(said(facts, name, &nodes, id), words, "{name} {id}");
        }
    }
}
