//! `anode bench ingest`: durable records a second, and the speed of a subscriber that resumes behind them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anode_shared::frames::{Frame, RECORD_FRAME_START};
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use tokio::task::JoinSet;

use super::disk::{GROUP, Loop, bare_loop};
use super::report::Report;
use super::samples::Samples;
use super::subject::Subject;
use super::wire::{PAYLOAD, Wire, payload, text_frame};
use super::{Setup, cost, micros, per_second, whole};
use crate::cli::now;
use crate::client::{Client, Query};

/// The options of `anode bench ingest`.
#[derive(Debug, Args)]
pub struct IngestArgs {
    /// The way in
    #[arg(long, default_value = "socket")]
    via: Via,
    /// Connections that publish
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    sockets: u16,
    /// Records in flight on each of them; with `--via post` records of a request
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    in_flight: u16,
    /// Measure afterwards how fast a subscriber that resumes before all of it catches up
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    pub(super) setup: Setup,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Via {
    /// The WebSocket `/publish`, a record a frame.
    Socket,
    /// `POST /api/v1/records`, arrays of records.
    Post,
}

/// What one connection did.
#[derive(Debug, Default)]
struct Done {
    acked: u64,
    acks: Samples,
}

/// Measures.
pub(super) async fn measure(args: &IngestArgs, subject: &Subject) -> anyhow::Result<Report> {
    let cursor = if args.resume { Some(first_cursor(&subject.client).await?) } else { None };
    let mut small = bare_loop(subject, &args.setup, GROUP).await?;
    let before = subject.usage().await?;
    let (mut done, took) = publish_all(args, subject).await?;
    let used = subject.usage().await?.since(&before);
    small.extend(&bare_loop(subject, &args.setup, GROUP).await?);
    let rate = per_second(done.acked, took);
    let per_sync = used.fdatasyncs.filter(|count| *count > 0.0).map(|count| whole(done.acked) / count);
    let mut report = Report::default();
    report.figure("durable ingest", rate, "records/s");
    report.percentiles("ack", &std::mem::take(&mut done.acks).sorted());
    cost(&mut report, &used, done.acked, "µs/record");
    report.figure("records per fdatasync", per_sync, "");
    against(&mut report, "bare loop of 64 KiB", small, rate);
    if let Some(group) = per_sync {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive count")]
        let same = bare_loop(subject, &args.setup, group as u64).await?;
        against(&mut report, "bare loop of the same groups", same, rate);
    }
    if let Some(cursor) = cursor {
        catch_up(&mut report, subject, &cursor, done.acked).await?;
    }
    Ok(report)
}

/// Sets the node's rate beside that of a bare loop.
fn against(report: &mut Report, name: &str, ceiling: Loop, rate: f64) {
    report.figure(name, ceiling.rate(), "records/s");
    report.figure(&format!("ratio to the {name}"), rate / ceiling.rate(), "");
    report.percentiles(&format!("{name} sync"), &ceiling.syncs.sorted());
}

async fn publish_all(args: &IngestArgs, subject: &Subject) -> anyhow::Result<(Done, Duration)> {
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    let end = start + args.setup.time();
    let window = usize::from(args.in_flight);
    for place in 0..args.sockets {
        let client = subject.client.clone();
        let topic = format!("bench.s{place}");
        match args.via {
            Via::Socket => tasks.spawn(publish_socket(client, topic, window, end)),
            Via::Post => tasks.spawn(post_all(client, topic, window, end)),
        };
    }
    let mut all = Done::default();
    while let Some(done) = tasks.join_next().await {
        let done = done.context("a publisher ended")??;
        all.acked += done.acked;
        all.acks.extend(&done.acks);
    }
    if all.acked == 0 {
        bail!("nothing was acknowledged");
    }
    Ok((all, start.elapsed()))
}

/// Keeps a window of frames in flight until `end`, then waits for the last acknowledgements.
async fn publish_socket(client: Client, topic: String, window: usize, end: Instant) -> anyhow::Result<Done> {
    let mut wire = Wire::open(&client, "/publish", &vec![("topic", topic)]).await?;
    let mut done = Done::default();
    let mut sent: VecDeque<Instant> = VecDeque::with_capacity(window);
    let mut record = Vec::with_capacity(PAYLOAD);
    loop {
        let at = Instant::now();
        if at < end && sent.len() < window {
            record.clear();
            payload(now(), &mut record);
            while sent.len() < window {
                text_frame(&record, &mut wire.out);
                sent.push_back(at);
            }
        }
        if sent.is_empty() {
            return Ok(done);
        }
        wire.turn(|frame| acknowledged(frame, &mut sent, &mut done)).await?;
    }
}

/// Counts an answer; acknowledgements come in the order of the frames.
fn acknowledged(frame: &[u8], sent: &mut VecDeque<Instant>, done: &mut Done) -> anyhow::Result<()> {
    if !frame.starts_with(br#"{"type":"published""#) {
        bail!("a publish was answered with {}", String::from_utf8_lossy(frame));
    }
    let at = sent.pop_front().context("more was acknowledged than published")?;
    done.acks.push(micros(at.elapsed()));
    done.acked += 1;
    Ok(())
}

#[derive(Deserialize)]
struct Published {
    ids: Vec<String>,
}

/// Posts arrays, one request after the other.
async fn post_all(client: Client, topic: String, records: usize, end: Instant) -> anyhow::Result<Done> {
    let mut done = Done::default();
    while Instant::now() < end {
        let at = Instant::now();
        for _ in 0..publish_post(&client, &topic, records).await? {
            done.acks.push(micros(at.elapsed()));
            done.acked += 1;
        }
    }
    Ok(done)
}

/// Posts one array; gives how many records were acknowledged.
pub(super) async fn publish_post(client: &Client, topic: &str, records: usize) -> anyhow::Result<usize> {
    let mut body = Vec::with_capacity(records * (PAYLOAD + 50));
    for place in 0..records {
        body.extend_from_slice(if place == 0 { b"[" } else { b"," });
        body.extend_from_slice(format!("{{\"topic\":\"{topic}\",\"payload\":").as_bytes());
        payload(now(), &mut body);
        body.push(b'}');
    }
    body.push(b']');
    let published: Published = client.post("/api/v1/records", &Query::new(), body).await?;
    Ok(published.ids.len())
}

/// The cursor of a subscriber that stands at the newest record.
async fn first_cursor(client: &Client) -> anyhow::Result<String> {
    let query = vec![("topic", "bench.>".to_owned()), ("start", "live".to_owned())];
    let mut wire = Wire::open(client, "/feed", &query).await?;
    let mut cursor = None;
    while cursor.is_none() {
        wire.turn(|frame| {
            if let Ok(Frame::CaughtUp { cursor: place } | Frame::Cursor { cursor: place }) =
                serde_json::from_slice(frame)
            {
                cursor = Some(place);
            }
            Ok(())
        })
        .await?;
    }
    cursor.context("the feed named no cursor")
}

/// Resumes at a cursor and counts until the feed says that it caught up.
async fn catch_up(report: &mut Report, subject: &Subject, cursor: &str, expected: u64) -> anyhow::Result<()> {
    let query = vec![("topic", "bench.>".to_owned()), ("start", format!("after:{cursor}"))];
    let before = subject.usage().await?;
    let start = Instant::now();
    let mut wire = Wire::open(&subject.client, "/feed", &query).await?;
    let (mut records, mut bytes, mut gaps, mut caught_up) = (0_u64, 0_u64, 0_u64, false);
    while !caught_up {
        wire.turn(|frame| {
            bytes += frame.len() as u64;
            if frame.starts_with(RECORD_FRAME_START) {
                records += 1;
            } else {
                match serde_json::from_slice(frame)? {
                    Frame::CaughtUp { .. } => caught_up = true,
                    Frame::Gap(gap) => gaps += gap.to - gap.from + 1,
                    Frame::Error { detail, .. } => bail!("{detail}"),
                    Frame::Cursor { .. } | Frame::Subscribed { .. } | Frame::Published { .. } => {}
                }
            }
            Ok(())
        })
        .await?;
    }
    let took = start.elapsed();
    let used = subject.usage().await?.since(&before);
    if subject.is_own() && records + gaps != expected {
        bail!(
            "{expected} records were acknowledged, the resuming subscriber got {records} and {gaps} in gaps"
        );
    }
    report.figure("catch-up", per_second(records, took), "records/s");
    report.figure("catch-up bytes", per_second(bytes, took) / 1e6, "MB/s");
    report.figure("catch-up took", took.as_secs_f64(), "s");
    report.figure("catch-up in gaps", whole(gaps), "records");
    let each = |cpu: Option<f64>| cpu.map(|cpu| cpu * 1e6 / whole(records));
    report.figure("catch-up node cpu each", each(used.node_cpu), "µs/record");
    report.figure("catch-up bench cpu each", each(used.own_cpu), "µs/record");
    Ok(())
}
