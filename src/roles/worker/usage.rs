//! The machine's load, read from `/proc`; where that is missing, nothing is said of it.

use std::fs;
use std::time::Duration;

use tokio::time::Instant;

use super::config::Timing;
use crate::protocol::wire::Usage;

/// Ticks of the processors: busy ones and all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    all: u64,
}

/// Says what is new about the load.
pub(super) struct Telemetry {
    deadband: f64,
    interval: Duration,
    ticks: Option<Ticks>,
    sent: Option<(Usage, Instant)>,
}

impl Telemetry {
    /// Starts without having said anything.
    pub(super) fn new(timing: &Timing) -> Self {
        Self {
            deadband: timing.telemetry_deadband,
            interval: timing.telemetry,
            ticks: None,
            sent: None,
        }
    }

    /// Returns the load when it has moved enough, or was not told for long.
    pub(super) fn news(&mut self) -> Option<Usage> {
        let usage = self.measure()?;
        if let Some((last, at)) = &self.sent
            && at.elapsed() < self.interval
            && !has_moved(last, &usage, self.deadband)
        {
            return None;
        }
        self.sent = Some((usage.clone(), Instant::now()));
        Some(usage)
    }

    fn measure(&mut self) -> Option<Usage> {
        let now = ticks(&fs::read_to_string("/proc/stat").ok()?)?;
        let ram_used_gb = ram_used_gb(&fs::read_to_string("/proc/meminfo").ok()?)?;
        let cpu_load_percent = self.ticks.map_or(0.0, |before| load_percent(before, now));
        self.ticks = Some(now);
        Some(Usage {
            cpu_load_percent,
            ram_used_gb,
            devices_usage: None,
        })
    }
}

/// Processor load moves in points, memory in percent of what it was.
fn has_moved(last: &Usage, now: &Usage, deadband: f64) -> bool {
    let points = (last.cpu_load_percent - now.cpu_load_percent).abs();
    let share = (last.ram_used_gb - now.ram_used_gb).abs() * 100.0;
    points > deadband || share > deadband * last.ram_used_gb.max(0.01)
}

/// Reads the first line of `/proc/stat`.
fn ticks(text: &str) -> Option<Ticks> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .map_while(|f| f.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user time.
    let all: u64 = fields.iter().take(8).sum();
    let idle = fields.get(3)? + fields.get(4).unwrap_or(&0);
    Some(Ticks {
        busy: all.saturating_sub(idle),
        all,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "tick counts of minutes fit a double exactly"
)]
fn load_percent(before: Ticks, now: Ticks) -> f64 {
    let all = now.all.saturating_sub(before.all);
    let busy = now.busy.saturating_sub(before.busy);
    if all == 0 {
        0.0
    } else {
        round(busy as f64 * 100.0 / all as f64)
    }
}

/// Reads total and available memory of `/proc/meminfo`, which are in KiB.
#[expect(
    clippy::cast_precision_loss,
    reason = "memory in KiB fits a double exactly"
)]
fn ram_used_gb(text: &str) -> Option<f64> {
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let used = field("MemTotal:")?.saturating_sub(field("MemAvailable:")?);
    Some(round(used as f64 / (1024.0 * 1024.0)))
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files() {
        let before = ticks("cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 1").unwrap();
        let now = ticks("cpu  30 0 20 140 10 0 0 0 0 0\n").unwrap();
        assert_eq!(
            (before, load_percent(before, now)),
            (Ticks { busy: 20, all: 100 }, 30.0)
        );
        assert!(load_percent(now, now).abs() < f64::EPSILON);
        let memory = "MemTotal:  4194304 kB\nMemFree: 1 kB\nMemAvailable: 1048576 kB\n";
        assert_eq!(ram_used_gb(memory), Some(3.0));
        assert_eq!(ticks("intr 1"), None);
        assert_eq!(ram_used_gb(""), None);
    }

    #[test]
    fn small_moves_are_no_news() {
        let usage = |cpu: f64, ram: f64| Usage {
            cpu_load_percent: cpu,
            ram_used_gb: ram,
            devices_usage: None,
        };
        for (now, moved) in [
            (usage(54.9, 10.0), false),
            (usage(55.1, 10.0), true),
            (usage(50.0, 10.4), false),
            (usage(50.0, 10.6), true),
        ] {
            assert_eq!(has_moved(&usage(50.0, 10.0), &now, 5.0), moved, "{now:?}");
        }
    }
}
