//! The interpreters with packages from PyPI, and the scripts that run on them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// Which packages an interpreter has: the original's worker, its orchestrator, or Schemathesis.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Environment {
    Worker,
    Orchestrator,
    Schemathesis,
}

impl Environment {
    fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Orchestrator => "orchestrator",
            Self::Schemathesis => "schemathesis",
        }
    }

    /// Returns the interpreter, which must have exactly what the requirements name.
    pub(crate) fn interpreter(self) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let requirements = format!("requirements-{}.txt", self.name());
        let wanted = std::fs::read_to_string(root.join("tests/interop").join(requirements))
            .expect("the requirements");
        let folder = root.join(".venv").join(self.name());
        let installed = std::fs::read_to_string(folder.join("requirements.txt"));
        assert!(
            installed.is_ok_and(|installed| installed == wanted),
            "{} is missing or not of the present requirements: run tests/interop/environments.sh, \
             as `make test` does",
            folder.display()
        );
        folder.join("bin/python")
    }

    /// Makes a command of a script of this folder's with an empty environment, in a folder of its
    /// own.
    pub(crate) fn script(self, script: &str, folder: &Path) -> Command {
        let mut command = self.command(folder);
        command.arg(script_path(script));
        command
    }

    /// Makes a command of the interpreter with an empty environment, in a folder of its own.
    pub(crate) fn command(self, folder: &Path) -> Command {
        let mut command = Command::new(self.interpreter());
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TMPDIR", folder)
            // Compiled files would be left beside the script.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .current_dir(folder)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// Returns where a script is.
pub(crate) fn script_path(script: impl AsRef<OsStr>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/interop")
        .join(script.as_ref())
}
