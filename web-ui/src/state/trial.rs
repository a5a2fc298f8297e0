//! What testing a source showed, for people.

use anode_shared::source::{Phases, SourceTest, Stage};

use super::number::millis;

/// One phase of a test as a part of the bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// A word for its colour.
    pub id: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// Where it begins, in hundredths of the bar.
    pub from: f64,
    /// How long it is, in hundredths of the bar.
    pub width: f64,
    /// How long it took, in words.
    pub text: String,
}

/// The phases that were reached, in their order; what is left of the whole time is the answer itself.
pub fn phases(phases: &Phases) -> Vec<Phase> {
    let known = [
        ("dns", "DNS", phases.dns_ms),
        ("connect", "Connect", phases.connect_ms),
        ("tls", "TLS", phases.tls_ms),
        ("wait", "First byte", phases.first_byte_ms),
    ];
    let reached: Vec<_> =
        known.into_iter().filter_map(|(id, name, ms)| Some((id, name, ms?.max(0.0)))).collect();
    let sum: f64 = reached.iter().map(|(.., ms)| ms).sum();
    let rest = phases.total_ms - sum;
    let all = reached.into_iter().chain((rest > 0.0).then_some(("rest", "Answer", rest)));
    let whole = sum + rest.max(0.0);
    let mut from = 0.0;
    all.map(|(id, name, ms)| {
        let width = if whole > 0.0 { ms / whole * 100.0 } else { 0.0 };
        let phase = Phase { id, name, from, width, text: millis(ms) };
        from += width;
        phase
    })
    .collect()
}

/// The outcome in a sentence.
pub fn verdict(test: &SourceTest) -> String {
    let (records, answers) = (test.records.len(), test.answers.len());
    let time = millis(test.phases.total_ms);
    if test.ok {
        let from = if answers == 1 { "1 answer".to_owned() } else { format!("{answers} messages") };
        return match records {
            0 => format!("It works: {from} in {time}, of which no record is made."),
            1 => format!("It works: {from} in {time}, 1 record."),
            _ => format!("It works: {from} in {time}, {records} records."),
        };
    }
    match &test.error {
        Some(error) => format!("{} failed after {time}.", stage(error.stage)),
        None => format!("Nothing came in {time}."),
    }
}

/// Where something went wrong, in words.
pub fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Definition => "Reading the definition",
        Stage::Guard => "The address check",
        Stage::Dns => "Resolving the name",
        Stage::Connect => "Connecting",
        Stage::Tls => "TLS",
        Stage::Request => "The request",
        Stage::Status => "The upstream's status",
        Stage::Body => "Reading the answer",
        Stage::Decode => "Decoding the answer",
        Stage::Expression => "The expression",
        Stage::Store => "Storing the records",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(json: &str) -> SourceTest {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn it_fills_the_bar() {
        let given = Phases {
            dns_ms: Some(10.0),
            connect_ms: Some(30.0),
            tls_ms: None,
            first_byte_ms: Some(40.0),
            total_ms: 100.0,
        };
        let parts: Vec<_> =
            phases(&given).into_iter().map(|phase| (phase.id, phase.from, phase.width)).collect();
        assert_eq!(
            parts,
            [("dns", 0.0, 10.0), ("connect", 10.0, 30.0), ("wait", 40.0, 40.0), ("rest", 80.0, 20.0)]
        );
        assert_eq!(phases(&Phases::default()), []);
        let odd = Phases { dns_ms: Some(10.0), total_ms: 5.0, ..Phases::default() };
        assert_eq!(phases(&odd)[0].width, 100.0);
    }

    #[test]
    fn it_says_what_came_of_it() {
        let part = r#""phases":{"dns_ms":null,"connect_ms":1,"tls_ms":null,"first_byte_ms":2,"total_ms":220},"address":null,"http_status":200,"headers":{}"#;
        let answer = r#"{"text":"{}","bytes":2}"#;
        let record = r#"{"topic":"a","payload":1}"#;
        for (json, words) in [
            (
                format!(r#"{{"ok":true,{part},"answers":[{answer}],"records":[{record}],"error":null}}"#),
                "It works: 1 answer in 220 ms, 1 record.",
            ),
            (
                format!(r#"{{"ok":true,{part},"answers":[{answer},{answer}],"records":[],"error":null}}"#),
                "It works: 2 messages in 220 ms, of which no record is made.",
            ),
            (
                format!(
                    r#"{{"ok":false,{part},"answers":[],"records":[],"error":{{"stage":"dns","detail":"","time":""}}}}"#
                ),
                "Resolving the name failed after 220 ms.",
            ),
        ] {
            assert_eq!(verdict(&test(&json)), words);
        }
    }
}
