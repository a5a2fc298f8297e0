//! The archive against a real Cassandra: every record gets there once, whatever is stopped, killed or lost meanwhile.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cassandra_dev::{Plan as CassandraPlan, unique_keyspace};
use e2e::cassandra::{connect, shared, start};
use e2e::http::Http;
use e2e::mesh::{Mesh, until_event};
use e2e::node::{Node, Plan, binary, clean_command};
use e2e::scale::say;
use scylla::client::session::Session;
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

/// How long the archive may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(60);

/// What a node says of its archive.
pub(crate) async fn component(node: &Node) -> Result<Value> {
    Ok(node.http()?.get("/api/v1/status").await?["components"]["archive"].clone())
}

/// Waits until the component is as wanted; gives it.
pub(crate) async fn until(node: &Node, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let began = Instant::now();
    loop {
        let archive = component(node).await?;
        if wanted(&archive) {
            return Ok(archive);
        }
        ensure!(began.elapsed() < CATCH_UP, "the archive is not {what}: {archive}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until nothing waits to be archived.
pub(crate) async fn until_archived(node: &Node) -> Result<Value> {
    // The figure is a second old at most.
    sleep(Duration::from_millis(1_200)).await;
    until(node, "caught up", |archive| archive["state"] == "ok" && archive["lag_records"] == 0).await
}

/// Publishes so many records over some topics; gives the ids.
async fn publish(http: &Http, name: &str, count: usize, ack: &str) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for start in (0..count).step_by(500) {
        let record = |i: usize| json!({ "topic": format!("archive.{}", i % 7), "payload": { "k": format!("{name}-{i}"), "pad": "x".repeat(200) } });
        let records: Value = (start..count.min(start + 500)).map(record).collect();
        let path = format!("/api/v1/records?ack={ack}");
        let answer = http.send("POST", &path, &[], &records.to_string()).await?.ensure(200)?.json()?;
        ensure!(answer["ack"] == ack, "{answer}");
        let new = answer["ids"].as_array().context("no ids")?;
        ids.extend(new.iter().filter_map(|id| id.as_str().map(str::to_owned)));
    }
    Ok(ids)
}

/// The seqs of a log that Cassandra has in `records`, and how many batches.
async fn rows(session: &Session, keyspace: &str) -> Result<(BTreeSet<String>, usize)> {
    let mut ids = BTreeSet::new();
    let query = format!("SELECT origin, log, seq FROM {keyspace}.records");
    let answer = session.query_unpaged(query, ()).await?.into_rows_result()?;
    for row in answer.rows::<(Vec<u8>, Vec<u8>, i64)>()? {
        let (origin, log, seq) = row?;
        let mut peer = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
        peer.extend(origin);
        let log = u64::from_be_bytes(log.as_slice().try_into()?);
        ids.insert(format!("{}/{log:016x}/{seq}", bs58::encode(peer).into_string()));
    }
    let query = format!("SELECT first FROM {keyspace}.batches");
    let answer = session.query_unpaged(query, ()).await?.into_rows_result()?;
    Ok((ids, answer.rows_num()))
}

async fn ensure_there(session: &Session, keyspace: &str, acked: &[String]) -> Result<()> {
    let (there, _) = rows(session, keyspace).await?;
    let missing: Vec<_> = acked.iter().filter(|id| !there.contains(*id)).collect();
    ensure!(
        missing.is_empty(),
        "{} of {} are not in Cassandra: {:?}",
        missing.len(),
        acked.len(),
        missing.first()
    );
    Ok(())
}

/// Runs a command of the node's; gives whether it succeeded and what it said.
fn run(node: &Node, args: &[&str]) -> Result<(bool, String)> {
    let mut command = clean_command(&binary()?);
    command.args(args).current_dir(node.dir()).stdin(Stdio::null());
    let output = command.output()?;
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.success(), said))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_archives_every_record_once_and_verifies() -> Result<()> {
    let (address, keyspace) = (shared().await?, unique_keyspace("archives"));
    let args = ["--cassandra", &address, "--cassandra-keyspace", &keyspace];
    let mut node = Plan::new().args(&args).start().await?;
    until(&node, "connected", |archive| archive["state"] == "ok").await?;
    let mut acked = publish(node.http()?, "one", 100, "archived").await?;
    acked.extend(publish(node.http()?, "two", 5_000, "durable").await?);
    until_archived(&node).await?;
    let session = connect(&address, None).await?;
    ensure_there(&session, &keyspace, &acked).await?;
    let (good, said) = run(&node, &["archive", "verify"])?;
    ensure!(good && said.contains("5100 records, as here"), "{said}");
    let (good, said) = run(&node, &["archive", "status"])?;
    ensure!(good && said.contains("archive is ok") && said.contains("5100"), "{said}");

    // A restart begins nothing again.
    node.stop().await?;
    node.start().await?;
    acked.extend(publish(node.http()?, "three", 10, "archived").await?);
    let archive = until_archived(&node).await?;
    ensure!(archive["records"] == 10, "it archived again: {archive}");
    ensure_there(&session, &keyspace, &acked).await?;

    // What is taken away is noticed.
    let id = &acked[7];
    let gone = format!("SELECT topic, slot, time, origin, log, seq FROM {keyspace}.records");
    let answer = session.query_unpaged(gone, ()).await?.into_rows_result()?;
    let row = answer.first_row::<(String, i64, i64, Vec<u8>, Vec<u8>, i64)>()?;
    let delete = format!(
        "DELETE FROM {keyspace}.records WHERE topic = ? AND slot = ? AND time = ? AND origin = ? AND log = ? AND seq = ?"
    );
    session.query_unpaged(delete, row).await?;
    let (good, said) = run(&node, &["archive", "verify"])?;
    ensure!(!good && said.contains("the record is not in Cassandra"), "{said}, {id}");

    let metrics = node.http()?.send("GET", "/metrics", &[], "").await?.text_whole();
    ensure!(metrics.contains("anode_archive_records_total 10"), "no archive in the metrics");
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_loses_nothing_while_cassandra_and_the_node_are_hurt() -> Result<()> {
    let mut cassandra = start(CassandraPlan::new()).await?;
    let keyspace = unique_keyspace("faults");
    let address = cassandra.address();
    let args = ["--cassandra", &address, "--cassandra-keyspace", &keyspace];
    let mut node = Plan::new().args(&args).start().await?;
    until(&node, "connected", |archive| archive["state"] == "ok").await?;
    let mut acked = publish(node.http()?, "before", 2_000, "durable").await?;

    cassandra.freeze()?;
    acked.extend(publish(node.http()?, "frozen", 2_000, "durable").await?);
    let answer = node
        .http()?
        .send("POST", "/api/v1/records?ack=archived", &[], r#"{"topic":"archive.late","payload":1}"#)
        .await?
        .ensure(202)?
        .json()?;
    ensure!(answer["ack"] == "durable", "{answer}");
    acked.extend(
        answer["ids"].as_array().into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)),
    );
    until(&node, "lost", |archive| {
        archive["state"] == "degraded" && archive["lag_records"].as_u64() > Some(0)
    })
    .await?;
    until_event(&node, "archive_lost", "Cassandra", Duration::from_secs(5)).await?;
    cassandra.thaw()?;
    until_archived(&node).await?;
    until_event(&node, "archive_back", "answers", Duration::from_secs(5)).await?;

    cassandra.kill()?;
    acked.extend(publish(node.http()?, "killed", 3_000, "durable").await?);
    node.kill()?;
    node.start().await?;
    acked.extend(publish(node.http()?, "restarted", 1_000, "durable").await?);
    let took = block_in_place(|| cassandra.restart())?;
    let began = Instant::now();
    until_archived(&node).await?;
    say(&format!(
        "archive: Cassandra back in {took:.1?}, {} records drained in {:.1?}",
        4_000,
        began.elapsed()
    ));
    let session = connect(&address, None).await?;
    ensure_there(&session, &keyspace, &acked).await?;

    // Killed amid writing, and again from where the keyspace says.
    for round in 0..3 {
        acked.extend(publish(node.http()?, &format!("kill-{round}"), 1_500, "durable").await?);
        node.kill()?;
        node.start().await?;
    }
    let archive = until_archived(&node).await?;
    ensure!(archive["missing_records"] == 0, "{archive}");
    ensure_there(&session, &keyspace, &acked).await?;
    let (good, said) = run(&node, &["archive", "verify"])?;
    ensure!(good, "{said}");
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_what_is_wrong_and_goes_on_trying() -> Result<()> {
    let (address, network) = (shared().await?, unique_keyspace("words"));
    let closed = "127.0.0.1:9";
    for (args, words) in [
        (vec!["--cassandra", closed], "no Cassandra answers at 127.0.0.1:9"),
        (
            vec!["--cassandra", &address, "--cassandra-password-file", "/nowhere", "--cassandra-user", "a"],
            "/nowhere",
        ),
    ] {
        let mut node = Plan::new().args(&args).start().await?;
        let archive = until(&node, "degraded", |archive| {
            archive["state"] == "degraded" && archive["errors"].as_u64() > Some(1)
        })
        .await?;
        ensure!(archive["detail"].as_str().is_some_and(|said| said.contains(words)), "{archive}");
        publish(node.http()?, "all the same", 10, "durable").await?;
        node.stop().await?;
    }
    // A keyspace belongs to one network, and to one version.
    let session = connect(&address, None).await?;
    let args = ["--cassandra", &address, "--cassandra-keyspace", &network];
    let mut first = Plan::new().args(&args).start().await?;
    until(&first, "connected", |archive| archive["state"] == "ok").await?;
    let mut other = Plan::new().args(&args).args(&["--network", "elsewhere", "--no-mdns"]).start().await?;
    let archive = until(&other, "refused", |archive| archive["errors"].as_u64() > Some(0)).await?;
    ensure!(
        archive["detail"].as_str().is_some_and(|said| said.contains("belongs to the network")),
        "{archive}"
    );
    other.stop().await?;
    first.stop().await?;
    session
        .query_unpaged(format!("UPDATE {network}.meta SET value = '2' WHERE key = 'schema_version'"), ())
        .await?;
    first.start().await?;
    let archive = until(&first, "refused", |archive| archive["errors"].as_u64() > Some(0)).await?;
    ensure!(archive["detail"].as_str().is_some_and(|said| said.contains("newer aNode")), "{archive}");
    first.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_which_password_or_right_is_missing_and_takes_it_once_it_is_there() -> Result<()> {
    let cassandra = start(CassandraPlan::new().login()).await?;
    let login = cassandra.login().context("no login")?;
    let (address, keyspace) = (cassandra.address(), unique_keyspace("login"));
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("password");
    std::fs::write(&file, "wrong\n")?;
    let path = file.to_string_lossy().into_owned();
    let args = ["--cassandra", &address, "--cassandra-keyspace", &keyspace];
    let mut node = Plan::new().args(&args).start().await?;
    let archive = until(&node, "refused", |archive| archive["errors"].as_u64() > Some(0)).await?;
    ensure!(archive["detail"].as_str().is_some_and(|said| said.contains("--cassandra-user")), "{archive}");
    node.stop().await?;
    let with = ["--cassandra-user", login.user, "--cassandra-password-file", &path];
    let mut node = Plan::new().args(&args).args(&with).start().await?;
    let archive = until(&node, "refused", |archive| archive["errors"].as_u64() > Some(0)).await?;
    ensure!(archive["detail"].as_str().is_some_and(|said| said.contains("do not fit together")), "{archive}");
    std::fs::write(&file, format!("{}\n", login.password))?;
    until(&node, "connected", |archive| archive["state"] == "ok").await?;
    publish(node.http()?, "in", 10, "archived").await?;
    node.stop().await?;

    // Who is let in, and may not do what is to be done, is told which rights are missing, and used once they are there.
    let root = connect(&address, Some(login)).await?;
    root.query_unpaged("CREATE ROLE guest WITH PASSWORD = 'guest' AND LOGIN = true", ()).await?;
    root.query_unpaged(format!("GRANT SELECT ON KEYSPACE {keyspace} TO guest"), ()).await?;
    std::fs::write(&file, "guest\n")?;
    let (with, new) =
        (["--cassandra-user", "guest", "--cassandra-password-file", &path], unique_keyspace("rights"));
    for (keyspace, words, grant) in [
        (
            &keyspace,
            "it needs SELECT and MODIFY there",
            format!("GRANT MODIFY ON KEYSPACE {keyspace} TO guest"),
        ),
        (&new, "GRANT CREATE ON ALL KEYSPACES", "GRANT CREATE ON ALL KEYSPACES TO guest".to_owned()),
    ] {
        let args = ["--cassandra", &address, "--cassandra-keyspace", keyspace];
        let mut node = Plan::new().args(&args).args(&with).start().await?;
        let archive = until(&node, "refused", |archive| archive["errors"].as_u64() > Some(0)).await?;
        ensure!(archive["detail"].as_str().is_some_and(|said| said.contains(words)), "{archive}");
        ensure!(archive["state"] == "degraded", "{archive}");
        root.query_unpaged(grant, ()).await?;
        until(&node, "connected", |archive| archive["state"] == "ok").await?;
        publish(node.http()?, "allowed", 10, "archived").await?;
        node.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_where_a_node_that_is_lost_for_good_stopped() -> Result<()> {
    let (address, keyspace) = (shared().await?, unique_keyspace("takeover"));
    let with = ["--cassandra", &address, "--cassandra-keyspace", &keyspace];
    let mut mesh = Mesh::new(&keyspace);
    mesh.add(&[], &with).await?;
    mesh.add(&[0], &with).await?;
    mesh.add(&[0, 1], &[]).await?;
    mesh.until_whole(CATCH_UP).await?;
    let mut acked = publish(mesh.http(2)?, "third", 3_000, "durable").await?;
    acked.extend(publish(mesh.http(0)?, "first", 500, "archived").await?);
    // One of the two archives the third node's log, once it is sure that nobody else does.
    let log = acked[0].rsplit_once('/').context("no id")?.0.to_owned();
    let began = Instant::now();
    let owner = loop {
        let mut owner = None;
        for number in 0..2 {
            let archive = mesh.http(number)?.get("/api/v1/archive").await?;
            let logs = archive["logs"].as_array().context("no logs")?;
            let here = logs.iter().find(|other| other["log"] == log.as_str());
            if here.is_some_and(|here| here["archived_to"].as_u64() >= Some(3_000)) {
                owner = Some(number);
            }
        }
        match owner {
            Some(owner) => break owner,
            None => ensure!(began.elapsed() < CATCH_UP, "nobody archives the third node's log"),
        }
        sleep(Duration::from_millis(200)).await;
    };
    sleep(Duration::from_secs(2)).await;
    let other = 1 - owner;
    let before = component(&mesh.nodes[other]).await?["records"].as_u64().unwrap_or(0);
    mesh.nodes[owner].kill()?;
    acked.extend(publish(mesh.http(2)?, "later", 2_000, "durable").await?);
    let session = connect(&address, None).await?;
    let began = Instant::now();
    while ensure_there(&session, &keyspace, &acked).await.is_err() {
        ensure!(
            began.elapsed() < CATCH_UP,
            "{:#}",
            ensure_there(&session, &keyspace, &acked).await.unwrap_err()
        );
        sleep(Duration::from_millis(500)).await;
    }
    let after = component(&mesh.nodes[other]).await?["records"].as_u64().unwrap_or(0);
    say(&format!("archive: the other node took over {:.1?} after the loss", began.elapsed()));
    ensure!(after - before <= 2_500, "it began again: {} records for 2,000 new ones", after - before);
    Ok(())
}
