//! What the drivers share: an answer goes through the pipeline into the store, and its place is kept once it is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::source::{SourceKind, Stage};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::warn;

use super::connector::Connector;
use super::failure::Failure;
use super::gate::Gate;
use super::keys::Keys;
use super::live::Live;
use super::outbox::{Outbox, hand_over};
use super::place::{Bookmark, Place};
use super::prepare::Prepared;
use super::request::Http;
use super::secrets::Secrets;
use super::state::Failing;
use crate::pipeline::{Pipeline, Processed, Raw, Said};
use crate::store::{NewRecord, Refused, Store, system_time};

/// A place is kept at most so often: a file a second for each source is what a disk hardly notices.
const KEEP: Duration = Duration::from_secs(1);
/// Answers that took longer to process, or are longer, are processed where they hold up nobody else.
const SLOW: Duration = Duration::from_millis(1);
/// The same by length, where nothing is known yet.
const LONG: usize = 128 << 10;
/// After how many messages in a row that cannot be decoded a stream is taken for something else than it was.
const UNDECODED: u32 = 3;
/// How long the last records may take to reach stable storage once reading stops.
const LAST: Duration = Duration::from_secs(10);
/// Bytes of the hash that makes a key of an event: beyond chance for all that two minutes hold.
const KEY: usize = 18;

/// What became of a publish, with the place and the changes that it stands for.
type Stored = (Result<(), Refused>, (Option<Place>, Said));

/// What all sources read with.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) store: Store,
    pub(super) http: Http,
    pub(super) connector: Connector,
    pub(super) secrets: Secrets,
    pub(super) gate: Gate,
}

/// Why an attempt ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) stage: Stage,
    pub(super) failing: Failing,
    pub(super) field: Option<String>,
}

impl Ended {
    pub(super) fn new(stage: Stage, reason: impl Into<String>) -> Self {
        Self { stage, failing: Failing { reason: reason.into(), ..Failing::default() }, field: None }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        let auth = matches!(failure.status, Some(401 | 403));
        let failing = Failing {
            reason: failure.detail,
            auth,
            // With other statuses it is no wish to be left alone: a refused login keeps its own pause.
            retry_after: failure.retry_after.filter(|_| matches!(failure.status, Some(429 | 503))),
            at_least: Duration::ZERO,
        };
        Self { stage: failure.stage, failing, field: failure.field }
    }
}

impl From<Refused> for Ended {
    fn from(refused: Refused) -> Self {
        Self::new(Stage::Store, refused.to_string())
    }
}

/// An answer of an upstream.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) bytes: Bytes,
    pub(super) content_type: Option<String>,
    pub(super) status: u16,
    /// The id of the event that it is.
    pub(super) event: Option<String>,
    /// How long it took, where that is worth knowing.
    pub(super) took: Option<Duration>,
}

/// Whether an answer is processed aside by its length alone.
pub(super) fn is_long(bytes: &[u8]) -> bool {
    bytes.len() > LONG
}

/// Works where it holds up no other task, if the work may be long.
pub(super) fn aside<T>(long: bool, work: impl FnOnce() -> T) -> T {
    let threads =
        Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if long && threads { tokio::task::block_in_place(work) } else { work() }
}

/// One source while it is read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) context: Arc<Context>,
    pub(super) live: Arc<Live>,
    pipeline: Pipeline,
    definition: [u8; 32],
    bookmark: Bookmark,
    /// Where reading goes on.
    pub(super) place: Place,
    kept: Place,
    version: u64,
    kept_at: Option<Instant>,
    /// Records that the store has not taken yet.
    pending: Vec<NewRecord>,
    pub(super) outbox: Outbox<(Option<Place>, Said)>,
    /// Whether a publish was refused, so that the places of those behind it say too much.
    refused: bool,
    slow: bool,
    /// Answers in a row that could not be decoded.
    undecoded: u32,
    keys: Keys,
}

impl Reading {
    pub(super) fn new(
        context: Arc<Context>,
        live: Arc<Live>,
        pipeline: Pipeline,
        bookmark: Bookmark,
        place: Place,
    ) -> Self {
        let definition = live.definition.hash().0;
        Self {
            context,
            live,
            pipeline,
            definition,
            bookmark,
            kept: place.clone(),
            place,
            version: 0,
            kept_at: None,
            pending: Vec::new(),
            outbox: Outbox::default(),
            refused: false,
            slow: false,
            undecoded: 0,
            keys: Keys::default(),
        }
    }

    /// Makes records of an answer and hands them to the store. What stands in `place` counts once they are stored.
    pub(super) async fn take(&mut self, answer: Answer, place: Option<Place>) -> Result<(), Ended> {
        let mut processed = self.process(&answer);
        let made = !processed.records.is_empty() || processed.left_out > 0;
        let erred = processed.error.is_some();
        self.note(&mut processed, made)?;
        let length = answer.bytes.len();
        // A poll that is answered well is live, if with nothing. A stream is by what it brings: heartbeats come from dead
        // ones too. An answer that only makes errors is no data: a sign-in page, mostly.
        if made || !erred && self.live.definition.kind == SourceKind::Rest {
            self.live.answered(length, answer.took);
        } else {
            self.live.idled(length, erred);
        }
        self.pending = processed.records;
        self.mark(&answer);
        if self.pending.is_empty() {
            if self.outbox.is_empty() && !erred {
                self.keep(place).await;
            }
            return Ok(());
        }
        let result = self.hand_over(place, processed.said).await;
        result.map_err(|(ended, said)| {
            self.pipeline.forget(&said);
            ended
        })
    }

    /// Counts what became of an answer, and its errors. One that cannot be decoded ends the attempt, unless better ones may
    /// come.
    fn note(&mut self, processed: &mut Processed, made: bool) -> Result<(), Ended> {
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        self.live.totals().messages.fetch_add(1, relaxed);
        self.live.totals().left_out.fetch_add(processed.left_out as u64, relaxed);
        if made {
            self.undecoded = 0;
        }
        let Some(error) = processed.error.take() else { return Ok(()) };
        let field = error.field.map(str::to_owned);
        if error.stage == Stage::Decode && !made && self.is_hopeless() {
            return Err(Ended { field, ..Ended::new(Stage::Decode, error.detail) });
        }
        if error.stage == Stage::Expression {
            self.live.totals().expression_errors.fetch_add(processed.errors, relaxed);
        }
        let detail = self.context.secrets.scrub(&error.detail);
        self.live.erred(error.stage, detail, field, processed.errors);
        Ok(())
    }

    async fn hand_over(&mut self, place: Option<Place>, said: Said) -> Result<(), (Ended, Said)> {
        let publishing = match hand_over(&self.context.store, &self.live, &self.pending).await {
            Ok(publishing) => publishing,
            Err(refused) => {
                let lost = std::mem::take(&mut self.pending).len();
                let mut ended = Ended::from(refused);
                ended.failing.reason = format!("{lost} records were not stored: {refused}");
                return Err((ended, said));
            }
        };
        let records = std::mem::take(&mut self.pending);
        self.live.made(records.len(), records.last().map(|record| &*record.payload));
        self.outbox.push(publishing, (place, said));
        Ok(())
    }

    /// Counts an answer that cannot be decoded, and says whether the attempt ends with it. A stream goes on while others
    /// may be better: opening it anew would cost those that come meanwhile.
    fn is_hopeless(&mut self) -> bool {
        self.undecoded += 1;
        let hopeless = self.live.definition.kind == SourceKind::Rest || self.undecoded >= UNDECODED;
        if hopeless {
            self.undecoded = 0;
        }
        hopeless
    }

    fn process(&mut self, answer: &Answer) -> Processed {
        let raw = Raw {
            bytes: answer.bytes.clone(),
            content_type: answer.content_type.as_deref(),
            fetched: system_time(),
            status: answer.status,
        };
        let began = Instant::now();
        let long = self.slow || is_long(&answer.bytes);
        let pipeline = &mut self.pipeline;
        let processed = aside(long, || pipeline.process(&raw));
        self.slow = began.elapsed() > SLOW;
        processed
    }

    /// Gives records of an event keys, so that one that comes again after a restart is known. Where there is no room for
    /// keys it goes without: doubled once, at worst, and not lost.
    fn mark(&mut self, answer: &Answer) {
        let Some(event) = &answer.event else { return };
        if !self.context.store.can_spare_keys() || !self.keys.admit(self.pending.len(), Instant::now()) {
            return;
        }
        for (place, record) in self.pending.iter_mut().enumerate() {
            let mut hash = Sha256::new();
            hash.update(self.definition);
            hash.update(self.live.definition.name.as_bytes());
            hash.update([0]);
            hash.update(event.as_bytes());
            hash.update([0]);
            hash.update((place as u64).to_le_bytes());
            // An upstream that counts from 1 again, or gives all events one id, says something new all the same.
            hash.update(&record.payload);
            record.dedupe = Some(URL_SAFE_NO_PAD.encode(&hash.finalize()[..KEY]));
        }
    }

    /// Goes on from what became of the oldest publish: keeps its place once it is on stable storage. Behind one that was
    /// refused no place is kept, so that the upstream says it again; what comes twice then is known by its key.
    pub(super) async fn stored(&mut self, stored: Stored) -> Result<(), Ended> {
        match stored {
            (Ok(()), (place, _)) => {
                self.keep(place.filter(|_| !self.refused)).await;
                Ok(())
            }
            (Err(refused), (_, said)) => {
                self.refused = true;
                self.pipeline.forget(&said);
                Err(refused.into())
            }
        }
    }

    /// Waits until everything is on stable storage, or refused. The next attempt starts from there.
    pub(super) async fn all_stored(&mut self) -> Result<(), Ended> {
        let mut all = Ok(());
        while !self.outbox.is_empty() {
            let stored = self.outbox.next().await;
            all = all.and(self.stored(stored).await);
        }
        self.refused = false;
        all
    }

    async fn keep(&mut self, place: Option<Place>) {
        let Some(place) = place else { return };
        self.place = place;
        if self.kept_at.is_none_or(|at| at.elapsed() >= KEEP) {
            self.keep_now().await;
        }
    }

    /// When the place is to be kept, where it is not kept yet.
    pub(super) fn keep_due(&self) -> Option<tokio::time::Instant> {
        let due = self.kept_at.map_or_else(Instant::now, |at| at + KEEP);
        (self.place != self.kept).then(|| due.into())
    }

    /// Keeps the place where reading goes on, unless it is kept already.
    pub(super) async fn keep_now(&mut self) {
        if self.place == self.kept {
            return;
        }
        self.version += 1;
        let (bookmark, place, version) = (self.bookmark.clone(), self.place.clone(), self.version);
        let written = tokio::task::spawn_blocking(move || bookmark.save(&place, version)).await;
        if let Ok(Err(error)) = written {
            warn!(source = self.live.definition.name, %error, "Failed to keep where reading goes on");
        }
        self.kept.clone_from(&self.place);
        self.kept_at = Some(Instant::now());
    }

    /// Reading has stopped: what was read is stored, and where it goes on is kept.
    pub(super) async fn close(mut self) {
        let last = async {
            if !self.pending.is_empty() {
                let _ = self.hand_over(None, Said::default()).await;
            }
            let _ = self.all_stored().await;
        };
        if tokio::time::timeout(LAST, last).await.is_err() {
            warn!(source = self.live.definition.name, "Gave up on the last records after {LAST:?}");
        }
        self.keep_now().await;
    }

    /// Makes the definition ready, waiting while it cannot run as it stands.
    pub(super) async fn ready(&self) -> Prepared {
        let mut said = None;
        loop {
            match super::prepare::prepare(&self.live.definition, &self.context.secrets) {
                Ok(prepared) => return prepared,
                Err(failure) if said.as_ref() == Some(&failure.detail) => {}
                Err(failure) => {
                    self.live.invalid(failure.detail.clone(), failure.field);
                    said = Some(failure.detail);
                }
            }
            tokio::time::sleep(super::task::LOOK_AGAIN).await;
        }
    }

    /// Notes how an attempt ended, without secrets in its words, and waits as long as makes sense.
    pub(super) async fn rest_after(&self, ended: Ended) {
        let Ended { stage, mut failing, field } = ended;
        failing.reason = self.context.secrets.scrub_words(&failing.reason);
        let wait = self.live.failed(stage, failing, field);
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_obeys_retry_after_of_those_statuses_alone_that_mean_it() {
        let asked = Some(Duration::from_secs(1));
        for (status, obeyed) in
            [(401, None), (403, None), (404, None), (429, asked), (500, None), (503, asked)]
        {
            let failure =
                Failure { status: Some(status), retry_after: asked, ..Failure::new(Stage::Status, "why") };
            let failing = Ended::from(failure).failing;
            assert_eq!(
                (failing.retry_after, failing.auth),
                (obeyed, matches!(status, 401 | 403)),
                "{status}"
            );
        }
    }
}
