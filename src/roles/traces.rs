//! The way of a role's spans out of the process, from the settings that all roles share.

use anyhow::anyhow;

use crate::base::{Entropy as _, SystemClock, SystemEntropy};
use crate::observe::Traces;
use crate::observe::trace::{self, Counted, Pipeline, Service, TraceSettings};

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

    /// Sends what is left; takes a few seconds at most.
    pub async fn finish(self) {
        if let Some(pipeline) = self.pipeline {
            pipeline.finish().await;
        }
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
