//! History: records by time, in pages that all show the same moment: what is stored, and what peers lend below the floor.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use anode_shared::codec;
use anode_shared::cursor::Cursor;
use anode_shared::frames::Gap;
use anode_shared::ids::LogKey;
use anode_shared::time::Micros;
use anode_shared::topic::Topics;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::loaded::Loaded;
use super::shared::Shared;

mod answer;
mod lent;
mod walk;

use answer::Answer;

/// In which order a page shows records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Direction {
    /// Oldest first.
    #[default]
    Asc,
    /// Newest first.
    Desc,
}

/// What history is asked for.
pub struct History<'a> {
    /// Records of these topics.
    pub topics: &'a Topics,
    /// At or after this time.
    pub since: Option<Micros>,
    /// Before this time.
    pub until: Option<Micros>,
    /// Beyond this cursor.
    pub after: Option<&'a Cursor>,
    /// In which order, by time.
    pub direction: Direction,
    /// How many at most.
    pub limit: usize,
    /// Where the last page ended.
    pub page: Option<&'a str>,
    /// What of the question's text a page's token is bound to.
    pub fingerprint: u64,
    /// The filter.
    pub keep: &'a dyn Fn(&Loaded, usize) -> bool,
    /// When to stop scanning.
    pub deadline: Instant,
    /// Until when peers are asked for what this node dropped; none: as long as something comes.
    pub lend_until: Option<Instant>,
}

impl std::fmt::Debug for History<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History")
            .field("topics", self.topics)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// The records: a batch, and a place in it.
    pub records: Vec<(Arc<Loaded>, usize)>,
    /// What is missing in the range.
    pub gaps: Vec<Gap>,
    /// Where the next page begins; none where this is the last.
    pub next: Option<String>,
    /// The moment that all pages show, to go on live from.
    pub cursor: Cursor,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The page's token is none, or belongs to another question.
    #[error("`page` is not what this query's last answer gave as `next`; begin again without it")]
    Page,
    /// Storage failed.
    #[error("storage could not be read: {0}")]
    Storage(#[from] io::Error),
}

/// The version of a page's token.
const VERSION: u8 = 2;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Token {
    version: u8,
    fingerprint: u64,
    /// The moment: the number of the next arrival when the first page was asked for.
    moment: u64,
    /// The same moment as a cursor.
    cursor: Cursor,
    /// Since when all pages have waited for what peers are to lend, and nothing came.
    waits: Option<Micros>,
    /// The logs that are not finished, each with a time that does not come behind what is left of it, and the seqs still to be
    /// shown: so what expires between two pages is named.
    ranges: Vec<(LogKey, Micros, u64, u64)>,
}

impl Token {
    fn parse(text: &str, fingerprint: u64) -> Result<Self, HistoryError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| HistoryError::Page)?;
        let token: Self = codec::decode(&bytes).map_err(|_| HistoryError::Page)?;
        if token.version == VERSION && token.fingerprint == fingerprint {
            Ok(token)
        } else {
            Err(HistoryError::Page)
        }
    }

    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(codec::encode(self))
    }
}

impl Shared {
    /// Answers a question about history. Blocks.
    pub(crate) fn history(&self, ask: &History<'_>) -> Result<Page, HistoryError> {
        let mut answer = match ask.page {
            Some(page) => Answer::go_on(self, ask, Token::parse(page, ask.fingerprint)?),
            None => Answer::begin(self, ask)?,
        };
        let (records, next) = answer.walk()?;
        let Answer { gaps, cursor, .. } = answer;
        Ok(Page { records, gaps: gaps.into_values().collect(), next, cursor })
    }
}
