//! A source's expression, or a part of one, compiled once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, ExecutionError, IdedExpr, Value};

use super::check::Refusal;
use super::guards::{self, Pattern};
use super::rewrite;

/// An expression that can be evaluated, guarded so that fuel bounds its time and memory.
#[derive(Debug)]
pub(crate) struct Program {
    root: IdedExpr,
    patterns: Vec<Pattern>,
}

impl Program {
    /// Makes a program of a checked expression.
    pub(crate) fn new(mut root: IdedExpr) -> Result<Self, Refusal> {
        let patterns = rewrite::rewrite(&mut root, false)?;
        Ok(Self { root, patterns })
    }

    /// Evaluates it, within the fuel that this thread has, and hands its value on.
    pub(crate) fn evaluate<T>(
        &self,
        names: &dyn VariableResolver,
        hand_on: impl FnOnce(&dyn Val) -> T,
    ) -> Result<T, ExecutionError> {
        let env = guards::env().map_err(ExecutionError::InternalError)?;
        // The evaluator is not ours, nor what it works on: a panic in it must not end the source's task.
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            let names = WithPatterns { names, patterns: &self.patterns };
            let mut context = Context::with_env(Arc::clone(env));
            context.set_variable_resolver(&names);
            Value::resolve_val(&self.root, &context).map(|value| hand_on(value.as_ref()))
        }));
        evaluated.unwrap_or_else(|_| Err(ExecutionError::InternalError("it cannot be evaluated".to_owned())))
    }
}

struct WithPatterns<'a> {
    names: &'a dyn VariableResolver,
    patterns: &'a [Pattern],
}

impl VariableResolver for WithPatterns<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        match name.strip_prefix(rewrite::PATTERN_PREFIX) {
            Some(place) => Some(CowVal::Borrowed(self.patterns.get(place.parse::<usize>().ok()?)?)),
            None => self.names.resolve(name),
        }
    }
}
