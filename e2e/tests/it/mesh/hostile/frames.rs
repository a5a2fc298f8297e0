//! Frames below the protocols' own words: those of the advisories on gossipsub and yamux of 2026, and noise at each layer.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::forge::Forger;
use e2e::raw::{self, field, integer, varint, yamux};
use e2e::scale;
use libp2p::futures::AsyncWriteExt as _;

use super::{CUT, Scene};

const GOSSIP: &str = "/meshsub/1.1.0";

/// A control message of gossipsub in its frame.
fn control(parts: &[Vec<u8>]) -> Vec<u8> {
    rpc(&field(3, &parts.concat()))
}

fn rpc(body: &[u8]) -> Vec<u8> {
    [varint(body.len() as u64), body.to_vec()].concat()
}

/// Leaves the gossip mesh of a topic for so many seconds.
fn prune(topic: &str, seconds: u64) -> Vec<u8> {
    field(4, &[field(1, topic.as_bytes()), integer(3, seconds)].concat())
}

fn graft(topic: &str) -> Vec<u8> {
    field(3, &field(1, topic.as_bytes()))
}

fn have(topic: &str, ids: usize) -> Vec<u8> {
    let id = |_| field(2, &rand::random::<[u8; 16]>());
    field(1, &[field(1, topic.as_bytes()), (0..ids).flat_map(id).collect()].concat())
}

fn subscribe(topic: &str) -> Vec<u8> {
    field(1, &[integer(1, 1), field(2, topic.as_bytes())].concat())
}

/// What is written on a stream of gossipsub, each on one of its own.
fn gossip_frames(topic: &str) -> Vec<(&'static str, Vec<u8>)> {
    let hello = rpc(&subscribe(topic));
    let after = |frame: Vec<u8>| [hello.clone(), frame].concat();
    let overflowing =
        [u64::MAX, i64::MAX as u64, u64::MAX / 1_000, u64::from(u32::MAX), 1 << 40, 9_223_372_036];
    vec![
        // GHSA-gc42-3jg7-rxr2, GHSA-xqmp-fxgv-xvq5: a time to stay away that overflows, at once or at the next heartbeat.
        (
            "PRUNE with times that overflow",
            after(overflowing.iter().flat_map(|time| control(&[prune(topic, *time)])).collect()),
        ),
        // GHSA-g3g5-x568-qvqx: topics that nobody has, by GRAFT, grow a peer's list.
        (
            "GRAFT of 20,000 topics",
            after(
                (0..200)
                    .flat_map(|n| {
                        control(&(0..100).map(|m| graft(&format!("topic-{n}-{m}"))).collect::<Vec<_>>())
                    })
                    .collect(),
            ),
        ),
        // GHSA-vrx6-jcp8-vm7m: PRUNE of topics that were never joined.
        (
            "PRUNE of 20,000 topics",
            after(
                (0..200)
                    .flat_map(|n| {
                        control(&(0..100).map(|m| prune(&format!("topic-{n}-{m}"), 60)).collect::<Vec<_>>())
                    })
                    .collect(),
            ),
        ),
        (
            "20,000 subscriptions",
            (0..200)
                .flat_map(|n| {
                    rpc(&(0..100).flat_map(|m| subscribe(&format!("topic-{n}-{m}"))).collect::<Vec<_>>())
                })
                .collect(),
        ),
        ("IHAVE of 200,000 messages", after((0..40).flat_map(|_| control(&[have(topic, 5_000)])).collect())),
        (
            "GRAFT again and again",
            after((0..2_000).flat_map(|_| control(&[prune(topic, 1), graft(topic)])).collect()),
        ),
        ("a frame of 2^62 bytes", [varint(1 << 62), vec![0; 1_000]].concat()),
        ("a length without end", vec![0xff; 1_000]),
        (
            "a field without end",
            rpc(&[field(2, &[0; 50]), vec![0x12, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat()),
        ),
        ("noise", rpc(&rand::random::<[u8; 32]>().repeat(100))),
        ("groups in groups", rpc(&[0x0b; 10_000])),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_bears_hostile_frames_of_gossipsub() -> Result<()> {
    let scene = Scene::begin("frames").await?;
    let mut streams = Vec::new();
    for (what, frames) in gossip_frames("/anode/1/frames/0-0") {
        for address in &scene.addresses {
            let pair = Forger::random("frames").keypair().context("no key")?;
            let mut raw = raw::stream(address, &pair, GOSSIP).await.with_context(|| what.to_owned())?;
            // The node may end the stream amid this.
            let written = raw.stream.write_all(&frames).await;
            let _ = raw.stream.flush().await;
            streams.push((what, written.is_ok(), raw));
        }
    }
    // A heartbeat and more, in which what was taken may yet overflow.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let took = scene.reach("after the frames").await?;
    scale::say(&format!("{} streams of hostile frames; then a record took {took:?}", streams.len()));
    for node in &scene.mesh.nodes {
        ensure!(!node.log().contains("panicked at"), "a node panicked\n{}", node.log_tail());
    }
    // None of them ever said who it is.
    for (what, _, raw) in &mut streams {
        raw.until_closed(CUT).await.with_context(|| (*what).to_owned())?;
    }
    scene.end().await
}

/// Five thousand ids at once are what a busy peer names: its link lives on, and what it says next is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_hears_who_has_named_thousands_of_messages() -> Result<()> {
    let mut mesh = e2e::mesh::Mesh::start("ids", 1, &[]).await?;
    let address = e2e::guest::address(&mesh.nodes[0]).await?;
    let mut forger = Forger::random("ids");
    let pair = forger.keypair().context("no key")?;
    let topic = "/anode/1/ids/0-0";
    let mut raw = raw::stream(&address, &pair, GOSSIP).await?;
    let batch = forger.say("ids.a", &super::payloads("ids", 3));
    let message = rpc(&field(2, &[field(2, &batch.bytes), field(4, topic.as_bytes())].concat()));
    let frames = [rpc(&subscribe(topic)), control(&[have(topic, 5_000)]), message].concat();
    raw.stream.write_all(&frames).await?;
    raw.stream.flush().await?;
    super::super::until_there(&mesh.nodes[0], &e2e::words::Id::new(&forger.log_name(), 3)).await?;
    mesh.stop().await
}

/// What is written behind noise and the agreement on yamux, and whether the connection must end for it.
fn yamux_frames() -> Vec<(&'static str, Vec<u8>, bool)> {
    let (data, window, ping) = (0, 1, 2);
    let (syn, rst) = (1, 8);
    let open = yamux(window, syn, 1, 256 << 10, &[]);
    let after = |frame: Vec<u8>| [open.clone(), frame].concat();
    let long = 300 << 10;
    vec![
        // GHSA-vxx9-2994-q338: a stream that opens with more than its credit.
        ("data beyond the credit with SYN", yamux(data, syn, 1, long, &vec![0; long as usize]), true),
        ("data beyond the credit behind SYN", after(yamux(data, 0, 1, long, &vec![0; long as usize])), true),
        // GHSA-4w32-2493-32g7: credit that overflows.
        (
            "credit that overflows",
            after((0..4).flat_map(|_| yamux(window, 0, 1, u32::MAX, &[])).collect()),
            false,
        ),
        (
            "credit that overflows with SYN",
            (0..4).flat_map(|_| yamux(window, syn, 1, u32::MAX, &[])).collect(),
            true,
        ),
        ("a frame of 4 GiB", yamux(data, syn, 1, u32::MAX, &[0; 1_000]), true),
        ("another version", [vec![7], yamux(data, syn, 1, 0, &[])[1..].to_vec()].concat(), true),
        ("an unknown kind", yamux(9, 0, 1, 0, &[]), true),
        ("a stream of the other side", yamux(data, syn, 2, 0, &[]), true),
        ("one stream twice", after(open.clone()), true),
        ("20,000 streams", (0..20_000).flat_map(|n| yamux(window, syn, 2 * n + 1, 0, &[])).collect(), true),
        (
            "streams that open and end",
            (0..20_000)
                .flat_map(|n| {
                    [yamux(window, syn, 2 * n + 1, 0, &[]), yamux(data, rst, 2 * n + 1, 0, &[])].concat()
                })
                .collect(),
            false,
        ),
        ("20,000 pings", (0..20_000).flat_map(|n| yamux(ping, syn, 0, n, &[])).collect(), false),
        ("noise", rand::random::<[u8; 32]>().repeat(100), true),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_bears_hostile_frames_of_yamux_and_below() -> Result<()> {
    let scene = Scene::begin("yamux").await?;
    let mut open = Vec::new();
    for (what, frames, ends) in yamux_frames() {
        let pair = Forger::random("yamux").keypair().context("no key")?;
        let mut secret = raw::secret(&scene.addresses[0], &pair).await.with_context(|| what.to_owned())?;
        let write = async {
            let _ = secret.write_all(&frames).await;
            let _ = secret.flush().await;
        };
        // Nobody reads here, so a node that answers each frame stops reading as well.
        let _ = tokio::time::timeout(Duration::from_secs(2), write).await;
        open.push((what, ends, secret));
    }
    let took = scene.reach("after the frames").await?;
    scale::say(&format!("{} connections with hostile frames; then a record took {took:?}", open.len()));
    for (what, ends, secret) in &mut open {
        let ended = raw::until_end(secret, CUT).await;
        ensure!(ended.is_ok() || !*ends, "{what}: {ended:?}");
    }
    // Below noise: what is no handshake.
    let mut strangers = Vec::new();
    for bytes in [
        vec![0xff; 5_000],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\x13/multistream/1.0.0\n\x07/noise\n\xff\xff\x01".to_vec(),
        Vec::new(),
    ] {
        let mut plain = raw::plain(&scene.addresses[1]).await?;
        let _ = plain.write_all(&bytes).await;
        let _ = plain.flush().await;
        strangers.push(plain);
    }
    for plain in &mut strangers {
        raw::until_end(plain, CUT + Duration::from_secs(2)).await?;
    }
    scene.end().await
}
