//! Where in which trace something happens: W3C trace context, as data. Knows neither jobs nor who
//! records. Source: W3C Trace Context, level 2.

use std::fmt;

use super::crypto;

/// The header, and the member of a task's `tracing_context`, that names a trace and a span of it.
pub const TRACEPARENT: &str = "traceparent";
/// The one beside it that holds what vendors add.
pub const TRACESTATE: &str = "tracestate";
/// The one that holds what the caller wants handed on.
pub const BAGGAGE: &str = "baggage";

/// The bit of the flags that says that the trace is recorded.
const SAMPLED: u8 = 1;
/// Those of the flags that have a meaning; others are not handed on.
const KNOWN_FLAGS: u8 = 3;

/// A span's place: its trace, its id, and whether the trace is recorded.
///
/// Shape: as text `00-<32 hex>-<16 hex>-<2 hex>`, neither id all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace's id.
    pub trace_id: [u8; 16],
    /// The span's id.
    pub span_id: [u8; 8],
    flags: u8,
}

impl TraceContext {
    /// Makes the place of a trace's first span from random bytes.
    #[must_use]
    pub fn root(mut trace_id: [u8; 16], mut span_id: [u8; 8], is_sampled: bool) -> Self {
        // All zeros would mean that there is none.
        trace_id[15] |= u8::from(trace_id == [0; 16]);
        span_id[7] |= u8::from(span_id == [0; 8]);
        let flags = if is_sampled { SAMPLED } else { 0 };
        Self {
            trace_id,
            span_id,
            flags,
        }
    }

    /// Reads a `traceparent`; nothing when it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let mut part = |digits: usize| {
            parts
                .next()
                .filter(|part| part.len() == digits)
                .filter(|part| !part.bytes().any(|byte| byte.is_ascii_uppercase()))
        };
        let [version] = bytes(part(2)?)?;
        let trace_id = bytes(part(32)?)?;
        let span_id = bytes(part(16)?)?;
        let [flags] = bytes(part(2)?)?;
        // Later versions may say more; this one may not.
        let is_whole = version != 0 || parts.next().is_none();
        let is_good = version != 0xff && is_whole && trace_id != [0; 16] && span_id != [0; 8];
        is_good.then_some(Self {
            trace_id,
            span_id,
            flags: flags & KNOWN_FLAGS,
        })
    }

    /// Tells whether the trace is recorded.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Returns the same place in a trace that is recorded, or is not.
    #[must_use]
    pub fn sampled(self, is_sampled: bool) -> Self {
        let flags = (self.flags & !SAMPLED) | if is_sampled { SAMPLED } else { 0 };
        Self { flags, ..self }
    }

    /// Returns the place of another span of the trace.
    #[must_use]
    pub const fn span(self, span_id: [u8; 8]) -> Self {
        Self { span_id, ..self }
    }

    /// Returns the place of the span that these parts name: the same for whoever asks and whenever,
    /// so that a span can be named as a parent before it is recorded, in one process, and recorded
    /// when it has ended, in another.
    #[must_use]
    pub fn derived(self, parts: &[&[u8]]) -> Self {
        let named = crypto::sha256(parts);
        let digest = crypto::sha256(&[b"span", &self.trace_id, &named]);
        let mut span_id = [0; 8];
        span_id.copy_from_slice(&digest[..8]);
        span_id[7] |= u8::from(span_id == [0; 8]);
        self.span(span_id)
    }

    /// Returns the trace's id as text.
    #[must_use]
    pub fn trace_id_text(&self) -> String {
        crypto::hex(&self.trace_id)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (crypto::hex(&self.trace_id), crypto::hex(&self.span_id));
        write!(f, "00-{trace}-{span}-{:02x}", self.flags)
    }
}

/// Reads so many bytes of hex.
fn bytes<const COUNT: usize>(text: &str) -> Option<[u8; COUNT]> {
    // A sign would be read too.
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; COUNT];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn only_what_the_recommendation_allows_is_read() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (text, good) in [
            (GOOD.to_owned(), true),
            (format!(" {GOOD} "), true),
            (format!("cc-{trace}-00f067aa0ba902b7-01-more"), true),
            (format!("00-{trace}-00f067aa0ba902b7-01-more"), false),
            (format!("ff-{trace}-00f067aa0ba902b7-01"), false),
            (format!("00-{trace}-0000000000000000-01"), false),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), false),
            (GOOD.to_uppercase(), false),
            (format!("00-{trace}-00f067aa0ba902b7"), false),
            (format!("00-{trace}-+0f067aa0ba902b7-01"), false),
            (format!("00-{trace}-00f067aa0ba902-01"), false),
            ("00-a-b-01".to_owned(), false),
            (String::new(), false),
            ("é".repeat(20), false),
        ] {
            assert_eq!(TraceContext::parse(&text).is_some(), good, "{text}");
        }
    }

    #[test]
    fn text_round_trips_and_the_flag_can_be_changed() {
        let context = TraceContext::parse(GOOD).expect("is one");
        assert_eq!(context.to_string(), GOOD);
        assert!(context.is_sampled());
        let dark = context.sampled(false);
        assert!(!dark.is_sampled());
        assert_eq!(dark.to_string(), GOOD.replace("b7-01", "b7-00"));
        let odd = TraceContext::parse(&GOOD.replace("b7-01", "b7-ff")).expect("is one");
        assert_eq!(odd.to_string(), GOOD.replace("b7-01", "b7-03"));
    }

    #[test]
    fn a_derived_span_depends_on_the_trace_and_its_parts_alone() {
        let context = TraceContext::parse(GOOD).expect("is one");
        let one = context.derived(&[b"task", b"1"]);
        assert_eq!(one, context.span([7; 8]).derived(&[b"task", b"1"]));
        assert_ne!(one, context.derived(&[b"task", b"2"]));
        assert_ne!(one, context.derived(&[b"task1"]));
        let other = TraceContext::root([1; 16], [1; 8], true);
        assert_ne!(one.span_id, other.derived(&[b"task", b"1"]).span_id);
        let none = TraceContext::root([0; 16], [0; 8], true);
        assert!(TraceContext::parse(&none.to_string()).is_some());
    }
}
