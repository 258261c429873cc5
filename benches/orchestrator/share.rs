//! A share of a core for one process, by a control group of its own.

use std::path::{Path, PathBuf};

/// In microseconds; short, so that a process is held up for milliseconds and not for longer.
const PERIOD: u32 = 5_000;

/// A control group with a share of a core; dropping it lets go of it, once its processes have ended.
pub struct Share(PathBuf);

impl Share {
    /// Makes one of so many hundredths of a core. Fails where the machine does not let us.
    pub fn make(name: &str, percent: u32) -> std::io::Result<Self> {
        let (root, quota) = (Path::new("/sys/fs/cgroup"), PERIOD * percent / 100);
        let name = format!("avtomatika-bench-{}-{name}", std::process::id());
        let (first, settings) = if root.join("cgroup.controllers").exists() {
            let settings = vec![("cpu.max", format!("{quota} {PERIOD}"))];
            (root.join(name), settings)
        } else {
            let settings = vec![
                ("cpu.cfs_period_us", PERIOD.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ];
            (root.join("cpu").join(name), settings)
        };
        std::fs::create_dir(&first)?;
        let share = Self(first);
        for (file, value) in settings {
            std::fs::write(share.0.join(file), value)?;
        }
        Ok(share)
    }

    /// Takes a process in.
    pub fn take(&self, process: u32) -> std::io::Result<()> {
        std::fs::write(self.0.join("cgroup.procs"), process.to_string())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // One that is still in use stays, and holds up nobody.
        let _ = std::fs::remove_dir(&self.0);
    }
}
