//! Looking at the parsed expression.

use minijinja::machinery::ast::{BinOpKind, CompareOpKind, Expr};

use super::scope::{Path, Step};

/// Returns where an expression begins. The parser's span of what follows a value (`.name`, `[0]`,
/// `| filter`) begins after the value.
pub(super) fn offset(expr: &Expr<'_>) -> usize {
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
pub(super) fn is_and_or(expr: &Expr<'_>) -> bool {
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
pub(super) fn constant_step(subscript: &Expr<'_>) -> Option<Step> {
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
pub(super) fn comparison(op: BinOpKind) -> Option<CompareOpKind> {
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
pub(super) fn operator(op: BinOpKind) -> (&'static str, bool, bool) {
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
