//! The figures of the roles that are no orchestrator. Each has a set of its own, which it serves at an
//! address of its own; what happens to it is counted, how it stands is looked at on a scrape.

mod scheduler;
mod sink;
mod worker;

use prometheus::IntCounter;

use super::definition::Definition;
use super::register::Register;

pub use scheduler::{SCHEDULER, SchedulerMetrics, SlotEnd};
pub use sink::{Receipt, SINK, SinkMetrics};
pub use worker::{
    Beaten, Handed, Moved, OrchestratorStanding, Polled, Reported, WORKER, WorkerMetrics,
    WorkerStanding,
};

/// Returns one counter for each value of a metric's one label, in the order of its enum.
fn by_outcome<const N: usize>(
    register: &Register,
    definition: &Definition,
    outcomes: [&str; N],
) -> [IntCounter; N] {
    let counters = register.counters(definition);
    outcomes.map(|outcome| counters.with_label_values(&[outcome]))
}

#[cfg(test)]
mod tests {
    use super::super::PROCESS;
    use super::*;

    /// What a scrape shows is what the tables tell: nothing is missing in either, and every name is
    /// used once.
    #[test]
    fn each_role_shows_the_figures_of_its_table() {
        let worker = WorkerMetrics::new();
        let timed = Some(std::time::Duration::from_secs(1));
        worker.ended("resize", "success", std::time::Duration::from_secs(1));
        worker.transferred(Moved::Download, timed);
        let standing = WorkerStanding {
            running: 1,
            room: 2,
            orchestrators: vec![OrchestratorStanding {
                name: "localhost:8080".to_owned(),
                is_up: true,
                heard: timed,
            }],
        };
        let scheduler = SchedulerMetrics::new();
        scheduler.ended("nightly", SlotEnd::Fired);
        scheduler.next("nightly", Some(crate::base::Timestamp(1)));
        let sink = SinkMetrics::new();
        sink.received("job_finished", Receipt::Verified);
        for (text, table) in [
            (worker.text(&standing), WORKER),
            (scheduler.text(), SCHEDULER),
            (sink.text(), SINK),
        ] {
            let mut expected: Vec<_> = table.iter().chain(PROCESS).map(|one| one.name).collect();
            expected.sort_unstable();
            let help = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
            let seen: Vec<_> = help.filter_map(|line| line.split(' ').next()).collect();
            assert_eq!(seen, expected);
        }
    }
}
