//! Parts of records: some of the members, written as they are and not copied first.

use serde::ser::{Error as _, Impossible, SerializeStruct};
use serde::{Serialize, Serializer};

/// A record, and which of its members are written.
pub(super) struct Part<'a, T>(pub &'a T, pub fn(&str) -> bool);

impl<T: Serialize> Serialize for Part<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(record, is_written) = *self;
        record.serialize(Outer {
            inner: serializer,
            is_written,
        })
    }
}

/// Takes the record itself, and hands on what is in it.
struct Outer<S> {
    inner: S,
    is_written: fn(&str) -> bool,
}

/// Takes its members.
struct Members<S> {
    inner: S,
    is_written: fn(&str) -> bool,
}

impl<S: SerializeStruct> SerializeStruct for Members<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), S::Error> {
        if (self.is_written)(name) {
            self.inner.serialize_field(name, value)
        } else {
            self.inner.skip_field(name)
        }
    }

    fn skip_field(&mut self, name: &'static str) -> Result<(), S::Error> {
        self.inner.skip_field(name)
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}

/// Refuses what has no members.
macro_rules! refused {
    ($($name:ident($($type:ty),*) -> $ok:ty;)*) => {
        $(fn $name(self, $(_: $type),*) -> Result<$ok, S::Error> {
            Err(S::Error::custom("it has no members that could be left out"))
        })*
    };
}

impl<S: Serializer> Serializer for Outer<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Impossible<S::Ok, S::Error>;
    type SerializeTuple = Impossible<S::Ok, S::Error>;
    type SerializeTupleStruct = Impossible<S::Ok, S::Error>;
    type SerializeTupleVariant = Impossible<S::Ok, S::Error>;
    type SerializeMap = Impossible<S::Ok, S::Error>;
    type SerializeStruct = Members<S::SerializeStruct>;
    type SerializeStructVariant = Impossible<S::Ok, S::Error>;

    fn serialize_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        Ok(Members {
            // The forms in use write no length: some members are skipped in any case.
            inner: self.inner.serialize_struct(name, length)?,
            is_written: self.is_written,
        })
    }

    refused! {
        serialize_bool(bool) -> S::Ok;
        serialize_i8(i8) -> S::Ok;
        serialize_i16(i16) -> S::Ok;
        serialize_i32(i32) -> S::Ok;
        serialize_i64(i64) -> S::Ok;
        serialize_u8(u8) -> S::Ok;
        serialize_u16(u16) -> S::Ok;
        serialize_u32(u32) -> S::Ok;
        serialize_u64(u64) -> S::Ok;
        serialize_f32(f32) -> S::Ok;
        serialize_f64(f64) -> S::Ok;
        serialize_char(char) -> S::Ok;
        serialize_str(&str) -> S::Ok;
        serialize_bytes(&[u8]) -> S::Ok;
        serialize_none() -> S::Ok;
        serialize_unit() -> S::Ok;
        serialize_unit_struct(&'static str) -> S::Ok;
        serialize_unit_variant(&'static str, u32, &'static str) -> S::Ok;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Record {
        first: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        second: Option<Inner>,
        third: Vec<u8>,
    }

    #[derive(Serialize)]
    struct Inner {
        first: bool,
    }

    fn text<T: Serialize>(value: &T) -> String {
        serde_json::to_string(value).expect("plain JSON")
    }

    #[test]
    fn a_part_has_members_of_the_record_itself() {
        let record = |inner: Option<bool>| Record {
            first: 1,
            second: inner.map(|first| Inner { first }),
            third: vec![3],
        };
        let (whole, short) = (record(Some(true)), record(None));
        let is_second = |name: &str| name == "second";
        let inner = r#"{"second":{"first":true}}"#;
        assert_eq!(text(&Part(&whole, is_second)), inner);
        assert_eq!(text(&Part(&short, is_second)), "{}");
        assert_eq!(text(&Part(&whole, |_| true)), text(&whole));
        let rest = r#"{"first":1,"third":[3]}"#;
        assert_eq!(text(&Part(&whole, |name| name != "second")), rest);
        assert!(serde_json::to_string(&Part(&[1], is_second)).is_err());
    }
}
