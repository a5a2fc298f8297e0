//! Puts guards into a checked filter, where only running it shows what it costs.

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue};

use super::check::{self, Refusal};
use super::words;
use crate::expression::guards::{MATCHES, NUMBER, Pattern, WEIGH};

/// How the patterns of `matches` are named in a rewritten filter; nobody can write an `@` in a name.
pub(super) const PATTERN_PREFIX: &str = "@pattern";

/// Rewrites the filter in place, and gives the patterns that it names.
pub(super) fn rewrite(root: &mut IdedExpr) -> Result<Vec<Pattern>, Refusal> {
    let mut patterns = Vec::new();
    expr(root, &mut patterns)?;
    Ok(patterns)
}

fn expr(at: &mut IdedExpr, patterns: &mut Vec<Pattern>) -> Result<(), Refusal> {
    let id = at.id;
    match &mut at.expr {
        Expr::Literal(_) | Expr::Ident(_) | Expr::Unspecified | Expr::Struct(_) => {}
        Expr::Select(select) => expr(&mut select.operand, patterns)?,
        Expr::List(list) => list.elements.iter_mut().try_for_each(|element| expr(element, patterns))?,
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    expr(&mut entry.key, patterns)?;
                    expr(&mut entry.value, patterns)?;
                }
            }
        }
        Expr::Comprehension(it) => {
            expr(&mut it.iter_range, patterns)?;
            expr(&mut it.loop_step, patterns)?;
        }
        Expr::Call(call) => {
            if let Some(target) = &mut call.target {
                expr(target, patterns)?;
            }
            call.args.iter_mut().try_for_each(|argument| expr(argument, patterns))?;
            guard(id, call, patterns)?;
        }
    }
    Ok(())
}

fn guard(id: u64, call: &mut CallExpr, patterns: &mut Vec<Pattern>) -> Result<(), Refusal> {
    match call.func_name.as_str() {
        op::ADD if !is_accumulator(call.args.first()) => wrap(&mut call.args[0], NUMBER, None),
        op::EQUALS | op::NOT_EQUALS if is_collection(call.args.first()) => call.args.reverse(),
        "matches" => {
            let text = check::pattern(call).unwrap_or_default();
            let pattern = Pattern::compile(text).map_err(|detail| Refusal { node: id, detail })?;
            let name = format!("{PATTERN_PREFIX}{}", patterns.len());
            patterns.push(pattern);
            call.args.pop();
            call.args.splice(0..0, call.target.take().map(|target| *target));
            call.args.push(IdedExpr { id, expr: Expr::Ident(name) });
            MATCHES.clone_into(&mut call.func_name);
        }
        name => {
            let weight = words::find(name).map_or(0, |function| function.weight);
            let operand = call.target.as_deref_mut().or(call.args.first_mut());
            if let (1.., Some(operand)) = (weight, operand) {
                wrap(operand, WEIGH, Some(weight));
            }
        }
    }
    Ok(())
}

fn is_accumulator(operand: Option<&IdedExpr>) -> bool {
    matches!(operand.map(|it| &it.expr), Some(Expr::Ident(name)) if name.starts_with('@'))
}

/// A list or map as written: it does not know how to compare itself with a payload's, which knows both.
fn is_collection(operand: Option<&IdedExpr>) -> bool {
    matches!(operand.map(|it| &it.expr), Some(Expr::List(_) | Expr::Map(_)))
}

fn wrap(operand: &mut IdedExpr, function: &str, weight: Option<i64>) {
    let id = operand.id;
    let weight = weight.map(|weight| IdedExpr { id, expr: Expr::Literal(LiteralValue::Int(weight.into())) });
    let args = [std::mem::take(operand)].into_iter().chain(weight).collect();
    *operand =
        IdedExpr { id, expr: Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args }) };
}
