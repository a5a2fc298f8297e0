//! Functions that CEL has too, as sources' expressions use them: paid for, and no result longer than [`MAX_RESULT`].

use cel::common::traits::Iterable;
use cel::common::types::{CelBytes, CelInt, CelList, CelMap, CelString, DYN_TYPE, INT_TYPE, Kind, Type};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError};

use super::fuel;
use super::json::{JsonList, JsonMap};

/// The longest text that a function makes, bytes: twice the longest payload of a record.
pub(crate) const MAX_RESULT: usize = 256 << 10;
/// Bytes that `format` can make of one argument beyond its text: `%.100f` of the greatest number.
const MAX_DIGITS: usize = 420;

/// Passes its operand on, when a copy of it, and so many units more, can be paid for.
pub(crate) const PAY: &str = "@pay";
/// `+`.
pub(crate) const ADD: &str = "@add";
/// Passes the arguments of `format` on, when what becomes of them is short enough.
pub(crate) const PRINTABLE: &str = "@printable";

type Args<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Given<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;
type Function = for<'b, 'v> fn(Args<'b, 'v>) -> Given<'b, 'v>;

/// Declares them all.
pub(super) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    let any = |count: usize| -> Vec<Type> { (0..count).map(|_| DYN_TYPE).collect() };
    let functions: [(&str, &str, Vec<Type>, Function); 12] = [
        (PAY, "anode_pay", vec![DYN_TYPE, INT_TYPE], pay),
        (ADD, "anode_add", any(2), add),
        (PRINTABLE, "anode_printable", any(1), printable),
        ("@replace", "anode_replace", any(3), replace),
        ("@replace", "anode_replace_n", any(4), replace),
        ("@join", "anode_join", any(1), join),
        ("@join", "anode_join_with", any(2), join),
        ("@indexOf", "anode_index", any(2), index_of),
        ("@indexOf", "anode_index_from", any(3), index_of),
        ("@lastIndexOf", "anode_last_index", any(2), last_index_of),
        ("@lastIndexOf", "anode_last_index_from", any(3), last_index_of),
        ("@quote", "anode_quote", any(1), quote),
    ];
    for (name, id, types, function) in functions {
        env.add_overload(name, id, types, function)?;
    }
    Ok(())
}

fn wrong(function: &str, message: impl ToString) -> ExecutionError {
    ExecutionError::function_error(function, message)
}

fn text<'a>(function: &str, args: &'a [CowVal<'_, '_>], place: usize) -> Result<&'a str, ExecutionError> {
    let arg = args.get(place).ok_or_else(ExecutionError::missing_argument_or_target)?;
    let text = arg.downcast_ref::<CelString<'_>>();
    text.map(|text| text.inner())
        .ok_or_else(|| wrong(function, format!("a string is expected, not {}", arg.get_type().name())))
}

fn int(function: &str, args: &[CowVal<'_, '_>], place: usize) -> Result<Option<i64>, ExecutionError> {
    let Some(arg) = args.get(place) else {
        return Ok(None);
    };
    let int = arg.downcast_ref::<CelInt>().map(|int| *int.inner());
    int.map(Some).ok_or_else(|| wrong(function, format!("an int is expected, not {}", arg.get_type().name())))
}

/// Refuses a result that would be too long, and takes what making it costs.
fn pay_for_result(function: &str, bytes: usize) -> Result<(), ExecutionError> {
    if bytes > MAX_RESULT {
        return Err(wrong(
            function,
            format!("the result would have {bytes} bytes; at most {MAX_RESULT} are made"),
        ));
    }
    fuel::take_text(bytes)
}

fn owned_text<'b, 'v>(text: String) -> CowVal<'b, 'v> {
    CowVal::owned(CelString::from(text))
}

fn pay<'b, 'v>(mut args: Args<'b, 'v>) -> Given<'b, 'v> {
    let units = args.pop().and_then(|units| units.downcast_ref::<CelInt>().map(|it| *it.inner()));
    let operand = args.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
    let is_paid = fuel::take(units.unwrap_or(0).unsigned_abs()) && pay_for_copy(operand.as_ref());
    if is_paid { Ok(operand) } else { Err(fuel::dry()) }
}

/// Takes what copying a value costs, all that it holds counted; values of a document are shared and cost next to nothing.
fn pay_for_copy(value: &dyn Val) -> bool {
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        return fuel::take(1) && list.inner().iter().all(|element| pay_for_copy(element.as_ref()));
    }
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        return fuel::take(1)
            && map
                .inner()
                .iter()
                .all(|(key, value)| pay_for_copy(key.inner()) && pay_for_copy(value.as_ref()));
    }
    fuel::take_text(text_len(value)).is_ok()
}

fn text_len(value: &dyn Val) -> usize {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        text.inner().len()
    } else {
        value.downcast_ref::<CelBytes<'_>>().map_or(0, |bytes| bytes.inner().len())
    }
}

fn add<'b, 'v>(args: Args<'b, 'v>) -> Given<'b, 'v> {
    let [left, right] = args.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, args.len()));
    };
    match (left.get_type().kind(), right.get_type().kind()) {
        (Kind::List, Kind::List) => return concatenate(left.as_ref(), right.as_ref()),
        (Kind::String, Kind::String) | (Kind::Bytes, Kind::Bytes) => {
            pay_for_result("+", text_len(left.as_ref()) + text_len(right.as_ref()))?;
        }
        _ => {}
    }
    let differ = || {
        let types = [left, right].map(|operand| operand.get_type().name().to_owned());
        ExecutionError::no_such_overload("_+_", types.to_vec())
    };
    let adder = left.as_adder().ok_or_else(differ)?;
    match adder.add(right.as_ref()) {
        Ok(sum) => Ok(CowVal::Owned(sum.into_owned())),
        Err(error @ ExecutionError::Overflow(..)) => Err(error),
        Err(_) => Err(differ()),
    }
}

fn concatenate<'b, 'v>(left: &(dyn Val + 'v), right: &(dyn Val + 'v)) -> Given<'b, 'v> {
    let mut elements: Vec<Box<dyn Val + 'v>> = Vec::new();
    for list in [left, right] {
        let mut list = iterable("+", list)?.iter();
        while let Some(element) = list.next() {
            if !pay_for_copy(element) {
                return Err(fuel::dry());
            }
            elements.push(element.clone_as_boxed());
        }
    }
    Ok(CowVal::owned(CelList::from(elements)))
}

fn iterable<'b, 'v>(
    function: &str,
    list: &'b (dyn Val + 'v),
) -> Result<&'b (dyn Iterable + 'v), ExecutionError> {
    list.as_iterable()
        .ok_or_else(|| wrong(function, format!("a list is expected, not {}", list.get_type().name())))
}

fn replace<'b, 'v>(args: Args<'b, 'v>) -> Given<'b, 'v> {
    let [this, from, to] = [0, 1, 2].map(|place| text("replace", &args, place));
    let (this, from, to) = (this?, from?, to?);
    let most = int("replace", &args, 3)?.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    fuel::take_text(this.len() * 4)?;
    let count = this.matches(from).take(most).count();
    let bytes = this.len() - count * from.len() + count.saturating_mul(to.len());
    pay_for_result("replace", bytes)?;
    Ok(owned_text(this.replacen(from, to, most)))
}

fn join<'b, 'v>(args: Args<'b, 'v>) -> Given<'b, 'v> {
    let between = if args.len() > 1 { text("join", &args, 1)? } else { "" };
    let list = args.first().ok_or_else(ExecutionError::missing_argument_or_target)?;
    let mut elements = iterable("join", list.as_ref())?.iter();
    let mut joined = String::new();
    let mut is_first = true;
    while let Some(element) = elements.next() {
        let Some(text) = element.downcast_ref::<CelString<'_>>() else {
            return Err(wrong("join", format!("strings are joined, not {}", element.get_type().name())));
        };
        let part = if is_first { "" } else { between };
        is_first = false;
        fuel::take_text(part.len() + text.inner().len())?;
        if joined.len() + part.len() + text.inner().len() > MAX_RESULT {
            return Err(wrong("join", format!("the result would have more than {MAX_RESULT} bytes")));
        }
        joined.push_str(part);
        joined.push_str(text.inner());
    }
    Ok(owned_text(joined))
}

fn printable<'b, 'v>(mut args: Args<'b, 'v>) -> Given<'b, 'v> {
    let list = args.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
    let mut bytes = 0;
    let mut elements = iterable("format", list.as_ref())?.iter();
    while let Some(element) = elements.next() {
        // In hex a byte is two digits.
        bytes += 2 * printed_len(element) + MAX_DIGITS;
        if bytes > MAX_RESULT {
            return Err(wrong("format", format!("the result could have more than {MAX_RESULT} bytes")));
        }
    }
    drop(elements);
    pay_for_result("format", bytes)?;
    Ok(list)
}

fn printed_len(value: &dyn Val) -> usize {
    if let Some(list) = value.downcast_ref::<JsonList>() {
        list.json().text().len()
    } else if let Some(map) = value.downcast_ref::<JsonMap>() {
        map.json().text().len()
    } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        list.inner().iter().map(|element| printed_len(element.as_ref()) + 32).sum()
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        map.inner()
            .iter()
            .map(|(key, value)| printed_len(key.inner()) + printed_len(value.as_ref()) + 64)
            .sum()
    } else {
        text_len(value)
    }
}

fn index_of<'b, 'v>(args: Args<'b, 'v>) -> Given<'b, 'v> {
    let (this, part) = (text("indexOf", &args, 0)?, text("indexOf", &args, 1)?);
    fuel::take_text((this.len() + part.len()) * 4)?;
    let offset = int("indexOf", &args, 2)?.unwrap_or(0);
    let begin = usize::try_from(offset).ok().and_then(|offset| byte_of(this, offset));
    let Some(begin) = begin else {
        return Err(wrong("indexOf", format!("there is no place {offset}")));
    };
    let found = this[begin..].find(part).map(|at| this[..begin + at].chars().count());
    Ok(CowVal::owned(CelInt::from(found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))))
}

fn last_index_of<'b, 'v>(args: Args<'b, 'v>) -> Given<'b, 'v> {
    let (this, part) = (text("lastIndexOf", &args, 0)?, text("lastIndexOf", &args, 1)?);
    fuel::take_text((this.len() + part.len()) * 4)?;
    let end = match int("lastIndexOf", &args, 2)? {
        None => this.len(),
        Some(offset) => {
            let begin = usize::try_from(offset).ok().and_then(|offset| byte_of(this, offset));
            let begin = begin.ok_or_else(|| wrong("lastIndexOf", format!("there is no place {offset}")))?;
            let end = (begin + part.len()).min(this.len());
            (end..=this.len()).find(|end| this.is_char_boundary(*end)).unwrap_or(this.len())
        }
    };
    let found = this[..end].rfind(part).map(|at| this[..at].chars().count());
    Ok(CowVal::owned(CelInt::from(found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))))
}

/// Where a character begins; the place behind the last one counts.
fn byte_of(text: &str, place: usize) -> Option<usize> {
    let places = text.char_indices().map(|(at, _)| at);
    places.chain([text.len()]).nth(place)
}

fn quote<'b, 'v>(args: Args<'b, 'v>) -> Given<'b, 'v> {
    let this = text("quote", &args, 0)?;
    pay_for_result("quote", this.len() * 2 + 2)?;
    let mut quoted = String::with_capacity(this.len() + 2);
    quoted.push('"');
    for character in this.chars() {
        let escaped = match character {
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{b}' => "\\v",
            '\\' => "\\\\",
            '"' => "\\\"",
            other => {
                quoted.push(other);
                continue;
            }
        };
        quoted.push_str(escaped);
    }
    quoted.push('"');
    Ok(owned_text(quoted))
}
