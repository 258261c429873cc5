//! The ways from state to state, for checks and pictures.

use super::{Action, Blueprint, Body, Compiled};

/// One way out of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// When it is taken: a condition, a status, a decision; empty for a plain `go_to`.
    pub label: String,
    /// Where it leads.
    pub to: String,
    /// Whether it is taken without any wait.
    pub is_instant: bool,
    /// The child blueprint that has to end first.
    pub child: Option<String>,
}

impl Body {
    /// Returns every way out, in the order of the file.
    #[must_use]
    pub fn ways(&self, compiled: &Compiled) -> Vec<Way> {
        let mut ways = Vec::new();
        collect(self, "", compiled, &mut ways);
        ways
    }

    /// Tells whether some branch of this body ends the job.
    #[must_use]
    pub fn may_end(&self) -> bool {
        match &self.action {
            Action::End(_) => true,
            Action::Choose {
                branches,
                otherwise,
            } => {
                branches.iter().any(|branch| branch.body.may_end())
                    || otherwise.as_ref().is_some_and(|body| body.may_end())
            }
            _ => false,
        }
    }
}

impl Blueprint {
    /// Returns every way of the blueprint, with the state that it leaves.
    pub fn ways(&self) -> impl Iterator<Item = (&str, Way)> {
        self.states.iter().flat_map(|(name, state)| {
            state
                .body
                .ways(&self.compiled)
                .into_iter()
                .map(move |way| (name.as_str(), way))
        })
    }
}

/// Adds the ways of one body; `before` is the condition under which it stands.
fn collect(body: &Body, before: &str, compiled: &Compiled, ways: &mut Vec<Way>) {
    let join = |label: &str| match (before, label) {
        ("", label) => label.to_owned(),
        (before, "") => before.to_owned(),
        (before, label) => format!("{before} → {label}"),
    };
    let mut add = |label: &str, to: &str| {
        ways.push(Way {
            label: join(label),
            to: to.to_owned(),
            is_instant: false,
            child: None,
        });
    };
    match &body.action {
        Action::GoTo(to) => ways.push(Way {
            label: join(""),
            to: to.clone(),
            is_instant: true,
            child: None,
        }),
        Action::Choose {
            branches,
            otherwise,
        } => {
            for branch in branches {
                collect(
                    &branch.body,
                    &join(compiled.condition_source(branch.when)),
                    compiled,
                    ways,
                );
            }
            if let Some(body) = otherwise {
                collect(body, &join("else"), compiled, ways);
            }
        }
        Action::Dispatch(dispatch) => {
            dispatch.on.iter().for_each(|(status, to)| add(status, to));
            dispatch
                .on_event
                .iter()
                .for_each(|(event, to)| add(&format!("event {event}"), to));
        }
        Action::Parallel(parallel) => {
            add("results", &parallel.into);
            if let Some(to) = &parallel.on_failure {
                add("failure", to);
            }
        }
        Action::Run(run) => ways.extend(run.on.iter().map(|(outcome, to)| Way {
            label: join(outcome),
            to: to.clone(),
            is_instant: false,
            child: Some(run.blueprint.clone()),
        })),
        Action::Approve(approve) => approve
            .on
            .iter()
            .for_each(|(decision, to)| add(decision, to)),
        Action::Wait(wait) => wait.on.iter().for_each(|(outcome, to)| add(outcome, to)),
        Action::End(_) => {}
    }
}
