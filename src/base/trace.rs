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
/// Bytes of a `traceparent`, of a later version at least.
const TEXT_BYTES: usize = 55;

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
        let text = text.as_bytes().trim_ascii();
        let (known, more) = text.split_at_checked(TEXT_BYTES)?;
        let [version] = bytes(&known[..2])?;
        let trace_id = bytes(&known[3..35])?;
        let span_id = bytes(&known[36..52])?;
        let [flags] = bytes(&known[53..])?;
        let is_divided = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        // Later versions may say more; this one may not.
        let is_whole = more.is_empty() || (version != 0 && more[0] == b'-');
        let is_good =
            is_divided && version != 0xff && is_whole && trace_id != [0; 16] && span_id != [0; 8];
        is_good.then_some(Self {
            trace_id,
            span_id,
            flags: flags & KNOWN_FLAGS,
        })
    }

    /// Reads the `traceparent` of a trace that is recorded; nothing for any other. One that is not
    /// recorded, as most are where only a share is, is told from its last digit alone.
    #[must_use]
    pub fn parse_sampled(text: &str) -> Option<Self> {
        let is_dark = text.len() == TEXT_BYTES
            && digit(text.as_bytes()[TEXT_BYTES - 1]).is_none_or(|flags| flags & SAMPLED == 0);
        if is_dark {
            return None;
        }
        Self::parse(text).filter(Self::is_sampled)
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
        let mut text = *b"00-................................-................-..";
        write_hex(&self.trace_id, &mut text[3..35]);
        write_hex(&self.span_id, &mut text[36..52]);
        write_hex(&[self.flags], &mut text[53..]);
        f.write_str(str::from_utf8(&text).expect("digits and dashes are text"))
    }
}

/// Writes bytes as hex into twice as many.
fn write_hex(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Reads so many bytes of hex, which has no upper case here.
fn bytes<const COUNT: usize>(text: &[u8]) -> Option<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Reads a digit.
const fn digit(text: u8) -> Option<u8> {
    match text {
        b'0'..=b'9' => Some(text - b'0'),
        b'a'..=b'f' => Some(text - b'a' + 10),
        _ => None,
    }
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
            (GOOD.replace("36-00", "36_00"), false),
            (GOOD.replacen("00-4b", "00_4b", 1), false),
            (GOOD.replace("b7-01", "b7_01"), false),
            (GOOD.replace("b7-01", "b7-0g"), false),
            (format!("cc-{trace}-00f067aa0ba902b7-01more"), false),
            ("00-a-b-01".to_owned(), false),
            (String::new(), false),
            ("é".repeat(20), false),
        ] {
            assert_eq!(TraceContext::parse(&text).is_some(), good, "{text}");
            assert_eq!(TraceContext::parse_sampled(&text).is_some(), good, "{text}");
        }
    }

    #[test]
    fn text_round_trips_and_the_flag_can_be_changed() {
        let context = TraceContext::parse(GOOD).expect("is one");
        assert_eq!(context.to_string(), GOOD);
        assert!(context.is_sampled());
        let dark = context.sampled(false);
        assert!(!dark.is_sampled());
        for (text, is_read) in [
            (dark.to_string(), false),
            (format!(" {dark}"), false),
            (GOOD.replace("b7-01", "b7-02"), false),
            (GOOD.replace("b7-01", "b7-0b"), true),
            (format!(" {GOOD}"), true),
        ] {
            assert_eq!(
                TraceContext::parse_sampled(&text).is_some(),
                is_read,
                "{text}"
            );
        }
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
