use async_compression::tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder};
use tokio::io::AsyncWriteExt as _;

use super::*;

macro_rules! compress {
    ($encoder:ident, $bytes:expr) => {{
        let mut encoder = $encoder::new(Vec::new());
        encoder.write_all($bytes).await.unwrap();
        encoder.shutdown().await.unwrap();
        encoder.into_inner()
    }};
}
pub(super) use compress;

async fn received(coding: &str, body: Vec<u8>) -> Result<Bytes, Failure> {
    let headers = format!("Content-Encoding: {coding}\r\n");
    let upstream = Upstream::http(move |_| answer("200 OK", &headers, &body));
    let http = http(connector(&[&upstream], None, None));
    Ok(whole(&http, get(upstream.url("127.0.0.1", "/"))).await?.1)
}

#[tokio::test]
async fn it_reads_what_is_compressed() {
    let text: Vec<u8> = (0..200_000u32).flat_map(|n| (n % 977).to_string().into_bytes()).collect();
    let gzip = compress!(GzipEncoder, &text);
    for (coding, body) in [
        ("gzip", gzip.clone()),
        ("x-gzip", gzip.clone()),
        ("GZIP", gzip.clone()),
        ("br", compress!(BrotliEncoder, &text)),
        ("deflate", compress!(ZlibEncoder, &text)),
        ("deflate", compress!(DeflateEncoder, &text)),
        ("identity", text.clone()),
    ] {
        assert!(received(coding, body).await.unwrap() == text, "{coding}");
    }
    let (half, rest) = text.split_at(100_000);
    let members = [compress!(GzipEncoder, half), compress!(GzipEncoder, rest)].concat();
    assert!(received("gzip", members).await.unwrap() == text);
    for coding in ["gzip", "br", "deflate"] {
        assert_eq!(received(coding, Vec::new()).await.unwrap(), "", "{coding}");
    }
}

#[tokio::test]
async fn it_says_what_is_wrong_with_what_is_compressed() {
    let gzip = compress!(GzipEncoder, b"some text that is compressed, some text that is compressed");
    let mut wrong_sum = gzip.clone();
    let place = wrong_sum.len() - 6;
    wrong_sum[place] ^= 1;
    for (coding, body, words) in [
        ("gzip", b"no gzip at all".to_vec(), "not compressed as it says"),
        ("gzip", gzip[..gzip.len() / 2].to_vec(), "ends too early"),
        ("gzip", gzip[..5].to_vec(), "ends too early"),
        ("gzip", wrong_sum, "not compressed as it says"),
        ("br", [&[0x0b][..], &[0xff; 40]].concat(), "ends too early"),
        ("deflate", vec![0x78, 0x9c, 0xff, 0xff], "not compressed as it says"),
        ("zstd", vec![1], "`zstd`; gzip, deflate and br"),
        ("gzip, br", vec![1], "`gzip,br`"),
    ] {
        let failure = received(coding, body).await.unwrap_err();
        assert!(failure.stage == Stage::Body && failure.detail.contains(words), "{coding}: {failure}");
    }
}

#[tokio::test]
async fn it_hands_on_a_stream_as_it_comes() {
    let upstream = Upstream::http(|_| {
        let chunk = |text: &str| Step::Send(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let pause = Step::Wait(Duration::from_millis(100));
        vec![
            Step::Send(head.into()),
            pause.clone(),
            chunk("data: 1\n\n"),
            pause.clone(),
            chunk("data: 2\n\n"),
            pause,
            Step::Send(b"0\r\n\r\n".to_vec()),
        ]
    });
    let http = http(connector(&[&upstream], None, None));
    let mut request = get(upstream.url("127.0.0.1", "/"));
    request.reading = Reading::default();
    let mut body = http.send(request).await.unwrap().body;
    // A future that is dropped loses nothing.
    assert!(tokio::time::timeout(Duration::from_millis(1), body.chunk()).await.is_err());
    let began = Instant::now();
    assert_eq!(body.chunk().await.unwrap().unwrap(), "data: 1\n\n");
    assert!(began.elapsed() < Duration::from_millis(180));
    assert_eq!(body.chunk().await.unwrap().unwrap(), "data: 2\n\n");
    assert_eq!(body.chunk().await.unwrap(), None);
    assert_eq!((body.chunk().await.unwrap(), body.received()), (None, 18));
}

#[tokio::test]
async fn it_takes_as_much_as_it_says_and_no_more() {
    let most = usize::try_from(BODY).unwrap();
    for (length, taken) in [(most, true), (most + 1, false)] {
        for chunked in [false, true] {
            let head =
                if chunked { "Connection: close".to_owned() } else { format!("Content-Length: {length}") };
            let upstream = Upstream::http(move |_| {
                vec![
                    Step::Send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").into_bytes()),
                    Step::Send(vec![b'x'; length]),
                    Step::Close,
                ]
            });
            let http = http(connector(&[&upstream], None, None));
            let got = whole(&http, get(upstream.url("127.0.0.1", "/"))).await;
            match got {
                Ok((_, body)) => assert!(taken && body.len() == length),
                Err(failure) => assert!(!taken && failure.detail.contains("longer than 8 MiB"), "{failure}"),
            }
        }
    }
}
