//! A message of the watch, or a list of sources. All kinds are read by one flat shape: deciding by `type` first would mean
//! reading twice.

use anode_shared::mesh::PeerStatus;
use anode_shared::source::{SourceList, SourceView, Unreachable};
use anode_shared::status::{Components, Event, NodeStatus, Status, Watch};
use serde::Deserialize;

#[derive(Deserialize)]
struct Flat {
    node: Option<NodeStatus>,
    components: Option<Components>,
    events: Option<Vec<Event>>,
    sources: Option<Vec<SourceView>>,
    peers: Option<Vec<PeerStatus>>,
    removed: Option<Vec<String>>,
    unreachable: Option<Vec<Unreachable>>,
}

/// Reads a message; `None` where it is of a kind that this page does not know.
pub fn read(text: &str) -> Option<Watch> {
    let flat: Flat = serde_json::from_str(text).ok()?;
    match flat {
        Flat { node: Some(node), components: Some(components), .. } => {
            Some(Watch::Status(Box::new(Status { node, components })))
        }
        Flat { events: Some(events), .. } => Some(Watch::Events { events }),
        Flat { sources: Some(sources), removed, .. } => {
            Some(Watch::Sources { sources, removed: removed.unwrap_or_default() })
        }
        Flat { peers: Some(peers), removed, .. } => {
            Some(Watch::Peers { peers, removed: removed.unwrap_or_default() })
        }
        _ => None,
    }
}

/// Reads a list of sources, of one node or of several.
pub fn sources(text: &str) -> Option<SourceList> {
    let flat: Flat = serde_json::from_str(text).ok()?;
    Some(SourceList { sources: flat.sources?, next: None, unreachable: flat.unreachable.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::source::tests::source;
    use anode_shared::source::SourceState;

    #[test]
    fn it_reads_lists_of_sources() {
        let silent = Unreachable { id: "i".to_owned(), name: "n".to_owned(), detail: "d".to_owned() };
        for unreachable in [vec![silent], Vec::new()] {
            let list = SourceList { sources: vec![source("a", SourceState::Live)], next: None, unreachable };
            assert_eq!(sources(&serde_json::to_string(&list).unwrap()), Some(list));
        }
        assert_eq!(sources(r#"{"peers":[]}"#), None);
    }

    #[test]
    fn it_reads_what_the_node_writes() {
        let off = r#"{"state":"off","detail":null,"since":"","figure":1}"#;
        let status = format!(
            r#"{{"node":{{"id":"","name":"n","network":"","version":"","uptime_s":0,"addresses":[],"retention":{{"age_s":0,"bytes":0}}}},
                "components":{{"sources":{off},"pipeline":{off},"gossip":{off},"archive":{off},"store":{off},"feed":{off}}}}}"#
        );
        let event = r#"{"id":1,"time":"","level":"info","component":"a","kind":"b","detail":"c"}"#;
        for message in [
            Watch::Status(Box::new(serde_json::from_str(&status).unwrap())),
            Watch::Events { events: vec![serde_json::from_str(event).unwrap()] },
            Watch::Events { events: Vec::new() },
            Watch::Sources { sources: vec![source("a", SourceState::Live)], removed: vec!["b".to_owned()] },
            Watch::Peers { peers: Vec::new(), removed: vec!["b".to_owned()] },
        ] {
            assert_eq!(read(&serde_json::to_string(&message).unwrap()), Some(message));
        }
        for unknown in ["", "{}", r#"{"type":"weather","clouds":[]}"#, r#"{"type":"status","node":{}}"#] {
            assert_eq!(read(unknown), None, "{unknown}");
        }
    }
}
