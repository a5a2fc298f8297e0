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

#[test]
fn it_names_expression_position_and_value_and_loses_no_other_record() {
    let answer = r#"{"data": [{"s": "btc", "p": 1}, {"s": "ETH", "p": 2}, {"p": 3}, {"s": [1], "p": "4"}, {"s": "xrp", "p": 5}]}"#;
    for (topic, emit, topics, errors, words) in [
        (
            "a.${payload.s}",
            "payload.data",
            &["a.btc", "a.xrp"][..],
            3,
            &["topic: line 1, column 5: payload.s", "\"ETH\"", "lowerAscii", "tokens hold a-z"][..],
        ),
        (
            "a",
            "payload.data.map(t, t.s)",
            &["a", "a", "a", "a"],
            1,
            &["emit: line 1, column 21: t.s: there is no \"s\" in {\"p\": 3}"],
        ),
        (
            "a",
            "payload.data.map(t,\n  t.p * 2)",
            &["a", "a", "a", "a"],
            1,
            &["emit: line 2, column 3: t.p * 2", "{\"s\": [1], \"p\": \"4\"}"],
        ),
        (
            "a",
            "payload.data.filter(t, t.s.size() > 2)",
            &["a", "a", "a"],
            1,
            &["t.s.size() > 2", "there is no \"s\""],
        ),
        (
            "a",
            "payload.data.filter(t, t.s != 'btc').map(t, t.p)",
            &["a", "a", "a"],
            1,
            &["column 24: t.s: there is no \"s\""],
        ),
        ("x.${string(payload.p)}", "payload.data", &["x.1", "x.2", "x.3", "x.4", "x.5"], 0, &[]),
        ("x.${payload.p}", "payload.data", &["x.1", "x.2", "x.3", "x.4", "x.5"], 0, &[]),
        (
            "a",
            "payload.nothing.x",
            &[],
            1,
            &["emit: line 1, column 1: payload.nothing.x: there is no \"nothing\" in {\"data\""],
        ),
        ("a", "payload.data.map(t, 1 / (t.p - 3))", &["a", "a", "a"], 2, &["division by zero"]),
        ("a", "payload.data[9]", &[], 1, &["no element 9"]),
        ("a", "payload.data[-1]", &[], 1, &["no element -1"]),
        ("a", "payload.data == 1 ? 2 : 1 / 0", &[], 1, &["1 / 0: division by zero"]),
    ] {
        let (records, error, count) = run(topic, Some(emit), answer);
        let found: Vec<_> = records.iter().map(|(topic, _)| topic.as_str()).collect();
        assert_eq!((found.as_slice(), count), (topics, errors), "{topic} {emit}: {error:?}");
        let error = error.unwrap_or_default();
        for words in words {
            assert!(error.contains(words), "{topic} {emit}: {error} lacks {words}");
        }
        assert!(error.len() < 700, "{error}");
    }
}

#[test]
fn it_says_what_is_wrong_with_a_definition_and_where() {
    for (topic, emit, field, words) in [
        ("a.${payload.s", None, "topic", "line 1, column 3: this ${ has no }"),
        ("a.${payloda.s}", None, "topic", "line 1, column 5: unknown name \"payloda\"; \"payload\" perhaps"),
        (
            "a.${payload.s.lowerASCII()}",
            None,
            "topic",
            "there is no function \"lowerASCII\"; lowerAscii perhaps",
        ),
        ("a.${secret:KEY}", None, "topic", "no secret"),
        ("a.${[1]}", None, "topic", "not a list"),
        ("A.${payload.s}", None, "topic", "tokens hold a-z"),
        ("A", None, "topic", "tokens hold a-z"),
        ("$node.x", None, "topic", "reserved"),
        ("a..${payload}", None, "topic", "with x for each expression"),
        ("a", Some("payload.map(x, y)"), "emit", "line 1, column 16: unknown name \"y\""),
        ("a", Some("payload.map(payload, payload)"), "emit", "payload is a variable already"),
        ("a", Some("data.x"), "emit", "payload.data"),
        ("a", Some(""), "emit", "line 1, column 1"),
        ("a", Some("payload.x.matches(payload.y)"), "emit", "literal"),
    ] {
        let errors = Pipeline::compile(&definition(topic, emit, false))
            .err()
            .unwrap_or_else(|| panic!("{topic} {emit:?} is taken"));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].field, field);
        assert!(errors[0].detail.contains(words), "{topic} {emit:?}: {}", errors[0].detail);
    }
    let both = Pipeline::compile(&definition("A", Some("x"), false)).err().unwrap();
    assert_eq!(both.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), ["emit", "topic"]);
}

#[test]
fn it_takes_text_and_bytes() {
    let run = |bytes: &[u8], kind: &'static str, emit: Option<&str>| {
        let raw =
            Raw { bytes: Bytes::copy_from_slice(bytes), content_type: Some(kind), status: 200, fetched: 5 };
        let processed = pipeline("a", emit).process(&raw);
        let records =
            processed.records.into_iter().map(|record| (record.payload.to_vec(), record.content_type));
        (records.collect::<Vec<_>>(), processed.error.map(|error| error.to_string()))
    };
    let text = |text: &str, kind: Option<&str>| vec![(text.as_bytes().to_vec(), kind.map(str::to_owned))];
    assert_eq!(run(b"a,b", "text/csv", None).0, text("a,b", Some("text/csv")));
    assert_eq!(run(b"a,b", "text/csv", Some("payload")).0, text("a,b", Some("text/csv")));
    assert_eq!(run(b"a,b", "text/csv", Some("payload.split(',')[1]")).0, text("\"b\"", None));
    assert_eq!(run(b"a,b", "text/csv", Some("payload.split(',')")).0.len(), 2);
    assert_eq!(run(b"\xff", "image/png", None).0, vec![(vec![0xff], Some("image/png".to_owned()))]);
    let (records, error) = run(b"<html>", "text/html", Some("payload.data"));
    assert!(records.is_empty() && error.unwrap().contains("payload.data: the answer is no JSON in <html>"));
}

#[test]
fn it_refuses_only_what_is_too_big() {
    let answer = format!(r#"[1, "{}", 3, "{}"]"#, "a".repeat(MAX_PAYLOAD), "b".repeat(MAX_PAYLOAD - 2));
    let processed = pipeline("a", Some("payload")).process(&raw(&answer));
    assert_eq!(
        processed.records.iter().map(|record| record.payload.len()).collect::<Vec<_>>(),
        [1, 1, MAX_PAYLOAD]
    );
    let error = processed.error.unwrap();
    assert!(error.detail.contains("131074 bytes") && error.detail.len() < 500, "{error}");

    let many = format!("[{}1]", "1,".repeat(MAX_RECORDS));
    let processed = pipeline("a", Some("payload")).process(&raw(&many));
    assert_eq!(processed.records.len(), MAX_RECORDS);
    assert!(processed.error.unwrap().detail.contains("more than 20000"));
    let just = format!("[{}1]", "1,".repeat(MAX_RECORDS - 1));
    assert_eq!(pipeline("a", Some("payload")).process(&raw(&just)).errors, 0);
}

#[test]
fn it_leaves_out_what_has_not_changed_and_says_it_again_when_it_was_not_taken() {
    let mut pipeline = Pipeline::compile(&definition("a.${payload.s}", Some("payload"), true)).unwrap();
    let mut run = |answer: &str| pipeline.process(&raw(answer));
    assert_eq!(run(r#"[{"s": "a", "p": 1}, {"s": "b", "p": 1}, {"s": "a", "p": 1}]"#).left_out, 1);
    let second = run(r#"[{"s": "a", "p": 2}, {"s": "b", "p": 1}]"#);
    assert_eq!((second.records.len(), second.left_out), (1, 1));
    assert_eq!(run(r#"[{"s": "a", "p": 2}]"#).records.len(), 0);
    pipeline.forget(&second.said);
    assert_eq!(pipeline.process(&raw(r#"[{"s": "a", "p": 2}, {"s": "b", "p": 1}]"#)).records.len(), 1);
}

#[test]
fn it_marks_records_with_their_source() {
    let definition = definition("a", None, false);
    let mut pipeline = Pipeline::compile(&definition).unwrap();
    let record = pipeline.process(&raw("{}")).records.remove(0);
    let source = record.source.unwrap();
    assert_eq!((source.name.as_str(), source.status, source.fetched), ("s", 200, 5));
    assert_eq!(source.definition, pipeline.definition_hash());
    let other = SourceDefinition { only_changes: true, ..definition };
    assert_ne!(Pipeline::compile(&other).unwrap().definition_hash(), source.definition);
}

/// What this thread has computed: others work on this machine too.
fn thread_cpu() -> std::time::Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    std::time::Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// Expressions that try to take much time or memory, over the answer of [`hostile_answer`].
fn hostile_expressions() -> Vec<String> {
    let grown = |part: &str, times: usize, base: &str| {
        (0..times).fold(base.to_owned(), |it, _| part.replace('@', &it))
    };
    vec![
        grown("@.replace('', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')", 8, "payload.s"),
        grown("'%s%s%s%s%s%s%s%s'.format([@, @])", 4, "payload.s").replace("%s%s%s%s%s%s%s%s", "%s%s"),
        grown("'%s'.format([[@, payload.s, payload.s]])", 8, "payload.s"),
        grown("(@ + @)", 7, "payload.s"),
        grown("(@ + @)", 7, "payload.l"),
        grown("@.map(x, [x, x, x, x, x, x, x, x])", 12, "[1]"),
        grown("@.map(x, x + x)", 30, "[[1, 2, 3, 4]]"),
        grown("[@, @, @]", 4, "payload"),
        "payload.l.map(a, payload.l.map(b, payload.l.map(c, a)))".to_owned(),
        "payload.l.map(a, payload.l.map(b, payload.l.map(c, a + b + c)))".to_owned(),
        "payload.l.exists(a, payload.l.exists(b, payload.l.exists(c, a + b + c == -1)))".to_owned(),
        "payload.l.all(a, payload.l.all(b, payload.l.all(c, a.x || true)))".to_owned(),
        "[1,2,3,4,5,6,7,8].map(a, [1,2,3,4,5,6,7,8].map(b, [1,2,3,4,5,6,7,8].map(c, [1,2,3,4,5,6,7,8].map(d, \
         [1,2,3,4,5,6,7,8].map(e, [1,2,3,4,5,6,7,8].map(f, [1,2,3,4,5,6,7,8].map(g, a)))))))".to_owned(),
        format!("payload.s.split('').exists(a, {})", vec!["1 - 1 == 2"; 80].join(" || ")),
        grown("[1, 2, 3, 4, 5, 6, 7, 8].exists(x, @)", 9, "x.y"),
        grown("[1, 2, 3, 4, 5, 6, 7, 8].all(x, @)", 9, "x == 1 || true"),
        grown("[1, 2, 3, 4, 5, 6, 7, 8].exists_one(x, @)", 9, "x == 1"),
        "payload.s.split('').exists(a, payload.s.split('').exists(b, payload.s.split('').exists(c, a.x)))".to_owned(),
        "payload.s.split('').map(a, payload.s.split('').map(b, payload.s))".to_owned(),
        "payload.s.split('').map(a, payload.s + payload.s)".to_owned(),
        "payload.l.map(a, payload.l.filter(b, payload.s.contains('b')))".to_owned(),
        "payload.l.map(a, payload.s.lastIndexOf(payload.s + 'b'))".to_owned(),
        "payload.l.map(a, {'a': payload, 'b': payload.l.map(b, payload)})".to_owned(),
        "payload.l.map(a, payload.l.exists_one(b, payload == payload))".to_owned(),
        "payload.l.map(a, a in payload.l && payload.l == payload.l)".to_owned(),
        "payload.m.map(k, payload.m.map(j, payload.m[k]))".to_owned(),
        "payload.m.all(k, payload.m == payload.m)".to_owned(),
        "payload.l.map(a, '%s'.format([payload]))".to_owned(),
        "payload.l.map(a, payload.s.matches('(a|b|ab)*c'))".to_owned(),
        "payload.s.split('').map(x, x.matches('(x+x+)+y'))".to_owned(),
        "payload.l.map(a, payload.l[19000])".to_owned(),
        "payload.l.map(a, payload.s.reverse().trim().upperAscii() == payload.s)".to_owned(),
        "[payload.l.map(a, string(a))].map(l, l.map(a, l.map(b, l == l)))".to_owned(),
        "[payload.l.map(a, string(a)).join(',')].map(s, payload.l.map(a, s < s || s + 'a' == s))".to_owned(),
    ]
}

fn hostile_answer() -> String {
    let list: Vec<_> = (0..20_000).map(|n| n.to_string()).collect();
    let map: Vec<_> = (0..5_000).map(|n| format!("\"k{n}\": {n}")).collect();
    format!(
        "{{\"l\": [{}], \"s\": \"{}\", \"m\": {{{}}}}}",
        list.join(","),
        "a".repeat(60_000),
        map.join(",")
    )
}

#[test]
fn it_bounds_what_a_hostile_expression_costs() {
    // As much stack as the node's threads have.
    let thread = std::thread::Builder::new().stack_size(8 << 20);
    thread
        .spawn(try_hostile_expressions)
        .expect("a thread starts")
        .join()
        .expect("every expression is bounded");
}

fn try_hostile_expressions() {
    let answer = hostile_answer();
    for text in hostile_expressions() {
        let (processed, bytes, took) = measured("a", &text, &answer);
        assert!(processed.error.is_some() && bytes <= 8 << 20, "{text}: {bytes} bytes");
        assert!(took < std::time::Duration::from_millis(800), "{text}: {took:?}");
    }
}

fn measured(topic: &str, emit: &str, answer: &str) -> (Processed, usize, std::time::Duration) {
    let mut pipeline = pipeline(topic, Some(emit));
    let before = thread_cpu();
    let processed = pipeline.process(&raw(answer));
    let took = thread_cpu() - before;
    let bytes = processed.records.iter().map(|record| record.payload.len()).sum();
    (processed, bytes, took)
}

/// Topics and expressions as people write them, each with the answer that makes the most work of it.
fn hostile_answers() -> Vec<(&'static str, &'static str, String)> {
    let numbers = |count: usize| vec!["1"; count].join(",");
    let items = |count: usize, more: &str| format!("{{\"items\": [{}], {more}}}", numbers(count));
    let newlines = |count: usize| "\\n".repeat(count);
    let keys = |key: &str, count: usize| vec![format!("\"{key}\":1"); count].join(",");
    let long_type = format!("\"type\": \"{}\"", newlines(2_000_000));
    vec![
        (
            "a",
            "payload.items.map(i, {'v': i, 's': payload.symbol})",
            items(20_000, &format!("\"symbol\": 1, \"{}\": 2", newlines(2_000_000))),
        ),
        (
            "a",
            "payload.items.map(i, payload.o.symbol)",
            items(
                20_000,
                &format!("\"o\": {{{}}}", keys("\\u0073\\u0079\\u006d\\u0062\\u006f\\u006d", 150_000)),
            ),
        ),
        (
            "a",
            "payload.items.map(i, {'item': i, 'meta': payload.meta})",
            items(200_000, &format!("\"meta\": [{}]", numbers(250_000))),
        ),
        ("a", "payload.items.filter(x, payload.type == 'trade')", items(200_000, &long_type)),
        ("a", "payload.items.map(x, payload[payload.type])", items(200_000, &long_type)),
        (
            "a.${payload.type}",
            "payload.items.map(x, payload)",
            items(20_000, &format!("\"type\": \"{}\"", newlines(40_000))),
        ),
        (
            "a",
            "payload.items.map(t, payload.obj.map(k, k))",
            items(20_000, &format!("\"obj\": {{{}}}", keys("a name of all of them", 200_000))),
        ),
        (
            "a",
            "payload.items.map(i, {'t': payload.tags.map(t, 'x')})",
            items(20_000, &format!("\"tags\": [{}]", numbers(250_000))),
        ),
    ]
}

#[test]
fn it_bounds_what_a_hostile_answer_costs() {
    for (topic, emit, answer) in hostile_answers() {
        let (_, bytes, took) = measured(topic, emit, &answer);
        // Parts that stand in the answer take no memory of their own.
        assert!(bytes <= 8 << 20 || emit.ends_with("payload)"), "{emit}: {bytes} bytes");
        assert!(took < std::time::Duration::from_secs(8), "{topic} {emit}: {took:?}");
    }
}

#[test]
fn it_makes_no_more_of_literals_than_of_an_answer() {
    let constants = vec!["'of the definition itself'"; 140].join(",");
    for give in [format!("[{constants}]"), format!("{{'a': [{constants}]}}"), "[[],[],[]]".to_owned()] {
        let answer = format!("[{}1]", "1,".repeat(MAX_RECORDS));
        let (processed, bytes, _) = measured("a", &format!("payload.map(x, {give})"), &answer);
        assert!(bytes <= 8 << 20 && processed.error.is_some(), "{give}: {bytes} bytes");
    }
}

#[test]
fn it_makes_no_payload_that_nests_deeper_than_readers_follow() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    for (depth, emit, is_taken) in [
        (126, "{'a': payload}", true),
        (128, "{'a': payload}", false),
        (127, "{'a': payload, 'b': [payload]}", false),
        (127, "[[payload]]", true),
        (127, "[{'k' + 'a': [payload]}]", false),
    ] {
        let processed = pipeline("a", Some(emit)).process(&raw(&nested(depth)));
        assert_eq!(processed.records.len(), usize::from(is_taken), "{depth} {emit}: {:?}", processed.error);
        for record in processed.records {
            assert!(crate::expression::json::Json::read(record.payload).is_ok());
        }
    }
}

/// The most memory that this process had, bytes.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
}

#[test]
#[ignore = "a measurement: run it alone"]
fn it_keeps_hostile_expressions_small() {
    let answer = hostile_answer();
    let run = move || {
        for text in hostile_expressions() {
            let before = peak_memory();
            pipeline("a", Some(&text)).process(&raw(&answer));
            let grown = peak_memory() - before;
            assert!(grown < 24 << 20, "{text}: {grown} bytes");
        }
    };
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(run);
    thread.expect("a thread starts").join().expect("every expression is bounded");
}

mod random;
