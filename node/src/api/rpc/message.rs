//! JSON-RPC 2.0 on the wire: calls read from a message, answers written byte by byte.

use std::borrow::Cow;

use anode_shared::publish::given;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::problem::{Code, Problem};

/// The most calls of one batch.
const MAX_BATCH: usize = 100;
/// The longest id that is echoed.
const MAX_ID: usize = 1 << 10;

/// What a client sent.
#[derive(Debug)]
pub(super) enum Message<'a> {
    /// One call.
    One(Call<'a>),
    /// Several, answered together.
    Batch(Vec<Call<'a>>),
}

/// One call.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// Comes back with the answer; none where no answer is wanted.
    pub(super) id: Option<&'a RawValue>,
    /// What is called, with its parameters as they came; or why it cannot be read.
    pub(super) asked: Result<(Cow<'a, str>, Option<&'a RawValue>), Refusal>,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// JSON-RPC's number, or EIP-1474's.
    pub(super) code: i32,
    /// What to change.
    pub(super) message: String,
    /// The same as REST says it.
    pub(super) problem: Option<Box<Problem>>,
}

impl Refusal {
    /// What came is no JSON.
    pub(super) const PARSE: i32 = -32_700;
    /// What came is JSON and no call.
    pub(super) const REQUEST: i32 = -32_600;
    /// There is no such method.
    pub(super) const METHOD: i32 = -32_601;
    /// The parameters are not what the method takes.
    pub(super) const PARAMS: i32 = -32_602;
    /// Something failed inside the node.
    const INTERNAL: i32 = -32_603;
    /// What is asked for is not there (EIP-1474).
    const NOT_FOUND: i32 = -32_001;
    /// It is not there now (EIP-1474).
    const UNAVAILABLE: i32 = -32_002;
    /// This way does not offer it (EIP-1474).
    pub(super) const NOT_SUPPORTED: i32 = -32_004;
    /// Too much at once (EIP-1474).
    pub(super) const LIMIT: i32 = -32_005;
    /// Whoever asks may not (EIP-1193).
    const UNAUTHORIZED: i32 = 4_100;

    /// A refusal in JSON-RPC's own words.
    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), problem: None }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let code = match problem.body().code {
            Code::NotFound | Code::Gone => Self::NOT_FOUND,
            Code::NoPeers
            | Code::NoArchive
            | Code::Draining
            | Code::Starting
            | Code::StorageFailed
            | Code::StorageFull => Self::UNAVAILABLE,
            Code::NotImplemented => Self::NOT_SUPPORTED,
            Code::Overloaded | Code::TooBig => Self::LIMIT,
            Code::Unauthorized | Code::Forbidden => Self::UNAUTHORIZED,
            Code::Internal => Self::INTERNAL,
            _ => Self::PARAMS,
        };
        Self { code, message: problem.body().detail.clone(), problem: Some(Box::new(problem)) }
    }
}

impl From<crate::feed::Fault> for Refusal {
    fn from(fault: crate::feed::Fault) -> Self {
        Problem::from(fault).into()
    }
}

/// Reads a message.
///
/// # Errors
/// When there is no call in it at all.
pub(super) fn read(text: &str) -> Result<Message<'_>, Refusal> {
    let whole: &RawValue = serde_json::from_str(text)
        .map_err(|error| Refusal::new(Refusal::PARSE, format!("the message is no JSON: {error}")))?;
    if !whole.get().starts_with('[') {
        return Ok(Message::One(call(whole)));
    }
    let calls: Vec<&RawValue> = serde_json::from_str(whole.get())
        .map_err(|error| Refusal::new(Refusal::PARSE, format!("the batch is no JSON: {error}")))?;
    match calls.len() {
        0 => Err(Refusal::new(Refusal::REQUEST, "the batch is empty; it holds one call or more")),
        1..=MAX_BATCH => Ok(Message::Batch(calls.into_iter().map(call).collect())),
        many => {
            let words = format!("the batch has {many} calls; at most {MAX_BATCH} go together");
            Err(Refusal::new(Refusal::LIMIT, words))
        }
    }
}

/// What a call is made of. Unknown members are let pass, as the specification names none that it forbids.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "given")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// Only the id, where the rest is no call.
#[derive(Deserialize)]
struct Id<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
}

fn call(raw: &RawValue) -> Call<'_> {
    let refused = |id, words: String| Call { id, asked: Err(Refusal::new(Refusal::REQUEST, words)) };
    let members = match serde_json::from_str::<Members<'_>>(raw.get()) {
        Ok(members) if raw.get().starts_with('{') => members,
        Ok(_) => return refused(Some(RawValue::NULL), "a call is an object".to_owned()),
        Err(error) => {
            let id = serde_json::from_str::<Id<'_>>(raw.get()).ok().and_then(|id| id.id);
            return refused(Some(id.unwrap_or(RawValue::NULL)), format!("not a call: {error}"));
        }
    };
    if members.id.is_some_and(|id| id.get().len() > MAX_ID) {
        return refused(Some(RawValue::NULL), format!("an id has at most {MAX_ID} bytes"));
    }
    if members.jsonrpc.is_some_and(|version| version != "2.0") {
        return refused(members.id, "jsonrpc is \"2.0\"".to_owned());
    }
    Call { id: members.id, asked: Ok((members.method, members.params)) }
}

/// Writes an answer: a result that is JSON already, or why there is none.
pub(super) fn write(out: &mut Vec<u8>, id: &RawValue, outcome: Result<&[u8], &Refusal>) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.get().as_bytes());
    match outcome {
        Ok(result) => {
            out.extend_from_slice(b",\"result\":");
            out.extend_from_slice(result);
        }
        Err(refusal) => {
            let data = refusal.problem.as_ref().map(|problem| problem.body());
            let mut error = serde_json::json!({"code": refusal.code, "message": refusal.message});
            if let Some(data) = data {
                error["data"] = serde_json::json!(data);
            }
            out.extend_from_slice(b",\"error\":");
            out.extend_from_slice(error.to_string().as_bytes());
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<Result<String, i32>> {
        let seen = |call: &Call<'_>| match &call.asked {
            Ok((method, _)) => Ok(format!("{}:{method}", call.id.map_or("-", RawValue::get))),
            Err(refusal) => Err(refusal.code),
        };
        match read(text) {
            Ok(Message::One(call)) => vec![seen(&call)],
            Ok(Message::Batch(calls)) => calls.iter().map(seen).collect(),
            Err(refusal) => vec![Err(refusal.code)],
        }
    }

    #[test]
    fn it_reads_what_providers_send() {
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":[]}"#, "1:a"),
            (r#"{"jsonrpc":"2.0","id":"6f-x","method":"a"}"#, "\"6f-x\":a"),
            (r#"{"id":null,"method":"net_version"}"#, "null:net_version"),
            (r#"{"jsonrpc":"2.0","id":{"deep":[1]},"method":"a","more":1}"#, "{\"deep\":[1]}:a"),
            (r#"{"jsonrpc":"2.0","method":"a"}"#, "-:a"),
            (r#"{"jsonrpc":"2.0","id":1.50,"method":"\u0061"}"#, "1.50:a"),
        ] {
            assert_eq!(codes(text), [Ok(expected.to_owned())], "{text}");
        }
        assert_eq!(
            codes(r#"[{"id":1,"method":"a"}, 5, {"id":2,"method":"b"}]"#),
            [Ok("1:a".to_owned()), Err(Refusal::REQUEST), Ok("2:b".to_owned())]
        );
    }

    #[test]
    fn it_says_what_is_no_call() {
        let many = format!("[{}]", vec![r#"{"method":"a"}"#; MAX_BATCH + 1].join(","));
        let long = format!(r#"{{"id":"{}","method":"a"}}"#, "x".repeat(MAX_ID));
        for (text, code) in [
            ("", Refusal::PARSE),
            ("{", Refusal::PARSE),
            (r#"[{"id":1,"method":"a"}"#, Refusal::PARSE),
            ("[]", Refusal::REQUEST),
            ("5", Refusal::REQUEST),
            ("null", Refusal::REQUEST),
            (r#"{"id":1}"#, Refusal::REQUEST),
            (r#"{"id":1,"method":5}"#, Refusal::REQUEST),
            (r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#, Refusal::REQUEST),
            (r#"[[]]"#, Refusal::REQUEST),
            (&many, Refusal::LIMIT),
            (&long, Refusal::REQUEST),
        ] {
            assert_eq!(codes(text), [Err(code)], "{text}");
        }
        // What can be said of the call is said with its id.
        let Ok(Message::One(call)) = read(r#"{"id":7,"method":5}"#) else { panic!("a batch") };
        assert_eq!(call.id.map(RawValue::get), Some("7"));
    }

    #[test]
    fn it_writes_answers_that_programs_understand() {
        let written = |outcome: Result<&[u8], &Refusal>| {
            let mut out = Vec::new();
            write(&mut out, RawValue::NULL, outcome);
            serde_json::from_slice::<serde_json::Value>(&out).unwrap()
        };
        let result = serde_json::json!({"jsonrpc": "2.0", "id": null, "result": {"a": 1}});
        assert_eq!(written(Ok(b"{\"a\":1}")), result);
        for (code, number) in [
            (Code::Gone, -32_001),
            (Code::StorageFull, -32_002),
            (Code::Overloaded, -32_005),
            (Code::TooBig, -32_005),
            (Code::Forbidden, 4_100),
            (Code::BadTopic, -32_602),
            (Code::Internal, -32_603),
        ] {
            let refusal = Refusal::from(Problem::new(code, "why"));
            let error = written(Err(&refusal))["error"].take();
            assert_eq!((&error["code"], &error["message"]), (&number.into(), &"why".into()));
            assert_eq!(error["data"]["code"], code.as_str());
        }
    }
}
