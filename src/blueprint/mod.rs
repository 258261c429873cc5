//! Floor 2: the blueprint language: text in, a checked state machine out.
//!
//! Loading reports every error at once with its place. What comes out is immutable and carries its
//! compiled expressions, so the engine can neither meet a missing state nor a bad expression.
//! Performs no I/O: files are read by whoever calls, and handed in as text.

pub mod catalog;
pub mod check;
mod check_history;
mod decode;
mod decode_action;
mod decode_parallel;
mod decode_task;
pub mod expr;
pub mod graph;
mod keys;
pub mod load;
pub mod model;
mod reader;
mod scalars;
pub mod schema;
pub mod schema_doc;
pub mod suggest;
#[cfg(test)]
mod tests;
mod tree;
pub mod ways;

pub use catalog::Catalog;
pub use check::check_all;
pub use expr::{Compiled, EvalError, Scope};
pub use load::{Loaded, Problem, load};
pub use model::{
    Action, Approve, Blueprint, Body, ChildUse, Choice, ConditionId, Dispatch, Emit, End, Outcome,
    Parallel, ParallelTasks, Put, Run, State, Template, TemplateId, Until, Wait, WaitFor,
};
pub use schema::Schema;
pub use schema_doc::language_schema;
pub use ways::Way;
