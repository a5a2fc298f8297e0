//! The environment that all expressions share, with the functions that guard them while they run.

use std::any::Any;
use std::sync::{Arc, LazyLock};

use cel::common::types::{CelBool, CelBytes, CelInt, CelString, DYN_TYPE, INT_TYPE, Kind, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{DeclarationError, Env, ExecutionError, extensions};
use regex::{Regex, RegexBuilder};

use super::{fuel, functions};

/// Passes its first operand on, when its length times the second can be paid for.
pub(crate) const WEIGH: &str = "@weigh";
/// Passes its operand on, when it is nothing that `+` would join to something longer.
pub(crate) const NUMBER: &str = "@number";
/// `matches` with a pattern that is compiled already.
pub(crate) const MATCHES: &str = "@matches";

/// Bytes that a compiled pattern may take, with the units for 64 bytes of text that the slowest pattern of that size
/// takes: one with a Unicode word boundary, which no automaton runs, took 4 µs a byte at 256 KiB.
const PATTERN_CLASSES: [(usize, u64); 4] =
    [(4 << 10, 64), (16 << 10, 256), (64 << 10, 1_024), (256 << 10, 2_048)];
/// Bytes that the pattern's cache may take while it runs.
const PATTERN_CACHE: usize = 256 << 10;

static ENV: LazyLock<Result<Arc<Env>, DeclarationError>> = LazyLock::new(|| make_env().map(Arc::new));

/// The environment of every expression.
pub(crate) fn env() -> Result<&'static Arc<Env>, String> {
    ENV.as_ref().map_err(ToString::to_string)
}

fn make_env() -> Result<Env, DeclarationError> {
    let mut env = Env::stdlib().with_optional_support(false);
    env.add_extension(extensions::strings)?;
    env.add_overload(WEIGH, "anode_weigh", vec![DYN_TYPE, INT_TYPE], weigh)?;
    env.add_overload(NUMBER, "anode_number", vec![DYN_TYPE], number)?;
    functions::declare(&mut env)?;
    env.add_overload(MATCHES, "anode_matches", vec![DYN_TYPE, DYN_TYPE], matches)?;
    Ok(env)
}

fn weigh<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let weight = args.pop().and_then(|weight| weight.downcast_ref::<CelInt>().map(|it| *it.inner()));
    let operand = args.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
    let bytes = if let Some(text) = operand.downcast_ref::<CelString<'_>>() {
        text.inner().len()
    } else {
        operand.downcast_ref::<CelBytes<'_>>().map_or(0, |bytes| bytes.inner().len())
    };
    let units = bytes as u64 * weight.unwrap_or(0).unsigned_abs() / 64;
    if fuel::take(units) { Ok(operand) } else { Err(fuel::dry()) }
}

fn number<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let operand = args.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
    match operand.get_type().kind() {
        Kind::String | Kind::Bytes | Kind::List => {
            Err(ExecutionError::function_error("+", "strings, bytes and lists are not joined"))
        }
        _ => Ok(operand),
    }
}

fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [text, pattern] = args.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, args.len()));
    };
    let (Some(text), Some(pattern)) =
        (text.downcast_ref::<CelString<'_>>(), pattern.downcast_ref::<Pattern>())
    else {
        return Err(ExecutionError::function_error("matches", "only a string can match a pattern"));
    };
    let text = text.inner();
    if !fuel::take(text.len() as u64 * pattern.weight / 64) {
        return Err(fuel::dry());
    }
    Ok(CowVal::owned(CelBool::from(pattern.regex.is_match(text))))
}

/// The pattern of a `matches`.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    regex: Regex,
    /// Units for 64 bytes of text.
    weight: u64,
    /// Bytes that it may take at most, compiled.
    pub(crate) size: usize,
}

impl Pattern {
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        let build = |bytes: usize| {
            RegexBuilder::new(text).size_limit(bytes).dfa_size_limit(PATTERN_CACHE).nest_limit(32).build()
        };
        for (bytes, weight) in PATTERN_CLASSES {
            match build(bytes) {
                Ok(regex) => return Ok(Self { regex, weight, size: bytes }),
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(error) => return Err(format!("the pattern cannot be read: {error}")),
            }
        }
        Err("the pattern is too large once compiled; write a shorter one, or ASCII classes for \\w and \\d"
            .to_owned())
    }
}

static PATTERN_TYPE: Type = Type::new_unspecified_type("anode.pattern");

impl StaticVal for Pattern {}

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN_TYPE
    }

    fn cel_type() -> &'static Type {
        &PATTERN_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}
