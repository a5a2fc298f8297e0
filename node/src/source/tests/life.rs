//! Sources from registration to removal, over restarts, beside each other.

use super::*;
use crate::source::AddError;
use SourceState::{Invalid, Live, Paused, Stale};
use anode_shared::status::State;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_leaves_others_alone_through_a_whole_life() {
    let subject = Subject::new(4, 10.0).await;
    for (name, path) in [("r", "/rest/0"), ("s", "/sse/1"), ("w", "/ws/2")] {
        subject.add(name, path, json!({})).await;
    }
    for name in ["r", "s", "w"] {
        subject.becomes(name, &[Live], 5).await;
    }
    let opened = || subject.sources.totals().connections.load(std::sync::atomic::Ordering::SeqCst);
    let before = opened();
    let again = subject.sources.add(subject.definition("r", "/rest/0", json!({}))).await;
    assert!(matches!(again, Err(AddError::Taken)), "{again:?}");
    let edited = subject.definition("r", "/rest/3", json!({"topic": "other"}));
    subject.sources.replace(edited).await.unwrap();
    subject.becomes("r", &[Live], 5).await;
    assert_eq!(subject.sources.pause("r", true).await.unwrap().status.state, Paused);
    let records = subject.status("r").records;
    sleep(Duration::from_millis(500)).await;
    assert_eq!((subject.status("r").records, subject.status("r").state), (records, Paused));
    subject.sources.pause("r", false).await.unwrap();
    subject.becomes("r", &[Live], 5).await;
    subject.sources.remove("r").await.unwrap();
    assert!(matches!(subject.sources.remove("r").await, Err(AddError::Unknown)));
    assert_eq!(opened(), before, "streams of others were opened anew");
    for name in ["s", "w"] {
        let status = subject.status(name);
        assert_eq!((status.state, status.errors), (Live, 0), "{name}");
    }
    for topic in ["t.s", "t.w"] {
        let numbers = subject.numbers(topic);
        assert!(
            numbers.len() > 5 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{topic} {numbers:?}"
        );
    }
    let kinds: Vec<String> = subject.told.lock().unwrap().iter().map(|(_, kind, _)| kind.clone()).collect();
    for kind in ["registered", "up", "edited", "paused", "resumed", "removed"] {
        assert!(kinds.contains(&format!("source_{kind}")), "{kind} in {kinds:?}");
    }
    subject.sources.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_brings_a_change_to_its_end_when_nobody_waits_for_it() {
    /// Begins something, and hangs up.
    async fn begin<T>(work: impl Future<Output = T>) {
        let mut work = std::pin::pin!(work);
        assert!(futures_util::poll!(work.as_mut()).is_pending());
    }
    let subject = Subject::new(2, 10.0).await;
    begin(subject.sources.add(subject.definition("s", "/sse/0", json!({})))).await;
    until(|| subject.sources.get("s", false).is_some()).await;
    subject.becomes("s", &[Live], 5).await;
    for topic in ["a", "b", "c"] {
        begin(subject.sources.replace(subject.definition("s", "/sse/1", json!({"topic": topic})))).await;
        until(|| subject.sources.get("s", false).unwrap().definition.topic == topic).await;
        subject.becomes("s", &[Live], 5).await;
    }
    begin(subject.sources.pause("s", true)).await;
    subject.becomes("s", &[Paused], 5).await;
    begin(subject.sources.pause("s", false)).await;
    subject.becomes("s", &[Live], 5).await;
    begin(subject.sources.remove("s")).await;
    until(|| subject.sources.is_empty()).await;
    assert!(!subject.dir.join("sources/s.json").exists());
    subject.sources.shutdown().await;
}

/// Waits for something that happens within seconds.
async fn until(is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !is_so() {
        assert!(Instant::now() < end, "it does not happen");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_after_a_restart_without_gaps_or_doubles() {
    let mut subject = Subject::new(3, 20.0).await;
    subject.add("s", "/sse/0", json!({})).await;
    subject.add("p", "/sse/1", json!({"paused": true})).await;
    subject.becomes("s", &[Live], 5).await;
    for _ in 0..3 {
        sleep(Duration::from_millis(700)).await;
        subject.restart().await;
        subject.becomes("s", &[Live], 5).await;
    }
    sleep(Duration::from_millis(300)).await;
    subject.sources.shutdown().await;
    let numbers = subject.numbers("t.s");
    assert!(numbers.len() > 30 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    assert_eq!(subject.status("p").state, Paused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_knows_events_again_that_come_after_its_place_was_lost() {
    let mut subject = Subject::new(1, 20.0).await;
    subject.add("s", "/sse/0", json!({})).await;
    subject.becomes("s", &[Live], 5).await;
    sleep(Duration::from_millis(300)).await;
    // As after a kill: the place that was kept is older than the records.
    let place = subject.dir.join("sources/s.place");
    let old = std::fs::read(&place).unwrap();
    sleep(Duration::from_millis(500)).await;
    subject.sources.shutdown().await;
    std::fs::write(&place, old).unwrap();
    subject.restart().await;
    sleep(Duration::from_millis(500)).await;
    subject.sources.shutdown().await;
    let numbers = subject.numbers("t.s");
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_place_of_a_stream_that_falls_quiet() {
    let subject = Subject::new(1, 20.0).await;
    subject.add("s", "/sse/0", json!({"stale_after_ms": 60_000})).await;
    subject.becomes("s", &[Live], 5).await;
    sleep(Duration::from_millis(500)).await;
    subject.fault("/sse/0", "silence").await;
    let place = subject.dir.join("sources/s.place");
    sleep(Duration::from_millis(1_500)).await;
    let kept = std::fs::read(&place).unwrap();
    subject.sources.shutdown().await;
    assert_eq!(kept, std::fs::read(&place).unwrap(), "the last place was not kept before the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_asks_only_for_what_is_new() {
    let mut subject = Subject::new(1, 0.001).await;
    subject.add("r", "/rest/0", json!({})).await;
    subject.becomes("r", &[Live], 5).await;
    sleep(Duration::from_millis(900)).await;
    let quiet = subject.status("r");
    assert_eq!((quiet.records, quiet.state, quiet.errors), (1, Live, 0));
    assert!(quiet.beats.len() >= 4, "{:?}", quiet.beats);
    subject.restart().await;
    subject.becomes("r", &[Live], 5).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(subject.payloads()["t.r"].len(), 1);
    subject.sources.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_names_a_missing_secret_and_notices_when_it_is_there() {
    let subject = Subject::new(1, 5.0).await;
    subject.add("r", "/rest/0?needs=canary-77", json!({"headers": {"X-Key": "${secret:MARKET_7}"}})).await;
    let status = subject.becomes("r", &[Invalid], 5).await;
    assert!(status.reason.unwrap().contains("MARKET_7"));
    let path = subject.dir.join("secrets.toml");
    std::fs::write(&path, "MARKET_7 = \"canary-77\"\n").unwrap();
    std::os::unix::fs::chown(&path, None, None).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    subject.becomes("r", &[Live], 10).await;
    subject.sources.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_stale_where_messages_make_no_records_and_loses_no_other_to_an_error() {
    let subject = Subject::new(2, 10.0).await;
    subject.add("none", "/ws/0", json!({"emit": "[]"})).await;
    subject.add("half", "/sse/1", json!({"emit": "payload.n % 2 == 0 ? payload : payload.none"})).await;
    let status = subject.becomes("none", &[Stale], 5).await;
    assert!(status.reason.unwrap().contains("messages came and made none"));
    let status = subject.becomes("half", &[Live], 5).await;
    sleep(Duration::from_secs(1)).await;
    let numbers = subject.numbers("t.half");
    assert!(numbers.len() > 3 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 2), "{numbers:?}");
    let error = subject.status("half").last_error.or(status.last_error).unwrap();
    assert_eq!(
        (error.stage, error.field.as_deref()),
        (anode_shared::source::Stage::Expression, Some("emit"))
    );
    subject.sources.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_replaces_connections_that_are_old() {
    let subject = Subject::new(1, 20.0).await;
    subject.add("w", "/ws/0", json!({"reconnect_after_ms": 1_000})).await;
    sleep(Duration::from_millis(2_600)).await;
    let status = subject.status("w");
    let opened = subject.sources.totals().connections.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!((status.state, status.errors), (Live, 0));
    assert!((3..=4).contains(&opened), "{opened}");
    subject.sources.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_a_damaged_definition_until_somebody_decides() {
    let mut subject = Subject::new(1, 5.0).await;
    subject.add("a", "/rest/0", json!({})).await;
    subject.add("b", "/rest/0", json!({})).await;
    subject.sources.shutdown().await;
    let path = subject.dir.join("sources/a.json");
    std::fs::write(&path, b"{\"form").unwrap();
    subject.restart().await;
    subject.becomes("b", &[Live], 5).await;
    let status = subject.status("a");
    assert!(status.state == Invalid && status.reason.clone().unwrap().contains("a.json"), "{status:?}");
    assert!(matches!(subject.sources.pause("a", false).await, Err(AddError::Damaged(_))));
    let component = subject.sources.component();
    assert!(component.state == State::Degraded && component.detail.unwrap().contains("a is invalid"));
    subject.sources.replace(subject.definition("a", "/rest/0", json!({}))).await.unwrap();
    subject.becomes("a", &[Live], 5).await;
    assert_eq!(subject.sources.component().state, State::Ok);
    assert!(subject.dir.join("sources/a.json.damaged").exists());
    subject.sources.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_registers_a_file_as_a_whole_or_not_at_all() {
    let mut subject = Subject::new(1, 5.0).await;
    subject.add("kept", "/rest/0", json!({})).await;
    subject.add("changed", "/rest/0", json!({})).await;
    subject.sources.shutdown().await;
    let url = format!("http://{}/rest/0", subject.feed.addresses().http);
    let file = subject.dir.join("sources.toml");
    let good = format!(
        "[[sources]]\nname = \"new\"\nkind = \"rest\"\nurl = \"{url}\"\ntopic = \"a\"\n\
         [[sources]]\nname = \"changed\"\nkind = \"rest\"\nurl = \"{url}\"\ntopic = \"b\"\n"
    );
    for (text, words) in [
        (
            good.replace("topic = \"a\"", "topik = \"a\""),
            &["entry 1 (new): topic: ", "entry 1 (new): topik: "][..],
        ),
        (good.replace("topic = \"b\"", "topic = \"B\""), &["entry 2 (changed): topic: "]),
        (good.replace(&url, "http://10.0.0.1/"), &["entry 1 (new): url: "]),
        (good.replace("\"changed\"", "\"new\""), &["entry 2 (new): name: it is there twice"]),
        ("x = 1".to_owned(), &["`x`"]),
        ("[".to_owned(), &["is not"]),
    ] {
        std::fs::write(&file, text).unwrap();
        let (sources, _) = open(&subject.dir, &subject.store, &subject.feed, None);
        let error = format!("{:#}", sources.import(&file).unwrap_err());
        assert!(error.contains("sources.toml"), "{error}");
        words.iter().for_each(|word| assert!(error.contains(word), "{word} in {error}"));
        assert_eq!(sources.len(), 2);
    }
    std::fs::write(&file, good).unwrap();
    for _ in 0..2 {
        (subject.sources, subject.told) = open(&subject.dir, &subject.store, &subject.feed, None);
        subject.sources.import(&file).unwrap();
        let topic = |name: &str| subject.sources.get(name, false).unwrap().definition.topic;
        assert_eq!([topic("kept"), topic("changed"), topic("new")], ["t.kept", "b", "a"]);
    }
    subject.sources.start();
    subject.becomes("new", &[Live], 5).await;
    subject.sources.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_watchers_what_changed() {
    let subject = Subject::new(2, 0.001).await;
    for name in ["a", "b"] {
        subject.add(name, "/rest/0", json!({"paused": true, "headers": {"x-key": "canary"}})).await;
    }
    let names = |changes: &crate::source::Changes| -> Vec<String> {
        changes.sources.iter().map(|view| view.definition.name.clone()).collect()
    };
    let first = subject.sources.changes(0);
    assert_eq!(names(&first), ["a", "b"]);
    assert!(!serde_json::to_string(&first.sources).unwrap().contains("canary"));
    assert_eq!(names(&subject.sources.changes(first.version)), Vec::<String>::new());
    subject.add("c", "/rest/0", json!({"paused": true})).await;
    subject.sources.remove("a").await.unwrap();
    let second = subject.sources.changes(first.version);
    assert_eq!((names(&second), second.removed.clone()), (vec!["c".to_owned()], vec!["a".to_owned()]));
    subject.add("a", "/rest/0", json!({"paused": true})).await;
    let third = subject.sources.changes(first.version);
    assert_eq!((names(&third), third.removed), (vec!["a".to_owned(), "c".to_owned()], vec![]));
}
