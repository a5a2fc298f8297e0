//! Two halves of a mesh that know nothing of each other, joined by one more node: how soon all have the same.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::audience::{Audience, Start};
use super::nodes::Nodes;
use super::stretch::{Stretch, look};
use crate::bench::report::Report;
use crate::bench::whole;
use crate::cli::now;

/// How long they may take to have the same.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Apart {
    /// How many nodes the two halves have together.
    pub(super) nodes: u16,
    /// Records a second of both halves together.
    pub(super) rate: u32,
    /// How long they are apart.
    pub(super) time: Duration,
}

impl Apart {
    /// Starts the halves, lets one node of each publish, joins them, and waits until a subscriber of each node has all.
    pub(super) async fn run(self, nodes: &mut Nodes, report: &mut Report) -> anyhow::Result<()> {
        let first = self.nodes / 2;
        nodes.join(first, &[]).await?;
        nodes.join(self.nodes - first, &[]).await?;
        let heads = [0, usize::from(first)];
        let topic = format!("bench.t{}", now());
        let stretch = Stretch { rate: self.rate, spread: true, time: self.time };
        let publishers = nodes.clients().enumerate().filter(|(number, _)| heads.contains(number));
        let published = stretch.publish(publishers.map(|(_, client)| client), &topic).await?;
        let sent: u64 = published.iter().map(|one| one.sent).sum();
        let mut known = Vec::new();
        for head in heads {
            known.push(nodes.address(head).await?);
        }
        let began = Instant::now();
        nodes.join(1, &known).await?;
        let audience = Audience::open(nodes.clients(), &topic, Start::Earliest).await?;
        let all = audience.wait(sent, PATIENCE).await;
        let took = began.elapsed();
        let found = look(&published, &audience.end().await?);
        ensure!(all, "the nodes do not have the same {} s after they were joined", PATIENCE.as_secs());
        report.figure("apart", self.time.as_secs_f64(), "s");
        report.figure("published meanwhile", whole(sent), "records");
        report.figure("all have the same after", took.as_secs_f64(), "s");
        report.figure("lost", whole(found.lost), "records");
        report.figure("twice", whole(found.twice), "records");
        Ok(())
    }
}
