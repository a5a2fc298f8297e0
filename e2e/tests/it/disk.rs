//! A full disk: publishes get 507, reading goes on, and room makes it well again.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use e2e::checker::{Owed, ensure_sound};
use e2e::history;
use e2e::node::{Node, Plan};
use e2e::process::is_root;
use e2e::scale::say;
use serde_json::json;
use tokio::time::sleep;

/// Mounts a small file system for the data, seen by the node alone, and becomes the node.
const MOUNT: &str =
    "mkdir -p anode-data && mount -t tmpfs -o size=64m tmpfs anode-data && exec \"$0\" \"$@\"";

pub(crate) async fn on_a_small_disk(args: &[&str]) -> Result<Option<Node>> {
    if !is_root() {
        say("disk: skipped, only root may mount a small file system");
        return Ok(None);
    }
    let wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", MOUNT];
    Ok(Some(Plan::new().wrapper(&wrapper).own_mounts().args(args).start().await?))
}

/// Publishes until the answer has one of the statuses; other answers must be 200 and count.
async fn until(node: &Node, owed: &mut Owed, statuses: &[u16]) -> Result<u16> {
    for i in 0..2000 {
        let key = format!("u-{}-{i}", owed.acked.len());
        let body =
            json!({ "topic": "disk.a", "payload": { "k": key, "pad": "x".repeat(30_000) } }).to_string();
        let answer = node.http()?.send("POST", "/api/v1/records", &[], &body).await?;
        if statuses.contains(&answer.status) {
            return Ok(answer.status);
        }
        if answer.status == 200 {
            let id = e2e::words::Id::parse(answer.json()?["ids"][0].as_str().context("no id")?)?;
            owed.acked.insert(id, key);
        } else {
            ensure!([503, 507].contains(&answer.status), "{}: {}", answer.status, answer.text());
            sleep(Duration::from_millis(20)).await;
        }
    }
    bail!("none of {statuses:?} in 2000 publishes")
}

async fn fill_and_free(node: &mut Node) -> Result<()> {
    let mut owed = Owed::default();
    owed.acked.extend(node.http()?.publish_numbered("disk.a", "before", 0..200, 100).await?);
    for round in 0..2 {
        let filler = node.data_dir().join("filler");
        let mut file = fs::File::create(&filler)?;
        let block = vec![0; 1 << 20];
        // All room but 2 MiB.
        let mut written = 0;
        while file.write_all(&block).is_ok() {
            written += 1;
        }
        file.set_len((written - 2) << 20)?;
        drop(file);
        let status = until(node, &mut owed, &[507]).await.with_context(|| format!("round {round}"))?;
        ensure!(status == 507);
        node.ensure_alive()?;
        let said = node.http()?.get("/api/v1/status").await?;
        let store = &said["components"]["store"];
        ensure!(
            store["state"] != "ok" && store["detail"].is_string(),
            "a full disk, and status says {store}"
        );
        let paged = history::read(node.http()?, "limit=1000").await?;
        ensure_sound("reading while full", &owed, &paged.seen()?)?;
        fs::remove_file(&filler)?;
        let mut well = 0;
        for _ in 0..500 {
            let before = owed.acked.len();
            let body =
                json!({ "topic": "disk.a", "payload": { "k": format!("well-{round}-{well}-{before}") } })
                    .to_string();
            let answer = node.http()?.send("POST", "/api/v1/records", &[], &body).await?;
            if answer.status == 200 {
                well += 1;
                if well == 3 {
                    break;
                }
            } else {
                ensure!([503, 507].contains(&answer.status), "{}", answer.text());
                sleep(Duration::from_millis(20)).await;
            }
        }
        ensure!(well == 3, "round {round}: not well again 10 s after there was room");
        let said = node.http()?.get("/api/v1/status").await?;
        ensure!(said["components"]["store"]["state"] == "ok", "{}", said["components"]["store"]);
    }
    let paged = history::read(node.http()?, "limit=1000").await?;
    ensure_sound("after all", &owed, &paged.seen()?)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_refuses_records_below_the_reserve() -> Result<()> {
    let Some(mut node) = on_a_small_disk(&["--reserve-disk", "16MiB", "--segment-bytes", "4MiB"]).await?
    else {
        return Ok(());
    };
    fill_and_free(&mut node).await?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_survives_a_disk_without_any_room() -> Result<()> {
    let Some(mut node) = on_a_small_disk(&["--reserve-disk", "0", "--segment-bytes", "4MiB"]).await? else {
        return Ok(());
    };
    fill_and_free(&mut node).await?;
    node.stop().await
}
