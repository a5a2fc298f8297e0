//! What can be wrong with an upstream, on request: which fault a path has now.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// The most faults that are kept: more than anyone sets, few enough to look through at each request.
const MOST: usize = 1_024;
/// What `Retry-After` says with a 429 and a 503 where nobody says otherwise.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What all faults are called, with what each does; `GET /` shows it.
pub const WORDS: [(&str, &str); 20] = [
    (
        "401, 403, 404, 429, 500, 503, …",
        "that status; streams that are open end, and get it when they come back. 429:SECONDS and 503:SECONDS choose Retry-After",
    ),
    ("hang", "the request is taken and never answered; open streams send nothing any more"),
    ("silence", "the answer begins, its data never comes"),
    ("heartbeats", "streams send comments, heartbeats and acks, no data"),
    ("malformed", "JSON that ends too early"),
    ("html", "a web page where JSON should be, with status 200"),
    ("empty", "an answer of no bytes"),
    ("binary", "bytes that are no text"),
    ("truncated", "the connection breaks in the middle of the answer"),
    ("slow", "one byte every 100 ms"),
    ("late", "the right answer, 3 s late"),
    ("drop", "the connection is closed without a word"),
    ("redirect-loop", "a redirect to itself"),
    ("redirect:URL", "a redirect to that URL"),
    ("bomb", "1 GiB, packed into 5 MiB"),
    ("deep", "a list in a list, 100,000 deep"),
    ("endless", "bytes without an end"),
    ("headers", "1 MiB of headers"),
    ("flood", "streams send as fast as the socket takes it"),
    (
        "expired, wrong-name, unknown-ca",
        "for the path `tls`: the certificate of --https; open connections are closed",
    ),
];

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`WORDS` says what each does")]
pub enum Fault {
    Status(u16, Option<Duration>),
    Hang,
    Silence,
    Heartbeats,
    Malformed,
    Html,
    Empty,
    Binary,
    Truncated,
    Slow,
    Late,
    Drop,
    RedirectLoop,
    Redirect(String),
    Bomb,
    Deep,
    Endless,
    Headers,
    Flood,
    Expired,
    WrongName,
    UnknownCa,
}

/// The faults that are one word.
const PLAIN: [(&str, Fault); 20] = [
    ("hang", Fault::Hang),
    ("silence", Fault::Silence),
    ("heartbeats", Fault::Heartbeats),
    ("malformed", Fault::Malformed),
    ("html", Fault::Html),
    ("empty", Fault::Empty),
    ("binary", Fault::Binary),
    ("truncated", Fault::Truncated),
    ("slow", Fault::Slow),
    ("late", Fault::Late),
    ("drop", Fault::Drop),
    ("redirect-loop", Fault::RedirectLoop),
    ("bomb", Fault::Bomb),
    ("deep", Fault::Deep),
    ("endless", Fault::Endless),
    ("headers", Fault::Headers),
    ("flood", Fault::Flood),
    ("expired", Fault::Expired),
    ("wrong-name", Fault::WrongName),
    ("unknown-ca", Fault::UnknownCa),
];

impl std::str::FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, fault)) = PLAIN.iter().find(|(name, _)| *name == text) {
            return Ok(fault.clone());
        }
        if let Some(url) = text.strip_prefix("redirect:").filter(|url| !url.is_empty()) {
            return Ok(Self::Redirect(url.to_owned()));
        }
        status(text).ok_or_else(|| {
            let names: Vec<_> = WORDS.iter().map(|(name, _)| *name).collect();
            format!("{text:?} is no fault; there are {}", names.join(", "))
        })
    }
}

/// Reads `500`, or `429:SECONDS`.
fn status(text: &str) -> Option<Fault> {
    let (code, wait) = text.split_once(':').map_or((text, None), |(code, wait)| (code, Some(wait)));
    let code = code.parse().ok().filter(|code| (400..600).contains(code))?;
    let wait = wait.map(|wait| wait.parse().ok().map(Duration::from_secs));
    match wait {
        Some(None) => None,
        Some(wait) => Some(Fault::Status(code, wait)),
        None => Some(Fault::Status(code, matches!(code, 429 | 503).then_some(RETRY_AFTER))),
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(code, None) => write!(f, "{code}"),
            Self::Status(code, Some(wait)) => write!(f, "{code}:{}", wait.as_secs()),
            Self::Redirect(url) => write!(f, "redirect:{url}"),
            plain => f.write_str(PLAIN.iter().find(|(_, fault)| fault == plain).map_or("", |(name, _)| name)),
        }
    }
}

/// The faults of all paths: a path, or a beginning of paths with `*` behind it.
#[derive(Debug)]
pub struct Faults {
    set: Mutex<BTreeMap<String, Fault>>,
    changed: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { set: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Faults {
    /// Breaks a path.
    ///
    /// # Errors
    /// When too many are broken.
    pub fn set(&self, path: &str, fault: Fault) -> Result<(), String> {
        let mut set = self.lock();
        if set.len() >= MOST && !set.contains_key(path) {
            return Err(format!("{MOST} paths have faults; mend some"));
        }
        set.insert(path.to_owned(), fault);
        drop(set);
        self.changed.send_modify(|change| *change += 1);
        Ok(())
    }

    /// Mends a path as it was given to [`Faults::set`], or all.
    pub fn mend(&self, path: Option<&str>) {
        match path {
            Some(path) => drop(self.lock().remove(path)),
            None => self.lock().clear(),
        }
        self.changed.send_modify(|change| *change += 1);
    }

    /// The fault of a path: its own, else that of the longest beginning.
    pub fn of(&self, path: &str) -> Option<Fault> {
        let set = self.lock();
        set.get(path)
            .or_else(|| {
                let begins = |key: &str| key.strip_suffix('*').is_some_and(|start| path.starts_with(start));
                set.iter()
                    .filter(|(key, _)| begins(key))
                    .max_by_key(|(key, _)| key.len())
                    .map(|(_, fault)| fault)
            })
            .cloned()
    }

    /// All that are set.
    pub fn all(&self) -> BTreeMap<String, String> {
        self.lock().iter().map(|(path, fault)| (path.clone(), fault.to_string())).collect()
    }

    /// Tells of changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Fault>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_faults_and_writes_them_back() {
        for text in
            PLAIN.iter().map(|(name, _)| *name).chain(["401", "500", "429:7", "503:1", "redirect:http://h/"])
        {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!("429".parse(), Ok(Fault::Status(429, Some(RETRY_AFTER))));
        assert_eq!("500".parse(), Ok(Fault::Status(500, None)));
        for bad in ["", "200", "600", "42", "429:", "429:x", "redirect:", "broken", "Hang"] {
            assert!(bad.parse::<Fault>().unwrap_err().contains("redirect-loop"), "{bad}");
        }
    }

    #[test]
    fn it_describes_every_fault() {
        for (name, _) in PLAIN {
            assert!(WORDS.iter().any(|(names, _)| names.split(", ").any(|one| one == name)), "{name}");
        }
    }

    #[test]
    fn it_breaks_the_paths_that_are_meant() {
        let faults = Faults::default();
        for (path, fault) in [("/rest/3", "500"), ("/rest/*", "hang"), ("*", "drop"), ("/sse/*", "silence")] {
            faults.set(path, fault.parse().unwrap()).unwrap();
        }
        for (path, expected) in [
            ("/rest/3", "500"),
            ("/rest/33", "hang"),
            ("/rest/all", "hang"),
            ("/sse/1", "silence"),
            ("/ws", "drop"),
        ] {
            assert_eq!(faults.of(path).unwrap().to_string(), expected, "{path}");
        }
        let mut changes = faults.changes();
        faults.mend(Some("/rest/*"));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert_eq!(faults.of("/rest/33"), Some(Fault::Drop));
        faults.mend(None);
        assert!(changes.has_changed().unwrap() && faults.of("/rest/3").is_none() && faults.all().is_empty());
    }

    #[test]
    fn it_keeps_a_bounded_number() {
        let faults = Faults::default();
        for n in 0..MOST {
            faults.set(&n.to_string(), Fault::Hang).unwrap();
        }
        assert!(faults.set("more", Fault::Hang).is_err());
        faults.set("0", Fault::Drop).unwrap();
    }
}
