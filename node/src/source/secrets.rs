//! Secrets: definitions name them, the environment or a file in the data directory holds them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;
use zeroize::Zeroize as _;

use super::failure::{Failure, WORDS};

mod file;
mod scrub;

use self::file::File;
use self::scrub::Known;

/// How a reference begins; it ends with `}`.
const OPEN: &str = "${secret:";
/// The file in the data directory.
const FILE: &str = "secrets.toml";

/// Where secrets are found. A clone is the same place.
#[derive(Clone)]
pub struct Secrets {
    environment: fn(&str) -> Option<String>,
    found: Arc<Mutex<Found>>,
}

/// What is known of the secrets: what the file held when it was last read, and what must not be shown.
struct Found {
    file: File,
    /// Shared with those who look for values, which may take long: others read secrets meanwhile.
    known: Arc<Known>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// A text whose secrets are written out. It shows itself to nobody, and is zeroed when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Resolved {
    text: String,
    secret: bool,
}

impl Resolved {
    /// The text, for the upstream alone.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Whether a secret is in it.
    pub fn is_secret(&self) -> bool {
        self.secret
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secret { "Resolved(secret)" } else { "Resolved" })
    }
}

impl Drop for Resolved {
    fn drop(&mut self) {
        if self.secret {
            self.text.zeroize();
        }
    }
}

/// Why a reference leads to nothing. Its words never hold a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// Neither place has it.
    #[error(
        "the secret {name} is missing; set the variable ANODE_SECRET_{name}, or write it into {file}: {name} = \"…\""
    )]
    Unknown {
        /// Its name.
        name: String,
        /// The file that could hold it.
        file: PathBuf,
    },
    /// What stands there is no reference.
    #[error("`${{secret:…}}` takes a name of A-Z, 0-9 and _, at most 64 of them")]
    Malformed,
    /// The file cannot be used.
    #[error("{0}")]
    File(String),
}

impl From<Missing> for Failure {
    fn from(missing: Missing) -> Self {
        Self::new(anode_shared::source::Stage::Definition, missing.to_string())
    }
}

impl Secrets {
    /// The secrets of the process's environment and of a data directory.
    pub fn new(data_dir: &Path) -> Self {
        Self::with(data_dir, |name| std::env::var(name).ok())
    }

    fn with(data_dir: &Path, environment: fn(&str) -> Option<String>) -> Self {
        let found = Found { file: File::new(data_dir.join(FILE)), known: Arc::default() };
        Self { environment, found: Arc::new(Mutex::new(found)) }
    }

    /// Writes out the secrets that `text` refers to, as they are.
    ///
    /// # Errors
    /// When one is missing, or a reference is none.
    pub fn resolve(&self, text: &str) -> Result<Resolved, Missing> {
        self.replace(text, |_, value| value.to_owned())
    }

    /// Writes out the secrets that a URL refers to. In user, password, path and query they are percent-encoded, so
    /// that a value stays one value whatever it holds; a `/` in the path stays one.
    ///
    /// # Errors
    /// When one is missing, or the result is no URL.
    pub fn resolve_url(&self, text: &str) -> Result<Url, Failure> {
        let resolved = self.replace(text, |at, value| match place(text, at) {
            Place::Host => value.to_owned(),
            Place::Path => encode(value, "/"),
            Place::Other => encode(value, ""),
        });
        let resolved =
            resolved.map_err(|missing| Failure { field: Some("url".to_owned()), ..missing.into() })?;
        // The parser's own words may hold what it read.
        Url::parse(resolved.expose())
            .map_err(|error| Failure::of_field("url", format!("this is not a URL: {error}")))
    }

    /// The text with every value that was ever resolved replaced by its reference, also where it is percent-encoded,
    /// escaped or in base64: for words that come from elsewhere.
    pub fn scrub(&self, text: &str) -> String {
        let known = Arc::clone(&self.found.lock().unwrap_or_else(PoisonError::into_inner).known);
        known.scrub(text)
    }

    /// The same for words that an upstream may have made long: cut to what is kept of them. The cut is marked, by which
    /// a secret is known that it broke.
    pub fn scrub_words(&self, words: &str) -> String {
        if words.len() <= WORDS {
            return self.scrub(words);
        }
        self.scrub(&format!("{}…", &words[..words.floor_char_boundary(WORDS - '…'.len_utf8())]))
    }

    fn replace(&self, text: &str, written: impl Fn(usize, &str) -> String) -> Result<Resolved, Missing> {
        let mut resolved = Resolved { text: String::with_capacity(text.len()), secret: false };
        let mut at = 0;
        while let Some(open) = text[at..].find(OPEN).map(|open| at + open) {
            resolved.text.push_str(&text[at..open]);
            let name = &text[open + OPEN.len()..];
            let name = &name[..name.find('}').ok_or(Missing::Malformed)?];
            let mut value = self.value(name)?;
            let mut out = written(open, &value);
            resolved.text.push_str(&out);
            value.zeroize();
            out.zeroize();
            resolved.secret = true;
            at = open + OPEN.len() + name.len() + 1;
        }
        resolved.text.push_str(&text[at..]);
        Ok(resolved)
    }

    fn value(&self, name: &str) -> Result<String, Missing> {
        let is_name = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        if !(1..=64).contains(&name.len()) || !name.bytes().all(is_name) {
            return Err(Missing::Malformed);
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let value = match (self.environment)(&format!("ANODE_SECRET_{name}")) {
            Some(value) => value,
            None => found.file.get(name).map_err(Missing::File)?.ok_or_else(|| Missing::Unknown {
                name: name.to_owned(),
                file: found.file.path().to_owned(),
            })?,
        };
        if !found.known.holds(name, &value) {
            Arc::make_mut(&mut found.known).add(name, &value);
        }
        Ok(value)
    }
}

/// Where in a URL a reference stands.
enum Place {
    Host,
    Path,
    Other,
}

fn place(text: &str, at: usize) -> Place {
    let begin = text.find("://").map_or(0, |scheme| scheme + 3);
    let rest = &text[begin..];
    let end = begin + rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    // Within a reference there is none of these, so `end` never cuts one.
    if at < end {
        let user = text[begin..end].rfind('@').map(|user| begin + user);
        return if user.is_some_and(|user| at < user) { Place::Other } else { Place::Host };
    }
    if text[end..at].contains(['?', '#']) { Place::Other } else { Place::Path }
}

fn encode(value: &str, kept: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        let plain =
            byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.as_bytes().contains(&byte);
        if plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests;
