//! The names that a filter may use: variables, types and functions.

/// The variables of a filter.
pub(super) const VARIABLES: [&str; 5] = ["topic", "source", "publisher", "time", "payload"];

/// Types that `type(x)` can be compared with.
pub(super) const TYPES: [&str; 12] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
];

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `f(x, …)`.
    Global,
    /// `x.f(…)`.
    Member,
    /// Either.
    Both,
}

/// What a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    /// A bool.
    Bool,
    /// Text, bytes or a list: nothing that `+` may join.
    Text,
    /// A number, a time or a duration.
    Number,
    /// What it is given, or a type.
    Other,
}

/// A function of a filter.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) form: Form,
    /// How many arguments, the target counted.
    pub(super) arity: (usize, usize),
    pub(super) gives: Gives,
    /// Units for 64 bytes of its first operand, beyond the one that looking at it costs; measured with the
    /// worst text.
    pub(super) weight: i64,
}

const fn function(
    name: &'static str,
    form: Form,
    arity: (usize, usize),
    gives: Gives,
    weight: i64,
) -> Function {
    Function { name, form, arity, gives, weight }
}

/// Every function of a filter. None of them gives more than it was given: those that can (`replace`, `join`,
/// `format`, `quote`) are left out.
const FUNCTIONS: &[Function] = &[
    function("size", Form::Both, (1, 1), Gives::Number, 2),
    function("contains", Form::Member, (2, 2), Gives::Bool, 4),
    function("startsWith", Form::Member, (2, 2), Gives::Bool, 0),
    function("endsWith", Form::Member, (2, 2), Gives::Bool, 0),
    function("matches", Form::Both, (2, 2), Gives::Bool, 0),
    function("int", Form::Global, (1, 1), Gives::Number, 2),
    function("uint", Form::Global, (1, 1), Gives::Number, 2),
    function("double", Form::Global, (1, 1), Gives::Number, 16),
    function("bool", Form::Global, (1, 1), Gives::Bool, 0),
    function("string", Form::Global, (1, 1), Gives::Text, 2),
    function("bytes", Form::Global, (1, 1), Gives::Text, 2),
    function("type", Form::Global, (1, 1), Gives::Other, 0),
    function("dyn", Form::Global, (1, 1), Gives::Other, 0),
    function("timestamp", Form::Global, (1, 1), Gives::Number, 16),
    function("duration", Form::Global, (1, 1), Gives::Number, 16),
    function("getFullYear", Form::Member, (1, 2), Gives::Number, 0),
    function("getMonth", Form::Member, (1, 2), Gives::Number, 0),
    function("getDate", Form::Member, (1, 2), Gives::Number, 0),
    function("getDayOfMonth", Form::Member, (1, 2), Gives::Number, 0),
    function("getDayOfWeek", Form::Member, (1, 2), Gives::Number, 0),
    function("getDayOfYear", Form::Member, (1, 2), Gives::Number, 0),
    function("getHours", Form::Member, (1, 2), Gives::Number, 0),
    function("getMinutes", Form::Member, (1, 2), Gives::Number, 0),
    function("getSeconds", Form::Member, (1, 2), Gives::Number, 0),
    function("getMilliseconds", Form::Member, (1, 2), Gives::Number, 0),
    function("lowerAscii", Form::Member, (1, 1), Gives::Text, 16),
    function("upperAscii", Form::Member, (1, 1), Gives::Text, 16),
    function("trim", Form::Member, (1, 1), Gives::Text, 16),
    function("reverse", Form::Member, (1, 1), Gives::Text, 32),
    function("charAt", Form::Member, (2, 2), Gives::Text, 16),
    function("substring", Form::Member, (2, 3), Gives::Text, 32),
    function("split", Form::Member, (2, 3), Gives::Text, 64),
];

/// Functions of CEL's extensions whose result can exceed what they are given.
pub(super) const GROWING: [&str; 4] = ["replace", "join", "format", "quote"];
/// Functions of CEL's extensions whose time grows with the product of what they are given.
pub(super) const SLOW: [&str; 2] = ["indexOf", "lastIndexOf"];

/// The function of that name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}
