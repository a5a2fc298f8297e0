//! A node that answers publishes by a script: what it does wrong must stand in the ledger.

use anyhow::Result;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use super::*;

const LOG: &str = "12D3KooWabc/692273a45f3a9c01";

/// Answers the first frames by the script, then cuts: `+N` acknowledges with `n` N, `-N` refuses it,
/// `=N` acknowledges it with the id of the first one, `!` answers with another frame.
async fn serve(listener: TcpListener, script: &'static str) -> Result<()> {
    let (tcp, _) = listener.accept().await?;
    let mut socket = tokio_tungstenite::accept_async(tcp).await?;
    let mut taken = 0;
    while taken < 5 {
        taken += u32::from(socket.next().await.context("cut")??.is_text());
    }
    for word in script.split_whitespace() {
        let n: u64 = word[1..].parse().unwrap_or(0);
        let id = |seq: u64| format!("{LOG}/{seq}");
        let frame = match word.as_bytes()[0] {
            b'+' => json!({ "type": "published", "n": n, "id": id(n), "ack": "durable" }),
            b'=' => json!({ "type": "published", "n": n, "id": id(1), "ack": "durable" }),
            b'-' => json!({ "type": "error", "n": n, "code": "overloaded", "detail": "later" }),
            _ => json!({ "type": "cursor", "n": 1 }),
        };
        socket.send(Message::text(frame.to_string())).await?;
    }
    Ok(())
}

/// Runs one publisher against a script; gives acknowledged, refused, unanswered and whether all was sound.
async fn outcome(script: &'static str) -> Result<(usize, u64, bool, bool)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener, script));
    let any = json!({ "openapi": "3.1.0", "paths": {}, "components": { "schemas": { "Frame": {} } } });
    let http = Http::with_document(&address, any)?;
    let (tell, target) = watch::channel(Some((Door::new(&address, &http), http)));
    let ledger = Ledger::default();
    let plan = Plan { sockets: 1, posters: 0, window: 20, ..Plan::default() };
    let load = Load::start(&plan, &target, &ledger);
    serving.join_next().await.context("no server")???;
    while ledger.connections() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    tell.send(None)?;
    load.stop().await;
    Ok((ledger.acked_count(), ledger.refusals(), ledger.unanswered() > 0, ledger.ensure_sound().is_ok()))
}

#[tokio::test]
async fn it_keeps_the_account_of_each_answer() -> Result<()> {
    for (script, expected) in [
        ("", (0, 0, true, true)),
        ("+1 +2 +3", (3, 0, true, true)),
        ("+1 -2 +3", (2, 1, true, true)),
        ("+2", (0, 0, true, false)),
        ("+1 +1", (1, 0, true, false)),
        ("+1 =2", (1, 0, true, false)),
        ("+1 !", (1, 0, true, false)),
    ] {
        assert_eq!(outcome(script).await?, expected, "{script:?}");
    }
    Ok(())
}
