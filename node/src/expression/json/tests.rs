use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

fn read(text: &str) -> Result<Json, Fault> {
    Json::read(Bytes::copy_from_slice(text.as_bytes()))
}

/// The value as `serde_json` has it, made by walking it.
fn walked(json: &Json) -> serde_json::Value {
    match json.kind() {
        Kind::List => json.elements().map(|element| walked(&element)).collect(),
        Kind::Map => json
            .members()
            .map(|(name, value)| (name.characters().into_owned(), walked(&value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Kind::Text => json.characters().into(),
        _ => serde_json::from_slice(json.text()).expect("a scalar is JSON"),
    }
}

#[test]
fn it_takes_what_is_json_and_nothing_else() {
    for (text, at) in [
        ("", Some(0)),
        ("nul", Some(0)),
        ("truex", Some(4)),
        ("01", Some(1)),
        ("-", Some(1)),
        ("1.", Some(2)),
        ("1e+", Some(3)),
        (".5", Some(0)),
        ("[1,]", Some(3)),
        ("[1 2]", Some(3)),
        ("[1}", Some(2)),
        ("{\"a\":1,}", Some(7)),
        ("{\"a\" 1}", Some(5)),
        ("{a:1}", Some(1)),
        ("{\"a\":}", Some(5)),
        ("\"a", Some(2)),
        ("\"a\nb\"", Some(2)),
        ("\"\\x\"", Some(1)),
        ("\"\\u12g4\"", Some(1)),
        ("\"\\u12", Some(1)),
        ("1 2", Some(2)),
        ("[", Some(1)),
        ("{\"a\":[{}", Some(8)),
        ("\u{0}", Some(0)),
        (" [ ] ", None),
        (" { } ", None),
        ("[[],{},\"\",0,-0,1.5e-7,true,false,null]", None),
        ("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\"", None),
        ("{\"a\":{\"b\":[1,{\"c\":2}]},\"d\":3}", None),
        ("1e999", None),
    ] {
        assert_eq!(read(text).err().map(|fault| fault.at), at, "{text}");
    }
}

#[test]
fn it_bounds_depth_and_number_of_values() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(read(&nested(MAX_DEPTH + 1)).unwrap_err().at, MAX_DEPTH * open.len());
        assert!(read(&open.repeat(100_000)).unwrap_err().why.contains("deeper"));
    }
    let many = |count: usize| format!("[{}1]", "1,".repeat(count - 2));
    assert!(read(&many(MAX_NODES)).is_ok());
    assert!(read(&many(MAX_NODES + 1)).unwrap_err().why.contains("more than"));
}

#[test]
fn it_walks_to_what_is_asked_for() {
    let json = read(r#" {"a": [1.10, {"b": "x\u00e4"}], "c": {}, "\u0061\n": 7, "t": 1, "t": 2 } "#).unwrap();
    assert_eq!(json.member("a").unwrap().element(0).unwrap().bytes(), "1.10");
    assert_eq!(json.member("a").unwrap().element(1).unwrap().member("b").unwrap().characters(), "xä");
    assert_eq!(json.member("a\n").unwrap().text(), b"7");
    assert_eq!(json.member("t").unwrap().text(), b"2");
    assert_eq!(json.len(), 4);
    assert!(json.member("b").is_none() && json.member("a").unwrap().element(2).is_none());
    assert!(json.member("c").unwrap().is_empty() && json.member("c").unwrap().member("a").is_none());
    assert!(json.element(0).is_none() && json.member("a").unwrap().member("a").is_none());
}

#[test]
fn it_reads_escapes() {
    for (written, said) in [
        (r"\ud83d\ude00!", "😀!"),
        (r"\ud83d", "\u{fffd}"),
        (r"\ud83dx", "\u{fffd}x"),
        (r"\ud83d\u0041", "\u{fffd}A"),
        (r"\ude00", "\u{fffd}"),
        (r"\u0000ä\/\\", "\u{0}ä/\\"),
    ] {
        assert_eq!(read(&format!("\"{written}\"")).unwrap().characters(), said, "{written}");
    }
}

fn document() -> impl Strategy<Value = String> {
    let space = prop::sample::select(vec!["", "", " ", "\n\t", "\r"]);
    let text = prop_oneof![
        "[ -!#-\\[\\]-~äß€😀]{0,20}",
        prop::sample::select(vec![r"\n", r"\u00e4", r#"\""#, r"\\", "\u{7f}", r"\ud83d\ude00"])
            .prop_map(str::to_owned),
    ];
    let name = text.clone().prop_map(|text| format!("\"{text}\""));
    let leaf = prop_oneof![
        name.clone(),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?",
        prop::sample::select(vec!["null", "true", "false", "[]", "{}"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let member = (name.clone(), space.clone(), inner.clone());
        prop_oneof![
            (prop::collection::vec(inner, 1..6), space.clone())
                .prop_map(|(list, space)| format!("[{space}{}{space}]", list.join(&format!("{space},")))),
            prop::collection::vec(member, 1..6).prop_map(|members| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, space, value)| format!("{name}{space}:{space}{value}"))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn it_sees_what_serde_json_sees(text in document()) {
        let json = read(&text).map_err(|fault| TestCaseError::fail(format!("{fault:?}")))?;
        prop_assert_eq!(json.bytes(), text.trim_matches([' ', '\n', '\t', '\r']));
        prop_assert_eq!(walked(&json), serde_json::from_str::<serde_json::Value>(&text).unwrap());
    }

    #[test]
    fn it_takes_and_refuses_what_serde_json_does(text in document(), cut in any::<prop::sample::Index>(), put in "[ \\x00-~]{0,2}", drop in 0_usize..3) {
        let mut text = text.into_bytes();
        let at = cut.index(text.len() + 1);
        let end = (at + drop).min(text.len());
        text.splice(at..end, put.into_bytes());
        // Where serde_json passes over a string it does not look at its bytes.
        let is_json = std::str::from_utf8(&text).is_ok() && serde_json::from_slice::<IgnoredAny>(&text).is_ok();
        prop_assert_eq!(Json::read(text.clone().into()).is_ok(), is_json, "{:?}", String::from_utf8_lossy(&text));
    }
}
