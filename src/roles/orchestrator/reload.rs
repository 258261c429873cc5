//! Blueprints from files: read at start, and again when a file changes or at SIGHUP. SIGHUP reads
//! the workers' tokens anew as well. A bad file is told and changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::ApiState;
use crate::blueprint::Problem;
use crate::runtime::Runtime;

/// Editors write a file in several steps: what follows within this time is one change.
const SETTLE: Duration = Duration::from_millis(200);

/// Where blueprints come from.
#[derive(Debug, Clone)]
pub enum BlueprintFiles {
    /// A directory, not searched below.
    Directory(PathBuf),
    /// Files that the program carries: name and text.
    Built(Vec<(String, String)>),
}

/// Reads the blueprint files of a directory, in name order: `*.yaml`, `*.yml`, `*.json`.
pub fn read_blueprints(directory: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let listing = std::fs::read_dir(directory).with_context(|| {
        format!(
            "cannot read the blueprints in {} (BLUEPRINTS_DIR)",
            directory.display()
        )
    })?;
    let mut paths = Vec::new();
    for entry in listing {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml" | "json")) {
            paths.push(path);
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            Ok((path.display().to_string(), text))
        })
        .collect()
}

fn read(files: &BlueprintFiles) -> anyhow::Result<Vec<(String, String)>> {
    match files {
        BlueprintFiles::Directory(directory) => read_blueprints(directory),
        BlueprintFiles::Built(files) => Ok(files.clone()),
    }
}

/// Loads the blueprints at start. Errors in them keep the program from starting.
pub(super) async fn load(runtime: &Runtime, files: &BlueprintFiles) -> anyhow::Result<()> {
    let problems = runtime.load_blueprints(read(files)?).await?;
    let (warnings, errors): (Vec<Problem>, Vec<Problem>) =
        problems.into_iter().partition(|problem| problem.is_warning);
    for warning in warnings {
        tracing::warn!(problem = %warning, "blueprint");
    }
    if errors.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
    anyhow::bail!(
        "{} error(s) in blueprints:\n{}",
        errors.len(),
        list.join("\n")
    )
}

/// Watches for changes until the end.
pub(super) async fn watch(
    runtime: Runtime,
    state: Arc<ApiState>,
    files: BlueprintFiles,
    stop: CancellationToken,
) {
    // One change waiting is as good as many.
    let (notice, mut changes) = mpsc::channel(1);
    let _watcher = watch_files(&files, notice);
    let mut hangup = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be heard");
            return;
        }
    };
    loop {
        let hup = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = hangup.recv() => true,
            Some(()) = changes.recv() => false,
        };
        if hup {
            reload_tokens(&state);
        } else {
            tokio::time::sleep(SETTLE).await;
            // What came meanwhile is part of the change that is read now.
            while changes.try_recv().is_ok() {}
        }
        reload(&runtime, &files).await;
    }
}

fn watch_files(
    files: &BlueprintFiles,
    notice: mpsc::Sender<()>,
) -> Option<notify::RecommendedWatcher> {
    let BlueprintFiles::Directory(directory) = files else {
        return None;
    };
    let on_event = move |event: notify::Result<notify::Event>| {
        let matters = event.is_ok_and(|event| !event.kind.is_access());
        if matters {
            // Full: a change waits already.
            let _ = notice.try_send(());
        }
    };
    let started = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match started {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "blueprint files are not watched; SIGHUP reads them again");
            None
        }
    }
}

fn reload_tokens(state: &ApiState) {
    match state.tokens().reload() {
        Ok(true) => tracing::info!("worker tokens read again"),
        Ok(false) => {}
        Err(error) => tracing::error!(%error, "worker tokens stay as they were"),
    }
}

async fn reload(runtime: &Runtime, files: &BlueprintFiles) {
    let read = match read(files) {
        Ok(read) => read,
        Err(error) => {
            tracing::error!(%error, "blueprints stay as they were");
            return;
        }
    };
    let before: Vec<String> = revisions(runtime);
    match runtime.load_blueprints(read).await {
        Ok(problems) => {
            for problem in &problems {
                tracing::error!(problem = %problem, "blueprint file");
            }
        }
        Err(error) => tracing::error!(%error, "blueprints stay as they were"),
    }
    for revision in revisions(runtime) {
        if !before.contains(&revision) {
            tracing::info!(%revision, "blueprint loaded");
        }
    }
}

fn revisions(runtime: &Runtime) -> Vec<String> {
    let catalog = runtime.blueprints();
    catalog
        .iter()
        .map(|one| format!("{}@{}", one.name, one.revision))
        .collect()
}
