//! `anode bench latency`: from publishing to a subscriber, and to the acknowledgement, at a steady rate.

use std::sync::Arc;

use clap::Args;

use super::disk::bare_loop;
use super::fanout::{Pace, Progress, disperse, gather, run};
use super::report::Report;
use super::subject::Subject;
use super::{Setup, cost};

/// The options of `anode bench latency`.
#[derive(Debug, Args)]
pub struct LatencyArgs {
    /// Records a second
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Subscribers of the stream
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    subscribers: u16,
    #[command(flatten)]
    pub(super) setup: Setup,
}

/// Measures.
pub(super) async fn measure(args: &LatencyArgs, subject: &Subject) -> anyhow::Result<Report> {
    let mut ceiling = bare_loop(subject, &args.setup, 1).await?;
    let progress = Arc::new(Progress::default());
    let crowd = gather(&subject.client, args.subscribers, &progress).await?;
    let mut measured = Box::pin(run(subject, &progress, Pace::Rate(args.rate), args.setup.time())).await?;
    let samples = disperse(crowd, &progress).await?;
    ceiling.extend(&bare_loop(subject, &args.setup, 1).await?);
    let mut report = Report::default();
    report.figure("published", measured.published(), "records/s");
    report.percentiles("publish to subscriber", &samples.sorted());
    report.percentiles("publish to ack", &std::mem::take(&mut measured.acks).sorted());
    report.percentiles("bare append and fdatasync", &ceiling.syncs.sorted());
    cost(&mut report, &measured.used, measured.delivered, "µs/delivery");
    Ok(report)
}
