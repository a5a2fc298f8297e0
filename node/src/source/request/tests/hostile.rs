use async_compression::Level;
use async_compression::brotli::EncoderParams;
use async_compression::tokio::write::{BrotliEncoder, GzipEncoder};
use tokio::io::AsyncWriteExt as _;

use super::bodies::compress;
use super::*;
use crate::source::upstream::{forget_peak, memory};

/// What one may take, 16 MiB, and what other tests of this process may take meanwhile: their own bodies of 8 MiB.
const BESIDES: u64 = 96 << 20;

/// Polls an upstream that answers by these steps, and says how it failed and how long that took.
async fn failure(steps: Vec<Step>, time: Duration) -> (Failure, Duration) {
    let upstream = Upstream::http(move |_| steps.clone());
    let http = http(connector(&[&upstream], None, None));
    let began = Instant::now();
    let failure = whole(&http, get_within(upstream.url("127.0.0.1", "/"), time)).await.unwrap_err();
    (failure, began.elapsed())
}

fn head(headers: &str) -> Step {
    Step::Send(format!("HTTP/1.1 200 OK\r\n{headers}\r\n").into_bytes())
}

#[tokio::test]
async fn it_cuts_what_is_too_long() {
    let gzip = compress!(GzipEncoder, &vec![0; 1 << 20]);
    let brotli = brotli(&vec![0; 16 << 20], 22).await;
    let chunk = [format!("{:x}\r\n", 64 << 10).as_bytes(), &[b'x'; 64 << 10], b"\r\n"].concat();
    for (what, steps) in [
        ("a bomb of brotli", vec![head("Content-Encoding: br\r\nConnection: close\r\n"), Step::Send(brotli)]),
        (
            "a bomb of 1 GiB",
            vec![head("Content-Encoding: gzip\r\nConnection: close\r\n"), Step::Repeat(gzip, 1_024)],
        ),
        (
            "an endless body",
            vec![head("Connection: close\r\n"), Step::Repeat(vec![b'x'; 64 << 10], usize::MAX)],
        ),
        ("endless chunks", vec![head("Transfer-Encoding: chunked\r\n"), Step::Repeat(chunk, usize::MAX)]),
        (
            "a length of 1 TiB",
            vec![head("Content-Length: 1099511627776\r\n"), Step::Repeat(vec![b'x'; 64 << 10], usize::MAX)],
        ),
    ] {
        forget_peak();
        let (before, _) = memory();
        let (failure, took) = failure(steps, Duration::from_secs(20)).await;
        let grown = memory().1.saturating_sub(before);
        eprint_figures(what, took, grown);
        assert!(
            failure.stage == Stage::Body && failure.detail.contains("longer than 8 MiB"),
            "{what}: {failure}"
        );
        assert!(grown < BESIDES, "{what} took {} MiB", grown >> 20);
    }
}

/// Brotli with a window of so many bits.
async fn brotli(bytes: &[u8], window: i32) -> Vec<u8> {
    let params = EncoderParams::default().quality(Level::Fastest).window_size(window);
    let mut encoder = BrotliEncoder::with_params(Vec::new(), params);
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

/// Figures for whoever runs a test alone with `--nocapture`.
#[expect(clippy::print_stderr, reason = "shown by the test runner only when asked for")]
fn eprint_figures(what: &str, took: Duration, grown: u64) {
    eprintln!(
        "{what}: cut after {} ms, memory +{:.1} MiB",
        took.as_millis(),
        grown as f64 / f64::from(1 << 20)
    );
}

#[tokio::test]
async fn it_holds_no_large_window() {
    let text = b"some text that is compressed, some text that is compressed";
    for (window, taken) in
        [(10, true), (16, true), (17, true), (18, true), (22, true), (23, false), (24, false)]
    {
        let body = brotli(text, window).await;
        let upstream = Upstream::http(move |_| answer("200 OK", "Content-Encoding: br\r\n", &body));
        let http = http(connector(&[&upstream], None, None));
        match whole(&http, get(upstream.url("127.0.0.1", "/"))).await {
            Ok((_, body)) => assert!(taken && body == text[..], "{window} bits"),
            Err(failure) => {
                assert!(
                    !taken && failure.detail.contains("a window above 4 MiB"),
                    "{window} bits: {failure}"
                );
            }
        }
    }
}

#[tokio::test]
async fn it_cuts_what_compresses_nothing_for_ever() {
    // Empty members: bytes come without end, and never one of the body.
    let empty = compress!(GzipEncoder, b"");
    let steps = vec![
        head("Content-Encoding: gzip\r\nConnection: close\r\n"),
        Step::Repeat(empty.repeat(1_000), usize::MAX),
    ];
    let (failure, took) = failure(steps, Duration::from_secs(20)).await;
    assert!(failure.stage == Stage::Body && failure.detail.contains("longer than 8 MiB"), "{failure}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn it_cuts_what_is_too_slow() {
    let (pause, time) = (Duration::from_millis(20), Duration::from_millis(400));
    let long = vec![b'x'; 1_000];
    for (what, steps, stage, words) in [
        ("nothing", vec![Step::Wait(Duration::from_secs(9))], Stage::Request, "did not answer within 0.4 s"),
        (
            "a dripping status",
            vec![Step::Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n".repeat(9), pause)],
            Stage::Request,
            "did not answer",
        ),
        (
            "a dripping header",
            vec![Step::Send(b"HTTP/1.1 200 OK\r\nX: ".to_vec()), Step::Drip(long.clone(), pause)],
            Stage::Request,
            "did not answer",
        ),
        (
            "a dripping body",
            vec![head("Content-Length: 1000\r\n"), Step::Drip(long.clone(), pause)],
            Stage::Body,
            "did not end in time",
        ),
        (
            "a dripping gzip",
            vec![head("Content-Encoding: gzip\r\nContent-Length: 1000\r\n"), Step::Drip(long, pause)],
            Stage::Body,
            "",
        ),
        (
            "a body that stops",
            vec![
                head("Content-Length: 9\r\n"),
                Step::Send(b"x".to_vec()),
                Step::Wait(Duration::from_secs(9)),
            ],
            Stage::Body,
            "1 bytes came",
        ),
    ] {
        let (failure, took) = failure(steps, time).await;
        assert!(failure.stage == stage && failure.detail.contains(words), "{what}: {failure}");
        assert!(took < time + Duration::from_millis(250), "{what}: {took:?}");
    }
}

#[tokio::test]
async fn it_cuts_a_silent_body_long_before_a_long_timeout() {
    let upstream = Upstream::http(|_| {
        vec![head("Content-Length: 9\r\n"), Step::Send(b"x".to_vec()), Step::Wait(Duration::from_secs(9))]
    });
    let http = http(connector(&[&upstream], None, None));
    let mut request = get_within(upstream.url("127.0.0.1", "/"), Duration::from_secs(3_600));
    request.reading.idle = Some(Duration::from_millis(200));
    let failure = whole(&http, request).await.unwrap_err();
    assert!(failure.detail.contains("sent nothing of the body for 0.2 s; 1 bytes came"), "{failure}");
}

#[tokio::test]
async fn it_cuts_heads_that_are_no_heads() {
    let headers = |count: usize| (0..count).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    let close = Step::Close;
    for (what, steps, stage, words) in [
        (
            "a long header",
            vec![
                Step::Send(b"HTTP/1.1 200 OK\r\nX: ".to_vec()),
                Step::Repeat(vec![b'x'; 64 << 10], usize::MAX),
            ],
            Stage::Request,
            "longer than 64 KiB",
        ),
        (
            "endless headers",
            vec![
                Step::Send(b"HTTP/1.1 200 OK\r\n".to_vec()),
                Step::Repeat(headers(1_000).into(), usize::MAX),
            ],
            Stage::Request,
            "more than 100 headers",
        ),
        ("101 headers", vec![head(&headers(101))], Stage::Request, "more than 100 headers"),
        ("garbage", vec![Step::Send(vec![0xff; 100])], Stage::Request, "does not answer in HTTP/1.1"),
        (
            "HTTP/2",
            vec![Step::Send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec())],
            Stage::Request,
            "does not answer in HTTP/1.1",
        ),
        (
            "a greeting",
            vec![Step::Send(b"220 mail.example ESMTP\r\n".to_vec())],
            Stage::Request,
            "does not answer in HTTP/1.1",
        ),
        (
            "two lengths",
            vec![head("Content-Length: 1\r\nContent-Length: 2\r\n")],
            Stage::Request,
            "does not answer in HTTP/1.1",
        ),
        (
            "half a head",
            vec![Step::Send(b"HTTP/1.1 200".to_vec()), close.clone()],
            Stage::Connect,
            "closed the connection before it answered",
        ),
        (
            "half a body",
            vec![head("Content-Length: 9\r\n"), Step::Send(b"1234".to_vec()), close.clone()],
            Stage::Body,
            "closed the connection within the body, after 4 bytes",
        ),
        (
            "half a chunk",
            vec![head("Transfer-Encoding: chunked\r\n"), Step::Send(b"9\r\n1234".to_vec()), close],
            Stage::Body,
            "closed the connection within the body",
        ),
        (
            "a wrong chunk",
            vec![head("Transfer-Encoding: chunked\r\n"), Step::Send(b"zz\r\n".to_vec())],
            Stage::Body,
            "broke off",
        ),
    ] {
        let (failure, took) = failure(steps, Duration::from_secs(5)).await;
        assert!(failure.stage == stage && failure.detail.contains(words), "{what}: {failure}");
        assert!(took < Duration::from_secs(4), "{what}: {took:?}");
    }
}

#[tokio::test]
async fn it_takes_a_hundred_headers_and_a_long_one() {
    for headers in [
        (0..98).map(|n| format!("X-{n}: y\r\n")).collect::<String>(),
        format!("X: {}\r\n", "y".repeat(60 << 10)),
    ] {
        let upstream = Upstream::http(move |_| answer("200 OK", &headers, "ok"));
        let http = http(connector(&[&upstream], None, None));
        assert_eq!(whole(&http, get(upstream.url("127.0.0.1", "/"))).await.unwrap().1, "ok");
    }
}
