//! Traces of the built binary: every acknowledgement is written after an fdatasync that began after the
//! record's bytes were written; and what the node does when an fdatasync fails.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::checker::{Owed, ensure_sound};
use e2e::history;
use e2e::node::Plan;
use e2e::process;
use e2e::scale;
use e2e::strace::{Acked, parse, prove};
use e2e::words::Id;
use serde_json::json;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

const CALLS: &str = "trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,fdatasync,fsync";

fn acked(marker: &str, id: &Id) -> Acked {
    // strace shows a quote inside a text as \".
    Acked { marker: format!("{marker}\\\""), needle: format!("{id}\\\"") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_acknowledges_only_what_is_synced() -> Result<()> {
    let trace = ["strace", "-f", "-y", "-qq", "-s", "600000", "-o", "{dir}/trace", "-e", CALLS];
    let mut node = Plan::new().wrapper(&trace).start().await?;
    let mut acks = Vec::new();
    for i in 0..20 {
        let key = format!("one-{i}");
        let answer = node.http()?.publish(&json!({ "topic": "s.a", "payload": { "k": key } })).await?;
        acks.push(acked(&key, &Id::parse(answer["ids"][0].as_str().context("no id")?)?));
    }
    for (id, key) in node.http()?.publish_numbered("s.b", "many", 0..scale::pick(300, 3000), 50).await? {
        acks.push(acked(&key, &id));
    }
    let mut socket = node.open("/publish?topic=s.c").await?;
    let count = scale::pick(300, 3000);
    for i in 0..count {
        socket.send_message(Message::text(format!("{{\"k\":\"socket-{i}\"}}"))).await?;
    }
    for i in 0..count {
        let answer = socket.expect("published").await?;
        acks.push(acked(&format!("socket-{i}"), &Id::of(&answer, "id")?));
    }
    let mut feed = node.open("/feed?topic=nothing").await?;
    feed.expect("caught_up").await?;
    for i in 0..20 {
        feed.send(&json!({ "type": "publish", "topic": "s.d", "payload": { "k": format!("feed-{i}") } }))
            .await?;
    }
    for i in 0..20 {
        let answer = feed.expect("published").await?;
        acks.push(acked(&format!("feed-{i}"), &Id::of(&answer, "id")?));
    }
    let data = node.data_dir().canonicalize()?.display().to_string();
    node.stop().await?;
    let calls = parse(&fs::read_to_string(node.dir().join("trace"))?);
    let faults = prove(&calls, &acks, |path| path.starts_with(&data));
    let shown: Vec<String> = faults.iter().take(10).map(ToString::to_string).collect();
    ensure!(faults.is_empty(), "{} of {} acknowledgements:\n{}", faults.len(), acks.len(), shown.join("\n"));
    let syncs = calls.iter().filter(|call| call.name == "fdatasync").count();
    scale::say(&format!("syscalls: {} acknowledgements proved, {syncs} fdatasyncs", acks.len()));
    Ok(())
}

/// `strace` on a running node, which tampers with every sync; detached when dropped.
pub(crate) struct Tampered(Child);

impl Tampered {
    /// Attaches; `how` is in strace's words: `error=EIO`, or `delay_enter=` and microseconds.
    pub(crate) async fn attach(pid: u32, how: &str) -> Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-p", &pid.to_string()]);
        command.args(["-e", "trace=fdatasync,fsync", "-e", &format!("inject=fdatasync,fsync:{how}")]);
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("strace")?;
        for _ in 0..500 {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            if status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0")) {
                sleep(Duration::from_millis(100)).await;
                return Ok(Self(child));
            }
            sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("strace did not attach")
    }
}

impl Drop for Tampered {
    fn drop(&mut self) {
        let _ = process::signal(self.0.id(), rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stops_acknowledging_once_a_sync_failed() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let mut owed = Owed::default();
    owed.acked.extend(node.http()?.publish_numbered("sync.a", "before", 0..100, 50).await?);
    let failing = Tampered::attach(node.pid()?, "error=EIO").await?;
    let body = json!({ "topic": "sync.a", "payload": { "k": "during" } }).to_string();
    let answer = node.http()?.send("POST", "/api/v1/records", &[], &body).await?;
    ensure!([500, 503].contains(&answer.status), "a publish whose sync failed: {}", answer.status);
    drop(failing);
    // The disk works again, but what the failed sync lost cannot be known: no more acknowledgements.
    let answer = node.http()?.send("POST", "/api/v1/records", &[], &body).await?;
    ensure!([500, 503].contains(&answer.status), "a publish after a failed sync: {}", answer.status);
    let status = node.http()?.get("/api/v1/status").await?;
    let store = &status["components"]["store"];
    ensure!(store["state"] == "down" && store["detail"].is_string(), "{store}");
    let ready = node.http()?.send("GET", "/readyz", &[], "").await?;
    ensure!(ready.status == 503, "ready: {}", ready.status);
    let page = history::read(node.http()?, "topic=sync.a&limit=1000").await?;
    ensure!(page.records.len() >= 100, "reading went on with {}", page.records.len());
    node.kill()?;
    node.start().await?;
    owed.acked.extend(node.http()?.publish_numbered("sync.a", "after", 0..10, 50).await?);
    let page = history::read(node.http()?, "limit=1000").await?;
    ensure_sound("after the restart", &owed, &page.seen()?)?;
    node.stop().await
}

/// Writes a record, syncs and answers over a socket, in the order of the letters.
const PROGRAM: &str = "
import os, socket, sys
file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
node, client = socket.socketpair()
steps = {
    'w': lambda: os.pwrite(file, b'{\"k\":\"m\"}', 0),
    's': lambda: os.fdatasync(file),
    'a': lambda: node.sendall(b'{\"id\":\"o/l/1\"}'),
}
for step in sys.argv[2]:
    steps[step]()
";

#[test]
fn it_finds_early_acknowledgements_in_a_real_trace() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (trace, file) = (dir.path().join("trace"), dir.path().join("segment"));
    let ack = Acked { marker: "m\\\"".to_owned(), needle: "o/l/1\\\"".to_owned() };
    for (order, good) in [("wsa", true), ("was", false), ("swa", false), ("aws", false), ("wa", false)] {
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-qq", "-s", "600000", "-e", CALLS, "-o"]).arg(&trace);
        command.args(["python3", "-c", PROGRAM]).arg(&file).arg(order);
        ensure!(command.status()?.success(), "strace python3");
        let calls = parse(&fs::read_to_string(&trace)?);
        let faults = prove(&calls, std::slice::from_ref(&ack), |path| path == file.to_string_lossy());
        ensure!(faults.is_empty() == good, "{order}: {faults:?}\n{}", fs::read_to_string(&trace)?);
    }
    Ok(())
}
