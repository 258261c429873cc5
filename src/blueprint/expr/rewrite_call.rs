//! The rewriting of filters, tests and calls: only names that are known are let through.

use minijinja::machinery::ast::{Call, CallArg, CallType, Expr, Filter, Test};

use super::CompileError;
use super::ast::offset;
use super::filters::{FILTERS, FUNCTIONS, TESTS};
use super::rewrite::{Binding, Done, Mode, Rewriter};
use crate::blueprint::suggest::did_you_mean;

impl Rewriter<'_> {
    /// Writes a filter.
    pub(super) fn filter(&mut self, expr: &Expr<'_>, filter: &Filter<'_>, mode: Mode) -> Done {
        let Some(subject) = &filter.expr else {
            return Err(self.fail(expr, "is a filter of nothing"));
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
            self.plain(subject, mode)?;
        } else {
            self.needed(subject, mode)?;
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
    pub(super) fn test(&mut self, expr: &Expr<'_>, test: &Test<'_>, mode: Mode) -> Done {
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
    pub(super) fn call(&mut self, expr: &Expr<'_>, call: &Call<'_>, mode: Mode) -> Done {
        let CallType::Function(name) = call.identify_call() else {
            return Err(self.fail(expr, "calls a method; use a filter"));
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
                return Err(self.fail(expr, "must give `chance` one number, 0 to 1"));
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
                    return Err(self.fail(expr, "spreads arguments with `*`"));
                }
            };
            if need {
                self.needed(value, mode)?;
            } else {
                self.plain(value, mode)?;
            }
            self.out.push(',');
        }
        self.out.push(')');
        Ok(())
    }
}
