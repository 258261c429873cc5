//! The orchestrator as a whole, measured by `avtomatika bench`, beside the original where its virtual
//! environment is: `cargo bench --bench orchestrator -- [PART…]`.
//!
//! Each part starts an orchestrator of its own on an empty store (SQLite, every commit synced) in a
//! temporary folder, as a process of its own, and the original on its memory store, with rate limits
//! off on both. What a figure means is said in `docs/benchmarks.md`.
//!
//! Environment: `ORIGINAL_VENV` names the virtual environment of the original, `BENCH_SECONDS` how
//! long a workload counts, `BENCH_JOBS` how many jobs the full store of `full_store` has,
//! `BENCH_MINUTES` how long `steady` runs.

mod parts;
mod server;
mod tell;

use std::process::ExitCode;

/// Measures something and prints its table.
type Part = fn(&Settings) -> Result<(), String>;

/// What can be measured, by name, and whether it is when nothing is named.
const PARTS: [(&str, bool, Part); 7] = [
    ("throughput", true, parts::throughput),
    ("latency", true, parts::latency),
    ("start", true, parts::start),
    ("full_store", false, parts::full_store),
    ("idle_polls", false, parts::idle_polls),
    ("fan_out", false, parts::fan_out),
    ("steady", false, parts::steady),
];

/// What the environment says.
struct Settings {
    original: Option<std::path::PathBuf>,
    seconds: u64,
    jobs: u64,
    minutes: u64,
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
        Ok(Self {
            original: original.filter(|python| python.exists()),
            seconds: number("BENCH_SECONDS", 10)?,
            jobs: number("BENCH_JOBS", 1_000_000)?,
            minutes: number("BENCH_MINUTES", 10)?,
        })
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
            usual
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
