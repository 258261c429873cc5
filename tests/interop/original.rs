//! The original's orchestrator as a process.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Ended, Process, command, run};
use crate::python::Environment;
use crate::site::{CLIENT, SECRET, WORKER};

/// A running one, with its store in memory and a folder for those who talk to it.
pub(crate) struct Original {
    pub(crate) url: String,
    pub(crate) process: Process,
    folder: TempDir,
}

impl Original {
    /// Starts one on a free port; it signs its tasks.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with more, or other, of its variables.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Environment::Orchestrator.script("orchestrator.py", folder.path());
        command
            .env("CLIENT_TOKEN", CLIENT)
            .env("GLOBAL_WORKER_TOKEN", WORKER)
            .env("ORCHESTRATOR_SECRET_KEY", SECRET)
            .env("TASK_FILES_DIR", folder.path().join("payloads"))
            // A poll that nobody waits for any more would hold up its end.
            .env("WORKER_POLL_TIMEOUT_SECONDS", "1")
            .env("LOG_LEVEL", "INFO")
            .envs(settings.iter().copied());
        let process = Process::start(command);
        let said = process.says("listening at ").await;
        let (_, url) = said.split_once("listening at ").expect("the address");
        Self {
            url: url.to_owned(),
            process,
            folder,
        }
    }

    /// Returns a place in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts one of our roles beside it, its log as JSON.
    pub(crate) fn role(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Process {
        let mut command = command(self.folder.path(), arguments);
        command
            .env("PATH", "/usr/bin:/bin")
            .env("AVTOMATIKA_URL", &self.url)
            .env("CLIENT_TOKEN", CLIENT)
            .env("ORCHESTRATOR_URL", &self.url)
            .env("WORKER_TOKEN", WORKER)
            .env("LOG_LEVEL", "info,avtomatika=debug")
            .env("LOG_FORMAT", "json")
            .envs(environment.iter().copied());
        Process::start(command)
    }

    /// Runs one of our client's commands to its end.
    pub(crate) async fn ask(&self, arguments: &[&str]) -> Ended {
        let mut command = command(self.folder.path(), arguments);
        command
            .env("AVTOMATIKA_URL", &self.url)
            .env("CLIENT_TOKEN", CLIENT);
        run(command).await
    }

    /// Creates a job by our `submit` without waiting for it.
    pub(crate) async fn create(&self, inputs: &[&str]) -> String {
        let mut arguments = vec!["submit", "errand", "--detach", "-o", "json"];
        for input in inputs {
            arguments.extend(["--set", input]);
        }
        let created = self.ask(&arguments).await.with(0).json();
        created["job_id"].as_str().expect("an id").to_owned()
    }

    /// Returns a job as its owner sees it.
    pub(crate) async fn job(&self, job: &str) -> Value {
        let show = ["jobs", "show", job, "-o", "json"];
        self.ask(&show).await.with(0).json()
    }

    /// Tells it to stop.
    pub(crate) async fn stop(self) -> Ended {
        self.process.stop().await.with(0)
    }
}
