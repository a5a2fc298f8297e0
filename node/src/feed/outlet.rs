//! Where frames go: a WebSocket, a stream of events, or notifications. All take a burst and are flushed once.

use std::future::{Future, pending, ready};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anode_shared::codec;
use anode_shared::frames::{Frame, GapBody};
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::registry::{Ended, Seat, Totals};
use super::start::Format;
use super::subscriber::{Mark, Next};
use super::tail::{Tail, Work};
use crate::store::Loaded;

/// A client that accepts nothing for so long is let go; it comes back with its cursor.
pub const STALL: Duration = Duration::from_secs(30);
/// What is silent is said to be there after so long: proxies close it otherwise.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client that ends, or must, may take to read what it is still told: answers to what it sent, its cursor.
pub const ENDING: Duration = Duration::from_secs(2);
/// How many bytes are sent before others of the same connection get their turn.
const BURST: usize = 256 << 10;

/// What takes frames.
pub trait Outlet: Send {
    /// How frames are encoded.
    fn format(&self) -> Format;
    /// Takes a record's frame; what it gives resolves when there is room for more.
    fn record(&mut self, frame: &bytes::Bytes) -> impl Future<Output = Result<(), Ended>> + Send;
    /// Takes another frame; `id` is the cursor that the client can resume from.
    fn control(
        &mut self,
        frame: bytes::Bytes,
        id: Option<&str>,
    ) -> impl Future<Output = Result<(), Ended>> + Send;
    /// Hands over what was taken.
    fn flush(&mut self) -> impl Future<Output = Result<(), Ended>> + Send;
    /// Resolves once nobody is there to take frames.
    fn closed(&self) -> impl Future<Output = ()> + Send {
        pending()
    }
    /// Says that it is still there, where that is not known otherwise.
    fn still_here(&mut self) -> impl Future<Output = Result<(), Ended>> + Send {
        ready(Ok(()))
    }
}

/// Encodes a frame that is no record's.
pub fn encode(frame: &Frame, format: Format) -> bytes::Bytes {
    match format {
        // Frames hold nothing that JSON has no form for.
        Format::Json => serde_json::to_vec(frame).unwrap_or_default().into(),
        Format::Cbor => codec::encode_named(frame).into(),
    }
}

/// The frame that says what was wrong before the node closes.
pub fn error_frame(fault: &Fault) -> Frame {
    Frame::Error {
        reference: None,
        n: None,
        code: fault.code.as_str().to_owned(),
        detail: fault.detail.clone(),
    }
}

/// The frame of a batch's record.
fn frame_of(batch: &Loaded, index: usize, format: Format) -> &bytes::Bytes {
    match format {
        Format::Json => batch.json(index),
        Format::Cbor => batch.cbor(index),
    }
}

/// Sends what is ready, beginning with `work`, as one burst.
///
/// # Errors
/// How the connection ends.
pub async fn burst<O: Outlet>(
    outlet: &mut O,
    tail: &mut Tail,
    work: Work,
    seat: &Seat,
    totals: &Totals,
) -> Result<(), Ended> {
    let now = Instant::now();
    let (mut records, mut bytes) = (0, 0);
    let mut next = Some(work);
    while let Some(work) = next {
        match work {
            Work::Send(Next::Record(batch, index)) => {
                let frame = frame_of(&batch, index, outlet.format());
                outlet.record(frame).await?;
                records += 1;
                bytes += frame.len();
            }
            Work::Send(Next::Gap(gap)) => {
                totals.gaps.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let frame = encode(&Frame::Gap(GapBody::from(&gap)), outlet.format());
                outlet.control(frame, None).await?;
            }
            Work::Send(Next::Cursor(_) | Next::Yield | Next::Poll | Next::Storage | Next::Wait(_)) => {}
            Work::Stand(mark, cursor) => stand(outlet, mark, cursor.to_string()).await?,
        }
        tail.sent();
        next = if bytes < BURST { tail.at_once(now).map_err(|_| Ended::Failed)? } else { None };
    }
    // Counted first: whoever sees the frames finds them in the figures.
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    totals.records.fetch_add(records, relaxed);
    totals.bytes.fetch_add(bytes as u64, relaxed);
    totals.filter_errors.fetch_add(tail.take_filter_errors(), relaxed);
    seat.sent(records, bytes as u64, tail.lag(), now);
    outlet.flush().await
}

/// What happens next to a subscription that does nothing but send.
enum Turn {
    Over,
    Closed,
    Ready(Result<Work, Fault>),
    Silent,
}

/// Sends what a subscription gives until nobody takes it, or the node ends: then with where it stands.
pub async fn serve<O: Outlet>(
    mut outlet: O,
    mut tail: Tail,
    seat: Seat,
    totals: Arc<Totals>,
    cancel: CancellationToken,
) -> Ended {
    loop {
        // The end goes first; silence is only what is left.
        let turn = tokio::select! {
            biased;
            () = cancel.cancelled() => Turn::Over,
            () = outlet.closed() => Turn::Closed,
            work = tail.ready() => Turn::Ready(work),
            () = tokio::time::sleep(KEEP_ALIVE) => Turn::Silent,
        };
        let sent = match turn {
            Turn::Over => {
                // Whether it arrives or not, this is the end.
                let _ = tokio::time::timeout(ENDING, last_cursor(&mut outlet, &mut tail)).await;
                return Ended::Shutdown;
            }
            Turn::Closed => return Ended::Left,
            Turn::Ready(Ok(work)) => burst(&mut outlet, &mut tail, work, &seat, &totals).await,
            Turn::Ready(Err(fault)) => {
                let frame = encode(&error_frame(&fault), outlet.format());
                if outlet.control(frame, None).await.is_ok() {
                    let _ = outlet.flush().await;
                }
                return Ended::Failed;
            }
            Turn::Silent => outlet.still_here().await,
        };
        if let Err(ended) = sent {
            return ended;
        }
    }
}

async fn last_cursor<O: Outlet>(outlet: &mut O, tail: &mut Tail) -> Result<(), Ended> {
    if let Some(cursor) = tail.stand().await {
        stand(outlet, Mark::Moved, cursor.to_string()).await?;
    }
    outlet.flush().await
}

async fn stand<O: Outlet>(outlet: &mut O, mark: Mark, cursor: String) -> Result<(), Ended> {
    let id = cursor.clone();
    let frame = match mark {
        Mark::Begin | Mark::Moved => Frame::Cursor { cursor },
        Mark::CaughtUp => Frame::CaughtUp { cursor },
        Mark::Subscribed => Frame::Subscribed { cursor },
    };
    outlet.control(encode(&frame, outlet.format()), Some(&id)).await
}
