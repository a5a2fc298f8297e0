//! `secrets.toml`: names and values, read again whenever the file changed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::warn;
use zeroize::Zeroize as _;

/// The longest file that is read: a wrong one must not fill the memory.
const MAX: u64 = 1 << 20;

/// The file, as it was when it was last read.
pub(super) struct File {
    path: PathBuf,
    read: Option<Version>,
    values: Result<BTreeMap<String, String>, String>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: None, values: Ok(BTreeMap::new()) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A value; none where the file or the name is not there.
    pub(super) fn get(&mut self, name: &str) -> Result<Option<String>, String> {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget();
                return Ok(None);
            }
            Err(error) => return Err(format!("{} cannot be read: {}", self.path.display(), error.kind())),
        };
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let version = Version { modified, length: metadata.len(), inode: metadata.ino() };
        if self.read != Some(version) {
            self.forget();
            if metadata.mode() & 0o077 != 0 {
                warn!(path = %self.path.display(), "Others can read the secrets; run: chmod 600 {}", self.path.display());
            }
            self.values = read(&self.path, metadata.len());
            self.read = Some(version);
        }
        self.values.as_ref().map(|values| values.get(name).cloned()).map_err(Clone::clone)
    }

    fn forget(&mut self) {
        if let Ok(values) = &mut self.values {
            values.values_mut().for_each(String::zeroize);
        }
        (self.read, self.values) = (None, Ok(BTreeMap::new()));
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.forget();
    }
}

fn read(path: &Path, length: u64) -> Result<BTreeMap<String, String>, String> {
    let shown = path.display();
    if length > MAX {
        return Err(format!("{shown} is larger than 1 MiB, which no file of secrets is"));
    }
    let mut text =
        fs::read_to_string(path).map_err(|error| format!("{shown} cannot be read: {}", error.kind()))?;
    // The parser's own words quote the line, which may hold a value: its number must do.
    let values = toml::from_str(&text).map_err(|error: toml::de::Error| {
        let before = error.span().map_or("", |span| text.get(..span.start).unwrap_or(""));
        let line = before.matches('\n').count() + 1;
        format!("{shown}:{line}: a line of secrets is NAME = \"value\"")
    });
    text.zeroize();
    values
}
