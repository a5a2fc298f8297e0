//! Walking a plan: finding parts of the answer, and writing what is put together as JSON.

use std::io::Write as _;
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelNull, CelString, CelType, CelUInt,
    Kind as CelKind,
};
use cel::common::value::{CowVal, Val};

use super::emit::{MAX_MADE, Trouble, as_json};
use super::names::Names;
use super::plan::{Each, Path, Plan, Root, Step, Test};
use super::words;
use crate::expression::json::{Json, Kind, MAX_DEPTH};
use crate::expression::{fuel, guards};

/// The part of the answer that a path leads to.
pub(super) fn find(path: &Path, names: &Names<'_>) -> Result<Json, Trouble> {
    let trouble = |why: String| Trouble::new(&path.place, why, names);
    if !fuel::take(1) {
        return Err(trouble("it takes too long".to_owned()));
    }
    let mut json = match path.root {
        Root::Local(place) => names.locals[place].1.clone(),
        Root::Payload => match names.payload.json() {
            Some(json) => json.clone(),
            None => return Err(trouble("the answer is no JSON".to_owned())),
        },
    };
    for step in &path.steps {
        let found = match step {
            Step::Member(name) => member(&json, name),
            Step::Element(index) if json.kind() == Kind::List => {
                json.element(*index).ok_or_else(|| format!("the list has no element {index}"))
            }
            Step::Element(index) => Err(format!("element {index} is asked of {}", json.kind().name())),
            Step::Named(path) => {
                let name = find(path, names)?;
                match name.kind() {
                    Kind::Text => look_at(&name).and_then(|()| member(&json, &name.characters())),
                    Kind::Number => look_at(&name).and_then(|()| indexed(&json, &name)),
                    kind => Err(format!("{} names no member", kind.name())),
                }
            }
        };
        json = found.map_err(trouble)?;
    }
    Ok(json)
}

/// Takes what looking at a scalar as a whole costs: the upstream may have made it long.
pub(super) fn look_at(json: &Json) -> Result<(), String> {
    fuel::take_step(json.text().len()).map_err(|error| words::execution(&error))
}

fn member(json: &Json, name: &str) -> Result<Json, String> {
    let shown = || words::short(name.as_bytes());
    if json.kind() != Kind::Map {
        return Err(format!("{:?} is asked of {}", shown(), json.kind().name()));
    }
    json.member(name).ok_or_else(|| format!("there is no {:?}", shown()))
}

fn indexed(json: &Json, index: &Json) -> Result<Json, String> {
    let text = String::from_utf8_lossy(index.text());
    let element =
        text.parse().ok().filter(|_| json.kind() == Kind::List).and_then(|index| json.element(index));
    element
        .ok_or_else(|| format!("element {} is asked of {}", words::short(index.text()), json.kind().name()))
}

/// Whether a test holds.
pub(super) fn test(test: &Test, names: &Names<'_>) -> Result<bool, Trouble> {
    match test {
        Test::Has(path, name) => {
            let json = find(path, names)?;
            match json.kind() {
                Kind::Map => Ok(json.member(name).is_some()),
                kind => {
                    let why = format!("{name:?} is asked of {}", kind.name());
                    Err(Trouble::new(&path.place, why, names))
                }
            }
        }
        Test::Is(path, text, is_equal) => {
            let json = find(path, names)?;
            Ok(json.says(text) == *is_equal)
        }
        Test::Cel(leaf) => {
            let given = leaf.program.evaluate(names, |value| {
                let is_so = value.downcast_ref::<CelBool>().map(|it| *it.inner());
                is_so.ok_or_else(|| format!("true or false is expected, not {}", value.get_type().name()))
            });
            let given = given.map_err(|error| words::execution(&error)).and_then(|is_so| is_so);
            given.map_err(|why| Trouble::new(&leaf.place, why, names))
        }
    }
}

/// Who takes the elements of a comprehension one by one, until it breaks off.
pub(super) type Visitor<'v, 'a> = dyn FnMut(&mut Names<'a>, Result<Json, Trouble>) -> ControlFlow<()> + 'v;

/// Shows what a comprehension goes over: a list's elements, or an object's names.
pub(super) fn walk<'a>(
    range: &'a Plan,
    names: &mut Names<'a>,
    visit: &mut Visitor<'_, 'a>,
) -> Result<ControlFlow<()>, Trouble> {
    match range {
        Plan::Each(each) => walk(&each.range, names, &mut |names, element| {
            let part = element.and_then(|element| {
                within(each, element, names, |names| match &each.give {
                    Plan::Path(path) => find(path, names),
                    _ => Err(Trouble::new(&each.place, "parts of the answer are expected", names)),
                })
            });
            part.transpose().map_or(ControlFlow::Continue(()), |part| visit(names, part))
        }),
        Plan::Path(path) => {
            let json = find(path, names)?;
            match json.kind() {
                Kind::List => Ok(json.elements().try_for_each(|element| visit(names, Ok(element)))),
                Kind::Map if !json.pay_for_names() => {
                    Err(Trouble::new(&path.place, "it takes too long", names))
                }
                Kind::Map => Ok(json.members().try_for_each(|(name, _)| visit(names, Ok(name)))),
                kind => {
                    Err(Trouble::new(&path.place, format!("a list is expected, not {}", kind.name()), names))
                }
            }
        }
        _ => Ok(ControlFlow::Continue(())),
    }
}

/// Does something with an element of a comprehension as its variable, where its test holds.
pub(super) fn within<'a, T>(
    each: &'a Each,
    element: Json,
    names: &mut Names<'a>,
    give: impl FnOnce(&mut Names<'a>) -> Result<T, Trouble>,
) -> Result<Option<T>, Trouble> {
    names.locals.push((&each.name, element));
    let is_taken = each.test.as_ref().map_or(Ok(true), |it| test(it, names));
    let given = match is_taken {
        Ok(true) => give(names).map(Some),
        Ok(false) => Ok(None),
        Err(trouble) => Err(trouble),
    };
    names.locals.pop();
    given
}

/// Writes what a plan gives as JSON.
pub(super) fn write<'a>(
    plan: &'a Plan,
    names: &mut Names<'a>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Trouble> {
    match plan {
        Plan::Path(path) => {
            let json = find(path, names)?;
            part(&json, out, depth).map_err(|why| Trouble::new(&path.place, why, names))
        }
        Plan::Literal(json) => literal(json, out, names),
        Plan::Choice(it, yes, no) => {
            let chosen = if test(it, names)? { yes } else { no };
            write(chosen, names, out, depth)
        }
        Plan::List(parts) => {
            literal("[", out, names)?;
            for (index, part) in parts.iter().enumerate() {
                separate(index, out);
                write(part, names, out, depth + 1)?;
            }
            out.push(b']');
            Ok(())
        }
        Plan::Object(members) => {
            literal("{", out, names)?;
            for (index, (name, value)) in members.iter().enumerate() {
                separate(index, out);
                literal(name, out, names)?;
                write(value, names, out, depth + 1)?;
            }
            out.push(b'}');
            Ok(())
        }
        Plan::Each(each) => write_each(each, names, out, depth),
        Plan::Cel(leaf) => {
            let given = leaf.program.evaluate(names, |given| value(given, out, depth));
            let given = given.map_err(|error| words::execution(&error)).and_then(|written| written);
            given.map_err(|why| Trouble::new(&leaf.place, why, names))
        }
    }
}

fn write_each<'a>(
    each: &'a Each,
    names: &mut Names<'a>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Trouble> {
    literal("[", out, names)?;
    let mut count = 0;
    let mut written = Ok(());
    let _ = walk(&each.range, names, &mut |names, element| {
        let one = element.and_then(|element| {
            within(each, element, names, |names| {
                separate(count, out);
                count += 1;
                write(&each.give, names, out, depth + 1)
            })
        });
        written = one.map(|_| ());
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    out.push(b']');
    written
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

/// Writes a part of the answer as it stands there.
fn part(json: &Json, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    room(out, json.text().len())?;
    // It looks at the whole part: behind what pays for that.
    if depth > 0 && depth + json.depth() > MAX_DEPTH {
        return Err(format!("the record would nest deeper than {MAX_DEPTH} levels"));
    }
    out.extend_from_slice(json.text());
    Ok(())
}

/// Writes a piece of the definition itself.
fn literal(text: &str, out: &mut Vec<u8>, names: &Names<'_>) -> Result<(), Trouble> {
    let paid = fits(out, text.len())
        .and_then(|()| fuel::take_step(text.len()).map_err(|error| words::execution(&error)));
    paid.map_err(|why| Trouble::of_whole(why, names))?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Makes sure that so many bytes more may be written, and takes what that costs.
fn room(out: &[u8], bytes: usize) -> Result<(), String> {
    fits(out, bytes)?;
    fuel::take_text(bytes).map_err(|error| words::execution(&error))
}

fn fits(out: &[u8], bytes: usize) -> Result<(), String> {
    if out.len() + bytes > MAX_MADE {
        return Err(format!("the records of one answer would have more than {MAX_MADE} bytes"));
    }
    Ok(())
}

/// Writes a value of CEL's.
pub(super) fn value(value: &dyn Val, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    if let Some(json) = as_json(value) {
        return part(json, out, depth);
    }
    if depth >= MAX_DEPTH {
        return Err(format!("the record would nest deeper than {MAX_DEPTH} levels"));
    }
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        out.push(b'[');
        for (index, element) in list.inner().iter().enumerate() {
            separate(index, out);
            self::value(element.as_ref(), out, depth + 1)?;
        }
        out.push(b']');
        return Ok(());
    }
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        return self::map(map, out, depth);
    }
    scalar(value, out)
}

/// Writes a map, its members in the order of their names: CEL keeps none.
fn map(map: &CelMap<'_>, out: &mut Vec<u8>, depth: usize) -> Result<(), String> {
    let mut members = Vec::with_capacity(map.inner().len());
    for (key, value) in map.inner() {
        members.push((text(key.inner())?, value));
    }
    members.sort_by(|a, b| a.0.cmp(&b.0));
    out.push(b'{');
    for (index, (name, value)) in members.iter().enumerate() {
        separate(index, out);
        string(name, out)?;
        out.push(b':');
        self::value(value.as_ref(), out, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

fn scalar(value: &dyn Val, out: &mut Vec<u8>) -> Result<(), String> {
    room(out, 8)?;
    if value.downcast_ref::<CelNull>().is_some() {
        out.extend_from_slice(b"null");
    } else if let Some(value) = value.downcast_ref::<CelBool>() {
        out.extend_from_slice(if *value.inner() { b"true" } else { b"false" });
    } else if let Some(value) = value.downcast_ref::<CelInt>() {
        let _ = write!(out, "{}", value.inner());
    } else if let Some(value) = value.downcast_ref::<CelUInt>() {
        let _ = write!(out, "{}", value.inner());
    } else if let Some(value) = value.downcast_ref::<CelDouble>() {
        if !value.inner().is_finite() {
            return Err(format!("{} is no number that JSON knows", value.inner()));
        }
        serde_json::to_writer(out, value.inner()).map_err(|error| error.to_string())?;
    } else if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        string(&STANDARD.encode(bytes.inner()), out)?;
    } else {
        string(&text(value)?, out)?;
    }
    Ok(())
}

fn string(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    room(out, text.len())?;
    serde_json::to_writer(out, text).map_err(|error| error.to_string())
}

/// A value as text: strings as they are, others as CEL's `string` writes them.
pub(super) fn text(value: &dyn Val) -> Result<String, String> {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return Ok(text.inner().to_owned());
    }
    if let Some(kind) = value.downcast_ref::<CelType>() {
        return Ok(kind.name().to_owned());
    }
    let name = value.get_type().name().to_owned();
    let none = || format!("{name} is nothing that can be written");
    if !matches!(
        value.get_type().kind(),
        CelKind::Boolean | CelKind::Int | CelKind::UInt | CelKind::Timestamp | CelKind::Duration
    ) {
        return Err(none());
    }
    let args = vec![CowVal::Borrowed(value)];
    let make = guards::env()?.find_overload("string", &args).ok_or_else(none)?;
    let made = make(args).map_err(|error| words::execution(&error))?;
    made.downcast_ref::<CelString<'_>>().map(|text| text.inner().to_owned()).ok_or_else(none)
}
