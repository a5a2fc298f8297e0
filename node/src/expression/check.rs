//! What an expression may hold, decided before it runs.

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr};

use super::words::{self, Class, Form, Gives};

/// The most nodes of an expression, macros expanded: bounds what one walk costs.
pub(crate) const MAX_NODES: u64 = 500;
/// How deep an expression may nest: the evaluator recurses on the thread's stack.
const MAX_DEPTH: usize = 64;

/// What is not allowed, and at which node.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) node: u64,
    pub(crate) detail: String,
}

/// What the check found out on its way.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Nodes in all.
    pub(crate) nodes: u64,
    /// The most nodes that are evaluated for one element of a list.
    pub(crate) per_element: u64,
}

/// Who writes an expression, and so what it may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// What it is called to whoever wrote it.
    pub(crate) called: &'static str,
    /// The variables that it knows.
    pub(crate) variables: &'static [&'static str],
    /// Whether it is a stranger's, and judged on every record: nothing that grows, no comprehension in another.
    pub(crate) strict: bool,
}

/// Checks a whole expression.
pub(crate) fn check(root: &IdedExpr, rules: Rules) -> Result<Findings, Refusal> {
    let mut walk = Walk { rules, findings: Findings::default(), scope: Vec::new(), depth: 0, looping: false };
    walk.expr(root)?;
    Ok(walk.findings)
}

/// A refusal of a part.
pub(crate) fn refuse(at: &IdedExpr, detail: impl Into<String>) -> Refusal {
    Refusal { node: at.id, detail: detail.into() }
}

struct Walk<'a> {
    rules: Rules,
    findings: Findings,
    /// Names bound by the comprehension around.
    scope: Vec<&'a str>,
    depth: usize,
    looping: bool,
}

impl<'a> Walk<'a> {
    fn expr(&mut self, at: &'a IdedExpr) -> Result<(), Refusal> {
        self.findings.nodes += 1;
        if self.findings.nodes > MAX_NODES {
            return Err(refuse(at, format!("the expression has more than {MAX_NODES} parts")));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(refuse(at, format!("the expression nests deeper than {MAX_DEPTH} levels")));
        }
        match &at.expr {
            Expr::Literal(_) => {}
            Expr::Ident(name) => self.name(at, name)?,
            Expr::Select(select) => self.select(at, select)?,
            Expr::Call(call) => self.call(at, call)?,
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.expr(element))?,
            Expr::Map(map) => {
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            self.expr(&entry.key)?;
                            self.expr(&entry.value)?;
                        }
                        EntryExpr::StructField(_) => return Err(refuse(at, "messages are not allowed")),
                    }
                }
            }
            Expr::Comprehension(comprehension) => self.comprehension(at, comprehension)?,
            Expr::Struct(_) => return Err(refuse(at, "messages are not allowed")),
            Expr::Unspecified => return Err(refuse(at, "an expression is missing here")),
        }
        self.depth -= 1;
        Ok(())
    }

    fn name(&self, at: &IdedExpr, name: &str) -> Result<(), Refusal> {
        let name = name.strip_prefix('.').unwrap_or(name);
        let variables = self.rules.variables;
        if self.scope.contains(&name) || variables.contains(&name) || words::TYPES.contains(&name) {
            return Ok(());
        }
        let called = self.rules.called;
        let known = self.scope.iter().filter(|name| !name.starts_with('@')).chain(variables);
        let instead = match words::nearest(name, known.copied()) {
            Some(near) => format!("{near:?} perhaps, or a member of the payload: payload.{}", cut(name)),
            None => format!("{called} knows {}, as in payload.{}", variables.join(", "), cut(name)),
        };
        Err(refuse(at, format!("unknown name {:?}; {instead}", cut(name))))
    }

    fn select(&mut self, at: &'a IdedExpr, select: &'a SelectExpr) -> Result<(), Refusal> {
        let named = !select.test && path(at).is_some_and(|path| words::TYPES.contains(&path.as_str()));
        if named { Ok(()) } else { self.expr(&select.operand) }
    }

    fn comprehension(&mut self, at: &'a IdedExpr, it: &'a ComprehensionExpr) -> Result<(), Refusal> {
        if self.rules.strict && self.looping {
            return Err(refuse(
                at,
                "one comprehension (all, exists, exists_one, map, filter) in or upon another is not allowed",
            ));
        }
        if !self.rules.strict && self.rules.variables.contains(&it.iter_var.as_str()) {
            return Err(refuse(
                at,
                format!("{} is a variable already; call the element otherwise", it.iter_var),
            ));
        }
        let around = std::mem::replace(&mut self.looping, true);
        self.expr(&it.iter_range)?;
        self.expr(&it.accu_init)?;
        let scope = self.scope.len();
        let before = self.findings.nodes;
        self.scope.extend([it.iter_var.as_str(), it.accu_var.as_str()]);
        self.expr(&it.loop_cond)?;
        self.expr(&it.loop_step)?;
        self.findings.per_element = self.findings.per_element.max(self.findings.nodes - before);
        self.expr(&it.result)?;
        self.scope.truncate(scope);
        self.looping = around;
        Ok(())
    }

    fn call(&mut self, at: &'a IdedExpr, call: &'a CallExpr) -> Result<(), Refusal> {
        match (call.func_name.as_str(), call.target.is_some()) {
            (op::ADD, false) if self.rules.strict => check_sum(at, call)?,
            (op::EQUALS | op::NOT_EQUALS | op::LESS | op::LESS_EQUALS, false)
            | (op::GREATER | op::GREATER_EQUALS, false) => check_time(at, call)?,
            (name, false) if is_operator(name) => {}
            (name, _) => check_function(at, name, call, self.rules)?,
        }
        call.target.iter().try_for_each(|target| self.expr(target))?;
        call.args.iter().try_for_each(|argument| self.expr(argument))
    }
}

/// How deep an expression may nest once its guards are in: the evaluator was seen to take up to 53 KB of the thread's
/// stack for each level, and the node's threads have 8 MiB.
const MAX_EVALUATED: usize = 70;

/// Refuses what nests deeper than the stack allows.
pub(crate) fn check_depth(root: &IdedExpr) -> Result<(), Refusal> {
    if depth(root) > MAX_EVALUATED {
        return Err(refuse(root, "the expression nests too deep; write it in fewer steps"));
    }
    Ok(())
}

fn depth(at: &IdedExpr) -> usize {
    let mut below = 0;
    children(at, &mut |child| below = below.max(depth(child)));
    below + 1
}

/// The nodes of an expression.
pub(crate) fn count(at: &IdedExpr) -> usize {
    let mut nodes = 0;
    visit(at, &mut |_| nodes += 1);
    nodes
}

/// Shows every node of an expression to `see`.
pub(crate) fn visit<'a>(at: &'a IdedExpr, see: &mut dyn FnMut(&'a IdedExpr)) {
    see(at);
    children(at, &mut |child| visit(child, see));
}

/// Shows the parts of a node to `see`.
fn children<'a>(at: &'a IdedExpr, see: &mut dyn FnMut(&'a IdedExpr)) {
    match &at.expr {
        Expr::Literal(_) | Expr::Ident(_) | Expr::Unspecified | Expr::Struct(_) => {}
        Expr::Select(select) => see(&select.operand),
        Expr::List(list) => list.elements.iter().for_each(see),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    see(&entry.key);
                    see(&entry.value);
                }
            }
        }
        Expr::Comprehension(it) => [&it.iter_range, &it.loop_cond, &it.loop_step].into_iter().for_each(see),
        Expr::Call(call) => {
            call.target.iter().for_each(|target| see(target));
            call.args.iter().for_each(see);
        }
    }
}

/// Whether a call is what the parser makes of an operator. Optional syntax is off.
fn is_operator(name: &str) -> bool {
    [
        op::ADD,
        op::CONDITIONAL,
        op::LOGICAL_AND,
        op::LOGICAL_OR,
        op::LOGICAL_NOT,
        op::SUBSTRACT,
        op::MULTIPLY,
        op::DIVIDE,
        op::MODULO,
        op::NEGATE,
        op::INDEX,
        op::IN,
        op::NOT_STRICTLY_FALSE,
    ]
    .contains(&name)
}

fn check_function(at: &IdedExpr, name: &str, call: &CallExpr, rules: Rules) -> Result<(), Refusal> {
    let Some(function) = words::find(name) else {
        let names = words::FUNCTIONS.iter().map(|function| function.name).chain(words::MACROS);
        let instead = words::nearest(name, names).map(|near| format!("; {near} perhaps")).unwrap_or_default();
        return Err(refuse(at, format!("there is no function {:?}{instead}", cut(name))));
    };
    match function.class {
        Class::Growing if rules.strict => {
            let why = "its result can be longer than what it is given";
            return Err(refuse(at, format!("{name} is not allowed: {why}")));
        }
        Class::Slow if rules.strict => {
            let why = "it can take too long; use contains, startsWith or matches";
            return Err(refuse(at, format!("{name} is not allowed: {why}")));
        }
        _ => {}
    }
    let form_fits = match function.form {
        Form::Global => call.target.is_none(),
        Form::Member => call.target.is_some(),
        Form::Both => true,
    };
    if !form_fits {
        let form = if call.target.is_none() { format!("x.{name}(…)") } else { format!("{name}(x)") };
        return Err(refuse(at, format!("{name} is written {form}")));
    }
    let given = call.args.len() + usize::from(call.target.is_some());
    if given < function.arity.0 || given > function.arity.1 {
        return Err(refuse(at, format!("{name} is given {} arguments", call.args.len())));
    }
    if name == "matches" && pattern(call).is_none() {
        return Err(refuse(at, "matches takes its pattern as a literal: payload.name.matches(\"^a.*z$\")"));
    }
    Ok(())
}

/// The literal pattern of a call of `matches`.
pub(crate) fn pattern(call: &CallExpr) -> Option<&str> {
    match &call.args.last()?.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// `+` adds numbers, times and durations; what is only known while running is checked then.
fn check_sum(at: &IdedExpr, call: &CallExpr) -> Result<(), Refusal> {
    let accumulates =
        matches!(call.args.first().map(|it| &it.expr), Some(Expr::Ident(name)) if name.starts_with('@'));
    if !accumulates && call.args.iter().any(|operand| gives(operand) == Some(Gives::Text)) {
        return Err(refuse(
            at,
            "+ on strings, bytes and lists is not allowed: its result is longer than either",
        ));
    }
    Ok(())
}

/// A comparison of `time` with a text, which would never hold.
fn check_time(at: &IdedExpr, call: &CallExpr) -> Result<(), Refusal> {
    let is_time = |it: &IdedExpr| matches!(&it.expr, Expr::Ident(name) if name == "time");
    let is_text = |it: &IdedExpr| matches!(&it.expr, Expr::Literal(LiteralValue::String(_)));
    if call.args.iter().any(is_time) && call.args.iter().any(is_text) {
        return Err(refuse(at, "time is a timestamp: compare it with timestamp(\"2026-11-23T02:47:00Z\")"));
    }
    Ok(())
}

/// What an expression gives, as far as its form shows it.
pub(crate) fn gives(at: &IdedExpr) -> Option<Gives> {
    match &at.expr {
        Expr::Literal(LiteralValue::Boolean(_)) => Some(Gives::Bool),
        Expr::Literal(LiteralValue::String(_) | LiteralValue::Bytes(_)) | Expr::List(_) => Some(Gives::Text),
        Expr::Literal(LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Double(_)) => {
            Some(Gives::Number)
        }
        Expr::Literal(LiteralValue::Null) | Expr::Map(_) | Expr::Struct(_) => Some(Gives::Other),
        Expr::Ident(name) if ["topic", "source", "publisher"].contains(&name.as_str()) => Some(Gives::Text),
        Expr::Ident(name) if name == "time" => Some(Gives::Number),
        Expr::Select(select) if select.test => Some(Gives::Bool),
        Expr::Comprehension(it) => match &it.accu_init.expr {
            Expr::List(_) => Some(Gives::Text),
            _ => Some(Gives::Bool),
        },
        Expr::Call(call) => match call.func_name.as_str() {
            op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO | op::NEGATE => {
                Some(Gives::Number)
            }
            op::CONDITIONAL => match call.args.as_slice() {
                // Each is looked at once: they may be nested as deep as expressions go.
                [_, yes, no] => gives(yes).filter(|yes| gives(no) == Some(*yes)),
                _ => None,
            },
            op::INDEX => None,
            name if is_operator(name) => Some(Gives::Bool),
            "dyn" => None,
            name => words::find(name).map(|function| function.gives),
        },
        Expr::Ident(_) | Expr::Select(_) | Expr::Unspecified => None,
    }
}

/// The dotted name that an expression spells.
fn path(at: &IdedExpr) -> Option<String> {
    match &at.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => Some(format!("{}.{}", path(&select.operand)?, select.field)),
        _ => None,
    }
}

fn cut(name: &str) -> String {
    name.chars().take(40).collect()
}
