//! What a process has used, as Linux tells it in `/proc`, and what this one may use.

use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads, those that ended included.
    pub cpu: Duration,
    /// Memory that is in use now. Units: KiB.
    pub memory_kib: u64,
    /// The most memory that was ever in use. Units: KiB.
    pub memory_peak_kib: u64,
}

/// Reads a process; nothing when there is none, or no `/proc`.
#[must_use]
pub fn usage(pid: u32) -> Option<Usage> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    let status = read("status")?;
    Some(Usage {
        cpu: cpu(&read("stat")?, clock_ticks_per_second())?,
        memory_kib: memory(&status, "VmRSS:")?,
        memory_peak_kib: memory(&status, "VmHWM:")?,
    })
}

/// Lets this process open so many files, as far as it may; returns how many it can open if that is
/// less.
pub fn allow_files(wanted: u64) -> Result<(), u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // A limit that is not there allows everything.
    let (Some(now), most) = (current, maximum.unwrap_or(u64::MAX)) else {
        return Ok(());
    };
    if now >= wanted {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(wanted.min(most)),
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) if wanted <= most => Ok(()),
        Ok(()) => Err(most),
        Err(_) => Err(now),
    }
}

/// Reads `utime` and `stime`, the 14th and 15th field. The second field is the name, which may hold
/// spaces and brackets, so the count begins after its last bracket.
fn cpu(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(
        (user + system) * 1000 / ticks_per_second,
    ))
}

fn memory(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc() {
        let stat = "812 (a (b) c) S 1 812 812 0 -1 4194560 9 0 0 0 150 75 3 4 20 0 9 0 77 1 2";
        assert_eq!(cpu(stat, 100), Some(Duration::from_millis(2250)));
        assert_eq!(cpu("812 (a) S 1", 100), None);
        let status = "Name:\ta\nVmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(memory(status, "VmRSS:"), Some(1024));
        assert_eq!(memory(status, "VmSwap:"), None);
    }

    #[test]
    fn files() {
        assert_eq!(allow_files(1), Ok(()));
        let allowed = allow_files(u64::MAX - 1);
        assert!(allowed.is_err_and(|most| most > 0), "{allowed:?}");
    }

    #[test]
    fn this_process() {
        let usage = usage(std::process::id()).expect("this process is there");
        assert!(usage.memory_kib > 0 && usage.memory_peak_kib >= usage.memory_kib);
        assert!(super::usage(u32::MAX).is_none());
    }
}
