//! Proofs of a live node, judged by the verifier in Python that knows only `shared/FORMAT.md`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::node::{Node, Plan};
use serde_json::{Value, json};

/// Whether the verifier takes a proof; its words beside.
pub(crate) fn verify(node: &Node, proof: &Value) -> Result<(bool, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("verify.py");
    ensure!(script.exists(), "no {}", script.display());
    let file = node.dir().join("proof.json");
    fs::write(&file, proof.to_string())?;
    let output = Command::new("python3").arg(script).arg(file).output().context("python3")?;
    let words = [output.stdout, output.stderr].concat();
    let code = output.status.code().context("the verifier was killed")?;
    let words = String::from_utf8_lossy(&words).into_owned();
    ensure!([0, 1].contains(&code), "the verifier failed with {code}: {words}");
    ensure!(!words.contains("Traceback"), "the verifier broke: {words}");
    Ok((code == 0, words))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_gives_proofs_that_a_stranger_can_check() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let mut ids = Vec::new();
    // Batches of one, of a few and of many records, JSON and bytes, over a restart.
    for count in [1, 2, 3, 64, 200] {
        ids.push(node.http()?.publish_numbered("proof.a", "p", 0..count, 30).await?[count / 2].0.clone());
    }
    let bytes = json!({ "topic": "proof.b", "payload_base64": "AP8=", "content_type": "application/x", "dedupe": "d" });
    let answer = node.http()?.publish(&bytes).await?;
    ids.push(e2e::words::Id::parse(answer["ids"][0].as_str().context("no id")?)?);
    node.kill()?;
    node.start().await?;
    ids.push(node.http()?.publish_numbered("proof.a", "q", 0..5, 30).await?[4].0.clone());
    for id in &ids {
        let answer = node.http()?.get(&format!("/api/v1/records/{id}")).await?;
        ensure!(answer["id"] == id.to_string(), "{answer}");
        let (good, words) = verify(&node, &answer)?;
        ensure!(good, "{id} is refused: {words}");
        ensure_refused(&node, &answer)?;
    }
    node.stop().await
}

/// One flipped bit anywhere in the proof must make the verifier refuse it.
fn ensure_refused(node: &Node, answer: &Value) -> Result<()> {
    let flip = |text: &str, at: usize| -> Result<String> {
        let mut bytes = STANDARD.decode(text)?;
        let at = at.min(bytes.len() - 1);
        bytes[at] ^= 1;
        Ok(STANDARD.encode(bytes))
    };
    let mut broken = Vec::new();
    for (field, places) in [
        ("record_bytes", vec![0, 20, usize::MAX]),
        ("header", vec![0, 40, usize::MAX]),
        ("signature", vec![0, 63]),
    ] {
        for at in places {
            let mut copy = answer.clone();
            let text = copy["proof"][field].as_str().with_context(|| format!("no {field}"))?;
            copy["proof"][field] = Value::from(flip(text, at)?);
            broken.push((format!("{field} at {at}"), copy));
        }
    }
    let path = answer["proof"]["path"].as_array().context("no path")?;
    for (step, hash) in path.iter().enumerate() {
        let mut copy = answer.clone();
        copy["proof"]["path"][step] = Value::from(flip(hash.as_str().unwrap_or(""), 5)?);
        broken.push((format!("path step {step}"), copy));
    }
    let mut copy = answer.clone();
    copy["proof"]["index"] = json!(answer["proof"]["index"].as_u64().unwrap_or(0) ^ 1);
    broken.push(("index".to_owned(), copy));
    for (what, copy) in broken {
        let (good, words) = verify(node, &copy)?;
        ensure!(!good, "a proof with a flipped bit in {what} is taken: {words}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_what_is_not_there() -> Result<()> {
    let mut node = Plan::new().start().await?;
    let (id, _) = node.http()?.publish_numbered("proof.a", "p", 0..1, 30).await?.remove(0);
    let origin = id.log.split('/').next().unwrap_or("");
    for (path, status) in [
        (format!("{}/{}", id.log, id.seq + 1), 404),
        (format!("{origin}/0000000000000001/1"), 404),
        (format!("{}/0", id.log), 400),
        (format!("{}/x", id.log), 400),
        (format!("{origin}/short/1"), 400),
        (format!("nobody/{}/1", "0".repeat(16)), 400),
    ] {
        node.http()?.send("GET", &format!("/api/v1/records/{path}"), &[], "").await?.ensure(status)?;
    }
    node.stop().await
}
