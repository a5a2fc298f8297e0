//! The names that an expression may use: types and functions.

/// Types that `type(x)` can be compared with.
pub(crate) const TYPES: [&str; 12] = [
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
pub(crate) enum Form {
    /// `f(x, …)`.
    Global,
    /// `x.f(…)`.
    Member,
    /// Either.
    Both,
}

/// What a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    /// A bool.
    Bool,
    /// Text, bytes or a list: nothing that `+` may join.
    Text,
    /// A number, a time or a duration.
    Number,
    /// What it is given, or a type.
    Other,
}

/// A function.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    /// How many arguments, the target counted.
    pub(crate) arity: (usize, usize),
    pub(crate) gives: Gives,
    /// Units for 64 bytes of its first operand, beyond the one that looking at it costs; measured with the
    /// worst text.
    pub(crate) weight: i64,
    /// Whether readers' filters may use it.
    pub(crate) class: Class,
}

/// What a function can cost, compared with what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Its result is no longer than its input, and takes time in proportion.
    Bounded,
    /// Its result can be longer.
    Growing,
    /// Its time can grow with the product of its inputs.
    Slow,
}

const fn function(
    name: &'static str,
    form: Form,
    arity: (usize, usize),
    gives: Gives,
    weight: i64,
) -> Function {
    Function { name, form, arity, gives, weight, class: Class::Bounded }
}

/// A function that CEL has too, replaced by our own that knows bounds.
const fn own(name: &'static str, arity: (usize, usize), gives: Gives, class: Class) -> Function {
    Function { name, form: Form::Member, arity, gives, weight: 0, class }
}

/// Every function.
pub(crate) const FUNCTIONS: &[Function] = &[
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
    own("replace", (3, 4), Gives::Text, Class::Growing),
    own("join", (1, 2), Gives::Text, Class::Growing),
    own("format", (2, 2), Gives::Text, Class::Growing),
    own("indexOf", (2, 3), Gives::Number, Class::Slow),
    own("lastIndexOf", (2, 3), Gives::Number, Class::Slow),
];

/// What is written like a function and becomes a comprehension or a test.
pub(crate) const MACROS: [&str; 6] = ["has", "all", "exists", "exists_one", "map", "filter"];

/// The function of that name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// The name most like a mistyped one, where one is.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let alike = known.map(|known| (strsim::jaro_winkler(&lower, &known.to_lowercase()), known));
    // Between 0.8 and 0.9 stand names that only begin alike.
    let alike = alike.filter(|(score, _)| *score > 0.87);
    alike.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}
