//! A private Prometheus that scrapes a few targets, and the program that checks its files.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::launch::{Launched, free_port, run};

/// Tries to find a port that nobody takes meanwhile.
const TRIES: u32 = 20;

/// What is scraped: the job's name, address and path.
pub(crate) type Target<'a> = (&'a str, &'a str, &'a str);

/// A Prometheus with its data in a temporary folder.
pub(crate) struct Prometheus {
    _launched: Launched,
    port: u16,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes its targets every second and evaluates rules as often.
    pub(crate) fn start(targets: &[Target<'_>], rules: &Path) -> Self {
        for _ in 0..TRIES {
            if let Some(started) = Self::try_start(targets, rules) {
                return started;
            }
        }
        panic!("no port was free in {TRIES} tries");
    }

    fn try_start(targets: &[Target<'_>], rules: &Path) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = folder.path().join("prometheus.yml");
        let mut text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: [{}]
scrape_configs:
",
            rules.display()
        );
        for (job, address, path) in targets {
            text.push_str(&format!(
                "  - job_name: {job}
    metrics_path: {path}
    static_configs: [{{ targets: [\"{address}\"] }}]
"
            ));
        }
        std::fs::write(&settings, text).expect("is written");
        let port = free_port();
        let arguments = [
            format!("--config.file={}", settings.display()),
            format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let log = folder.path().join("log");
        let program = Path::new("prometheus");
        let mut launched = Launched::start(program, &arguments, None, &log);
        let is_up = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        let is_up = launched.comes_up(is_up);
        let said = launched.said();
        assert!(is_up || said.contains("in use"), "{said}");
        is_up.then_some(Self {
            _launched: launched,
            port,
            _folder: folder,
        })
    }

    /// Returns the address of one of its API's routes.
    pub(crate) fn url(&self, route: &str) -> String {
        format!("http://127.0.0.1:{}/api/v1/{route}", self.port)
    }
}

/// Runs `promtool`; panics with all that it said when it finds something.
pub(crate) fn promtool(arguments: &[&str], file: &Path) -> String {
    run(Command::new("promtool").args(arguments).arg(file))
}

/// Has `promtool` check what a scrape has answered; returns what it found, if anything.
pub(crate) fn check_metrics(text: &str, folder: &Path) -> String {
    let file: PathBuf = folder.join("scraped");
    std::fs::write(&file, text).expect("is written");
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::from(std::fs::File::open(&file).expect("is there")))
        .output()
        .expect("promtool runs: tests/servers/install.sh installs it");
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
