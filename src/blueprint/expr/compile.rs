//! From a source to what is run.

use minijinja::machinery::ast::{BinOpKind, Expr, Stmt, UnaryOpKind};
use minijinja::machinery::{parse, parse_expr};

use super::ast::path_of;
use super::filters::{self, ENVIRONMENT};
use super::rewrite::{Mode, Names, Rewriter};
use super::{Code, CompileError, Condition, SOURCE_BYTES_MAX};

/// Compiles a condition.
pub(super) fn condition(source: &str, names: Names<'_>) -> Result<Condition, CompileError> {
    check_length(source)?;
    let expr = parse_expr(source).map_err(|error| syntax(&error, source))?;
    condition_part(&expr, source, names, 0)
}

/// Refuses a source that is too long.
fn check_length(source: &str) -> Result<(), CompileError> {
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!(
            "the expression is {} bytes, the limit is {SOURCE_BYTES_MAX}",
            source.len()
        );
        return Err(CompileError { offset: 0, message });
    }
    Ok(())
}

/// Turns the parser's error into ours.
fn syntax(error: &minijinja::Error, source: &str) -> CompileError {
    let detail = error.detail().unwrap_or("not an expression");
    let offset = error
        .range()
        .map_or(0, |range| range.start)
        .min(source.len());
    CompileError {
        offset,
        message: format!("the expression does not compile: {detail}"),
    }
}

/// Compiles a template.
pub(super) fn template(source: &str, names: Names<'_>) -> Result<Code, CompileError> {
    check_length(source)?;
    let text = source.trim();
    let start = source.len() - source.trim_start().len();
    let shift = |error: CompileError| CompileError {
        offset: error.offset + start,
        ..error
    };
    let root = parse(text, "template", minijinja::syntax::SyntaxConfig::default())
        .map_err(|error| shift(syntax(&error, text)))?;
    let Stmt::Template(template) = &root else {
        unreachable!("the root is a template")
    };
    if let [Stmt::EmitExpr(only)] = template.children.as_slice() {
        if let Some(path) = path_of(&only.expr) {
            // Written once for its check of the name.
            Rewriter::new(text, names)
                .plain(&only.expr, Mode::Strict)
                .map_err(shift)?;
            return Ok(Code::Path(path));
        }
        let mut rewriter = Rewriter::new(text, names);
        rewriter.needed(&only.expr, Mode::Strict).map_err(shift)?;
        return finish(rewriter);
    }
    // The text around expressions is kept as it is written, spaces at its ends included.
    let root = parse(
        source,
        "template",
        minijinja::syntax::SyntaxConfig::default(),
    )
    .map_err(|error| syntax(&error, source))?;
    let Stmt::Template(template) = &root else {
        unreachable!("the root is a template")
    };
    let mut rewriter = Rewriter::new(source, names);
    for child in &template.children {
        rewriter
            .out
            .push_str(if rewriter.out.is_empty() { "" } else { "~" });
        match child {
            Stmt::EmitRaw(raw) => rewriter.literal(raw.raw),
            Stmt::EmitExpr(emit) => {
                rewriter.needed(&emit.expr, Mode::Strict)?;
                rewriter.out.push_str("|_text");
            }
            _ => {
                let message = "only `{{ … }}` is known in a template, not `{% … %}`: \
                               use an inline `if … else`, or a filter"
                    .to_owned();
                return Err(CompileError {
                    offset: source.find("{%").unwrap_or(0),
                    message,
                });
            }
        }
    }
    if rewriter.out.is_empty() {
        rewriter.literal("");
    }
    finish(rewriter)
}

/// Compiles what has been rewritten.
fn finish(rewriter: Rewriter<'_>) -> Result<Code, CompileError> {
    match ENVIRONMENT.compile_expression_owned(rewriter.out) {
        Ok(expression) => Ok(Code::Expression(expression, rewriter.bindings)),
        Err(error) => {
            let message = format!(
                "the expression is too deep or too long: {}",
                filters::describe(&error)
            );
            Err(CompileError { offset: 0, message })
        }
    }
}

/// Compiles a condition, or a part of one.
fn condition_part(
    expr: &Expr<'_>,
    source: &str,
    names: Names<'_>,
    depth: u32,
) -> Result<Condition, CompileError> {
    if depth > 200 {
        let message = "the condition has more than 200 parts in a row".to_owned();
        return Err(CompileError { offset: 0, message });
    }
    let part = |expr: &Expr<'_>| condition_part(expr, source, names, depth + 1).map(Box::new);
    match expr {
        Expr::BinOp(binary) => match binary.op {
            BinOpKind::ScAnd => {
                return Ok(Condition::And(part(&binary.left)?, part(&binary.right)?));
            }
            BinOpKind::ScOr => return Ok(Condition::Or(part(&binary.left)?, part(&binary.right)?)),
            _ => {}
        },
        Expr::UnaryOp(unary) if matches!(unary.op, UnaryOpKind::Not) => {
            return Ok(Condition::Not(part(&unary.expr)?));
        }
        _ => {}
    }
    let mut rewriter = Rewriter::new(source, names);
    rewriter.plain(expr, Mode::Lenient)?;
    if let Some(path) = path_of(expr) {
        return Ok(Condition::Holds(path));
    }
    if let Some(simple) = text_comparison(expr) {
        return Ok(simple);
    }
    finish(rewriter).map(Condition::Code)
}

/// Recognises `path == "text"` and `path != "text"`, the commonest conditions of all.
fn text_comparison(expr: &Expr<'_>) -> Option<Condition> {
    let Expr::BinOp(binary) = expr else {
        return None;
    };
    let equal = match binary.op {
        BinOpKind::Eq => true,
        BinOpKind::Ne => false,
        _ => return None,
    };
    let Expr::Const(constant) = &binary.right else {
        return None;
    };
    let text = constant.value.as_str()?.to_owned();
    Some(Condition::IsText {
        path: path_of(&binary.left)?,
        text,
        equal,
    })
}
