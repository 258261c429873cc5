//! Blueprints from files: read at start, and again when a file changes or at SIGHUP, as the files of
//! clients and workers are. Certificates are read again at SIGHUP. A bad file is told and changes
//! nothing.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use notify::{RecursiveMode, Watcher as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use crate::blueprint::Problem;
use crate::net::ListenerTls;
use crate::runtime::Runtime;

/// Editors write a file in several steps: what follows within this time is one change.
const SETTLE: Duration = Duration::from_millis(200);
/// Changes that are taken for one.
const SETTLE_MAX: u32 = 10;

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

/// Changes and signals as they come; nothing that happens after [`Changes::listen`] is missed.
pub(super) struct Changes {
    blueprints: mpsc::Receiver<()>,
    access: mpsc::Receiver<()>,
    hangup: Signal,
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Changes {
    /// Begins to listen, before the files are read for the first time.
    ///
    /// Errors: SIGHUP cannot be heard, which would end the process instead.
    pub(super) fn listen(files: &BlueprintFiles, access: Vec<PathBuf>) -> anyhow::Result<Self> {
        // One change waiting is as good as many.
        let (notice, blueprints) = mpsc::channel(1);
        let (access_notice, access_changes) = mpsc::channel(1);
        let watched = Watched {
            blueprints: match files {
                // Changes are told by whole paths.
                BlueprintFiles::Directory(directory) => {
                    let whole = std::path::absolute(directory);
                    Some((whole.unwrap_or_else(|_| directory.clone()), notice))
                }
                BlueprintFiles::Built(_) => None,
            },
            access: (access, access_notice),
        };
        Ok(Self {
            blueprints,
            access: access_changes,
            hangup: signal(SignalKind::hangup()).context("SIGHUP cannot be heard")?,
            _watcher: watched.start(),
        })
    }
}

/// Reads again what changes, until the end.
pub(super) async fn watch(
    runtime: Runtime,
    mut access: Access,
    (files, mut changes): (BlueprintFiles, Changes),
    certificates: Vec<Arc<ListenerTls>>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = changes.hangup.recv() => {
                access.reload();
                reload_certificates(&certificates);
                reload(&runtime, &files).await;
            }
            Some(()) = changes.access.recv() => {
                settled(&mut changes.access).await;
                access.reload_changed();
            }
            Some(()) = changes.blueprints.recv() => {
                settled(&mut changes.blueprints).await;
                reload(&runtime, &files).await;
            }
        }
    }
}

/// Waits until nothing has come for a while: what comes meanwhile is part of the same change. One
/// that does not end is read as it is.
async fn settled(changes: &mut mpsc::Receiver<()>) {
    for _ in 0..SETTLE_MAX {
        if tokio::time::timeout(SETTLE, changes.recv()).await.is_err() {
            return;
        }
    }
}

/// What is watched, and who is told. One watcher for all: a system has few of them.
struct Watched {
    blueprints: Option<(PathBuf, mpsc::Sender<()>)>,
    access: (Vec<PathBuf>, mpsc::Sender<()>),
}

impl Watched {
    /// Returns the directories: those of the files, because most editors put a new file in the place
    /// of the old.
    fn directories(&self) -> BTreeSet<PathBuf> {
        let beside = |file: &PathBuf| match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let blueprints = self
            .blueprints
            .iter()
            .map(|(directory, _)| directory.clone());
        blueprints.chain(self.access.0.iter().map(beside)).collect()
    }

    fn tell(&self, path: &Path) {
        let name = path.file_name();
        // Mounted configuration is a link through `..data`, which is swapped.
        let is_access = name == Some(OsStr::new("..data"))
            || self.access.0.iter().any(|file| file.file_name() == name);
        if is_access {
            // Full: a change waits already.
            let _ = self.access.1.try_send(());
        }
        if let Some((directory, notice)) = &self.blueprints
            && path.starts_with(directory)
        {
            // As above.
            let _ = notice.try_send(());
        }
    }

    fn start(self) -> Option<notify::RecommendedWatcher> {
        let directories = self.directories();
        if directories.is_empty() {
            return None;
        }
        let on_event = move |event: notify::Result<notify::Event>| {
            if let Ok(event) = event
                && !event.kind.is_access()
            {
                event.paths.iter().for_each(|path| self.tell(path));
            }
        };
        let started = notify::recommended_watcher(on_event).and_then(|mut watcher| {
            for directory in directories {
                watcher.watch(&directory, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        match started {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "files are not watched; SIGHUP reads them again");
                None
            }
        }
    }
}

fn reload_certificates(certificates: &[Arc<ListenerTls>]) {
    for listener in certificates {
        match listener.reload() {
            Ok(()) => tracing::info!("certificates read again"),
            Err(error) => tracing::error!(%error, "certificates stay as they were"),
        }
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
