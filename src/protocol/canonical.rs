//! JSON text in and out: bounded parsing, the canonical form that signatures cover, and the
//! normalised form of answers.
//!
//! The writers walk the value that they are given; no copy of the tree is made.
//! Source: wire-protocol §4 and §6.1.

use std::io::Write as _;

use serde_json::{Number, Value};

use super::errors::WireError;

/// The deepest nesting of objects and arrays, the outermost counted.
pub const NESTING_MAX: usize = 30;

/// Members that no signature covers, at the top level only.
const NEVER_SIGNED: [&str; 2] = ["security", "_signature"];

/// Reads one JSON text that is the whole input.
///
/// Refuses nesting beyond [`NESTING_MAX`] and integral numbers outside 64 bits, so that what was
/// read always has a canonical form. Of a repeated key, the last counts.
pub fn parse_json(bytes: &[u8]) -> Result<Value, WireError> {
    // serde_json stops at 128 levels by itself, so the walk below cannot overflow the stack.
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| WireError::NotJson(error.to_string()))?;
    check(&value, 1)?;
    Ok(value)
}

/// Checks nesting and numbers of a value that lies at the given level.
fn check(value: &Value, level: usize) -> Result<(), WireError> {
    match value {
        Value::Array(items) => {
            bounded(level)?;
            items.iter().try_for_each(|item| check(item, level + 1))
        }
        Value::Object(members) => {
            bounded(level)?;
            members
                .values()
                .try_for_each(|member| check(member, level + 1))
        }
        Value::Number(number) => Integral::of(number).map(|_| ()),
        _ => Ok(()),
    }
}

/// Refuses a container at a level that is too deep.
fn bounded(level: usize) -> Result<(), WireError> {
    if level > NESTING_MAX {
        Err(WireError::TooDeep { max: NESTING_MAX })
    } else {
        Ok(())
    }
}

/// Returns the canonical bytes of a message: what its signature covers.
///
/// At the top level `security`, `_signature` and the `ignored` members are left out.
pub fn canonical_bytes(message: &Value, ignored: &[&str]) -> Result<Vec<u8>, WireError> {
    let mut writer = Writer {
        out: Vec::with_capacity(256),
        strict: true,
    };
    writer.value(message, 1, &|key| {
        NEVER_SIGNED.contains(&key) || ignored.contains(&key)
    })?;
    Ok(writer.out)
}

/// Returns the canonical bytes of the whole value, nothing left out: what hashes cover.
pub fn canonical_form(value: &Value) -> Result<Vec<u8>, WireError> {
    let mut writer = Writer {
        out: Vec::with_capacity(256),
        strict: true,
    };
    writer.value(value, 1, &|_| false)?;
    Ok(writer.out)
}

/// Returns the value as it goes out: sorted keys, no null members, integral floats as integers,
/// no spaces, text as UTF-8.
///
/// Never fails: it is for values that this process made, whatever their depth; a float beyond 64
/// bits keeps its exponent.
#[must_use]
pub fn to_wire_bytes(value: &Value) -> Vec<u8> {
    let mut writer = Writer {
        out: Vec::with_capacity(256),
        strict: false,
    };
    writer
        .value(value, 1, &|_| false)
        .expect("a writer that is not strict refuses nothing");
    writer.out
}

/// Likewise, for an object that becomes a part of what is written already.
pub fn write_wire(members: &crate::domain::Object, out: &mut Vec<u8>) {
    let mut writer = Writer {
        out: std::mem::take(out),
        strict: false,
    };
    writer
        .object(members, 1, &|_| false)
        .expect("a writer that is not strict refuses nothing");
    *out = writer.out;
}

/// A number as the canonical form sees it.
enum Integral {
    Unsigned(u64),
    Signed(i64),
    /// Not integral: shortest digits that read back as the same double.
    Fraction(f64),
}

impl Integral {
    /// Classifies the number; an integral one outside 64 bits is an error.
    fn of(number: &Number) -> Result<Self, WireError> {
        if let Some(value) = number.as_u64() {
            return Ok(Self::Unsigned(value));
        }
        if let Some(value) = number.as_i64() {
            return Ok(Self::Signed(value));
        }
        let value = number.as_f64().unwrap_or(f64::INFINITY);
        if value.fract() != 0.0 {
            return Ok(Self::Fraction(value));
        }
        // The bounds are powers of two and thus exact doubles; the upper one is excluded.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an integral double within the bounds converts exactly"
        )]
        if (0.0..18_446_744_073_709_551_616.0).contains(&value) {
            Ok(Self::Unsigned(value as u64))
        } else if (-9_223_372_036_854_775_808.0..0.0).contains(&value) {
            Ok(Self::Signed(value as i64))
        } else {
            Err(WireError::NumberOutOfRange(number.to_string()))
        }
    }
}

/// Writes JSON text into memory. Writing to a `Vec` cannot fail.
struct Writer {
    out: Vec<u8>,
    /// Whether depth and numbers without a canonical form are errors.
    strict: bool,
}

const INTO_MEMORY: &str = "writing into memory does not fail";

impl Writer {
    /// Writes a value that lies at the given level; `skip` holds for its own members only.
    fn value(
        &mut self,
        value: &Value,
        level: usize,
        skip: &dyn Fn(&str) -> bool,
    ) -> Result<(), WireError> {
        match value {
            Value::Null => self.out.extend_from_slice(b"null"),
            Value::Bool(true) => self.out.extend_from_slice(b"true"),
            Value::Bool(false) => self.out.extend_from_slice(b"false"),
            Value::Number(number) => self.number(number)?,
            Value::String(text) => self.string(text),
            Value::Array(items) => {
                self.enter(level)?;
                self.out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.out.push(b',');
                    }
                    self.value(item, level + 1, &|_| false)?;
                }
                self.out.push(b']');
            }
            Value::Object(members) => {
                self.enter(level)?;
                self.object(members, level, skip)?;
            }
        }
        Ok(())
    }

    fn enter(&self, level: usize) -> Result<(), WireError> {
        if self.strict { bounded(level) } else { Ok(()) }
    }

    fn object(
        &mut self,
        members: &crate::domain::Object,
        level: usize,
        skip: &dyn Fn(&str) -> bool,
    ) -> Result<(), WireError> {
        let mut kept: Vec<(&String, &Value)> = members
            .iter()
            .filter(|(key, value)| !value.is_null() && !skip(key))
            .collect();
        // `str` compares by its UTF-8 bytes, which is the order that the canonical form wants.
        kept.sort_unstable_by_key(|(key, _)| key.as_str());
        self.out.push(b'{');
        for (index, (key, value)) in kept.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.string(key);
            self.out.push(b':');
            self.value(value, level + 1, &|_| false)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn number(&mut self, number: &Number) -> Result<(), WireError> {
        match Integral::of(number) {
            Ok(Integral::Unsigned(value)) => write!(self.out, "{value}").expect(INTO_MEMORY),
            Ok(Integral::Signed(value)) => write!(self.out, "{value}").expect(INTO_MEMORY),
            // serde_json writes the shortest digits, and the exponent form below 1e-5 only.
            Ok(Integral::Fraction(value)) => {
                serde_json::to_writer(&mut self.out, &value).expect(INTO_MEMORY);
            }
            Err(error) if self.strict => return Err(error),
            Err(_) => write!(self.out, "{number}").expect(INTO_MEMORY),
        }
        Ok(())
    }

    /// Writes a text; serde_json escapes exactly what the canonical form escapes.
    fn string(&mut self, text: &str) {
        serde_json::to_writer(&mut self.out, text).expect(INTO_MEMORY);
    }
}

#[cfg(test)]
mod tests;
