//! JSON Schemas, compiled once and kept.

use serde_json::Value;

/// A compiled JSON Schema.
#[derive(Debug)]
pub struct Schema {}

impl Schema {
    /// Compiles a schema; refuses one that is not valid or that refers outside itself.
    pub fn compile(_schema: &Value) -> Result<Self, String> {
        unimplemented!()
    }

    /// Checks a value; the text names the first violations with their places.
    pub fn check(&self, _value: &Value) -> Result<(), String> {
        unimplemented!()
    }
}

impl super::Blueprint {
    /// Checks a submission's `initial_data`.
    pub fn check_input(&self, _value: &Value) -> Result<(), String> {
        unimplemented!()
    }

    /// Checks a job's result.
    pub fn check_output(&self, _value: &Value) -> Result<(), String> {
        unimplemented!()
    }

    /// Checks an event's payload; a type without a schema passes.
    pub fn check_event(&self, _event_type: &str, _payload: &Value) -> Result<(), String> {
        unimplemented!()
    }

    /// Checks the data of a task's success; `schema` is a `Dispatch::output` of this blueprint.
    pub fn check_task_output(&self, _schema: &Value, _data: &Value) -> Result<(), String> {
        unimplemented!()
    }

    /// Checks the answer to an approval; `schema` is an `Approve::form` of this blueprint.
    pub fn check_form(&self, _schema: &Value, _answer: &Value) -> Result<(), String> {
        unimplemented!()
    }
}
