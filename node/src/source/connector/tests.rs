use super::*;
use crate::source::guard::{Allowed, Guard};
use crate::source::upstream::{Ca, Upstream, answer, connector};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn ok(_: &str) -> Vec<crate::source::upstream::Step> {
    answer("200 OK", "", "ok")
}

async fn failure(connector: &Connector, url: &str) -> Failure {
    match connector.connect(&Url::parse(url).unwrap(), soon()).await {
        Ok((_, timing)) => panic!("{url} was dialled at {}", timing.address),
        Err(failure) => failure,
    }
}

#[tokio::test]
async fn it_dials_the_allowed_ones_of_a_mixed_answer() {
    let good = Upstream::at("127.0.0.2:0", None, ok);
    let port = good.address.port();
    let bad = Upstream::at(&format!("127.0.0.3:{port}"), None, ok);
    let table = Table::new(&[
        ("mixed.example", &[&["127.0.0.3", "10.255.255.1", "169.254.169.254", "127.0.0.2", "::1"]]),
        ("none.example", &[&["127.0.0.3", "10.0.0.1"]]),
        ("empty.example", &[&[]]),
        ("mapped.example", &[&["::ffff:127.0.0.2"]]),
    ]);
    let connector = connector(&[&good], None, Some(table));
    for name in ["mixed.example", "mapped.example"] {
        let (_, timing) = connector.connect(&good.url(name, "/"), soon()).await.unwrap();
        assert_eq!(timing.address, good.address, "{name}");
        assert!(timing.dns.is_some() && timing.tls.is_none());
    }
    let refused = failure(&connector, &format!("http://none.example:{port}/")).await;
    assert_eq!((refused.stage, refused.refused), (Stage::Guard, true));
    assert!(
        refused.detail.contains(&format!("none.example is at 127.0.0.3:{port}, a loopback address")),
        "{refused}"
    );
    let empty = failure(&connector, "http://empty.example/").await;
    assert_eq!((empty.stage, empty.refused), (Stage::Dns, false));
    let unknown = failure(&connector, "http://unknown.example/").await;
    assert_eq!(
        (unknown.stage, unknown.detail.as_str()),
        (Stage::Dns, "unknown.example cannot be resolved: no such name")
    );
    assert_eq!((good.connections(), bad.connections()), (2, 0));
}

#[tokio::test]
async fn it_judges_each_answer_of_a_name_that_changes_it() {
    let good = Upstream::at("127.0.0.2:0", None, ok);
    let port = good.address.port();
    let bad = Upstream::at(&format!("127.0.0.3:{port}"), None, ok);
    let (yes, no): (&[&str], &[&str]) = (&["127.0.0.2"], &["127.0.0.3"]);
    let table = Table::new(&[("turns.example", &[yes, no, yes, no, no, yes])]);
    let connector = connector(&[&good], None, Some(table));
    for expected in [true, false, true, false, false, true] {
        let connected = connector.connect(&good.url("turns.example", "/"), soon()).await;
        assert_eq!(connected.is_ok(), expected);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((good.connections(), bad.connections()), (3, 0));
}

#[tokio::test]
async fn it_sends_no_packet_to_what_is_refused() {
    let bad = Upstream::at("127.0.0.1:0", None, ok);
    let port = bad.address.port();
    let table = Table::new(&[("hidden.example", &[&["127.0.0.1"]])]);
    let connector = connector(&[], None, Some(table));
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "0",
        "localhost",
        "hidden.example",
        "127。0。0。1",
    ] {
        for scheme in ["http", "https", "ws", "wss"] {
            let refused = failure(&connector, &format!("{scheme}://{host}:{port}/")).await;
            assert!(refused.refused && refused.stage == Stage::Guard, "{host}: {refused}");
            assert!(refused.detail.contains("--allow-private-sources"), "{refused}");
        }
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bad.connections(), 0);
}

#[tokio::test]
async fn it_tries_the_next_address_where_one_does_not_answer() {
    let good = Upstream::at("127.0.0.2:0", None, ok);
    let port = good.address.port();
    // Nothing listens at the first; the second takes no connection at all, because its queue is full.
    let full = tokio::net::TcpSocket::new_v4().unwrap();
    full.bind(format!("127.0.0.4:{port}").parse().unwrap()).unwrap();
    let _full = full.listen(0).unwrap();
    let _held = TcpStream::connect(format!("127.0.0.4:{port}")).await.unwrap();
    let table = Table::new(&[
        ("slow.example", &[&["127.0.0.3", "127.0.0.4", "127.0.0.2"]]),
        ("dead.example", &[&["127.0.0.4"]]),
    ]);
    let connector = Connector::new(
        Guard::new(Allowed::All),
        tls::with_roots(rustls::RootCertStore::empty()).unwrap(),
        table,
    );
    let began = Instant::now();
    let (_, timing) = connector.connect(&good.url("slow.example", "/"), soon()).await.unwrap();
    assert_eq!(timing.address, good.address);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let deadline = Instant::now() + Duration::from_millis(300);
    let late = connector.connect(&good.url("dead.example", "/"), deadline).await.unwrap_err();
    assert_eq!(late.stage, Stage::Connect);
    assert!(late.detail.contains("dead.example does not answer at 127.0.0.4"), "{late}");
    assert!(late.reached.phases.dns_ms.is_some() && Instant::now() < deadline + Duration::from_millis(200));
}

#[tokio::test]
async fn it_says_what_is_wrong_before_tls() {
    let gone = Upstream::http(ok);
    let address = gone.address;
    let connector = connector(&[&gone], None, None);
    drop(gone);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let refused = failure(&connector, &format!("http://{address}/")).await;
    assert_eq!(refused.stage, Stage::Connect);
    assert_eq!(refused.detail, format!("{address} refused the connection: nothing listens at that port"));
    let zero = failure(&connector, "http://example.com:0/").await;
    assert_eq!(zero.stage, Stage::Definition);
    let scheme = failure(&connector, "ftp://example.com/").await;
    assert_eq!((scheme.stage, scheme.refused), (Stage::Definition, false));
    let nowhere = failure(&connector, "http://no-such-name.invalid/").await;
    assert_eq!(nowhere.stage, Stage::Dns);
    assert!(nowhere.detail.starts_with("no-such-name.invalid cannot be resolved: "), "{nowhere}");
}

#[tokio::test]
async fn it_shakes_hands_and_says_what_is_wrong_with_a_certificate() {
    let (ca, other, anew) = (Ca::new("ours"), Ca::new("theirs"), Ca::new("ours"));
    let names = ["good.example", "127.0.0.1", "*.wild.example"];
    let good = Upstream::https(ca.server(&names, 2020..2120), ok);
    let expired = Upstream::https(ca.server(&names, 2020..2021), ok);
    let early = Upstream::https(ca.server(&names, 2110..2120), ok);
    let unknown = Upstream::https(other.server(&names, 2020..2120), ok);
    let remade = Upstream::https(anew.server(&names, 2020..2120), ok);
    let plain = Upstream::http(ok);
    let here: &[&[&str]] = &[&["127.0.0.1"]];
    let table = Table::new(&[
        ("good.example", here),
        ("good.example.", here),
        ("wrong.example", here),
        ("a.wild.example", here),
    ]);
    let all = [&good, &expired, &early, &unknown, &remade, &plain];
    let connector = connector(&all, Some(&ca), Some(table));
    for host in [
        "https://good.example",
        "https://good.example.",
        "https://127.0.0.1",
        "https://a.wild.example",
        "wss://good.example",
    ] {
        let (io, timing) = connector.connect(&good.url(host, "/"), soon()).await.unwrap();
        assert!(matches!(io, Io::Tls(_)) && timing.tls.is_some(), "{host}");
    }
    for (upstream, host, words) in [
        (&expired, "https://good.example", "the certificate of good.example expired at 2021-01-01T00:00:00Z"),
        (
            &early,
            "https://good.example",
            "the certificate of good.example is not valid before 2110-01-01T00:00:00Z",
        ),
        (&good, "https://wrong.example", "the certificate is not for wrong.example but for"),
        (&good, "wss://wrong.example", "good.example"),
        (&unknown, "https://good.example", "comes from a CA that this machine does not know"),
        (&unknown, "https://127.0.0.1", "--source-ca FILE"),
        (&remade, "https://good.example", "not signed by the CA that it names"),
        (&plain, "https://good.example", "does not speak TLS at this port"),
    ] {
        let failure = failure(&connector, upstream.url(host, "/").as_str()).await;
        assert_eq!(failure.stage, Stage::Tls, "{failure}");
        assert!(failure.detail.contains(words), "{failure}");
        assert_eq!(failure.reached.address, Some(upstream.address));
        assert!(failure.reached.phases.connect_ms.is_some());
    }
}

#[tokio::test]
async fn it_takes_further_cas_from_a_file() {
    let ca = Ca::new("ours");
    let good = Upstream::https(ca.server(&["127.0.0.1"], 2020..2120), ok);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, ca.pem()).unwrap();
    let guard = Guard::new(Allowed::These(vec![good.address.into()]));
    let connector = Connector::new(guard, tls::client(Some(&file)).unwrap(), Arc::new(System::default()));
    assert!(connector.connect(&good.url("https://127.0.0.1", "/"), soon()).await.is_ok());
    for (text, words) in [
        ("", "it holds no PEM certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ""),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = format!("{:#}", tls::client(Some(&file)).unwrap_err());
        assert!(error.contains("cannot take CA certificates from") && error.contains(words), "{error}");
    }
    assert!(tls::client(Some(&dir.path().join("none"))).is_err());
}
