use super::*;

fn definition(topic: &str, emit: Option<&str>, only_changes: bool) -> SourceDefinition {
    let json = serde_json::json!({"name": "s", "kind": "rest", "url": "http://a", "topic": topic, "only_changes": only_changes});
    let mut definition: SourceDefinition = serde_json::from_value(json).unwrap();
    definition.emit = emit.map(str::to_owned);
    definition
}

fn pipeline(topic: &str, emit: Option<&str>) -> Pipeline {
    Pipeline::compile(&definition(topic, emit, false))
        .unwrap_or_else(|errors| panic!("{topic} {emit:?}: {errors:?}"))
}

fn raw(bytes: &str) -> Raw<'static> {
    Raw { bytes: Bytes::copy_from_slice(bytes.as_bytes()), content_type: None, status: 200, fetched: 5 }
}

/// Topics and payloads, and the error.
fn run(topic: &str, emit: Option<&str>, answer: &str) -> (Vec<(String, String)>, Option<String>, u64) {
    let processed = pipeline(topic, emit).process(&raw(answer));
    let records = processed
        .records
        .into_iter()
        .map(|record| (record.topic.to_string(), String::from_utf8_lossy(&record.payload).into_owned()));
    (records.collect(), processed.error.map(|error| error.to_string()), processed.errors)
}

const TICKERS: &str = r#"{"time": 1.10, "data": [
  {"s": "btc", "p": 97312.50, "n": 12345678901234567890123},
  {"s": "eth", "p": 1.10, "n": -0}, {"s": "ä\n", "p": null, "n": [ ]}], "rates": {"usd": 1.0, "eur": 0.90}, "none": null, "empty": []}"#;

#[test]
fn it_emits_what_the_expression_gives() {
    for (emit, payloads) in [
        ("payload.time", &["1.10"][..]),
        ("payload.none", &[]),
        ("payload.empty", &[]),
        ("null", &[]),
        ("[]", &[]),
        ("[null, 1]", &["null", "1"]),
        ("payload.data[0].n", &["12345678901234567890123"]),
        ("payload.data[2].n", &[]),
        ("payload.data.map(t, t.p)", &["97312.50", "1.10", "null"]),
        ("payload.data.filter(t, t.s == 'eth')", &["{\"s\": \"eth\", \"p\": 1.10, \"n\": -0}"]),
        ("payload.data.filter(t, t.s != 'eth').map(t, t.p)", &["97312.50", "null"]),
        (
            "payload.data.filter(t, t.p != null && t.p > 1.0).map(t, {'price': t.p, \"at\": payload.time})",
            &["{\"price\":97312.50,\"at\":1.10}", "{\"price\":1.10,\"at\":1.10}"],
        ),
        (
            "payload.data.map(t, t.s.startsWith('b'), [t.s, t.p, 1, 'x', true])",
            &["[\"btc\",97312.50,1,\"x\",true]"],
        ),
        (
            "payload.rates.map(k, {'pair': k + '-usd', 'rate': payload.rates[k]})",
            &["{\"pair\":\"usd-usd\",\"rate\":1.0}", "{\"pair\":\"eur-usd\",\"rate\":0.90}"],
        ),
        ("has(payload.data) ? payload.data[0].p : []", &["97312.50"]),
        ("has(payload.nothing) ? payload.data : []", &[]),
        ("{'z': 1, 'a': {'b': payload.time}}", &["{\"z\":1,\"a\":{\"b\":1.10}}"]),
        ("{payload.data[0].s: 1, 'a': 2}", &["{\"a\":2,\"btc\":1}"]),
        ("payload.data[0].p * 2.0", &["194625.0"]),
        ("payload.data.size()", &["3"]),
        ("source", &["\"s\""]),
        ("'a\"b' + source", &["\"a\\\"bs\""]),
        ("payload.data.map(t, t.s.upperAscii()).join('/')", &["\"BTC/ETH/ä\\n\""]),
        ("'%s-%d'.format([payload.data[0].s, 7])", &["\"btc-7\""]),
        ("payload.data[0].s.replace('b', 'xx')", &["\"xxtc\""]),
        ("payload.data[0].s.indexOf('c')", &["2"]),
        ("payload.data.map(t, [1, 2].map(n, n * 2))", &["[2,4]", "[2,4]", "[2,4]"]),
        (
            "payload.data.map(t, payload.data.map(u, u.p))",
            &["[97312.50,1.10,null]", "[97312.50,1.10,null]", "[97312.50,1.10,null]"],
        ),
        (
            "payload.data + [1]",
            &[
                "{\"s\": \"btc\", \"p\": 97312.50, \"n\": 12345678901234567890123}",
                "{\"s\": \"eth\", \"p\": 1.10, \"n\": -0}",
                "{\"s\": \"ä\\n\", \"p\": null, \"n\": [ ]}",
                "1",
            ],
        ),
        ("b'ab'", &["\"YWI=\""]),
        ("timestamp('2026-11-23T02:47:00Z')", &["\"2026-11-23T02:47:00Z\""]),
        ("18446744073709551615u", &["18446744073709551615"]),
        ("payload.data.exists(t, t.s == 'eth')", &["true"]),
    ] {
        let (records, error, _) = run("a", Some(emit), TICKERS);
        let found: Vec<_> = records.iter().map(|(_, payload)| payload.as_str()).collect();
        assert_eq!(found, payloads, "{emit}: {error:?}");
        assert_eq!(error, None, "{emit}");
    }
}

#[test]
fn it_makes_a_topic_for_each_record() {
    let answer = r#"[{"s": "btc-usd", "n": 7, "b": true, "u": "BTC/USD"}]"#;
    for (template, topic) in [
        ("a.b", "a.b"),
        ("prices.${payload.s}", "prices.btc-usd"),
        ("prices.${payload.u.lowerAscii().replace('/', '-')}.x", "prices.btc-usd.x"),
        ("${payload.s}${payload.n}", "btc-usd7"),
        ("a.${payload.b}.${source}", "a.true.s"),
        ("a.${ {'}': 'x'}['}'] }", "a.x"),
        ("a.${payload.u == \"${}\" ? 'y' : '''n'''}", "a.n"),
        ("a.${string(payload.n + 1)}", "a.8"),
    ] {
        let (records, error, _) = run(template, Some("payload"), answer);
        assert_eq!(records.first().map(|(topic, _)| topic.as_str()), Some(topic), "{template}: {error:?}");
    }
}
