//! Polls an HTTP resource at a fixed cadence.

use std::time::Duration;

use anode_shared::source::Stage;
use hyper::header::{self, HeaderMap, HeaderValue};
use tokio::time::{Instant, sleep_until};

use super::limits::{BODY, IDLE};
use super::place::{Place, validator};
use super::reading::{Answer, Ended, Reading};
use super::request::{self, Response};
use super::{interval, timeout};

/// Polls move by up to this part of their interval, so that those of many sources and nodes do not fall together.
const JITTER: f64 = 0.002;

/// Polls for ever. The first poll waits for `first`.
pub(super) async fn run(reading: &mut Reading, first: Duration) {
    let mut due = Instant::now() + first;
    let mut cold = true;
    loop {
        sleep_until(due).await;
        match poll(reading, cold).await {
            Ok(()) => {
                cold = false;
                due = next(due, interval(&reading.live.definition), Instant::now(), rand::random());
                reading.live.plan(due.saturating_duration_since(Instant::now()));
            }
            Err(ended) => {
                cold = true;
                reading.rest_after(ended).await;
                due = Instant::now();
            }
        }
    }
}

/// When the next poll is due: an interval after the last one was, whatever the answer took. Those that were missed
/// meanwhile are left out.
fn next(due: Instant, interval: Duration, now: Instant, random: f64) -> Instant {
    let missed = now.saturating_duration_since(due).as_nanos() / interval.as_nanos().max(1);
    let whole = interval.saturating_mul(u32::try_from(missed + 1).unwrap_or(u32::MAX));
    let jitter = interval.mul_f64(JITTER * random);
    (due + whole + jitter).checked_sub(interval.mul_f64(JITTER / 2.0)).unwrap_or(due).max(now)
}

/// Asks once, and hands on what comes.
async fn poll(reading: &mut Reading, cold: bool) -> Result<(), Ended> {
    let mut prepared = reading.ready().await;
    conditions(&mut prepared.headers, &reading.place);
    let (host, patience) = (prepared.host(), timeout(&reading.live.definition));
    reading.live.totals().polls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let context = reading.context.clone();
    // The time in which the upstream answers begins behind the gate.
    let asking = Box::pin(async {
        let began = Instant::now();
        let deadline = began + patience;
        let request = prepared.request(deadline, how_to_read(deadline));
        (began, context.http.send(request).await)
    });
    let (began, response) = if cold { context.gate.pass(&host, asking).await } else { asking.await };
    let answered = answer(response?).await?;
    let took = began.elapsed();
    let Some((answer, place)) = answered else {
        reading.live.unchanged(took);
        if reading.keep_due().is_some_and(|due| due <= Instant::now()) {
            reading.keep_now().await;
        }
        return Ok(());
    };
    reading.take(Answer { took: Some(took), ..answer }, Some(place)).await?;
    reading.all_stored().await
}

/// How an answer's body is read.
pub(super) fn how_to_read(deadline: Instant) -> request::Reading {
    request::Reading { limit: Some(BODY), idle: Some(IDLE), deadline: Some(deadline) }
}

/// Asks only for what is new, where the upstream said how.
fn conditions(headers: &mut HeaderMap, place: &Place) {
    let conditions = [(header::IF_NONE_MATCH, &place.etag), (header::IF_MODIFIED_SINCE, &place.modified)];
    for (name, value) in conditions {
        if let Some(Ok(value)) = value.as_deref().map(HeaderValue::from_str) {
            headers.entry(name).or_insert(value);
        }
    }
}

/// The answer and the place that it makes; none where nothing is new.
async fn answer(response: Response) -> Result<Option<(Answer, Place)>, Ended> {
    check(&response)?;
    if response.status == 304 {
        return Ok(None);
    }
    let place = Place {
        etag: validator(response.header("etag")),
        modified: validator(response.header("last-modified")),
        event: None,
    };
    let (status, content_type) = (response.status.as_u16(), response.header("content-type"));
    let bytes = response.body.whole().await?;
    if bytes.is_empty() {
        // 204, 205 and the like say that there is nothing; a 200 promises something.
        return if status == 200 { Err(Ended::new(Stage::Body, "the answer is empty")) } else { Ok(None) };
    }
    Ok(Some((Answer { bytes, content_type, status, ..Answer::default() }, place)))
}

/// Whether an answer's status is one to go on with.
pub(super) fn check(response: &Response) -> Result<(), Ended> {
    let status = response.status;
    if status.is_success() || status == 304 {
        return Ok(());
    }
    let mut ended = Ended::new(Stage::Status, format!("the upstream answered {status}"));
    ended.failing.auth = matches!(status.as_u16(), 401 | 403);
    ended.failing.retry_after = response.retry_after.filter(|_| matches!(status.as_u16(), 429 | 503));
    Err(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_its_cadence_and_leaves_out_what_it_missed() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let second = Duration::from_secs(1);
        for (now, expected) in [(0, 1_000), (300, 1_000), (999, 1_000), (1_000, 2_000), (2_700, 3_000)] {
            assert_eq!(next(at(0), second, at(now), 0.5), at(expected), "{now}");
        }
        assert_eq!(next(at(0), second, at(0), 0.0), at(999));
        assert_eq!(next(at(0), second, at(0), 1.0), at(1_001));
    }

    #[test]
    fn it_does_not_drift() {
        let start = Instant::now();
        let mut due = start;
        for place in 0..10_000_u32 {
            let random = f64::from(place % 101) / 100.0;
            due = next(due, Duration::from_millis(100), due + Duration::from_millis(37), random);
        }
        let drift = due.duration_since(start).as_secs_f64() - 1_000.0;
        assert!(drift.abs() < 0.05, "{drift}");
    }
}
