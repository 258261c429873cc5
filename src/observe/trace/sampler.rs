//! Which traces are recorded: decided once, where a trace begins, and carried in its flag.

use crate::base::TraceContext;

/// What is decided where a trace begins.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Share {
    All,
    None,
    /// That share of the traces, by their ids.
    Of(f64),
}

/// The rule by which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    share: Share,
    /// Whether what was decided before, elsewhere, holds here.
    follows: bool,
}

impl Sampler {
    /// Reads `OTEL_TRACES_SAMPLER` and its argument.
    pub(super) fn read(name: Option<&str>, share: Option<&str>) -> Result<Self, String> {
        let ratio = match share {
            None => 1.0,
            Some(text) => text
                .parse()
                .ok()
                .filter(|share| (0.0..=1.0).contains(share))
                .ok_or_else(|| {
                    format!("OTEL_TRACES_SAMPLER_ARG: `{text}` is not a number from 0 to 1")
                })?,
        };
        let (share, follows) = match name.unwrap_or("parentbased_always_on") {
            "always_on" => (Share::All, false),
            "always_off" => (Share::None, false),
            "traceidratio" => (Share::Of(ratio), false),
            "parentbased_always_on" => (Share::All, true),
            "parentbased_always_off" => (Share::None, true),
            "parentbased_traceidratio" => (Share::Of(ratio), true),
            other => {
                return Err(format!(
                    "OTEL_TRACES_SAMPLER: `{other}` is none of always_on, always_off, traceidratio and these after parentbased_"
                ));
            }
        };
        Ok(Self { share, follows })
    }

    /// Tells whether a trace is recorded, which begins here or came with that place.
    #[must_use]
    pub fn takes(&self, trace_id: [u8; 16], parent: Option<&TraceContext>) -> bool {
        match parent {
            Some(parent) if self.follows => parent.is_sampled(),
            _ => match self.share {
                Share::All => true,
                Share::None => false,
                Share::Of(share) => is_within(trace_id, share),
            },
        }
    }
}

/// Tells whether an id lies within a share of all ids: by its lower half, as OpenTelemetry's SDKs
/// have it, so that all processes that sample by the same share take the same traces.
fn is_within(trace_id: [u8; 16], share: f64) -> bool {
    let mut half = [0; 8];
    half.copy_from_slice(&trace_id[8..]);
    let place = u64::from_be_bytes(half) >> 1;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "from 0 to 2^63, which is all the exactness that a share needs"
    )]
    let limit = (share * (1_u64 << 63) as f64) as u64;
    place < limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_taken_and_a_decision_followed() {
        let read = |name, share| Sampler::read(Some(name), share).expect("is one");
        let tenth = read("parentbased_traceidratio", Some("0.1"));
        let ids = (0_u64..1000).map(|n| {
            let mut id = [1; 16];
            id[8..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            id
        });
        let taken = ids.filter(|id| tenth.takes(*id, None)).count();
        assert!((90..=110).contains(&taken), "{taken}");
        let yes = TraceContext::root([0xff; 16], [1; 8], true);
        let no = TraceContext::root([1; 16], [1; 8], false);
        assert!(tenth.takes(yes.trace_id, Some(&yes)));
        assert!(!tenth.takes(no.trace_id, Some(&no)));
        assert!(!read("traceidratio", Some("0.1")).takes(yes.trace_id, Some(&yes)));
        assert!(read("always_on", None).takes(no.trace_id, Some(&no)));
        assert!(!read("parentbased_always_off", None).takes(no.trace_id, None));
        let all = Sampler::read(None, None).expect("is one");
        assert!(all.takes([0xff; 16], None) && !all.takes([0xff; 16], Some(&no)));
    }
}
