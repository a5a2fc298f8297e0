//! Start and stop: signals, a second node, ports that are taken, a data directory of a newer node.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::checker::ensure_sound;
use e2e::history;
use e2e::ledger::Ledger;
use e2e::load::{self, Load};
use e2e::node::{Plan, binary, clean_command};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stops_cleanly_under_load_and_loses_nothing() -> Result<()> {
    for signal in [Signal::TERM, Signal::INT] {
        let mut node = Plan::new().start().await?;
        let door = node.door()?.with_token(node.token());
        let (tell, target) = watch::channel(Some((door, node.http()?.clone())));
        let ledger = Ledger::default();
        let mut feed = node.door()?.open("/feed?topic=none").await?;
        feed.expect("caught_up").await?;
        let mut quiet = node.open("/publish?topic=quiet").await?;
        let load = Load::start(&load::Plan::default(), &target, &ledger);
        while ledger.acked_count() < 3000 {
            node.ensure_alive()?;
            sleep(Duration::from_millis(5)).await;
        }
        node.signal(signal)?;
        let status = node.wait_exit().await?;
        ensure!(status.success(), "{signal:?} ended the node with {status}");
        tell.send(None)?;
        load.stop().await;
        for (name, socket) in [("feed", &mut feed), ("publish", &mut quiet)] {
            let (code, _) = socket.closed().await.with_context(|| format!("{name} at {signal:?}"))?;
            ensure!(code == 1001, "{name} was closed with {code} at {signal:?}");
        }
        ledger.ensure_sound()?;
        node.start().await?;
        let paged = history::read(node.http()?, "limit=10000").await?;
        ensure_sound("history", &ledger.owed(), &paged.seen()?)?;
        node.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_exits_at_once_on_a_second_signal() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let began = Instant::now();
    node.signal(Signal::INT)?;
    // The node may have ended by the first one already.
    let _ = node.signal(Signal::INT);
    node.wait_exit().await?;
    ensure!(began.elapsed() < Duration::from_secs(5), "two signals took {:?}", began.elapsed());
    node.start().await?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_refuses_a_second_node_on_the_same_data() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let address = fs::read_to_string(node.data_dir().join("http.addr"))?;
    let mut second = clean_command(&binary()?);
    second.args(["run", "--data-dir", "anode-data", "--http", "127.0.0.1:0"]).current_dir(node.dir());
    let output = second.output()?;
    let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(!output.status.success(), "a second node ran on the same data");
    ensure!(words.contains("anode-data") && words.contains("in use"), "not a clear word: {words}");
    ensure!(fs::read_to_string(node.data_dir().join("http.addr"))? == address, "it overwrote http.addr");
    node.http()?.publish_numbered("first", "f", 0..3, 10).await?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_the_next_port_only_where_none_was_given() -> Result<()> {
    // Whether 8080 is free here or not, it is taken now.
    let _taken = TcpListener::bind("127.0.0.1:8080");
    let dir = tempfile::tempdir()?;
    let mut command = clean_command(&binary()?);
    let log = fs::File::create(dir.path().join("log"))?;
    let mut child =
        command.arg("run").current_dir(dir.path()).stdout(log.try_clone()?).stderr(log).spawn()?;
    let mut address = String::new();
    for _ in 0..1000 {
        address =
            fs::read_to_string(dir.path().join("anode-data/http.addr")).unwrap_or_default().trim().to_owned();
        if !address.is_empty() || child.try_wait()?.is_some() {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    e2e::process::signal(child.id(), Signal::TERM)?;
    let status = child.wait()?;
    let log = fs::read_to_string(dir.path().join("log"))?;
    let port: u16 =
        address.rsplit(':').next().unwrap_or("").parse().with_context(|| format!("no port:\n{log}"))?;
    ensure!(address.starts_with("127.0.0.1:") && (8081..8200).contains(&port), "{address}");
    ensure!(log.contains(&address), "the port is not printed:\n{log}");
    ensure!(status.success(), "{status}\n{log}");

    let mut given = clean_command(&binary()?);
    let output = given.args(["run", "--http", "127.0.0.1:8080"]).current_dir(dir.path()).output()?;
    let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(!output.status.success() && words.contains("8080"), "a given port that is taken: {words}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_its_identity_and_takes_settings_in_order() -> Result<()> {
    let mut node = Plan::new().prepare()?;
    fs::write(
        node.dir().join("anode.toml"),
        "name = \"from-file\"\nretain-age = \"2d\"\nretain-bytes = \"1GiB\"\n",
    )?;
    node.set_args(&["--config", "anode.toml", "--retain-age", "4d"]);
    node.start().await?;
    let first = node.http()?.get("/api/v1/status").await?;
    ensure!(first["node"]["name"] == "from-file", "{first}");
    ensure!(first["node"]["retention"]["age_s"] == 4 * 86_400, "the option is over the file: {first}");
    ensure!(first["node"]["retention"]["bytes"] == 1_u64 << 30, "{first}");
    node.stop().await?;
    node.start().await?;
    let second = node.http()?.get("/api/v1/status").await?;
    ensure!(first["node"]["id"] == second["node"]["id"], "the identity changed");
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_writes_logs_for_machines() -> Result<()> {
    let mut node = Plan::new().args(&["--log-format", "json"]).start().await?;
    node.stop().await?;
    let log = node.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with('{')).collect();
    ensure!(!lines.is_empty(), "no line of JSON:\n{log}");
    for line in lines {
        let entry: serde_json::Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(entry["level"].is_string(), "{line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_refuses_data_of_a_newer_node() -> Result<()> {
    let mut node = Plan::new().start().await?;
    node.http()?.publish_numbered("kept", "k", 0..3, 10).await?;
    node.stop().await?;
    let files = e2e::process::files(&node.data_dir())?;
    let version = files
        .iter()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("format")));
    let version = version.with_context(|| format!("no format among {files:?}"))?;
    let old = fs::read_to_string(version)?;
    let number = old.trim().rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or("").to_owned();
    fs::write(version, old.replace(&number, "999999"))?;
    node.spawn()?;
    let status = node.wait_exit().await?;
    ensure!(!status.success(), "a node took data of version 999999");
    ensure!(node.log().contains("999999") && node.log().contains("newer"), "{}", node.log_tail());
    fs::write(version, old)?;
    node.start().await?;
    ensure!(history::read(node.http()?, "").await?.records.len() == 3, "the refusal cost records");
    node.stop().await
}
