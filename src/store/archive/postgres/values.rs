//! What is written often, as the server has it, right into what is sent.

use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::base::Timestamp;
use crate::store::Text;
use crate::store::archive::chain::Linked;

/// 2000-01-01, from which the server counts microseconds, in ms since 1970.
const EPOCH_MS: i64 = 946_684_800_000;
/// The first and the last time that the server has. Source: PostgreSQL, `datatype/timestamp.h`.
const FIRST_US: i64 = -211_813_488_000_000_000;
const LAST_US: i64 = 9_223_371_331_199_999_999;

/// A time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time(i64);

/// Returns a time as the server has it: one that it does not have is its first or its last.
pub(super) fn time(at: Timestamp) -> Time {
    let us = at.0.saturating_sub(EPOCH_MS).saturating_mul(1_000);
    Time(us.clamp(FIRST_US, LAST_US))
}

impl ToSql for Time {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0);
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

/// A run's events as a JSON array, written right into what is sent.
#[derive(Debug)]
pub(super) struct Body<'a, 'e>(pub &'a [Linked<'e>]);

impl ToSql for Body<'_, '_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        for (index, one) in self.0.iter().enumerate() {
            out.put_u8(if index == 0 { b'[' } else { b',' });
            out.put_slice(one.event.as_bytes());
        }
        out.put_u8(b']');
        Ok(IsNull::No)
    }

    accepts!(TEXT);
    to_sql_checked!();
}

/// JSON texts as a JSON array, likewise.
#[derive(Debug)]
pub(super) struct Array<'a>(pub &'a [&'a Text]);

impl ToSql for Array<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_u8(b'[');
        for (index, text) in self.0.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            out.put_slice(text.as_bytes());
        }
        out.put_u8(b']');
        Ok(IsNull::No)
    }

    accepts!(TEXT);
    to_sql_checked!();
}

/// A text, whose UTF-8 is not looked at again.
#[derive(Debug)]
pub(super) struct Written<'a>(pub &'a Text);

impl ToSql for Written<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    accepts!(TEXT);
    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_library() {
        let written = |value: &dyn ToSql| {
            let mut out = BytesMut::new();
            let ends = value.to_sql_checked(&Type::TIMESTAMPTZ, &mut out);
            assert!(matches!(ends, Ok(IsNull::No)));
            out
        };
        for ms in [
            0,
            1,
            -1,
            946_684_800_000,
            1_798_761_599_999,
            253_402_207_199_000,
        ] {
            let known = jiff::Timestamp::from_millisecond(ms).expect("a time");
            assert_eq!(written(&time(Timestamp(ms))), written(&known), "{ms}");
        }
        assert_eq!(time(Timestamp(i64::MAX)).0, LAST_US);
        assert_eq!(time(Timestamp(i64::MIN)).0, FIRST_US);
    }
}
