//! Many subscribers, and those that do not read.

use std::time::Instant;

use super::*;

/// Connects so many subscribers, each of which has said `caught_up`.
async fn subscribers(server: &Server, count: usize) -> Vec<Client> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = server.connect("/feed").await;
        assert_eq!(client.word().await, "caught_up");
        clients.push(client);
    }
    clients
}

/// Counts record frames until all have come; says how often a record was out of order.
async fn count(mut client: Client, records: usize) -> usize {
    let (mut seen, mut last, mut wrong) = (0, -1, 0);
    while seen < records {
        let message = client.message().await;
        let text = message.to_text().unwrap();
        if text.starts_with(r#"{"type":"record""#) {
            seen += 1;
            let payload = &text[text.rfind("\"n\":").unwrap() + 4..];
            let n: i64 = payload[..payload.find(',').unwrap()].parse().unwrap();
            wrong += usize::from(n != last + 1);
            last = n;
        }
    }
    wrong
}

fn payloads(records: usize) -> Vec<String> {
    (0..records).map(|n| format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(150))).collect()
}

async fn deliver(count_of: usize, records: usize) -> Duration {
    let server = Server::start().await;
    let clients = subscribers(&server, count_of).await;
    let tasks = TaskTracker::new();
    let readers: Vec<_> = clients.into_iter().map(|client| tasks.spawn(count(client, records))).collect();
    let begun = Instant::now();
    for group in payloads(records).chunks(1_000) {
        let group: Vec<&str> = group.iter().map(String::as_str).collect();
        server.put("a", &group).await;
    }
    for reader in readers {
        assert_eq!(reader.await.unwrap(), 0);
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_a_thousand_subscribers() {
    deliver(1_000, 200).await;
}

/// CPU time of all threads of this name.
fn cpu(name: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let ours = tasks.filter_map(|task| {
        let path = task.ok()?.path();
        let comm = std::fs::read_to_string(path.join("comm")).ok()?;
        let stat = std::fs::read_to_string(path.join("schedstat")).ok()?;
        let nanos: u64 = stat.split(' ').next()?.parse().ok()?;
        (comm.trim() == name).then_some(nanos)
    });
    Duration::from_nanos(ours.sum())
}

fn runtime(name: &str) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .build()
        .unwrap()
}

/// Reads whatever comes, so many bytes.
async fn drain(client: Client, mut bytes: usize) {
    use tokio::io::AsyncReadExt as _;
    let MaybeTlsStream::Plain(mut stream) = client.0.into_inner() else { return };
    let mut buffer = vec![0; 256 << 10];
    while bytes > 0 {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0);
        bytes = bytes.saturating_sub(read);
    }
}

/// The server's CPU for each delivery; run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn it_delivers_cheaply() {
    for count_of in [1, 100, 1_000] {
        let records = 4_000_000 / count_of.max(20);
        let (serving, reading) = (runtime("serving"), runtime("reading"));
        let server = serving.block_on(serving.spawn(Server::start())).unwrap();
        let clients = reading.block_on(subscribers(&server, count_of));
        let before = (Instant::now(), cpu("serving"));
        // 150 bytes of padding beside at least this much of everything else.
        let readers: Vec<_> =
            clients.into_iter().map(|client| reading.spawn(drain(client, records * 300))).collect();
        for group in payloads(records).chunks(1_000) {
            let group: Vec<&str> = group.iter().map(String::as_str).collect();
            serving.block_on(server.put("a", &group));
        }
        for reader in readers {
            reading.block_on(reader).unwrap();
        }
        let (took, cpu) = (before.0.elapsed(), cpu("serving") - before.1);
        let deliveries = (records * count_of) as f64;
        let line = format!(
            "{count_of} subscribers: {:.0} deliveries/s, {:.3} us CPU each\n",
            deliveries / took.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / deliveries
        );
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_lets_a_client_that_does_not_read_fall_behind_alone() {
    let server = Server::start().await;
    let stalled = server.connect("/feed?start=earliest").await;
    let mut reader = server.connect("/feed").await;
    reader.word().await;
    // More than the kernel's buffers and the tail hold.
    let pad = "x".repeat(100_000);
    let text = |n: usize| format!("{{\"n\":{n},\"pad\":\"{pad}\"}}");
    for n in 0..400 {
        server.put("a", &[&text(n)]).await;
        // Cursors come between.
        while reader.word().await.len() != text(n).len() {}
    }
    assert_eq!(count(stalled, 400).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_closes_a_client_that_accepts_nothing_with_its_cursor() {
    let stall = Duration::from_millis(300);
    let server = Server::patient(Rights { publish: Err(Fault::new(Code::Unauthorized, "")) }, stall).await;
    let pad = "x".repeat(60_000);
    for group in 0..40 {
        let payloads: Vec<String> =
            (0..10).map(|n| format!("{{\"n\":{},\"pad\":\"{pad}\"}}", group * 10 + n)).collect();
        server.put("a", &payloads.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    let mut client = server.connect("/feed?start=earliest").await;
    // Nothing is read, so all buffers fill; then the node gives up.
    tokio::time::sleep(stall * 5).await;
    let (mut seen, mut last) = (0, Value::Null);
    let code = loop {
        match client.message().await {
            Message::Close(Some(frame)) => break frame.code,
            message => last = serde_json::from_str(message.to_text().unwrap()).unwrap(),
        }
        if last["type"] == "record" {
            assert_eq!(last["payload"]["n"], seen);
            seen += 1;
        }
    };
    assert_eq!((code, last["type"].as_str()), (CloseCode::Again, Some("cursor")));
    assert!(seen < 400, "it was cut before the end");
    let mut again = server.connect(&format!("/feed?start=after:{}", last["cursor"].as_str().unwrap())).await;
    assert_eq!(again.word().await, "cursor");
    while seen < 400 {
        let frame = again.frame().await;
        if frame["type"] == "record" {
            assert_eq!(frame["payload"]["n"], seen);
            seen += 1;
        }
    }
    eventually(|| server.feed.metrics().ended.contains(&("stalled", 1))).await;
}

/// Records a second through `/publish`, and the server's CPU for each; run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn it_takes_cheaply() {
    for count_of in [1, 4] {
        let records = 400_000 / count_of;
        let (serving, reading) = (runtime("serving"), runtime("reading"));
        let server = serving.block_on(serving.spawn(Server::start())).unwrap();
        let threads = ["serving", "store-writer", "store-sync", "store-index"];
        let before = (Instant::now(), threads.map(cpu));
        let publishers: Vec<_> = (0..count_of)
            .map(|n| {
                let client = reading.block_on(server.connect(&format!("/publish?topic=a.n{n}")));
                reading.spawn(publish(client, records))
            })
            .collect();
        for publisher in publishers {
            reading.block_on(publisher).unwrap();
        }
        let took = before.0.elapsed();
        let each = |place: usize| {
            cpu(threads[place]).saturating_sub(before.1[place]).as_secs_f64() * 1e6
                / (records * count_of) as f64
        };
        let line = format!(
            "{count_of} publishers: {:.0} records/s; us CPU each: sockets {:.2}, writer {:.2}, sync {:.2}\n",
            (records * count_of) as f64 / took.as_secs_f64(),
            each(0),
            each(1),
            each(2)
        );
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    }
}

/// Sends records as fast as they are taken, and reads the answers.
async fn publish(client: Client, records: usize) {
    let (mut sink, mut answers) = client.0.split();
    let text = format!("{{\"price\":97312.5,\"pad\":\"{}\"}}", "x".repeat(270));
    let sending = async {
        for _ in 0..records {
            sink.feed(Message::text(text.clone())).await.unwrap();
        }
        sink.flush().await.unwrap();
    };
    let reading = async {
        for n in 1..=records {
            let answer = answers.next().await.unwrap().unwrap();
            let text = answer.to_text().unwrap();
            assert!(text.starts_with(&format!("{{\"type\":\"published\",\"n\":{n},")), "{text}");
        }
    };
    futures_util::future::join(sending, reading).await;
}

/// How fast one subscriber catches up, and what a filter costs; run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn it_catches_up_fast() {
    let records = 400_000;
    let (serving, reading) = (runtime("serving"), runtime("reading"));
    let server = serving.block_on(serving.spawn(Server::start())).unwrap();
    for group in payloads(records).chunks(1_000) {
        let group: Vec<&str> = group.iter().map(String::as_str).collect();
        serving.block_on(server.put("a", &group));
    }
    for query in [
        "start=earliest",
        "start=earliest&filter=payload.n%20%3E%3D%200",
        "start=earliest&filter=topic%20%3D%3D%20'a'",
    ] {
        let client = reading.block_on(server.connect(&format!("/feed?{query}")));
        let begun = (Instant::now(), cpu("serving"));
        reading.block_on(drain(client, records * 300));
        let (took, cpu) = (begun.0.elapsed().as_secs_f64(), (cpu("serving") - begun.1).as_secs_f64());
        let line = format!(
            "{query}: {:.0} records/s, {:.2} us CPU each on the socket's thread\n",
            records as f64 / took,
            cpu * 1e6 / records as f64
        );
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    }
}
