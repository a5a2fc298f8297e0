//! Bytes that are no HTTP and no WebSocket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::node::Plan;
use e2e::socket::Frame;
use tokio_tungstenite::tungstenite::Message;

use super::ensure_healthy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_survives_sockets_that_break_the_protocol() -> Result<()> {
    let mut node = Plan::new().args(&["--open-publish"]).start().await?;
    for path in ["/feed", "/publish?topic=a", "/api/v1/watch"] {
        let mut big = node.door()?.open(path).await?;
        big.send_message(Message::binary(vec![0; 24 << 20])).await.ok();
        loop {
            match big.next().await? {
                Frame::Json(_) => {}
                Frame::Closed(code, _) => {
                    ensure!([1009, 1008, 1003].contains(&code), "{path}: {code} for 24 MiB");
                    break;
                }
                Frame::Cut => break,
                Frame::Binary(_) => anyhow::bail!("{path}: a binary frame"),
            }
        }
        let upgrade = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        // An unmasked frame, a reserved opcode, a fragmented ping, invalid UTF-8 in text.
        for broken in [&b"\x81\x01a"[..], b"\x83\x80\0\0\0\0", b"\x09\x80\0\0\0\0", b"\x81\x81\0\0\0\0\xff"] {
            let mut tcp = TcpStream::connect(node.address())?;
            tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
            tcp.write_all(upgrade.as_bytes())?;
            tcp.write_all(broken)?;
            let mut rest = Vec::new();
            // Whatever the node says, it ends the connection.
            tcp.read_to_end(&mut rest).with_context(|| format!("{path}: open after {broken:?}"))?;
        }
    }
    ensure_healthy(&mut node).await?;
    node.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_survives_requests_that_are_none() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let long_header = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    let long_url = format!(
        "GET /feed?start=after:{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "A".repeat(80_000)
    );
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /api/v1/records HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/records HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\nConnection: close\r\n\r\nabcde",
        b"POST /api/v1/records HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
        b"GET /%00%ff/../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        long_header.as_bytes(),
        long_url.as_bytes(),
    ] {
        let mut tcp = TcpStream::connect(node.address())?;
        tcp.set_read_timeout(Some(Duration::from_secs(45)))?;
        let sent = tcp.write_all(bytes);
        let mut answer = Vec::new();
        let read = tcp.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        let shown: String = String::from_utf8_lossy(bytes).chars().take(60).collect();
        ensure!(!text.starts_with("HTTP/1.1 200") && !text.starts_with("HTTP/1.1 5"), "{shown:?}: {text}");
        ensure!(sent.is_err() || read.is_ok() || !answer.is_empty(), "{shown:?}: open without an answer");
    }
    ensure_healthy(&mut node).await?;
    node.stop().await
}
