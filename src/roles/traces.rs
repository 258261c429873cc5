//! The way of a role's spans out of the process, from the settings that all roles share.

use anyhow::anyhow;

use super::context::env;
use super::exit::{Exit, Failure};
use crate::base::{Clock, Entropy as _, SystemClock, SystemEntropy, TraceContext};
use crate::observe::Traces;
use crate::observe::trace::{
    self, Counted, Lap, Pipeline, Place, Service, Span, TraceSettings, asking,
};

/// Where a role's spans are recorded, and the way out, which is finished when the role ends.
#[derive(Default)]
pub struct Tracing {
    /// Where they are recorded; nowhere without settings.
    pub traces: Traces,
    pipeline: Option<Pipeline>,
}

impl Tracing {
    /// Starts the way out, when there is to be one.
    ///
    /// Errors: the settings cannot be used.
    pub fn start(
        settings: Option<&TraceSettings>,
        service: &Service,
        counted: Counted,
    ) -> anyhow::Result<Self> {
        let Some(settings) = settings else {
            return Ok(Self::default());
        };
        let ports = (
            std::sync::Arc::new(SystemClock) as _,
            std::sync::Arc::new(SystemEntropy) as _,
        );
        let (traces, pipeline) = trace::start(settings, service, counted, ports)
            .map_err(|error| anyhow!("traces cannot be sent: {error}"))?;
        tracing::info!(endpoint = settings.endpoint, protocol = ?settings.protocol, "traces are on");
        Ok(Self {
            traces,
            pipeline: Some(pipeline),
        })
    }

    /// Starts it by the environment, for roles without settings of their own.
    ///
    /// Errors: a variable cannot be used; says which.
    pub fn from_environment(service: &Service, counted: Counted) -> Result<Self, Failure> {
        let invalid = |message: String| Failure::new(Exit::Invalid, message);
        let settings = TraceSettings::read(&env).map_err(invalid)?;
        Self::start(settings.as_ref(), service, counted)
            .map_err(|error| invalid(format!("{error:#}")))
    }

    /// Sends what is left; takes a few seconds at most.
    pub async fn finish(self) {
        if let Some(pipeline) = self.pipeline {
            pipeline.finish().await;
        }
    }
}

/// A job that is asked for: the span of what leads to it, and that of the request.
pub struct Asking<'a> {
    traces: &'a Traces,
    clock: &'a dyn Clock,
    whole: Option<(Place, Lap)>,
    request: Option<(Place, Lap)>,
    /// What the request carries.
    pub traceparent: Option<String>,
}

impl<'a> Asking<'a> {
    /// Begins; `outer` is the trace that the caller is in, which is handed on also where nothing is
    /// recorded.
    #[must_use]
    pub fn begin(traces: &'a Traces, clock: &'a dyn Clock, outer: Option<String>) -> Self {
        let outer = outer.filter(|text| TraceContext::parse(text).is_some());
        let whole = traces
            .begin(outer.as_deref())
            .map(|place| (place, Lap::begin(clock)));
        Self {
            traces,
            clock,
            whole,
            request: None,
            traceparent: outer,
        }
    }

    /// The request goes out now.
    pub fn asks(&mut self) {
        let place = self
            .whole
            .and_then(|(place, _)| self.traces.within(place.context));
        if let Some(place) = place {
            self.request = Some((place, Lap::begin(self.clock)));
            self.traceparent = Some(place.context.to_string());
        }
    }

    /// The request has been answered: by a job's id, or not.
    pub fn answered(&mut self, url: &str, job: Option<&str>) {
        let Some((place, lap)) = self.request.take() else {
            return;
        };
        let span =
            Span::ended("POST", place, &lap).with_some("avtomatika.job.id", job.map(str::to_owned));
        let span = asking(span, "POST", url);
        self.traces.record(match job {
            Some(_) => span,
            None => span.failed("refused"),
        });
    }

    /// All of it has ended, well or by a failure.
    pub fn ended(self, name: String, failed: Option<&'static str>) {
        let Some((place, lap)) = self.whole else {
            return;
        };
        let span = Span::ended(name, place, &lap);
        self.traces.record(match failed {
            Some(code) => span.failed(code),
            None => span,
        });
    }
}

/// Returns who a role is, for collectors.
#[must_use]
pub fn service(name: &str) -> Service {
    Service {
        name: name.to_owned(),
        instance: SystemEntropy.uuid().to_string(),
        attributes: Vec::new(),
    }
}
