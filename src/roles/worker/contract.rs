//! What a skill's schemas promise, checked before and after each run. Source: wire-protocol §10.3.

use std::collections::BTreeMap;

use anyhow::anyhow;
use serde_json::Value;

use super::skill::{Outcome, Registry};
use crate::blueprint::Schema;
use crate::domain::task::status;
use crate::domain::worker::SkillInfo;
use crate::domain::{Object, TaskErrorCode};

/// The dialect whose schemas are checked.
const DIALECT: &str = "json-schema";

/// One skill's schemas, compiled.
#[derive(Default)]
struct Contract {
    input: Option<Schema>,
    output: Option<Schema>,
}

/// The schemas of all skills.
pub(super) struct Contracts(BTreeMap<String, Contract>);

impl Contracts {
    /// Compiles the skills' schemas. Errors when one is none.
    pub(super) fn of(skills: &Registry) -> anyhow::Result<Self> {
        let compiled = skills.infos().into_iter().map(|skill| {
            let contract = if is_checked(&skill) {
                Contract {
                    input: compile(&skill.name, "input_schema", skill.input_schema)?,
                    output: compile(&skill.name, "output_schema", skill.output_schema)?,
                }
            } else {
                Contract::default()
            };
            Ok((skill.name, contract))
        });
        Ok(Self(compiled.collect::<anyhow::Result<_>>()?))
    }

    /// Returns the parameters, or the failure that they are when the skill does not take them.
    pub(super) fn checked_params(
        &self,
        skill: &str,
        params: Object,
    ) -> Result<Object, Box<Outcome>> {
        let (params, checked) = check(self.of_skill(skill, |of| &of.input), params);
        checked.map(|()| params).map_err(|reason| {
            Box::new(Outcome::failure(
                TaskErrorCode::InvalidInputError,
                format!("the parameters break the input_schema of skill `{skill}`: {reason}"),
            ))
        })
    }

    /// Returns the outcome, or the failure that a success is whose data breaks the skill's promise.
    pub(super) fn checked_outcome(&self, skill: &str, mut outcome: Outcome) -> Outcome {
        if outcome.status != status::SUCCESS {
            return outcome;
        }
        let schema = self.of_skill(skill, |of| &of.output);
        let (data, checked) = check(schema, outcome.data.take().unwrap_or_default());
        outcome.data = Some(data);
        match checked {
            Ok(()) => outcome,
            Err(reason) => Outcome::failure(
                TaskErrorCode::ContractViolationError,
                format!("the data breaks the output_schema of skill `{skill}`: {reason}"),
            ),
        }
    }

    fn of_skill(&self, skill: &str, side: fn(&Contract) -> &Option<Schema>) -> Option<&Schema> {
        self.0
            .get(skill)
            .and_then(|contract| side(contract).as_ref())
    }
}

fn is_checked(skill: &SkillInfo) -> bool {
    let dialect = skill.schema_dialect.as_deref();
    dialect.is_none_or(|dialect| dialect == DIALECT)
}

fn compile(skill: &str, name: &str, schema: Option<Object>) -> anyhow::Result<Option<Schema>> {
    let Some(schema) = schema else {
        return Ok(None);
    };
    let compiled = Schema::compile(&Value::Object(schema));
    compiled
        .map(Some)
        .map_err(|error| anyhow!("skill `{skill}`: its {name} is not a JSON Schema: {error}"))
}

/// Checks an object and gives it back.
fn check(schema: Option<&Schema>, object: Object) -> (Object, Result<(), String>) {
    let Some(schema) = schema else {
        return (object, Ok(()));
    };
    let value = Value::Object(object);
    let checked = schema.check(&value);
    match value {
        Value::Object(object) => (object, checked),
        _ => unreachable!("it was made of an object"),
    }
}
