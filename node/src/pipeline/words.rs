//! Errors in words for whoever defined the source.

use cel::ExecutionError;

use crate::expression::json::Fault;

/// The most bytes of a value that an error shows.
const SHOWN: usize = 200;
/// The most bytes of what is no JSON that an error shows.
const FAULTY: usize = 40;

/// The beginning of a value, on one line.
pub(super) fn short(value: &[u8]) -> String {
    beginning(value, SHOWN)
}

/// At most so many bytes of a value, on one line. A cut is marked: a secret that was cut with it is known by that.
fn beginning(value: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(&value[..value.len().min(most + 4)]);
    let mut shown = String::new();
    for character in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if shown.len() + character.len_utf8() > most - '…'.len_utf8() {
            return shown + "…";
        }
        shown.push(character);
    }
    shown
}

/// Where and why an answer is no JSON.
pub(super) fn fault(fault: &Fault, text: &[u8]) -> String {
    let before = &text[..fault.at.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let begun = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(&before[begun..]).chars().count() + 1;
    let rest = &text[before.len()..];
    let found = match rest {
        [] => "but the text ends".to_owned(),
        _ => format!("not {:?}", beginning(rest, FAULTY)),
    };
    format!("the answer is no JSON: line {line}, column {column}: {}, {found}", fault.why)
}

/// What went wrong while an expression was evaluated.
pub(super) fn execution(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(name) => format!("there is no {:?}", short(name.as_bytes())),
        ExecutionError::UnexpectedType { got, want } => format!("{want} is expected, not {got}"),
        ExecutionError::IndexOutOfBounds(index) => format!("the list has no element {}", plain(index)),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "the result is too great for an int".to_owned(),
        ExecutionError::ValuesNotComparable(..) => "the two cannot be compared".to_owned(),
        ExecutionError::FunctionError { function, message } => {
            format!("{}: {}", function.trim_start_matches('@'), short(message.as_bytes()))
        }
        ExecutionError::UndeclaredReference(name) => {
            format!("there is no {:?}", name.trim_start_matches('@'))
        }
        ExecutionError::InternalError(message) => short(message.as_bytes()),
        ExecutionError::NoSuchOverload(error) => short(error.to_string().replace('@', "").as_bytes()),
        other => short(other.to_string().as_bytes()),
    }
}

fn plain(value: &cel::Value) -> String {
    match value {
        cel::Value::Int(value) => value.to_string(),
        cel::Value::UInt(value) => value.to_string(),
        _ => "of that index".to_owned(),
    }
}
