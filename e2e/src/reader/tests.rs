//! A feed made of scripts, honest and not: what a subscriber then holds must show it.

use anyhow::{Context as _, Result};
use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::checker::{Owed, check};
use crate::http::Http;
use crate::socket::Door;

const LOG: &str = "12D3KooWabc/692273a45f3a9c01";

/// Frames from words: `3` is a record, `c` a cursor, `l` caught up, `4-6` a gap.
fn frame(word: &str) -> Value {
    match (word, word.split_once('-')) {
        ("c", _) => json!({ "type": "cursor", "cursor": "C" }),
        ("l", _) => json!({ "type": "caught_up", "cursor": "C" }),
        (_, Some((from, to))) => {
            let number = |text: &str| text.parse::<u64>().unwrap_or(0);
            json!({ "type": "gap", "log": LOG, "from": number(from), "to": number(to), "reason": "expired" })
        }
        (seq, None) => json!({ "type": "record", "id": format!("{LOG}/{seq}"), "payload": { "k": seq } }),
    }
}

/// Serves one script a connection, cutting each; the last stays open.
async fn serve(listener: TcpListener, scripts: Vec<&'static str>) -> Result<()> {
    let last = scripts.len();
    for (index, script) in scripts.into_iter().enumerate() {
        let (tcp, _) = listener.accept().await?;
        let mut socket = tokio_tungstenite::accept_async(tcp).await?;
        for word in script.split_whitespace() {
            socket.send(Message::text(frame(word).to_string())).await?;
        }
        if index + 1 == last {
            std::future::pending::<()>().await;
        }
    }
    Ok(())
}

async fn faults(form: Form, scripts: &[&'static str]) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener, scripts.to_vec()));
    let any = json!({ "openapi": "3.1.0", "paths": {}, "components": { "schemas": { "RecordFrame": {}, "Frame": {} } } });
    let http = Http::with_document(&address, any)?;
    let (_tell, target) = watch::channel(Some((Door::new(&address, &http), http)));
    let seen = Reader::start(form, &target).finish("4", Duration::from_secs(5)).await?;
    let acked = (1..=4).map(|seq: u64| (Id::new(LOG, seq), seq.to_string())).collect();
    let faults = check(&Owed { acked, ..Owed::default() }, &seen);
    Ok(faults.iter().map(|fault| fault.to_string().replace(LOG, "log")).collect::<Vec<_>>().join("; "))
}

#[tokio::test]
async fn it_shows_what_a_feed_did_wrong() -> Result<()> {
    for (form, scripts, expected) in [
        (Form::Opaque, &["c 1 2 c 3", "c 3 4 l"][..], ""),
        (Form::Object, &["c 1 2 c 3", "c 4 l"], ""),
        (Form::Seqs, &["c 1 2 c 3", "c 4 l"], ""),
        (Form::Object, &["c 1", "c 2-3 l 4"], ""),
        (Form::Object, &["c 1 2 c 3", "c 3 4 l"], "seen twice: log/3"),
        (Form::Opaque, &["c 1 2 c 3", "c 4 l"], "skipped in silence: log 3..=3; lost log/3"),
        (Form::Seqs, &["c 1 2", "c 4 l"], "skipped in silence: log 3..=3; lost log/3"),
        (Form::Opaque, &["c 2 1 3 4 l"], "skipped in silence: log 1..=1; out of order: log/1"),
        (Form::Object, &["c 1 2", "c 1-2 3 4 l"], "a gap that is none: log 1..=2"),
    ] {
        let got = faults(form, scripts).await.with_context(|| format!("{form:?} {scripts:?}"))?;
        assert_eq!(got, expected, "{form:?} {scripts:?}");
    }
    Ok(())
}

#[tokio::test]
async fn it_misses_what_never_comes() -> Result<()> {
    let error = faults(Form::Opaque, &["c 1 2 3 l"]).await.err().context("it did not wait for record 4")?;
    assert!(error.to_string().contains("not seen, 3 before it"), "{error:#}");
    Ok(())
}
