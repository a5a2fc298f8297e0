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

/// Deliveries a second; run with `--ignored --nocapture`. Client and server share the cores.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn it_delivers_fast() {
    for subscribers in [1, 100, 1_000] {
        let records = 2_000_000 / subscribers.max(10);
        let took = deliver(subscribers, records).await;
        let rate = (subscribers * records) as f64 / took.as_secs_f64();
        tracing::info!(subscribers, rate);
        std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("{subscribers} subscribers: {rate:.0} deliveries/s\n").as_bytes(),
        )
        .unwrap();
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
