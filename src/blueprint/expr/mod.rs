//! Expressions: compiled once per revision, evaluated with fuel, never able to reach outside.
//!
//! In a template a missing value is an error that names its path, unless a `default` is given. In
//! a condition (a `when`, and the test of an inline `if`) it is false-like: a comparison with it
//! does not hold. Values of different kinds are in no order: `"9" < 10` is false, and so is its
//! converse. In a text anything that is not text stands as JSON.

mod ast;
mod compile;
mod filters;
mod reads;
mod rewrite;
mod rewrite_call;
mod scope;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use minijinja::{ErrorKind, Expression};
use serde_json::Value;

use super::schema::Schemas;
use super::{ConditionId, Template, TemplateId};
use rewrite::{Binding, Names};
use scope::Path;

pub use filters::OUTPUT_BYTES_MAX;
pub(super) use scope::is_name;
pub use scope::{ROOTS, Scope};

/// The longest source of an expression or a template, in bytes.
pub const SOURCE_BYTES_MAX: usize = 4096;

/// All compiled templates and conditions of a blueprint, and its schemas.
#[derive(Default)]
pub struct Compiled {
    /// The blueprint's name, for errors.
    blueprint: String,
    programs: Vec<Program>,
    conditions: Vec<Guarded>,
    pub(super) schemas: Schemas,
    /// The names of the data stores, to check what expressions say against.
    pub(super) stores: Option<Vec<String>>,
}

/// One template.
struct Program {
    /// `states.start.set.video_id`.
    place: String,
    /// What the author wrote.
    source: String,
    code: Code,
}

/// One condition.
struct Guarded {
    /// `states.decide.choose[0].when`.
    place: String,
    /// What the author wrote.
    source: String,
    condition: Condition,
}

/// How a value is got.
enum Code {
    /// Straight from the scope.
    Path(Path),
    /// By the evaluator.
    Expression(Expression<'static, 'static>, Vec<Binding>),
}

/// A condition, cut at its `and`, `or` and `not`: so that a missing value makes only the part that
/// needs it false.
enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    /// A value is there and counts as true.
    Holds(Path),
    /// A value is this text, or is not.
    IsText {
        path: Path,
        text: String,
        equal: bool,
    },
    Code(Code),
}

/// An expression failed: where and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {cause}")]
pub struct EvalError {
    /// Blueprint, state and field, `full_showcase: states.start.set.video_id`.
    pub place: String,
    /// What was wrong, with the missing path where that is it.
    pub cause: String,
}

/// A source that does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// Where in the source, in bytes.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled")
            .field("blueprint", &self.blueprint)
            .field("templates", &self.programs.len())
            .field("conditions", &self.conditions.len())
            .finish_non_exhaustive()
    }
}

impl Compiled {
    /// Starts with nothing compiled.
    #[must_use]
    pub fn new(blueprint: &str) -> Self {
        Self {
            blueprint: blueprint.to_owned(),
            ..Self::default()
        }
    }

    /// Compiles a string that may be a template; one without any `{{ }}` is a constant.
    ///
    /// `place` is for errors; `locals` are names that this place sees besides the common ones.
    pub fn template(
        &mut self,
        place: &str,
        source: &str,
        locals: &[&str],
    ) -> Result<Template, CompileError> {
        if !["{{", "{%", "{#"].iter().any(|mark| source.contains(mark)) {
            return Ok(Template::Constant(Value::String(source.to_owned())));
        }
        let code = compile::template(source, self.names(locals))?;
        self.programs.push(Program {
            place: place.to_owned(),
            source: source.trim().to_owned(),
            code,
        });
        let index = u32::try_from(self.programs.len() - 1).expect("a file holds fewer templates");
        Ok(Template::Expression(TemplateId(index)))
    }

    /// Compiles a condition: an expression without braces.
    pub fn condition(
        &mut self,
        place: &str,
        source: &str,
        locals: &[&str],
    ) -> Result<ConditionId, CompileError> {
        let condition = compile::condition(source, self.names(locals))?;
        let source = source.trim().to_owned();
        self.conditions.push(Guarded {
            place: place.to_owned(),
            source,
            condition,
        });
        let index =
            u32::try_from(self.conditions.len() - 1).expect("a file holds fewer conditions");
        Ok(ConditionId(index))
    }

    /// Evaluates a template to a value: the expression's own where it is exactly one, else text.
    pub fn render(&self, template: &Template, scope: &Scope<'_>) -> Result<Value, EvalError> {
        match template {
            Template::Constant(value) => Ok(value.clone()),
            Template::Expression(id) => self.run(*id, scope),
            Template::List(items) => items
                .iter()
                .map(|item| self.render(item, scope))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Template::Object(members) => members
                .iter()
                .map(|(key, value)| Ok((key.clone(), self.render(value, scope)?)))
                .collect::<Result<_, _>>()
                .map(Value::Object),
        }
    }

    /// Evaluates a template to text; a value that is not text becomes JSON.
    pub fn text(&self, template: &Template, scope: &Scope<'_>) -> Result<String, EvalError> {
        Ok(match self.render(template, scope)? {
            Value::String(text) => text,
            value => value.to_string(),
        })
    }

    /// Evaluates a condition; a missing value is false.
    pub fn test(&self, condition: ConditionId, scope: &Scope<'_>) -> Result<bool, EvalError> {
        let Guarded {
            place,
            source,
            condition,
        } = &self.conditions[condition.0 as usize];
        condition
            .holds(scope)
            .map_err(|cause| self.error(place, format!("{cause}, in `{source}`")))
    }

    /// Returns what the author wrote for a template, for people.
    #[must_use]
    pub fn source(&self, template: TemplateId) -> &str {
        &self.programs[template.0 as usize].source
    }

    /// Returns what the author wrote for a condition, for people.
    #[must_use]
    pub fn condition_source(&self, condition: ConditionId) -> &str {
        &self.conditions[condition.0 as usize].source
    }

    /// Returns the names that a place may use.
    fn names<'a>(&'a self, locals: &'a [&'a str]) -> Names<'a> {
        Names {
            locals,
            stores: self.stores.as_deref(),
        }
    }

    /// Names the blueprint, for errors.
    pub(super) fn set_name(&mut self, blueprint: &str) {
        blueprint.clone_into(&mut self.blueprint);
    }

    /// Runs one template.
    fn run(&self, id: TemplateId, scope: &Scope<'_>) -> Result<Value, EvalError> {
        let program = &self.programs[id.0 as usize];
        let result = match &program.code {
            Code::Path(path) => path
                .resolve(scope)
                .map(scope::Found::into_json)
                .ok_or_else(|| format!("`{}` has no value (give it a `default`)", path.text())),
            Code::Expression(expression, bindings) => evaluate(expression, bindings, scope)
                .map_err(|error| filters::describe(&error))
                .and_then(|value| filters::to_json(&value)),
        };
        result.map_err(|cause| {
            self.error(&program.place, format!("{cause}, in `{}`", program.source))
        })
    }

    /// Makes an error with its place.
    fn error(&self, place: &str, cause: String) -> EvalError {
        EvalError {
            place: format!("{}: {place}", self.blueprint),
            cause,
        }
    }
}

impl Condition {
    /// Tells whether the condition holds.
    fn holds(&self, scope: &Scope<'_>) -> Result<bool, String> {
        match self {
            Self::And(a, b) => Ok(a.holds(scope)? && b.holds(scope)?),
            Self::Or(a, b) => Ok(a.holds(scope)? || b.holds(scope)?),
            Self::Not(inner) => Ok(!inner.holds(scope)?),
            Self::Holds(path) => Ok(path.resolve(scope).is_some_and(|found| found.is_true())),
            Self::IsText { path, text, equal } => {
                let found = path.resolve(scope);
                Ok((found.as_ref().and_then(scope::Found::as_str) == Some(text)) == *equal)
            }
            Self::Code(Code::Path(path)) => {
                Ok(path.resolve(scope).is_some_and(|found| found.is_true()))
            }
            Self::Code(Code::Expression(expression, bindings)) => {
                match evaluate(expression, bindings, scope) {
                    Ok(value) => Ok(value.is_true()),
                    Err(error) if error.kind() == ErrorKind::UndefinedError => Ok(false),
                    Err(error) => Err(filters::describe(&error)),
                }
            }
        }
    }
}

/// The variables of one evaluation: `v0`, `v1`, …
#[derive(Debug)]
struct Variables(Vec<minijinja::Value>);

impl minijinja::value::Object for Variables {
    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<minijinja::Value> {
        let index: usize = key.strip_prefix('v')?.parse().ok()?;
        self.0.get(index).cloned()
    }
}

/// Runs an expression with its variables bound to what the scope has.
fn evaluate(
    expression: &Expression<'static, 'static>,
    bindings: &[Binding],
    scope: &Scope<'_>,
) -> Result<minijinja::Value, minijinja::Error> {
    let values = bindings
        .iter()
        .map(|binding| match binding {
            Binding::Path(path) => path
                .resolve(scope)
                .map_or(minijinja::Value::UNDEFINED, |found| found.to_engine()),
            Binding::Constant(value) => value.clone(),
            Binding::Share => minijinja::Value::from(scope.share()),
        })
        .collect();
    expression.eval(minijinja::Value::from_object(Variables(values)))
}
