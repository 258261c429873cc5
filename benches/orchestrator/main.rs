//! The orchestrator as a whole, measured by `avtomatika bench`, beside the original where its virtual
//! environment is: `cargo bench --bench orchestrator -- [PART…]`.
//!
//! Each part starts an orchestrator of its own on an empty store (SQLite, every commit synced) in a
//! temporary folder, as a process of its own, and the original on its memory store, with rate limits
//! off on both. With `STORE=redis` both are on a private Redis of their own, with `HISTORY=postgres`
//! ours keeps its history in a private PostgreSQL besides. What a figure means is said in
//! `docs/benchmarks.md`.
//!
//! Environment: `ORIGINAL_VENV` names the virtual environment of the original, `BENCH_SECONDS` how
//! long a workload counts, `BENCH_JOBS` how many jobs the full store of `full_store` has,
//! `BENCH_MINUTES` how long `steady` runs.

mod backing;
mod collector;
mod fleet;
mod parts;
mod scrape;
mod server;
#[expect(dead_code, reason = "shared with tests of real servers")]
#[path = "../../tests/servers/mod.rs"]
mod servers;
mod share;
mod tell;

use std::process::ExitCode;

use backing::Store;

/// Measures something and prints its table.
type Part = fn(&Settings) -> Result<(), String>;

/// When a part is measured though nothing is named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usual {
    Always,
    Never,
    /// With `STORE=redis`.
    OnRedis,
    /// With `HISTORY=postgres`.
    WithHistory,
}

/// What can be measured, by name.
const PARTS: [(&str, Usual, Part); 12] = [
    ("throughput", Usual::Always, parts::throughput),
    ("latency", Usual::Always, parts::latency),
    ("start", Usual::Always, parts::start),
    ("round_trips", Usual::OnRedis, fleet::round_trips),
    ("orchestrators", Usual::OnRedis, fleet::orchestrators),
    ("history", Usual::WithHistory, fleet::history),
    ("traces", Usual::Never, fleet::traces),
    ("full_store", Usual::Never, parts::full_store),
    ("idle_polls", Usual::Never, parts::idle_polls),
    ("scrape", Usual::Never, scrape::scrape),
    ("fan_out", Usual::Never, parts::fan_out),
    ("steady", Usual::Never, parts::steady),
];

/// What the environment says.
struct Settings {
    original: Option<std::path::PathBuf>,
    seconds: u64,
    jobs: u64,
    minutes: u64,
    store: Store,
    has_history: bool,
}

impl Settings {
    fn read() -> Result<Self, String> {
        let number = |name: &str, usual: u64| match std::env::var(name) {
            Ok(text) => text
                .parse()
                .map_err(|_| format!("{name} is `{text}`, expected a whole number")),
            Err(_) => Ok(usual),
        };
        let original = std::env::var_os("ORIGINAL_VENV").filter(|text| !text.is_empty());
        let original = original.map(|folder| std::path::PathBuf::from(folder).join("bin/python"));
        let choice = |name: &str, other: &str| match std::env::var(name).as_deref() {
            Err(_) | Ok("") => Ok(false),
            Ok(text) if text == other => Ok(true),
            Ok(text) => Err(format!("{name} is `{text}`, expected `{other}` or nothing")),
        };
        let store = if choice("STORE", "redis")? {
            Store::Redis
        } else {
            Store::Embedded
        };
        Ok(Self {
            store,
            has_history: choice("HISTORY", "postgres")?,
            original: original.filter(|python| python.exists()),
            seconds: number("BENCH_SECONDS", 10)?,
            jobs: number("BENCH_JOBS", 1_000_000)?,
            minutes: number("BENCH_MINUTES", 10)?,
        })
    }
}

impl Settings {
    fn has(&self, usual: Usual) -> bool {
        match usual {
            Usual::Always => true,
            Usual::Never => false,
            Usual::OnRedis => self.store == Store::Redis,
            Usual::WithHistory => self.has_history,
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tell::line(&format!("failed: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    // Cargo passes `--bench`.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let known = PARTS.map(|(name, ..)| name);
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!(
            "no part `{unknown}`; there are {}",
            known.join(", ")
        ));
    }
    let settings = Settings::read()?;
    if settings.original.is_none() {
        tell::line("ORIGINAL_VENV names no virtual environment: measured without the original");
    }
    for (name, usual, part) in PARTS {
        let is_wanted = if wanted.is_empty() {
            settings.has(usual)
        } else {
            wanted.iter().any(|wanted| wanted == name)
        };
        if is_wanted {
            tell::line(&format!("\n## {name}"));
            part(&settings)?;
        }
    }
    Ok(())
}
