//! From a blueprint's expression to the one that is run.
//!
//! The parsed expression is written out again with three changes: each constant path into the
//! scope becomes a variable (so only what is named is copied), each place that cannot do without
//! a value asks for one by its path, and comparisons of order go by our own rule. On the way every
//! name is checked, so that a misspelt filter is found at load.

use minijinja::Value;
use minijinja::machinery::ast::{
    BinOpKind, Call, CallArg, CallType, CompareOpKind, Expr, Filter, Map, Slice, Test, UnaryOpKind,
};

use super::CompileError;
use super::filters::{FILTERS, FUNCTIONS, TESTS};
use super::scope::{Path, ROOTS, Step};
use crate::blueprint::suggest::did_you_mean;

/// The deepest nesting of an expression.
const DEPTH_MAX: u32 = 40;

/// What a variable of the rewritten expression stands for.
#[derive(Debug)]
pub(super) enum Binding {
    /// What a path leads to.
    Path(Path),
    /// A literal.
    Constant(Value),
    /// What `chance` compares with.
    Share,
}

/// Whether a missing value is an error or false-like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// In a template.
    Strict,
    /// In a condition.
    Lenient,
}

/// The names that an expression may use besides the common ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    /// The place's own.
    pub locals: &'a [&'a str],
    /// The blueprint's data stores, where they are known.
    pub stores: Option<&'a [String]>,
}

/// Writes one expression out again.
pub(super) struct Rewriter<'a> {
    /// The text that the spans point into.
    text: &'a str,
    /// The names that are known here.
    names: Names<'a>,
    /// What has been written.
    pub out: String,
    /// Its variables, `v0` first.
    pub bindings: Vec<Binding>,
    depth: u32,
}

type Done = Result<(), CompileError>;

impl<'a> Rewriter<'a> {
    /// Starts with nothing written.
    pub(super) fn new(text: &'a str, names: Names<'a>) -> Self {
        Self {
            text,
            names,
            out: String::new(),
            bindings: Vec::new(),
            depth: 0,
        }
    }

    /// Writes a text.
    pub(super) fn literal(&mut self, text: &str) {
        self.bind(Binding::Constant(Value::from(text)));
    }

    /// Writes an expression whose value is needed: a missing one is an error with its path.
    pub(super) fn needed(&mut self, expr: &Expr<'_>, mode: Mode) -> Done {
        let always = matches!(
            expr,
            Expr::Const(_)
                | Expr::List(_)
                | Expr::Tuple(_)
                | Expr::Map(_)
                | Expr::BinOp(_)
                | Expr::UnaryOp(_)
                | Expr::Compare(_)
                | Expr::Test(_)
        ) && !is_and_or(expr);
        if always {
            return self.plain(expr, mode);
        }
        let what = match path_of(expr) {
            Some(path) => path.text(),
            None => self.source(expr).to_owned(),
        };
        self.out.push('(');
        self.plain(expr, mode)?;
        self.out.push_str("|_need(");
        self.bind(Binding::Constant(Value::from(what)));
        self.out.push_str("))");
        Ok(())
    }

    /// Writes an expression; its value may be missing.
    pub(super) fn plain(&mut self, expr: &Expr<'_>, mode: Mode) -> Done {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.fail(expr, format!("is nested deeper than {DEPTH_MAX} levels")));
        }
        self.any(expr, mode)?;
        self.depth -= 1;
        Ok(())
    }

    /// Writes any kind of expression.
    fn any(&mut self, expr: &Expr<'_>, mode: Mode) -> Done {
        if let Some(path) = path_of(expr) {
            return self.path(expr, path);
        }
        match expr {
            Expr::Const(constant) => self.bind(Binding::Constant(constant.value.clone())),
            Expr::Slice(slice) => self.slice(slice)?,
            Expr::UnaryOp(unary) => match unary.op {
                UnaryOpKind::Not => self.wrapped("(not ", &unary.expr, Mode::Lenient, false)?,
                UnaryOpKind::Neg => self.wrapped("(-", &unary.expr, mode, true)?,
            },
            Expr::BinOp(binary) => self.binary(expr, binary.op, mode)?,
            Expr::Compare(compare) => {
                let mut left = &compare.expr;
                let mut join = "(";
                for op in &compare.ops {
                    self.out.push_str(join);
                    self.compare(op.op, left, &op.expr, mode)?;
                    left = &op.expr;
                    join = " and ";
                }
                self.out.push(')');
            }
            Expr::IfExpr(choice) => {
                let Some(otherwise) = &choice.false_expr else {
                    return Err(self.fail(expr, "has an `if` without an `else`".to_owned()));
                };
                self.wrapped("(", &choice.true_expr, mode, false)?;
                self.out.pop();
                self.wrapped(" if ", &choice.test_expr, Mode::Lenient, false)?;
                self.out.pop();
                self.wrapped(" else ", otherwise, mode, false)?;
            }
            Expr::Filter(filter) => self.filter(expr, filter, mode)?,
            Expr::Test(test) => self.test(expr, test, mode)?,
            Expr::GetAttr(attr) => {
                self.plain(&attr.expr, mode)?;
                self.out.push('.');
                self.out.push_str(attr.name);
            }
            Expr::GetItem(item) => {
                self.plain(&item.expr, mode)?;
                self.out.push('[');
                self.needed(&item.subscript_expr, mode)?;
                self.out.push(']');
            }
            Expr::Call(call) => self.call(expr, call, mode)?,
            Expr::List(list) => self.items("[", &list.items, "]", mode)?,
            Expr::Tuple(tuple) => self.items("[", &tuple.items, "]", mode)?,
            Expr::Map(map) => self.map(map, mode)?,
            Expr::Var(_) => unreachable!("a variable is a path"),
        }
        Ok(())
    }

    /// Writes a prefix, an expression and a closing bracket.
    fn wrapped(&mut self, before: &str, expr: &Expr<'_>, mode: Mode, need: bool) -> Done {
        self.out.push_str(before);
        if need {
            self.needed(expr, mode)?
        } else {
            self.plain(expr, mode)?
        }
        self.out.push(')');
        Ok(())
    }

    /// Writes a path as a variable, after checking its first name.
    fn path(&mut self, expr: &Expr<'_>, path: Path) -> Done {
        let known = || self.names.locals.iter().copied().chain(ROOTS);
        if !known().any(|name| name == path.root) {
            let hint = did_you_mean(&path.root, known());
            let message = format!("unknown name `{}`{hint}", path.root);
            return Err(CompileError {
                offset: offset(expr),
                message,
            });
        }
        if let (Some(stores), "data_stores", Some(Step::Key(store))) =
            (self.names.stores, path.root.as_str(), path.steps.first())
            && !stores.contains(store)
        {
            let hint = did_you_mean(store, stores.iter().map(String::as_str));
            let message = format!("no store `{store}` in `data_stores`{hint}");
            return Err(CompileError {
                offset: offset(expr),
                message,
            });
        }
        self.bind(Binding::Path(path));
        Ok(())
    }

    /// Writes the name of a variable for the binding; a path that is bound already keeps its own.
    fn bind(&mut self, binding: Binding) {
        let same = |known: &Binding| match (known, &binding) {
            (Binding::Path(a), Binding::Path(b)) => a == b,
            (Binding::Share, Binding::Share) => true,
            _ => false,
        };
        let index = self.bindings.iter().position(same).unwrap_or_else(|| {
            self.bindings.push(binding);
            self.bindings.len() - 1
        });
        self.out.push('v');
        self.out.push_str(&index.to_string());
    }

    /// Writes items between brackets.
    fn items(&mut self, open: &str, items: &[Expr<'_>], close: &str, mode: Mode) -> Done {
        self.out.push_str(open);
        for item in items {
            self.needed(item, mode)?;
            self.out.push(',');
        }
        self.out.push_str(close);
        Ok(())
    }

    /// Writes a map.
    fn map(&mut self, map: &Map<'_>, mode: Mode) -> Done {
        self.out.push('{');
        for (key, value) in map.keys.iter().zip(&map.values) {
            self.needed(key, mode)?;
            self.out.push(':');
            self.needed(value, mode)?;
            self.out.push(',');
        }
        self.out.push('}');
        Ok(())
    }

    /// Writes a slice.
    fn slice(&mut self, slice: &Slice<'_>) -> Done {
        self.needed(&slice.expr, Mode::Strict)?;
        self.out.push('[');
        for (index, part) in [&slice.start, &slice.stop, &slice.step]
            .into_iter()
            .enumerate()
        {
            if index > 0 {
                self.out.push(':');
            }
            if let Some(part) = part {
                self.needed(part, Mode::Strict)?;
            }
        }
        self.out.push(']');
        Ok(())
    }

    /// Writes an operator between two expressions. A row of the same operator is written as a row,
    /// so that a long sum is not a deep one.
    fn binary(&mut self, expr: &Expr<'_>, op: BinOpKind, mode: Mode) -> Done {
        if let Some(compare) = comparison(op) {
            let Expr::BinOp(binary) = expr else {
                return Ok(());
            };
            return self.compare(compare, &binary.left, &binary.right, mode);
        }
        let (sign, is_row, logical) = operator(op);
        let mut operands = Vec::new();
        let mut rest = expr;
        while let Expr::BinOp(binary) = rest
            && std::mem::discriminant(&binary.op) == std::mem::discriminant(&op)
            && (is_row || operands.is_empty())
        {
            operands.push(&binary.right);
            rest = &binary.left;
        }
        operands.push(rest);
        self.out.push('(');
        for (index, operand) in operands.into_iter().rev().enumerate() {
            if index > 0 {
                self.out.push_str(sign);
            }
            if logical {
                self.plain(operand, Mode::Lenient)?;
            } else {
                self.needed(operand, mode)?;
                if matches!(op, BinOpKind::Concat) {
                    self.out.push_str("|_text");
                }
            }
        }
        self.out.push(')');
        Ok(())
    }

    /// Writes a comparison. In a condition one with a missing value is simply not so.
    fn compare(&mut self, op: CompareOpKind, a: &Expr<'_>, b: &Expr<'_>, mode: Mode) -> Done {
        let (sign, own) = match op {
            CompareOpKind::Eq => ("==", false),
            CompareOpKind::Ne => ("!=", false),
            CompareOpKind::In => (" in ", false),
            CompareOpKind::NotIn => (" not in ", false),
            CompareOpKind::Lt => ("|_lt(", true),
            CompareOpKind::Lte => ("|_le(", true),
            CompareOpKind::Gt => ("|_gt(", true),
            CompareOpKind::Gte => ("|_ge(", true),
        };
        self.out.push('(');
        for (expr, after) in [(a, sign), (b, if own { "))" } else { ")" })] {
            if mode == Mode::Strict {
                self.needed(expr, mode)?
            } else {
                self.plain(expr, mode)?
            }
            self.out.push_str(after);
        }
        Ok(())
    }

    /// Writes a filter.
    fn filter(&mut self, expr: &Expr<'_>, filter: &Filter<'_>, mode: Mode) -> Done {
        let Some(subject) = &filter.expr else {
            return Err(self.fail(expr, "is a filter of nothing".to_owned()));
        };
        if !FILTERS.contains(&filter.name) {
            let hint = did_you_mean(filter.name, FILTERS.iter().copied());
            let message = format!("unknown filter `{}`{hint}", filter.name);
            return Err(CompileError {
                offset: expr.span().start_offset as usize,
                message,
            });
        }
        if filter.name == "chance" {
            return self.chance(subject, mode);
        }
        let is_default = matches!(filter.name, "default" | "d");
        self.out.push('(');
        if is_default {
            self.plain(subject, mode)?
        } else {
            self.needed(subject, mode)?
        }
        self.out.push('|');
        self.out.push_str(filter.name);
        self.args(expr, &filter.args, mode, !is_default)?;
        self.out.push(')');
        Ok(())
    }

    /// Writes a comparison with this visit's share.
    fn chance(&mut self, p: &Expr<'_>, mode: Mode) -> Done {
        self.out.push('(');
        self.needed(p, mode)?;
        self.out.push_str("|_chance(");
        self.bind(Binding::Share);
        self.out.push_str("))");
        Ok(())
    }

    /// Writes a test; what is tested may be missing.
    fn test(&mut self, expr: &Expr<'_>, test: &Test<'_>, mode: Mode) -> Done {
        if !TESTS.contains(&test.name) {
            let hint = did_you_mean(test.name, TESTS.iter().copied());
            let message = format!("unknown test `is {}`{hint}", test.name);
            return Err(CompileError {
                offset: expr.span().start_offset as usize,
                message,
            });
        }
        self.out.push('(');
        self.plain(&test.expr, mode)?;
        self.out.push_str(" is ");
        self.out.push_str(test.name);
        self.args(expr, &test.args, mode, true)?;
        self.out.push(')');
        Ok(())
    }

    /// Writes a call of one of the few functions.
    fn call(&mut self, expr: &Expr<'_>, call: &Call<'_>, mode: Mode) -> Done {
        let CallType::Function(name) = call.identify_call() else {
            return Err(self.fail(expr, "calls a method; use a filter".to_owned()));
        };
        if !FUNCTIONS.contains(&name) {
            let hint = did_you_mean(name, FUNCTIONS.iter().copied());
            let message = format!("unknown function `{name}`{hint}");
            return Err(CompileError {
                offset: offset(expr),
                message,
            });
        }
        if name == "chance" {
            let [CallArg::Pos(p)] = call.args.as_slice() else {
                return Err(self.fail(expr, "must give `chance` one number, 0 to 1".to_owned()));
            };
            return self.chance(p, mode);
        }
        self.out.push_str(name);
        if call.args.is_empty() {
            self.out.push_str("()");
        }
        self.args(expr, &call.args, mode, true)
    }

    /// Writes arguments in brackets; none and no brackets.
    fn args(&mut self, expr: &Expr<'_>, args: &[CallArg<'_>], mode: Mode, need: bool) -> Done {
        if args.is_empty() {
            return Ok(());
        }
        self.out.push('(');
        for arg in args {
            let value = match arg {
                CallArg::Pos(value) => value,
                CallArg::Kwarg(name, value) => {
                    self.out.push_str(name);
                    self.out.push('=');
                    value
                }
                CallArg::PosSplat(_) | CallArg::KwargSplat(_) => {
                    return Err(self.fail(expr, "spreads arguments with `*`".to_owned()));
                }
            };
            if need {
                self.needed(value, mode)?
            } else {
                self.plain(value, mode)?
            }
            self.out.push(',');
        }
        self.out.push(')');
        Ok(())
    }

    /// Returns an expression's own text.
    fn source(&self, expr: &Expr<'_>) -> &'a str {
        self.text
            .get(offset(expr)..expr.span().end_offset as usize)
            .unwrap_or(self.text)
            .trim()
    }

    /// Makes an error about an expression.
    fn fail(&self, expr: &Expr<'_>, what: String) -> CompileError {
        CompileError {
            offset: offset(expr),
            message: format!("`{}` {what}", self.source(expr)),
        }
    }
}

/// Returns where an expression begins. The parser's span of what follows a value (`.name`, `[0]`,
/// `| filter`) begins after the value.
fn offset(expr: &Expr<'_>) -> usize {
    let mut leftmost = expr;
    loop {
        leftmost = match leftmost {
            Expr::GetAttr(attr) => &attr.expr,
            Expr::GetItem(item) => &item.expr,
            Expr::Slice(slice) => &slice.expr,
            Expr::Call(call) => &call.expr,
            Expr::Test(test) => &test.expr,
            Expr::BinOp(binary) => &binary.left,
            Expr::Compare(compare) => &compare.expr,
            Expr::IfExpr(choice) => &choice.true_expr,
            Expr::Filter(filter) => match &filter.expr {
                Some(subject) => subject,
                None => break,
            },
            _ => break,
        };
    }
    leftmost.span().start_offset as usize
}

/// Tells whether the value is one of the operands', which may be missing.
fn is_and_or(expr: &Expr<'_>) -> bool {
    matches!(expr, Expr::BinOp(binary) if matches!(binary.op, BinOpKind::ScAnd | BinOpKind::ScOr))
}

/// Returns the constant path that an expression is, if it is one.
pub(super) fn path_of(expr: &Expr<'_>) -> Option<Path> {
    let mut steps = Vec::new();
    let mut rest = expr;
    loop {
        match rest {
            Expr::Var(var) => {
                steps.reverse();
                return Some(Path {
                    root: var.id.to_owned(),
                    steps,
                });
            }
            Expr::GetAttr(attr) => {
                steps.push(Step::Key(attr.name.to_owned()));
                rest = &attr.expr;
            }
            Expr::GetItem(item) => {
                steps.push(constant_step(&item.subscript_expr)?);
                rest = &item.expr;
            }
            _ => return None,
        }
    }
}

/// Returns the step that a constant subscript is.
fn constant_step(subscript: &Expr<'_>) -> Option<Step> {
    let value = match subscript {
        Expr::Const(constant) => constant.value.clone(),
        Expr::UnaryOp(_) => subscript.as_const()?,
        _ => return None,
    };
    match value.as_str() {
        Some(key) => Some(Step::Key(key.to_owned())),
        None if value.is_integer() => value.as_i64().map(Step::Index),
        None => None,
    }
}

/// Returns the comparison that an operator is, if it is one.
fn comparison(op: BinOpKind) -> Option<CompareOpKind> {
    Some(match op {
        BinOpKind::Eq => CompareOpKind::Eq,
        BinOpKind::Ne => CompareOpKind::Ne,
        BinOpKind::Lt => CompareOpKind::Lt,
        BinOpKind::Lte => CompareOpKind::Lte,
        BinOpKind::Gt => CompareOpKind::Gt,
        BinOpKind::Gte => CompareOpKind::Gte,
        BinOpKind::In => CompareOpKind::In,
        _ => return None,
    })
}

/// Returns an operator's sign, whether a row of it reads from the left, and whether it is logical.
fn operator(op: BinOpKind) -> (&'static str, bool, bool) {
    match op {
        BinOpKind::ScAnd => (" and ", true, true),
        BinOpKind::ScOr => (" or ", true, true),
        BinOpKind::Add => ("+", true, false),
        BinOpKind::Sub => ("-", true, false),
        BinOpKind::Mul => ("*", true, false),
        BinOpKind::Div => ("/", true, false),
        BinOpKind::FloorDiv => ("//", true, false),
        BinOpKind::Rem => ("%", true, false),
        BinOpKind::Concat => ("~", true, false),
        _ => ("**", false, false),
    }
}
