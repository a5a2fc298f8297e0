use proptest::prelude::*;

use super::*;
use crate::expression::json::Json;

/// A JSON text with spaces and numbers as nobody would write them again.
fn document() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,6})?",
        "\"[a-z0-9 .-]{0,12}\"",
        prop::sample::select(vec!["null", "true", "[]", "{}", "1.10", "\"\\u00e4\"", "\"BTC/USD\""])
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|list| format!("[{}]", list.join(" , "))),
            prop::collection::vec(("[a-c]", inner), 0..5).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(name, value)| format!("\"{name}\" :{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "payload",
        "payload.a",
        "payload.b",
        "payload[0]",
        "source",
        "null",
        "'a'",
        "1",
        "2.5",
        "true",
        "x",
        "x.a",
        "[]",
        "{}",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(5, 30, 4, |inner| {
        let op = prop::sample::select(vec!["+", "-", "*", "/", "==", "<", "&&", "||", "in"]);
        let call = prop::sample::select(vec![
            "size",
            "split",
            "join",
            "format",
            "replace",
            "indexOf",
            "lastIndexOf",
            "substring",
            "upperAscii",
            "charAt",
        ]);
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (inner.clone(), call, prop::collection::vec(inner.clone(), 0..3))
                .prop_map(|(target, call, args)| format!("{target}.{call}({})", args.join(", "))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}.map(x, {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}.filter(x, {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}.exists(x, {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(", "))),
            // One member: the evaluator walks several in no order of its own.
            inner.clone().prop_map(|a| format!("{{'k': {a}}}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[{b}]")),
            inner.prop_map(|a| format!("string({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn it_keeps_every_byte_of_what_it_only_chooses(text in document()) {
        let json = Json::read(text.clone().into()).expect("a document is JSON");
        let one = pipeline("a", None).process(&raw(&text));
        prop_assert_eq!(&one.records[0].payload, &text);
        let elements: Vec<_> = json.elements().map(|element| element.bytes()).collect();
        for emit in ["payload", "payload.map(x, x)", "payload.filter(x, true)"] {
            let processed = pipeline("a", Some(emit)).process(&raw(&text));
            if text.starts_with('[') {
                let payloads: Vec<_> = processed.records.into_iter().map(|record| record.payload).collect();
                prop_assert_eq!(&payloads, &elements, "{}", emit);
            }
        }
        let held = pipeline("a", Some("{'held': [payload]}")).process(&raw(&text));
        let expected = format!("{{\"held\":[{text}]}}");
        prop_assert_eq!(&held.records[0].payload, &expected);
    }

    #[test]
    fn it_makes_only_json_and_topics_and_never_panics(emit in expression(), part in expression(), text in document()) {
        let Ok(mut pipeline) = Pipeline::compile(&definition("a", Some(&emit), false)) else { return Ok(()) };
        let processed = pipeline.process(&raw(&text));
        for record in &processed.records {
            prop_assert!(Json::read(record.payload.clone()).is_ok(), "{}: {:?}", emit, record.payload);
        }
        prop_assert_eq!(processed.errors > 0, processed.error.is_some());
        // CEL's maps have no order, and yet the same answer gives the same records.
        let again = pipeline.process(&raw(&text));
        let payloads = |processed: &Processed| processed.records.iter().map(|it| it.payload.clone()).collect::<Vec<_>>();
        prop_assert_eq!(payloads(&processed), payloads(&again));
        if let Ok(mut pipeline) = Pipeline::compile(&definition(&format!("a.${{{part}}}"), Some("payload"), false)) {
            let processed = pipeline.process(&raw(&text));
            prop_assert!(processed.records.iter().all(|record| record.topic.as_str().starts_with("a.")));
        }
    }

    #[test]
    fn it_decides_as_cel_does(emit in expression(), text in document()) {
        // The skeleton that we walk gives what the evaluator gives, where that knows all its numbers.
        let whole = |emit: &str| format!("[[{emit}]].map(l, l[0])[0]");
        let (Ok(mut walked), Ok(mut evaluated)) = (
            Pipeline::compile(&definition("a", Some(&emit), false)),
            Pipeline::compile(&definition("a", Some(&whole(&emit)), false)),
        ) else { return Ok(()) };
        let (walked, evaluated) = (walked.process(&raw(&text)), evaluated.process(&raw(&text)));
        if evaluated.errors == 0 {
            let values = |processed: Processed| -> Vec<serde_json::Value> {
                processed.records.iter().map(|it| serde_json::from_slice(&it.payload).unwrap()).map(rounded).collect()
            };
            prop_assert_eq!(walked.errors, 0, "{}: {:?}", emit, walked.error);
            prop_assert_eq!(values(walked), values(evaluated), "{}", emit);
        }
    }
}

/// A value with its numbers to nine digits: `serde_json` reads the last one its own way.
fn rounded(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Array(list) => list.into_iter().map(rounded).collect(),
        serde_json::Value::Object(map) => map
            .into_iter()
            .map(|(name, value)| (name, rounded(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        serde_json::Value::Number(number) => format!("{:.9e}", number.as_f64().unwrap_or(0.0) + 0.0).into(),
        other => other,
    }
}
