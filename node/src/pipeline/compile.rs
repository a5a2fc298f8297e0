//! From an expression's text to its plan.

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, SourceInfo};

use super::plan::{Each, Leaf, Path, Place, Plan, Root, Step, Test};
use crate::expression::check::{self, Refusal, Rules};
use crate::expression::program::Program;
use crate::expression::{ExpressionError, text};

/// What a source's expressions know.
const RULES: Rules =
    Rules { called: "an expression of a source", variables: &["payload", "source"], strict: false };
/// The most that an error shows of a part of an expression, characters.
const SHOWN: usize = 80;

/// Compiles an expression that begins at `base`, line and column, of what its writer sees.
pub(super) fn compile(text: &str, base: (usize, usize)) -> Result<Plan, ExpressionError> {
    compile_by(text, base, |compiler, root| compiler.plan(root))
}

/// Compiles an expression as one that CEL evaluates as a whole.
pub(super) fn compile_leaf(text: &str, base: (usize, usize)) -> Result<Leaf, ExpressionError> {
    compile_by(text, base, |compiler, root| compiler.leaf(root))
}

fn compile_by<T>(
    text: &str,
    base: (usize, usize),
    by: impl for<'a> FnOnce(&mut Compiler<'a>, &'a IdedExpr) -> Result<T, Refusal>,
) -> Result<T, ExpressionError> {
    let moved = |error: ExpressionError| ExpressionError {
        position: Some(error.position.map_or(base, |position| from(base, position))),
        ..error
    };
    let (root, places) = text::parse(text).map_err(moved)?;
    let mut compiler = Compiler { text, base, places: &places, locals: Vec::new() };
    let compiled = check::check(&root, RULES).and_then(|_| by(&mut compiler, &root));
    compiled.map_err(|Refusal { node, detail }| {
        moved(ExpressionError { detail, position: text::place_of(node, &places, text) })
    })
}

/// A position within a text, seen from where the text begins.
fn from((line, column): (usize, usize), inner: (usize, usize)) -> (usize, usize) {
    match inner {
        (1, inner) => (line, column + inner - 1),
        (inner, column) => (line + inner - 1, column),
    }
}

struct Compiler<'a> {
    text: &'a str,
    base: (usize, usize),
    places: &'a SourceInfo,
    locals: Vec<&'a str>,
}

impl<'a> Compiler<'a> {
    fn plan(&mut self, at: &'a IdedExpr) -> Result<Plan, Refusal> {
        if let Some(path) = self.path(at) {
            return Ok(Plan::Path(path));
        }
        match &at.expr {
            Expr::Literal(value) => {
                if let Some(json) = literal(value) {
                    return Ok(Plan::Literal(json.into()));
                }
            }
            Expr::List(list) => {
                let parts: Result<_, _> = list.elements.iter().map(|element| self.plan(element)).collect();
                return Ok(Plan::List(parts?));
            }
            Expr::Map(map) => {
                if let Some(members) = members(&map.entries) {
                    let parts: Result<_, _> =
                        members.into_iter().map(|(name, value)| Ok((name, self.plan(value)?))).collect();
                    return Ok(Plan::Object(parts?));
                }
            }
            Expr::Call(CallExpr { func_name, target: None, args }) if func_name == op::CONDITIONAL => {
                if let [test, yes, no] = args.as_slice() {
                    let test = Box::new(self.test(test)?);
                    return Ok(Plan::Choice(test, Box::new(self.plan(yes)?), Box::new(self.plan(no)?)));
                }
            }
            Expr::Comprehension(it) => {
                if let Some(each) = self.each(at, it)? {
                    return Ok(each);
                }
            }
            _ => {}
        }
        self.leaf(at).map(Plan::Cel)
    }

    fn leaf(&self, at: &'a IdedExpr) -> Result<Leaf, Refusal> {
        Ok(Leaf { program: Program::new(at.clone())?, place: self.place(at) })
    }

    fn test(&mut self, at: &'a IdedExpr) -> Result<Test, Refusal> {
        match &at.expr {
            Expr::Select(SelectExpr { operand, field, test: true }) => {
                if let Some(path) = self.path(operand) {
                    return Ok(Test::Has(path, field.as_str().into()));
                }
            }
            Expr::Call(CallExpr { func_name, target: None, args }) => {
                let is_equal = func_name == op::EQUALS;
                if let ([left, right], true) = (args.as_slice(), is_equal || func_name == op::NOT_EQUALS)
                    && let Expr::Literal(LiteralValue::String(text)) = &right.expr
                    && let Some(path) = self.path(left)
                {
                    return Ok(Test::Is(path, text.inner().into(), is_equal));
                }
            }
            _ => {}
        }
        self.leaf(at).map(Test::Cel)
    }

    /// The path that an expression spells.
    fn path(&self, at: &'a IdedExpr) -> Option<Path> {
        let mut steps = Vec::new();
        let mut from = at;
        let root = loop {
            match &from.expr {
                Expr::Ident(name) => break self.root(name)?,
                Expr::Select(SelectExpr { operand, field, test: false }) => {
                    steps.push(Step::Member(field.as_str().into()));
                    from = operand;
                }
                Expr::Call(CallExpr { func_name, target: None, args }) if func_name == op::INDEX => {
                    let [list, index] = args.as_slice() else {
                        return None;
                    };
                    steps.push(match &index.expr {
                        Expr::Literal(LiteralValue::String(name)) => Step::Member(name.inner().into()),
                        Expr::Literal(LiteralValue::Int(index)) => {
                            Step::Element(usize::try_from(*index.inner()).ok()?)
                        }
                        _ => Step::Named(Box::new(self.path(index)?)),
                    });
                    from = list;
                }
                _ => return None,
            }
        };
        steps.reverse();
        Some(Path { root, steps, place: self.place(at) })
    }

    fn root(&self, name: &str) -> Option<Root> {
        let local = self.locals.iter().rposition(|local| *local == name);
        local.map(Root::Local).or_else(|| (name == "payload").then_some(Root::Payload))
    }

    /// A comprehension that makes a list of parts of the answer.
    fn each(&mut self, at: &'a IdedExpr, it: &'a ComprehensionExpr) -> Result<Option<Plan>, Refusal> {
        let Some((test, give)) = list_step(it) else {
            return Ok(None);
        };
        let range = self.plan(&it.iter_range)?;
        if !range.gives_parts() {
            return Ok(None);
        }
        self.locals.push(&it.iter_var);
        let test = test.map(|test| self.test(test)).transpose();
        let give = self.plan(give);
        self.locals.pop();
        Ok(Some(Plan::Each(Box::new(Each {
            range,
            name: it.iter_var.as_str().into(),
            test: test?,
            give: give?,
            place: self.place(at),
        }))))
    }

    /// Where an expression stands: from the first of its parts to the last.
    fn place(&self, at: &IdedExpr) -> Place {
        let mut ends = (u32::MAX, 0);
        check::visit(at, &mut |part| {
            if let Some((start, stop)) = self.places.offset_for(part.id) {
                ends = (ends.0.min(start), ends.1.max(stop));
            }
        });
        let start = if ends.0 == u32::MAX { 0 } else { ends.0 as usize };
        let (line, column) = from(self.base, text::position(self.text, start));
        let text: String = whole_part(self.text, start, ends.1 as usize).chars().take(SHOWN).collect();
        Place { line, column, text: text.into() }
    }
}

/// A part of a text up to its end, of which the parser only knows the last sign: names and brackets are completed.
fn whole_part(text: &str, start: usize, last: usize) -> String {
    let mut part = String::new();
    let (mut depth, mut is_name) = (0_usize, false);
    for (at, sign) in text.chars().enumerate().skip(start) {
        let goes_on = is_name && (sign.is_alphanumeric() || sign == '_');
        if at > last && depth == 0 && !goes_on {
            break;
        }
        match sign {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        is_name = goes_on || sign == '.' || sign.is_alphanumeric() || sign == '_';
        part.push(sign);
    }
    part
}

/// The test and the element of a comprehension that the evaluator would run as `map` or `filter`.
fn list_step(it: &ComprehensionExpr) -> Option<(Option<&IdedExpr>, &IdedExpr)> {
    let is_accumulator = |at: &IdedExpr| matches!(&at.expr, Expr::Ident(name) if *name == it.accu_var);
    if !is_accumulator(&it.result) || it.iter_var2.is_some() {
        return None;
    }
    let (test, step) = match operator(&it.loop_step, op::CONDITIONAL) {
        Some([test, step, otherwise]) if is_accumulator(otherwise) => (Some(test), step),
        _ => (None, &it.loop_step),
    };
    match operator(step, op::ADD)? {
        [accumulator, IdedExpr { expr: Expr::List(list), .. }] if is_accumulator(accumulator) => {
            list.elements.first().map(|element| (test, element))
        }
        _ => None,
    }
}

/// The operands of an operator.
fn operator<'a>(at: &'a IdedExpr, name: &str) -> Option<&'a [IdedExpr]> {
    match &at.expr {
        Expr::Call(CallExpr { func_name, target: None, args }) if func_name == name => Some(args),
        _ => None,
    }
}

/// The members of a map whose names are literal strings, each once.
fn members(entries: &[cel::common::ast::IdedEntryExpr]) -> Option<Vec<(Box<str>, &IdedExpr)>> {
    let mut members: Vec<(Box<str>, &IdedExpr)> = Vec::with_capacity(entries.len());
    for entry in entries {
        let EntryExpr::MapEntry(entry) = &entry.expr else {
            return None;
        };
        let Expr::Literal(LiteralValue::String(name)) = &entry.key.expr else {
            return None;
        };
        let name = format!("{}:", serde_json::to_string(name.inner()).ok()?).into_boxed_str();
        if members.iter().any(|(other, _)| *other == name) {
            return None;
        }
        members.push((name, &entry.value));
    }
    Some(members)
}

/// A literal as JSON, where it has one form there.
fn literal(value: &LiteralValue) -> Option<String> {
    match value {
        LiteralValue::Boolean(value) => Some(value.inner().to_string()),
        LiteralValue::Int(value) => Some(value.inner().to_string()),
        LiteralValue::UInt(value) => Some(value.inner().to_string()),
        LiteralValue::Double(value) => {
            serde_json::to_string(value.inner()).ok().filter(|text| text != "null")
        }
        LiteralValue::String(value) => serde_json::to_string(value.inner()).ok(),
        LiteralValue::Null => Some("null".to_owned()),
        LiteralValue::Bytes(_) => None,
    }
}
