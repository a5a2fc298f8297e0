//! A real listener: deadlines, limits, and a shutdown that finishes what it is at.

use std::time::Instant;

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::limits::{BODY_PACE, Bodies, Pace};
use super::super::reading::Answers;
use super::*;

struct Running {
    server: Server,
    address: SocketAddr,
}

async fn start(router: Router) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server {
        cancel: CancellationToken::new(),
        tracker: TaskTracker::new(),
        http: Arc::default(),
        header_timeout: Duration::from_millis(300),
    };
    server.tracker.spawn(server.clone().run(listener, Routes::new(router)));
    Running { server, address }
}

async fn hello() -> &'static str {
    "hello"
}

/// Sends bytes with a pause before each but the first, and reads until the node closes.
async fn talk(address: SocketAddr, parts: &[&[u8]], pause: Duration) -> (String, Duration) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let began = Instant::now();
    let mut answer = Vec::new();
    let sending = async {
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                tokio::time::sleep(pause).await;
            }
            if write.write_all(part).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = sending => {}
        _ = read.read_to_end(&mut answer) => {}
    }
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

#[tokio::test]
async fn it_ends_connections_that_do_not_come_to_the_point() {
    let running = start(Router::new().route("/", get(hello))).await;
    let drip: Vec<&[u8]> = std::iter::once(&b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: "[..])
        .chain(std::iter::repeat_n(&b"x"[..], 100))
        .collect();
    for (parts, answer) in [
        (&[][..], ""),
        (&[&b"G"[..]], ""),
        (&drip[..], ""),
        // After an answer the same time is given for the next head.
        (&[&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..]], "HTTP/1.1 200"),
    ] {
        let (got, took) = talk(running.address, parts, Duration::from_millis(20)).await;
        assert!(got.starts_with(answer) && (answer.is_empty() == got.is_empty()), "{got}");
        assert!(took > Duration::from_millis(250) && took < Duration::from_secs(3), "{took:?} for {parts:?}");
    }
}

#[tokio::test]
async fn it_cuts_dripping_bodies() {
    let bodies = Bodies::new(Pace { grace: Duration::from_millis(300), ..BODY_PACE });
    let collect = async move |request: axum::extract::Request| {
        let (parts, body) = request.into_parts();
        bodies.collect(&parts.headers, body, 1 << 20).await.map(|body| body.bytes.len().to_string())
    };
    let running = start(Router::new().route("/", post(collect))).await;
    let head = &b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100000\r\n\r\n"[..];
    let drip: Vec<&[u8]> = std::iter::once(head).chain(std::iter::repeat_n(&b"x"[..], 1_000)).collect();
    let (answer, took) = talk(running.address, &drip, Duration::from_millis(10)).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let whole = [head, &[b'x'; 100_000]].concat();
    let (answer, _) = talk(running.address, &[&whole], Duration::ZERO).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("100000"), "{answer}");
    let large = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2000000\r\n\r\n";
    let large = [&large[..], &[b'x'; 2_000_000]].concat();
    let (answer, _) = talk(running.address, &[&large], Duration::ZERO).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn it_limits_heads() {
    let running = start(Router::new().route("/", get(hello))).await;
    for (query, header, status) in
        [(60_000, 10, "200"), (65_600, 10, "414"), (10, 300 << 10, "431"), (60_000, 30_000, "200")]
    {
        let request = format!(
            "GET /?{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: {}\r\n\r\n",
            "q".repeat(query),
            "h".repeat(header)
        );
        let (answer, _) = talk(running.address, &[request.as_bytes()], Duration::ZERO).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{query} {header}: {answer}");
    }
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    let (answer, _) = talk(running.address, &[many.as_bytes()], Duration::ZERO).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn it_finishes_what_it_is_at() {
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        "done"
    };
    let running = start(Router::new().route("/", get(slow))).await;
    let asking = talk(running.address, &[b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"], Duration::ZERO);
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        running.server.cancel.cancel();
        running.server.tracker.close();
        running.server.tracker.wait().await;
    };
    let ((answer, took), ()) = tokio::join!(asking, stopping);
    assert!(answer.ends_with("done") && answer.contains("connection: close"), "{answer}");
    assert!(took < Duration::from_secs(2));
    assert_eq!(running.server.http.connections(), 0);
    assert!(TcpStream::connect(running.address).await.is_err(), "it still listens");
}

#[tokio::test]
async fn it_cuts_who_does_not_take_a_large_answer() {
    const SIZE: usize = 32 << 20;
    let answers = Answers::new(Pace { grace: Duration::from_millis(500), bytes_per_sec: 1 << 30 });
    let large = {
        let answers = answers.clone();
        async move || answers.json(vec![b'1'; SIZE]).unwrap()
    };
    let running = start(Router::new().route("/", get(large))).await;
    let head = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let (answer, _) = talk(running.address, &[head], Duration::ZERO).await;
    assert!(answer.len() > SIZE, "who reads gets all");
    let mut slow = TcpStream::connect(running.address).await.unwrap();
    slow.write_all(head).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(answers.room() < SIZE * 4, "its memory is counted");
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!(answers.room(), SIZE * 4, "it is free again");
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest).await;
    assert!(rest.len() < SIZE);
}
