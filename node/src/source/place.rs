//! Where reading goes on after a restart: what the upstream said of its last answer or event, kept once the records
//! are stored.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anode_shared::source::SourceDefinition;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::catalog;

/// The longest validator that is kept, bytes: it goes back as a header.
const LONGEST: usize = 4 << 10;

/// A place in an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Place {
    /// `ETag` of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
    /// `Last-Modified` of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) modified: Option<String>,
    /// The id of the last event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<String>,
}

/// What a place's file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// The definition that the answer was for: another one must see it again.
    definition: String,
    /// SHA-256 of the URL that the event came from: ids mean nothing elsewhere.
    url: String,
    place: Place,
}

/// Reads and writes one source's place.
#[derive(Debug, Clone)]
pub(super) struct Bookmark {
    path: PathBuf,
    definition: String,
    url: String,
    /// The newest version that was written; older ones that come late are left out.
    written: Arc<Mutex<u64>>,
}

impl Bookmark {
    /// The bookmark of a source in a folder.
    pub(super) fn new(dir: &Path, definition: &SourceDefinition) -> Self {
        let url: [u8; 32] = Sha256::digest(definition.url.as_bytes()).into();
        Self {
            path: dir.join(format!("{}.place", definition.name)),
            definition: hex(&definition.hash().0),
            url: hex(&url),
            written: Arc::default(),
        }
    }

    /// The place that was kept, as far as it means something to this definition. Blocks.
    pub(super) fn load(&self) -> Place {
        let entry = fs::read(&self.path).ok().and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).ok());
        let Some(entry) = entry else { return Place::default() };
        let same = entry.definition == self.definition;
        let (etag, modified) = if same { (entry.place.etag, entry.place.modified) } else { (None, None) };
        let event = entry.place.event.filter(|_| entry.url == self.url);
        Place { etag, modified, event }
    }

    /// Keeps a place, unless a newer version of it is kept already: over the process' end, though not over the machine's, where an older one costs records that
    /// come twice and are known by their keys. Blocks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn save(&self, place: &Place, version: u64) -> std::io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written >= version {
            return Ok(());
        }
        let entry =
            Entry { definition: self.definition.clone(), url: self.url.clone(), place: place.clone() };
        catalog::write_aside(&self.path, &serde_json::to_vec(&entry)?)?;
        *written = version;
        Ok(())
    }
}

/// A validator that can go back as it came.
pub(super) fn validator(value: Option<String>) -> Option<String> {
    value.filter(|text| !text.is_empty() && text.len() <= LONGEST)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bookmark(dir: &Path, change: &str, value: &str) -> Bookmark {
        let mut json = serde_json::json!({"name": "a", "kind": "sse", "url": "https://h/", "topic": "a"});
        json[change] = value.into();
        Bookmark::new(dir, &serde_json::from_value(json).unwrap())
    }

    #[test]
    fn it_goes_on_where_the_definition_allows_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = bookmark(dir.path(), "topic", "a");
        assert_eq!(first.load(), Place::default());
        let place =
            Place { etag: Some("\"x\"".into()), modified: Some("today".into()), event: Some("7".into()) };
        first.save(&place, 2).unwrap();
        first.save(&Place::default(), 1).unwrap();
        assert_eq!(first.load(), place);
        let other_topic = bookmark(dir.path(), "topic", "b").load();
        assert_eq!(other_topic, Place { event: Some("7".into()), ..Place::default() });
        assert_eq!(bookmark(dir.path(), "url", "https://other/").load(), Place::default());
        fs::write(dir.path().join("a.place"), b"{\"half").unwrap();
        assert_eq!(first.load(), Place::default());
    }
}
