use std::time::{Duration, Instant};

use anode_shared::ids::Hash;
use anode_shared::record::SourceRef;
use proptest::prelude::*;

use super::*;

fn judge_on(filter: &str, payload: &str) -> Verdict {
    let filter = Filter::compile(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    let record = RecordRef {
        topic: "prices.btc-usd",
        time: 1_795_402_020_123_456,
        payload: payload.as_bytes(),
        content_type: None,
        source: Some(SourceRef { name: "coinbase", definition: Hash([0; 32]), status: 200, fetched: 0 }),
        publisher: None,
        publisher_signature: None,
        dedupe: None,
    };
    filter.judge(Facts { record: &record, payload: Json::parse(record.payload).as_ref() })
}

const PAYLOAD: &str = r#"{"price": 97312.5, "count": 3, "name": "BTC-USD", "ok": true, "none": null, "big": 18446744073709551615,
    "tags": ["a", "b"], "asks": [[1, 2.5], [2, 0.5]], "nested": {"x": {"y": -1}}, "a.b": 1, "twice": 1, "twice": 2}"#;

#[test]
fn it_matches_what_cel_says() {
    for (filter, expected) in [
        ("true", Verdict::Match),
        ("false", Verdict::Pass),
        ("payload.price > 100.0 && topic.startsWith('prices.')", Verdict::Match),
        ("payload.price > 100", Verdict::Match),
        ("payload.count == 3 && payload.count == 3.0", Verdict::Match),
        ("payload.count + 1 == 4 && payload.price - 0.5 == 97312.0", Verdict::Match),
        ("payload.big == 18446744073709551615u", Verdict::Match),
        ("payload.name == 'BTC-USD' || false", Verdict::Match),
        ("payload.ok", Verdict::Match),
        ("!payload.ok", Verdict::Pass),
        ("payload.none == null", Verdict::Match),
        ("payload['a.b'] == 1", Verdict::Match),
        ("payload.twice == 2", Verdict::Match),
        ("payload.tags[1] == 'b' && payload.tags.size() == 2 && size(payload.tags) == 2", Verdict::Match),
        ("'a' in payload.tags && !('c' in payload.tags)", Verdict::Match),
        ("payload.name in ['ETH-USD', 'BTC-USD']", Verdict::Match),
        ("'price' in payload", Verdict::Match),
        ("payload.tags == ['a', 'b'] && ['a', 'b'] == payload.tags", Verdict::Match),
        ("payload.nested == {'x': {'y': -1}} && {'x': {'y': -1}} == payload.nested", Verdict::Match),
        ("payload.tags != ['a']", Verdict::Match),
        ("payload.nested.x.y < 0", Verdict::Match),
        ("has(payload.price) && !has(payload.volume)", Verdict::Match),
        ("payload.asks.exists(a, a[1] > 2.0)", Verdict::Match),
        ("payload.asks.all(a, a[0] > 1)", Verdict::Pass),
        ("payload.tags.map(t, t.upperAscii()) == ['A', 'B']", Verdict::Match),
        ("payload.tags.filter(t, t > 'a').size() == 1", Verdict::Match),
        ("payload.exists(name, name == 'price')", Verdict::Match),
        ("source == 'coinbase' && publisher == null", Verdict::Match),
        ("time > timestamp('2026-11-23T02:00:00Z') && time.getHours() == 2", Verdict::Match),
        ("time - timestamp('2026-11-23T02:47:00Z') < duration('1s')", Verdict::Match),
        ("payload.name.matches('^[A-Z]+-USD$') && matches(topic, 'btc')", Verdict::Match),
        ("payload.name.lowerAscii().split('-')[0] == 'btc'", Verdict::Match),
        ("payload.name.substring(0, 3) == 'BTC' && payload.name.charAt(0) == 'B'", Verdict::Match),
        ("type(payload.count) == int && type(time) == google.protobuf.Timestamp", Verdict::Match),
        ("string(payload.count) == '3' && int('3') == payload.count", Verdict::Match),
        ("payload.volume > 1", Verdict::Erred),
        ("payload.volume > 1 || true", Verdict::Match),
        ("payload.name > 1", Verdict::Erred),
        ("payload.price", Verdict::Erred),
        ("payload.name + payload.name == 'x'", Verdict::Erred),
        ("payload.tags + payload.tags == []", Verdict::Erred),
        ("1 / (payload.count - 3) == 1", Verdict::Erred),
        ("payload.tags[7] == 'a'", Verdict::Erred),
        ("timestamp(payload.name) > time", Verdict::Erred),
        ("9223372036854775807 + payload.count > 0", Verdict::Erred),
    ] {
        assert_eq!(judge_on(filter, PAYLOAD), expected, "{filter}");
    }
}

#[test]
fn it_errs_where_a_payload_is_not_json() {
    for (filter, expected) in [
        ("payload == null", Verdict::Erred),
        ("has(payload.x)", Verdict::Erred),
        ("topic == 'prices.btc-usd'", Verdict::Match),
    ] {
        assert_eq!(judge_on(filter, "\u{1}"), expected, "{filter}");
    }
    assert_eq!(judge_on("payload == null", "null"), Verdict::Match);
    assert_eq!(judge_on("payload > 3", "5"), Verdict::Match);
    assert_eq!(judge_on("payload.contains('b')", "\"abc\""), Verdict::Match);
}

#[test]
fn it_refuses_with_the_place() {
    let deep = format!("{}true{}", "(".repeat(40), ")".repeat(40));
    let chain = format!("payload{} == 1", "[0]".repeat(100));
    let long = format!("topic == '{}'", "a".repeat(MAX_BYTES));
    let many = format!("payload.x in [{}1]", "1,".repeat(600));
    for (filter, position, words) in [
        ("", None, ""),
        (")", Some((1, 1)), ""),
        ("payload.x >", Some((1, 12)), ""),
        ("payload.x > 1 &&\n price > 2", Some((2, 2)), "unknown name \"price\""),
        ("payload.name + 'a' == 'b'", None, "+ on strings"),
        ("payload.a == 1 && topic + topic == 'b'", Some((1, 25)), "+ on strings"),
        ("[1] + payload.x == [2]", None, "+ on strings"),
        ("payload.x.replace('a', 'b') == ''", None, "replace is not allowed"),
        ("payload.x.join() == ''", None, "join is not allowed"),
        ("'%s'.format([1]) == ''", None, "format is not allowed"),
        ("payload.x.indexOf('a') == 1", None, "indexOf is not allowed"),
        ("payload.x.explode()", None, "no function"),
        ("strings.quote(topic) == ''", None, ""),
        ("contains(topic, 'a')", None, "x.contains(…)"),
        ("topic.contains()", None, "arguments"),
        ("payload.a.all(x, payload.b.all(y, x == y))", None, "comprehension"),
        ("payload.a.map(x, x).exists(y, y > 1)", None, "comprehension"),
        ("topic.matches(payload.x)", None, "literal"),
        ("topic.matches('(')", None, "pattern cannot be read"),
        ("topic.matches('((a{100}){100}){100}')", None, "too large"),
        ("time > '2026-11-23T02:47:00Z'", None, "timestamp("),
        ("payload.x + 1", None, "true or false"),
        ("'a'", None, "true or false"),
        ("topic", None, "true or false"),
        ("payload.a.map(x, x)", None, "true or false"),
        ("payload.?a == 1", None, ""),
        ("optional.of(1) == 1", None, ""),
        ("google.rpc.Status{code: 1} == 1", None, ""),
        (&deep, Some((1, 33)), "nests deeper"),
        (&chain, None, "nests deeper"),
        (&long, None, "at most 4096"),
        (&many, None, "more than 500 parts"),
    ] {
        let error = Filter::compile(filter).err().unwrap_or_else(|| panic!("{filter} is taken"));
        assert!(error.detail.contains(words), "{filter}: {error}");
        if position.is_some() {
            assert_eq!(error.position, position, "{filter}: {error}");
        }
    }
}

/// Payloads that hold the most of one kind, at their greatest length.
fn great_payloads() -> Vec<String> {
    let list =
        |element: &str| format!("[{}{element}]", format!("{element},").repeat(131_000 / (element.len() + 1)));
    let text = |part: &str| format!("\"{}\"", part.repeat(130_000 / part.len()));
    vec![
        list("1"),
        list("[]"),
        list("{}"),
        list("\"a\""),
        format!("[{}]", text("a")),
        text("a"),
        text("ab"),
        text("ä"),
        text("1"),
        format!("{{{}\"k\":1}}", (0..11_000).map(|n| format!("\"k{n}\":1,")).collect::<String>()),
        format!("{{\"a\":{},\"b\":{}}}", list("1").replace("1,1,", "1,"), 1),
        format!("{{\"l\":{},\"s\":\"{}\"}}", list("1")[..65_000].to_owned() + "]", "a".repeat(60_000)),
        format!("{}1{}", "[".repeat(120), "]".repeat(120)),
    ]
}

const HOSTILE: &[&str] = &[
    "payload.map(x, payload) == [1]",
    "payload.map(x, [x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x]) == []",
    "payload.all(x, x == x && x == x && x == x && x == x && x == x && x == x)",
    "payload.exists(x, payload == x) || payload.exists(x, x == payload)",
    "payload.exists(x, x in payload)",
    "payload.l.exists(x, payload.s < x)",
    "payload.l.exists(x, payload.s.contains('b'))",
    "payload.l.map(x, payload.s) == []",
    "payload.l.map(x, [payload.s, payload.s, payload.s, payload.s]) == []",
    "payload.l.exists(x, payload.s.split('') == [])",
    "payload.split('').size() == 1 || payload.split('a').size() == 1 || payload.split('').size() == 1",
    "payload.lowerAscii() == payload.upperAscii() && payload.trim().reverse() == payload.reverse()",
    "payload.matches('(a|b|ab)*c') || payload.matches('(a|b)*a(a|b){10}$')",
    "payload.matches('(x+x+)+y') || payload.matches('(.*)(.*)(.*)(.*)z')",
    "payload.matches('[a-zä]{1,30}[^a][a-z]{1,30}q')",
    "payload.matches('(?i)[a-q][^u-z]{13}x')",
    "payload.matches('\\\\b(.?){90}Q') || payload.matches('(\\\\b.*){30}Q')",
    "payload.matches('\\\\b.*(.|a.|b.|c.){60}Q') || payload.matches('\\\\b(.{1,9}a)*Q')",
    "payload.exists(x, x.matches('a'))",
    "int(payload) == 1 || double(payload) == 1.0 || timestamp(payload) == time || duration(payload) == duration('1s')",
    "bytes(payload) == bytes(payload) && string(bytes(payload)) == payload",
    "payload == payload && payload in [payload, payload, payload] && payload != payload",
    "size(payload) == 1 || payload.substring(60000).charAt(3) == 'a'",
    "payload.a.map(x, payload.a) == payload.a",
];

/// What this thread has computed: others work on this machine too.
fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn it_bounds_what_a_hostile_filter_costs() {
    for payload in great_payloads() {
        let json = Json::parse(payload.as_bytes()).expect("a hostile payload is JSON");
        for text in HOSTILE {
            let filter = Filter::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let record = RecordRef {
                topic: "a",
                time: 0,
                payload: payload.as_bytes(),
                content_type: None,
                source: None,
                publisher: None,
                publisher_signature: None,
                dedupe: None,
            };
            let before = thread_cpu();
            filter.judge(Facts { record: &record, payload: Some(&json) });
            let took = thread_cpu() - before;
            assert!(took < Duration::from_millis(50), "{text} on {}…: {took:?}", &payload[..20]);
        }
    }
}

#[test]
fn it_bounds_what_all_patterns_of_a_filter_take() {
    let pattern = r"topic.matches('\\w{3}')";
    Filter::compile(pattern).unwrap();
    let error = Filter::compile(&vec![pattern; 20].join(" || ")).unwrap_err();
    assert!(error.to_string().contains("compiled"), "{error}");
}

#[test]
fn it_reads_nested_choices_in_time() {
    let nested = (0..30).fold("true".to_owned(), |text, _| format!("true ? ({text}) : true"));
    let before = thread_cpu();
    let _ = Filter::compile(&nested);
    assert!(thread_cpu() - before < Duration::from_secs(1), "{:?}", thread_cpu() - before);
}

#[test]
fn it_reads_hostile_texts_in_time_on_a_small_stack() {
    let texts: Vec<String> = [
        "(", "[", "{", "a.", "a?", "a?b:", "!", "-", "- ", "a[", "a(", "1+", "a||", "a&&", "'", "\"", "\\",
        "`", ".", "a.b().", "a[0]", "x,", "[[", "{1:", "((a)", "a in ", "a<", "\u{0}", "ä", "0x", "1e", "//",
        "r'",
    ]
    .iter()
    .flat_map(|part| {
        [part.repeat(MAX_BYTES / part.len()), format!("a{}", part.repeat((MAX_BYTES - 1) / part.len()))]
    })
    .collect();
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for text in texts {
            let begun = Instant::now();
            let result = Filter::compile(&text);
            assert!(result.is_err(), "{}", &text[..8.min(text.len())]);
            assert!(begun.elapsed() < Duration::from_secs(2), "{}: {:?}", &text[..4], begun.elapsed());
        }
    });
    worker.expect("a thread starts").join().expect("no text makes it panic");
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("payload".to_owned()),
        Just("payload.a".to_owned()),
        Just("topic".to_owned()),
        Just("time".to_owned()),
        Just("source".to_owned()),
        Just("x".to_owned()),
        Just("null".to_owned()),
        Just("'a'".to_owned()),
        any::<i32>().prop_map(|n| n.to_string()),
        any::<bool>().prop_map(|b| b.to_string()),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let op = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in",
        ]);
        let call = prop::sample::select(vec![
            "size",
            "contains",
            "startsWith",
            "matches",
            "split",
            "all",
            "exists",
            "map",
            "filter",
            "getHours",
            "replace",
            "substring",
            "charAt",
            "reverse",
        ]);
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (inner.clone(), call, prop::collection::vec(inner.clone(), 0..3))
                .prop_map(|(target, call, args)| format!("{target}.{call}({})", args.join(", "))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[{b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}.exists(x, {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(", "))),
            inner.clone().prop_map(|a| format!("{{'k': {a}}}")),
            inner.clone().prop_map(|a| format!("!{a}")),
            inner.clone().prop_map(|a| format!("-{a}")),
            inner.prop_map(|a| format!("string({a})")),
        ]
    })
}

proptest! {
    #[test]
    fn it_never_panics_on_any_text(text in "[ -~äß\\n]{0,60}") {
        let _ = Filter::compile(&text);
    }

    #[test]
    fn it_decides_what_it_takes(text in expression(), payload in prop::sample::select(vec![PAYLOAD, "[1,2,3]", "\"abc\"", "{\"a\":[\"x\"]}", "5"])) {
        if let Ok(filter) = Filter::compile(&text) {
            let verdict = catch_unwind(|| judge_on(filter.text(), payload));
            prop_assert!(verdict.is_ok());
        }
    }
}

#[test]
fn it_evaluates_the_deepest_filters_on_the_stack_of_the_nodes_threads() {
    let chain = |before: &str, core: &str, behind: &str, end: &str| {
        let nested = |times: usize| format!("{}{core}{}{end}", before.repeat(times), behind.repeat(times));
        (1..100)
            .map(nested)
            .take_while(|text| Filter::compile(text).is_ok())
            .last()
            .expect("some depth is taken")
    };
    let deepest = [
        chain("", "payload", ".trim()", " == ''"),
        chain("", "payload", "[0]", " == 1"),
        chain("string(", "payload", ")", " == ''"),
        chain("[", "payload", "][0]", " == 1"),
        chain("-(", "payload", ")", " == 1"),
        chain("(true ? ", "payload", " : 1)", " == 1"),
        chain("1 + (", "payload", ")", " == 1"),
    ];
    // Half of what the node's threads have.
    let thread = std::thread::Builder::new().stack_size(4 << 20);
    let run = thread.spawn(move || {
        deepest.iter().for_each(|text| {
            judge_on(text, "\"1\"");
        });
    });
    run.expect("a thread starts").join().expect("no filter overflows it");
}
