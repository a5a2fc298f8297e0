//! Puts guards into a checked expression, where only running it shows what it costs.

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue};

use super::check::{self, Refusal};
use super::functions::{ADD, PAY, PRINTABLE};
use super::guards::{MATCHES, NUMBER, Pattern, WEIGH};
use super::words::{self, Class, Gives};

/// How the patterns of `matches` are named in a rewritten expression; nobody can write an `@` in a name.
pub(crate) const PATTERN_PREFIX: &str = "@pattern";

/// Bytes that the patterns of one expression may take, compiled: subscribers keep them as long as they are there.
const MAX_PATTERNS: usize = 512 << 10;

/// Rewrites an expression in place, and gives the patterns that it names. One that was held to the strict rules is
/// bounded by its form and needs fewer guards.
pub(crate) fn rewrite(root: &mut IdedExpr, strict: bool) -> Result<Vec<Pattern>, Refusal> {
    let mut rewriter = Rewriter { strict, patterns: Vec::new() };
    rewriter.expr(root)?;
    check::check_depth(root)?;
    Ok(rewriter.patterns)
}

struct Rewriter {
    strict: bool,
    patterns: Vec<Pattern>,
}

impl Rewriter {
    fn expr(&mut self, at: &mut IdedExpr) -> Result<(), Refusal> {
        let id = at.id;
        match &mut at.expr {
            Expr::Literal(_) | Expr::Ident(_) | Expr::Unspecified | Expr::Struct(_) => {}
            Expr::Select(select) => self.expr(&mut select.operand)?,
            Expr::List(list) => list.elements.iter_mut().try_for_each(|element| self.kept(element))?,
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        self.kept(&mut entry.key)?;
                        self.kept(&mut entry.value)?;
                    }
                }
            }
            Expr::Comprehension(it) if self.strict => {
                self.expr(&mut it.iter_range)?;
                self.expr(&mut it.loop_step)?;
            }
            Expr::Comprehension(it) => self.comprehension(it)?,
            Expr::Call(call) => {
                if let Some(target) = &mut call.target {
                    self.expr(target)?;
                }
                call.args.iter_mut().try_for_each(|argument| self.expr(argument))?;
                self.guard(id, call)?;
            }
        }
        Ok(())
    }

    /// A part of which a copy goes into a list or a map.
    fn kept(&mut self, at: &mut IdedExpr) -> Result<(), Refusal> {
        self.expr(at)?;
        self.pay(at, 0);
        Ok(())
    }

    /// Has a part paid for, unless its form shows that it costs nothing worth counting.
    fn pay(&self, at: &mut IdedExpr, units: i64) {
        let is_cheap = matches!(at.expr, Expr::Literal(_))
            || is_of_payload(at)
            || matches!(check::gives(at), Some(Gives::Bool | Gives::Number));
        if !self.strict && (units > 0 || !is_cheap) {
            wrap(at, PAY, Some(units));
        }
    }

    /// Has every turn paid for: before it where errors do not end the loop (`all`, `exists`), else behind it.
    fn comprehension(&mut self, it: &mut ComprehensionExpr) -> Result<(), Refusal> {
        let units = i64::try_from(check::count(&it.loop_step)).unwrap_or(i64::MAX);
        self.kept(&mut it.iter_range)?;
        if !matches!(it.loop_cond.expr, Expr::Literal(_)) {
            wrap(&mut it.loop_cond, PAY, Some(units));
        }
        self.step(&mut it.loop_step, units)
    }

    /// A turn of a comprehension, whose outer form the evaluator looks at and must find as it was.
    fn step(&mut self, at: &mut IdedExpr, units: i64) -> Result<(), Refusal> {
        let Expr::Call(call) = &mut at.expr else {
            return self.expr(at);
        };
        match (call.func_name.as_str(), call.args.as_mut_slice()) {
            (op::CONDITIONAL, [guard, step, _]) => {
                self.expr(guard)?;
                wrap(guard, PAY, Some(units));
                self.step(step, 0)
            }
            (op::ADD, [accumulator, IdedExpr { expr: Expr::List(list), .. }])
                if is_accumulator(accumulator) =>
            {
                list.elements.iter_mut().try_for_each(|element| {
                    self.expr(element)?;
                    self.pay(element, units);
                    Ok(())
                })
            }
            (op::ADD, [accumulator, _]) if is_accumulator(accumulator) => Ok(()),
            (_, args) => args.iter_mut().try_for_each(|argument| self.expr(argument)),
        }
    }

    fn guard(&mut self, id: u64, call: &mut CallExpr) -> Result<(), Refusal> {
        match call.func_name.as_str() {
            op::ADD if call.args.first().is_some_and(is_accumulator) => {}
            op::ADD if self.strict => wrap(&mut call.args[0], NUMBER, None),
            op::ADD => ADD.clone_into(&mut call.func_name),
            op::EQUALS
            | op::NOT_EQUALS
            | op::LESS
            | op::LESS_EQUALS
            | op::GREATER
            | op::GREATER_EQUALS
            | op::IN => {
                call.args.iter_mut().for_each(|operand| self.pay(operand, 0));
                if matches!(call.func_name.as_str(), op::EQUALS | op::NOT_EQUALS)
                    && is_collection(call.args.first())
                {
                    call.args.reverse();
                }
            }
            "matches" => self.pattern(id, call)?,
            "format" => call.args.iter_mut().for_each(|list| wrap(list, PRINTABLE, None)),
            name => match words::find(name) {
                Some(function) if function.class != Class::Bounded => {
                    call.func_name = format!("@{name}");
                    call.args.splice(0..0, call.target.take().map(|target| *target));
                }
                Some(function) if function.weight > 0 => {
                    let weight = Some(function.weight);
                    let operand = call.target.as_deref_mut().or(call.args.first_mut());
                    operand.into_iter().for_each(|operand| wrap(operand, WEIGH, weight));
                }
                _ => {}
            },
        }
        Ok(())
    }

    fn pattern(&mut self, id: u64, call: &mut CallExpr) -> Result<(), Refusal> {
        let text = check::pattern(call).unwrap_or_default();
        let pattern = Pattern::compile(text).map_err(|detail| Refusal { node: id, detail })?;
        let size: usize = self.patterns.iter().map(|pattern| pattern.size).sum();
        if size + pattern.size > MAX_PATTERNS {
            let detail = format!(
                "the patterns of one expression take more than {} KiB compiled; write fewer or shorter ones",
                MAX_PATTERNS >> 10
            );
            return Err(Refusal { node: id, detail });
        }
        let name = format!("{PATTERN_PREFIX}{}", self.patterns.len());
        self.patterns.push(pattern);
        call.args.pop();
        call.args.splice(0..0, call.target.take().map(|target| *target));
        call.args.push(IdedExpr { id, expr: Expr::Ident(name) });
        MATCHES.clone_into(&mut call.func_name);
        Ok(())
    }
}

fn is_accumulator(operand: &IdedExpr) -> bool {
    matches!(&operand.expr, Expr::Ident(name) if name.starts_with('@'))
}

/// Whether a part is found in the payload, whose values are paid for as they are found and shared when they are copied.
fn is_of_payload(at: &IdedExpr) -> bool {
    match &at.expr {
        Expr::Ident(name) => name == "payload",
        Expr::Select(select) => is_of_payload(&select.operand),
        Expr::Call(call) if call.func_name == op::INDEX => call.args.first().is_some_and(is_of_payload),
        _ => false,
    }
}

/// A list or map as written: it does not know how to compare itself with a payload's, which knows both.
fn is_collection(operand: Option<&IdedExpr>) -> bool {
    let Some(operand) = operand else {
        return false;
    };
    match &operand.expr {
        Expr::List(_) | Expr::Map(_) => true,
        Expr::Call(call) if call.func_name == PAY => is_collection(call.args.first()),
        _ => false,
    }
}

fn wrap(operand: &mut IdedExpr, function: &str, number: Option<i64>) {
    let id = operand.id;
    let number = number.map(|number| IdedExpr { id, expr: Expr::Literal(LiteralValue::Int(number.into())) });
    let args = [std::mem::take(operand)].into_iter().chain(number).collect();
    *operand =
        IdedExpr { id, expr: Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args }) };
}
