//! The way to the first record: which steps of it are behind the visitor.

use anode_shared::status::Status;

use super::sources::Sources;

/// The steps that are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// There is a source.
    pub has_source: bool,
    /// There is a record.
    pub has_record: bool,
    /// A client follows the feed.
    pub has_client: bool,
}

impl Progress {
    /// Reads it off what the node says of itself.
    pub fn of(status: &Status, sources: Option<&Sources>) -> Self {
        let count = |figures: &std::collections::BTreeMap<String, serde_json::Value>, name: &str| {
            figures.get(name).and_then(serde_json::Value::as_f64).unwrap_or_default()
        };
        Self {
            has_source: sources.is_some_and(|sources| !sources.is_empty()),
            has_record: count(&status.components.store.figures, "topics") > 0.0,
            has_client: count(&status.components.feed.figures, "subscribers") > 0.0,
        }
    }

    /// Whether the way is still to be shown: until there is a record.
    pub fn is_new(self) -> bool {
        !self.has_record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_new_until_there_is_a_record() {
        let off = r#"{"state":"off","detail":null,"since":""}"#;
        let status = |topics: u8, subscribers: u8| -> Status {
            let json = format!(
                r#"{{"node":{{"id":"","name":"","network":"","version":"","uptime_s":0,"addresses":[],"retention":{{"age_s":0,"bytes":0}}}},
                    "components":{{"sources":{off},"pipeline":{off},"gossip":{off},"archive":{off},
                    "store":{{"state":"ok","detail":null,"since":"","topics":{topics}}},
                    "feed":{{"state":"ok","detail":null,"since":"","subscribers":{subscribers}}}}}}}"#
            );
            serde_json::from_str(&json).unwrap()
        };
        assert_eq!(Progress::of(&status(0, 0), None), Progress::default());
        assert!(Progress::of(&status(0, 1), Some(&Sources::default())).is_new());
        let late = Progress::of(&status(2, 1), None);
        assert_eq!((late.is_new(), late.has_client, late.has_source), (false, true, false));
    }
}
