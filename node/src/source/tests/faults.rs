//! Each fault of the feed on each kind: the right state, the right words, recovery; and nobody else notices.

use super::*;
use SourceState::{AuthFailed, BackingOff, Live, Stale};

/// A fault, the kinds that have it, the state that it ends in, and words of the reason.
const FAULTS: [(&str, &str, SourceState, &str); 21] = [
    ("401", "rsw", AuthFailed, "401"),
    ("403", "r", AuthFailed, "403"),
    ("404", "rsw", BackingOff, "404"),
    ("429:1", "rsw", BackingOff, "429"),
    ("500", "rsw", BackingOff, "500"),
    ("503:1", "r", BackingOff, "503"),
    ("hang", "r", BackingOff, "did not answer within"),
    ("silence", "r", BackingOff, "did not end in time"),
    ("silence", "sw", Stale, "no data for 1.5 s"),
    ("heartbeats", "s", Stale, "no data for 1.5 s"),
    ("malformed", "r", BackingOff, "JSON"),
    ("malformed", "sw", BackingOff, "JSON"),
    ("html", "r", Stale, "messages came and made none"),
    ("empty", "r", BackingOff, "the answer is empty"),
    ("truncated", "r", BackingOff, ""),
    ("slow", "r", BackingOff, ""),
    ("late", "r", BackingOff, "did not answer within"),
    ("drop", "rsw", BackingOff, "closed the connection"),
    ("redirect-loop", "r", BackingOff, "redirect"),
    ("bomb", "r", BackingOff, "8 MiB"),
    ("headers", "r", BackingOff, "head"),
];

/// One source that will meet a fault.
struct Case {
    name: String,
    path: String,
    fault: &'static str,
    state: SourceState,
    words: &'static str,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (fault, kinds, state, words) in FAULTS {
        for kind in kinds.chars() {
            let path = match kind {
                'r' => "rest",
                's' => "sse",
                _ => "ws",
            };
            let place = cases.len();
            let name = format!("{path}-{}-{place}", fault.replace(':', "-"));
            cases.push(Case { name, path: format!("/{path}/{place}"), fault, state, words });
        }
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_each_fault_in_its_state_and_recovers_while_others_keep_their_pace() {
    let cases = cases();
    let subject = Subject::new(cases.len() + 100, 5.0).await;
    for case in &cases {
        // What is no JSON is a text or bytes otherwise, and a record as it is.
        subject.add(&case.name, &case.path, json!({"emit": "{'n': payload.n}"})).await;
    }
    for place in 0..100 {
        let number = cases.len() + place;
        let path = ["rest", "sse", "ws"][place % 3];
        subject.add(&format!("well-{place}"), &format!("/{path}/{number}"), json!({})).await;
    }
    for case in &cases {
        subject.becomes(&case.name, &[Live], 20).await;
    }
    let (began, before) = (Instant::now(), made(&subject));
    for case in &cases {
        subject.fault(&case.path, case.fault).await;
    }
    for case in &cases {
        let status = subject.says(&case.name, case.state, case.words, 20).await;
        let error = status.last_error.is_some() || case.state == Stale;
        assert!(error && (status.next_attempt.is_some() || case.state == Stale), "{}: {status:?}", case.name);
    }
    subject.mend().await;
    for case in &cases {
        if case.state == AuthFailed {
            // Who is locked out is asked slowly; whoever mends it says so.
            subject.sources.pause(&case.name, false).await.unwrap();
        }
        subject.becomes(&case.name, &[Live], 45).await;
    }
    let (seconds, after) = (began.elapsed().as_secs_f64(), made(&subject));
    for (name, count) in &after {
        let rate = (count - before[name]) as f64 / seconds;
        // Five a second where the machine has nothing else to do: other tests run beside this one.
        assert!(rate > 2.5, "{name} made {rate:.1} records a second while others were in trouble");
        assert_eq!(subject.status(name).errors, 0, "{name}");
    }
    sleep(Duration::from_secs(7)).await;
    assert_told(&subject, &cases);
    subject.sources.shutdown().await;
    subject.feed.stop().await;
}

/// Records of the sources that nothing happens to.
fn made(subject: &Subject) -> BTreeMap<String, u64> {
    let (views, _) = subject.sources.list(true, None, 1_000);
    let well = views.into_iter().filter(|view| view.definition.name.starts_with("well-"));
    well.map(|view| (view.definition.name, view.status.records)).collect()
}

fn assert_told(subject: &Subject, cases: &[Case]) {
    let told = subject.told.lock().unwrap();
    let downs = told.iter().filter(|(_, kind, _)| kind == "source_down").count();
    let more = told.iter().any(|(_, kind, _)| kind == "sources_down");
    assert!(downs >= 20 && (downs >= cases.len() || more), "{downs} of {}: {told:?}", cases.len());
    assert!(told.iter().all(|(_, kind, detail)| kind != "source_down" || !detail.contains("well-")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_obeys_retry_after() {
    let subject = Subject::new(1, 5.0).await;
    subject.fault("/rest/0", "429:30").await;
    subject.add("a", "/rest/0", json!({})).await;
    let status = subject.becomes("a", &[BackingOff], 5).await;
    let next = anode_shared::time::from_rfc3339(&status.next_attempt.unwrap()).unwrap();
    let wait = (next - crate::store::system_time()) / 1_000_000;
    assert!((25..=31).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_what_is_wrong_with_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let local = Some(([127, 0, 0, 1], 0).into());
    let options =
        DemoOptions { https: local, ca_file: Some(ca.clone()), rate: 5.0, ..DemoOptions::default() };
    let feed = DemoFeed::start(&options).await.unwrap();
    let addresses = feed.addresses().clone();
    let store = new_store();
    let (sources, told) = open(folder.path(), &store, &feed, Some(&ca));
    sources.start();
    let subject = Subject { feed, store, sources, told, dir: folder.path().to_owned(), _folder: None };
    let mut wait = Vec::new();
    for (name, address, state, words) in [
        ("good", addresses.https, Live, ""),
        ("expired", addresses.https_expired, BackingOff, "expired"),
        ("wrong-name", addresses.https_wrong_name, BackingOff, "is not for 127.0.0.1"),
        ("unknown-ca", addresses.https_unknown_ca, BackingOff, "CA"),
    ] {
        for (path, scheme) in [("rest", "https"), ("sse", "https"), ("ws", "wss")] {
            let name = format!("{name}-{path}");
            let url = format!("{scheme}://{}/{path}/1", address.unwrap());
            subject.add(&name, &format!("/{path}/1"), json!({"url": url})).await;
            wait.push((name, state, words));
        }
    }
    for (name, state, words) in wait {
        let status = subject.becomes(&name, &[state], 10).await;
        let reason = status.reason.unwrap_or_default();
        assert!(reason.contains(words), "{name}: {reason}");
        if state == BackingOff {
            assert_eq!(status.last_error.unwrap().stage, anode_shared::source::Stage::Tls, "{name}");
        }
    }
}
