//! The body of a publish: JSON in, records out, or the one problem that says what to change where.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

use anode_shared::publish::{PublishError, PublishObject};
use anode_shared::record::PublisherSignature;
use serde::Deserializer as _;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::problem::{Code, Problem};
use crate::store::NewRecord;

/// The most records of one request.
const MAX_RECORDS: usize = 10_000;
/// What a record takes here; other ways to publish add to it.
const MEMBERS: &str = "topic, payload, payload_base64, content_type, dedupe, publisher_signature";

/// Reads one record, or an array of them.
pub(super) fn parse(body: &[u8], publisher: Option<&str>) -> Result<Vec<NewRecord>, Problem> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {
            let object: PublishObject<'_> = serde_json::from_slice(body)
                .map_err(|error| malformed(&error, serde_json::from_slice(body).ok()))?;
            Ok(vec![check(object, publisher)?])
        }
        Some(b'[') => array(body, publisher),
        Some(_) => Err(Problem::new(
            Code::BadRecord,
            "the body is neither an object nor an array; send a record {\"topic\": …, \"payload\": …} or an array of them",
        )),
        None => Err(Problem::new(
            Code::BadRecord,
            "the body is empty; send a record {\"topic\": …, \"payload\": …} or an array of them",
        )),
    }
}

fn array(body: &[u8], publisher: Option<&str>) -> Result<Vec<NewRecord>, Problem> {
    let (index, refusal) = (Cell::new(0), RefCell::new(None));
    let mut reading = serde_json::Deserializer::from_slice(body);
    let records = reading
        .deserialize_seq(Array { publisher, index: &index, refusal: &refusal })
        .and_then(|records| reading.end().map(|()| records));
    match (records, refusal.into_inner()) {
        (_, Some(problem)) => Err(problem),
        (Err(error), None) => {
            let elements: Option<Vec<&RawValue>> = serde_json::from_slice(body).ok();
            let element = elements.and_then(|elements| elements.get(index.get()).copied());
            Err(malformed(&error, element).at_index(index.get()))
        }
        (Ok(records), None) if records.is_empty() => {
            Err(Problem::new(Code::BadRecord, "the array is empty; send at least one record"))
        }
        (Ok(records), None) => Ok(records),
    }
}

/// Takes records as they are read, and stops at the first that is refused.
struct Array<'a> {
    publisher: Option<&'a str>,
    /// Which record is being read.
    index: &'a Cell<usize>,
    /// Why reading stopped, where that was not JSON's fault.
    refusal: &'a RefCell<Option<Problem>>,
}

impl<'de> Visitor<'de> for Array<'_> {
    type Value = Vec<NewRecord>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<NewRecord>, A::Error> {
        let mut records = Vec::new();
        let refuse = |problem: Problem| {
            *self.refusal.borrow_mut() = Some(problem);
            A::Error::custom("refused")
        };
        while let Some(object) = seq.next_element::<PublishObject<'de>>()? {
            let index = self.index.get();
            if index == MAX_RECORDS {
                return Err(refuse(Problem::new(
                    Code::TooBig,
                    format!("the array has more than {MAX_RECORDS} records; send them in several requests"),
                )));
            }
            records.push(check(object, self.publisher).map_err(|problem| refuse(problem.at_index(index)))?);
            self.index.set(index + 1);
        }
        Ok(records)
    }
}

fn check(object: PublishObject<'_>, publisher: Option<&str>) -> Result<NewRecord, Problem> {
    let extra =
        [("type", object.kind.is_some()), ("ref", object.reference.is_some()), ("ack", object.ack.is_some())];
    match extra.iter().find(|(_, given)| *given) {
        Some(("ack", _)) => {
            return Err(Problem::new(
                Code::BadRecord,
                "ack is not a member of a record here; give it in the query: ?ack=durable",
            ));
        }
        Some((name, _)) => return Err(unknown(name)),
        None => {}
    }
    let record = object.check().map_err(|error| match error {
        PublishError::Malformed(detail) => Problem::new(Code::BadRecord, detail),
        PublishError::TooBig(_) => Problem::new(Code::TooBig, error.to_string()),
    })?;
    Ok(NewRecord {
        topic: record.topic,
        payload: record.payload.into(),
        content_type: record.content_type,
        publisher: publisher.map(str::to_owned),
        publisher_signature: record.publisher_signature,
        dedupe: record.dedupe,
        source: None,
    })
}

fn unknown(name: &str) -> Problem {
    Problem::new(Code::BadRecord, format!("a record has no member {name}; it takes {MEMBERS}"))
}

/// Says what serde said, with the place, and which member it is about; `element` is the record where it is JSON at all.
fn malformed(error: &serde_json::Error, element: Option<&RawValue>) -> Problem {
    let words = error.to_string();
    let name =
        words.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')).map(|(name, _)| name);
    let problem = match (name, element.and_then(wrong_member)) {
        (Some(name), _) => unknown(&super::super::query::shorten(name)),
        (None, Some(member)) => Problem::new(Code::BadRecord, format!("{member}: {words}")),
        (None, None) if error.is_data() => Problem::new(Code::BadRecord, words),
        (None, None) => Problem::new(Code::BadRecord, format!("the body is no JSON: {words}")),
    };
    if error.line() == 0 { problem } else { problem.at_place(error.line(), error.column()) }
}

/// The member of a record that has another type than it should.
fn wrong_member(record: &RawValue) -> Option<&'static str> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(record.get()).ok()?;
    let is_text = |name: &str, text: &str| text.starts_with('"') || (text == "null" && name != "topic");
    let texts = ["topic", "payload_base64", "content_type", "dedupe"];
    let text =
        texts.into_iter().find(|name| members.get(*name).is_some_and(|value| !is_text(name, value.get())));
    text.or_else(|| {
        let signature = members.get("publisher_signature")?;
        let read: Result<Option<PublisherSignature>, _> = serde_json::from_str(signature.get());
        read.is_err().then_some("publisher_signature")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anode_shared::record::MAX_PAYLOAD;

    fn refused(body: &str) -> (Code, String, Option<usize>, Option<usize>) {
        let problem = parse(body.as_bytes(), None).unwrap_err();
        let body = problem.body();
        (body.code, body.detail.clone(), body.index, body.line)
    }

    #[test]
    fn it_takes_one_record_or_several() {
        let one = parse(br#" {"topic":"a.b","payload":{"x": 1.50}}"#, Some("admin")).unwrap();
        assert_eq!(
            (&one[0].payload[..], one[0].publisher.as_deref()),
            (&br#"{"x": 1.50}"#[..], Some("admin"))
        );
        let two = br#"[{"topic":"a","payload":1},
            {"topic":"b","payload_base64":"AP8=","content_type":"image/png","dedupe":"k"}]"#;
        let two = parse(two, None).unwrap();
        assert_eq!(
            (&two[1].payload[..], two[1].dedupe.as_deref(), two[1].publisher.as_deref()),
            (&[0, 255][..], Some("k"), None)
        );
    }

    #[test]
    fn it_says_what_to_change_and_where() {
        let good = r#"{"topic":"a","payload":1}"#;
        for (body, words, index, line) in [
            ("", "empty", None, None),
            (" \n", "empty", None, None),
            ("7", "neither an object nor an array", None, None),
            ("nul", "neither", None, None),
            ("[]", "array is empty", None, None),
            ("{", "no JSON", None, Some(1)),
            ("{}", "missing field `topic`", None, Some(1)),
            (r#"{"topic":"a","payload":1} x"#, "trailing", None, Some(1)),
            (r#"{"topic":"a","payload":1,"tpoic":2}"#, "no member tpoic", None, Some(1)),
            (r#"{"topic":"a","payload":1,"type":"publish"}"#, "no member type", None, None),
            (r#"{"topic":"a","payload":1,"ref":null}"#, "no member ref", None, None),
            (r#"{"topic":"a","payload":1,"ack":"durable"}"#, "in the query", None, None),
            (r#"{"topic":"A","payload":1}"#, "a-z", None, None),
            (r#"{"topic":"a","topic":"b","payload":1}"#, "duplicate field `topic`", None, Some(1)),
            (&format!("[{good},\n{{\"topic\":\"a\"}}]"), "payload is missing", Some(1), None),
            (&format!("[{good},\n{{\"topic\":1,\"payload\":1}}]"), "topic: invalid type", Some(1), Some(2)),
            (&format!("[{good},\n{good},"), "EOF", Some(2), Some(2)),
            (&format!("[{good}] {good}"), "trailing", Some(1), Some(1)),
            (&format!("[{good},[]]"), "", Some(1), Some(1)),
            (r#"{"topic":1,"payload":1}"#, "topic: invalid type", None, Some(1)),
            (r#"{"topic":null,"payload":1}"#, "topic: invalid type: null", None, Some(1)),
            (r#"{"topic":"a","payload":1,"dedupe":[]}"#, "dedupe: invalid type", None, Some(1)),
            (
                r#"{"topic":"a","payload":1,"publisher_signature":{"scheme":"x"}}"#,
                "publisher_signature: missing",
                None,
                Some(1),
            ),
        ] {
            let (code, detail, at, on) = refused(body);
            assert_eq!((code, at, on), (Code::BadRecord, index, line), "{body}: {detail}");
            assert!(detail.contains(words), "{body}: {detail}");
        }
    }

    #[test]
    fn it_refuses_what_is_too_much() {
        let many = |count: usize| format!("[{}]", vec![r#"{"topic":"a","payload":1}"#; count].join(","));
        assert_eq!(parse(many(MAX_RECORDS).as_bytes(), None).unwrap().len(), MAX_RECORDS);
        assert_eq!(refused(&many(MAX_RECORDS + 1)).0, Code::TooBig);
        let long = |bytes: usize| format!(r#"[{{"topic":"a","payload":"{}"}}]"#, "x".repeat(bytes - 2));
        assert!(parse(long(MAX_PAYLOAD).as_bytes(), None).is_ok());
        let (code, _, index, _) = refused(&long(MAX_PAYLOAD + 1));
        assert_eq!((code, index), (Code::TooBig, Some(0)));
    }
}
