//! What an expression becomes: a skeleton that we walk ourselves, with CEL in its leaves.
//!
//! Most expressions choose parts of an answer and put them together anew. Walked here, each part keeps its own bytes
//! (CEL knows the number 1.10 only as 1.1), and a record costs a fraction of what the evaluator takes.

use crate::expression::program::Program;

/// An expression, or a part of one, that gives a value.
#[derive(Debug)]
pub(super) enum Plan {
    /// A part of the answer.
    Path(Path),
    /// `test ? this : that`.
    Choice(Box<Test>, Box<Plan>, Box<Plan>),
    /// `[…]`.
    List(Vec<Plan>),
    /// `{"name": …}`: each name as JSON with its colon.
    Object(Vec<(Box<str>, Plan)>),
    /// `….map(…)` or `….filter(…)` over parts of the answer.
    Each(Box<Each>),
    /// A literal, as JSON.
    Literal(Box<str>),
    /// Anything else.
    Cel(Leaf),
}

/// An expression that CEL evaluates.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) program: Program,
    pub(super) place: Place,
}

/// The way from a variable to a part of its value.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) root: Root,
    pub(super) steps: Vec<Step>,
    pub(super) place: Place,
}

/// The variable at which a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// `payload`.
    Payload,
    /// That of a comprehension, counted from the outermost.
    Local(usize),
}

/// One step of a path.
#[derive(Debug)]
pub(super) enum Step {
    /// `.name` or `["name"]`.
    Member(Box<str>),
    /// `[0]`.
    Element(usize),
    /// `[path]`, where the path leads to a string.
    Named(Box<Path>),
}

/// What decides between two.
#[derive(Debug)]
pub(super) enum Test {
    /// `has(path.name)`.
    Has(Path, Box<str>),
    /// `path == "text"`; with `false`, `!=`.
    Is(Path, Box<str>, bool),
    /// Anything else.
    Cel(Leaf),
}

/// A comprehension that makes a list.
#[derive(Debug)]
pub(super) struct Each {
    /// What it goes over: a path, or another of these that gives parts of the answer.
    pub(super) range: Plan,
    /// What its variable is called.
    pub(super) name: Box<str>,
    /// Which elements it takes.
    pub(super) test: Option<Test>,
    /// What it makes of each.
    pub(super) give: Plan,
    pub(super) place: Place,
}

impl Plan {
    /// Whether everything that it gives are parts of the answer.
    pub(super) fn gives_parts(&self) -> bool {
        match self {
            Self::Path(_) => true,
            Self::Each(each) => matches!(each.give, Self::Path(_)),
            _ => false,
        }
    }
}

/// A part of an expression, for errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
    /// The part itself.
    pub(super) text: Box<str>,
}
