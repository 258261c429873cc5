//! From a blueprint's expression to the one that is run.
//!
//! The parsed expression is written out again with three changes: each constant path into the
//! scope becomes a variable (so only what is named is copied), each place that cannot do without
//! a value asks for one by its path, and comparisons of order go by our own rule. On the way every
//! name is checked, so that a misspelt filter is found at load.

use minijinja::Value;
use minijinja::machinery::ast::{BinOpKind, CompareOpKind, Expr, Map, Slice, UnaryOpKind};

use super::CompileError;
use super::ast::{comparison, is_and_or, offset, operator, path_of};
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

pub(super) type Done = Result<(), CompileError>;

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
            return Err(self.fail(expr, &format!("is nested deeper than {DEPTH_MAX} levels")));
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
                    return Err(self.fail(expr, "has an `if` without an `else`"));
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
            self.needed(expr, mode)?;
        } else {
            self.plain(expr, mode)?;
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
    pub(super) fn bind(&mut self, binding: Binding) {
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
                self.needed(expr, mode)?;
            } else {
                self.plain(expr, mode)?;
            }
            self.out.push_str(after);
        }
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
    pub(super) fn fail(&self, expr: &Expr<'_>, what: &str) -> CompileError {
        CompileError {
            offset: offset(expr),
            message: format!("`{}` {what}", self.source(expr)),
        }
    }
}
