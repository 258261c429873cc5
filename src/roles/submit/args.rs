//! The arguments of `submit`, and the request that they make.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::value::parse_duration;
use crate::roles::exit::Failure;
use crate::roles::remote::RemoteArgs;

/// What `submit` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  avtomatika submit full_showcase --data '{\"quality\":\"high\"}'
  avtomatika submit full_showcase --data @input.json --set quality=low --timeout 2m
  avtomatika submit full_showcase --detach -o json

The job's result goes to stdout, progress to stderr. The exit code is the job's outcome.")]
pub struct Args {
    /// The blueprint's name
    pub blueprint: String,
    /// The input: JSON, or @FILE, or @- for stdin
    #[arg(short, long, value_name = "JSON|@FILE")]
    pub data: Option<String>,
    /// One member of the input; the value is JSON when it can be read as such, else text. Dots lead
    /// into objects
    #[arg(short, long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// At most one job for each key; a random one when not given, so that a repeated try makes no
    /// second job
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// A label for finding the job again
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// Where webhooks go
    #[arg(long, value_name = "URL")]
    pub webhook_url: Option<String>,
    /// Longest wait for a worker
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub dispatch_timeout: Option<Duration>,
    /// Do not wait for the end
    #[arg(long)]
    pub detach: bool,
    /// Longest wait for the end; the job goes on after it
    #[arg(short, long, value_name = "DURATION", value_parser = duration, conflicts_with = "detach")]
    pub timeout: Option<Duration>,
    /// The blueprint's endpoint below the client routes, when it is not /jobs/BLUEPRINT
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Where the orchestrator is.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Reads `45s`, `10m`, `24h`, `30d` or seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "expected a duration such as 45s, 10m or 2h".to_owned())
}

impl Args {
    /// Makes the request's body.
    pub fn body(&self) -> Result<Value, Failure> {
        let mut data = match &self.data {
            None => Value::Object(Map::new()),
            Some(text) => read_data(text)?,
        };
        for pair in &self.set {
            let (key, value) = split(pair, "--set")?;
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            put(&mut data, key, value)?;
        }
        let mut body = Map::new();
        body.insert("initial_data".to_owned(), data);
        if let Some(url) = &self.webhook_url {
            body.insert("webhook_url".to_owned(), Value::from(url.as_str()));
        }
        if let Some(timeout) = self.dispatch_timeout {
            body.insert(
                "dispatch_timeout".to_owned(),
                Value::from(timeout.as_secs()),
            );
        }
        let mut labels = Map::new();
        for pair in &self.labels {
            let (key, value) = split(pair, "--label")?;
            labels.insert(key.to_owned(), Value::from(value));
        }
        if !labels.is_empty() {
            body.insert("labels".to_owned(), Value::Object(labels));
        }
        Ok(Value::Object(body))
    }
}

fn read_data(text: &str) -> Result<Value, Failure> {
    let (name, text) = match text.strip_prefix('@') {
        None => ("--data".to_owned(), text.to_owned()),
        Some("-") => (
            "stdin".to_owned(),
            std::io::read_to_string(std::io::stdin()).map_err(|e| unread("stdin", &e))?,
        ),
        Some(file) => (
            file.to_owned(),
            std::fs::read_to_string(file).map_err(|e| unread(file, &e))?,
        ),
    };
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("{name} is not JSON: {error}")).hint(
            "quote it for the shell: --data '{\"quality\":\"high\"}', or use --set quality=high",
        )
    })
}

fn unread(name: &str, error: &std::io::Error) -> Failure {
    Failure::usage(format!("{name} cannot be read: {error}"))
}

fn split<'a>(pair: &'a str, flag: &str) -> Result<(&'a str, &'a str), Failure> {
    match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key, value)),
        _ => Err(Failure::usage(format!("{flag} `{pair}` is not KEY=VALUE"))),
    }
}

/// Puts a value under a dotted key, making objects on the way.
fn put(data: &mut Value, key: &str, value: Value) -> Result<(), Failure> {
    let mut place = data;
    for part in key.split('.') {
        let Value::Object(members) = place else {
            return Err(Failure::usage(format!(
                "--set {key}: `{part}` does not lie in an object"
            )));
        };
        place = members
            .entry(part)
            .or_insert_with(|| Value::Object(Map::new()));
    }
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn body(line: &[&str]) -> Result<Value, String> {
        let line = ["submit", "b", "--token", "t"].iter().chain(line);
        let args = Line::try_parse_from(line)
            .map_err(|error| error.to_string())?
            .args;
        args.body().map_err(|failure| failure.to_string())
    }

    #[test]
    fn requests_are_made() {
        let cases: [(&[&str], Value); 5] = [
            (&[], json!({"initial_data": {}})),
            (&["--data", "[1]"], json!({"initial_data": [1]})),
            (
                &[
                    "-d",
                    "{\"a\":{\"b\":1}}",
                    "--set",
                    "a.c=true",
                    "--set",
                    "q=low",
                    "-s",
                    "n=1.5",
                    "-s",
                    "t=x=y",
                ],
                json!({"initial_data": {"a": {"b": 1, "c": true}, "q": "low", "n": 1.5, "t": "x=y"}}),
            ),
            (
                &["--webhook-url", "http://h/", "--dispatch-timeout", "2m"],
                json!({"initial_data": {}, "webhook_url": "http://h/", "dispatch_timeout": 120}),
            ),
            (
                &["-l", "team=media"],
                json!({"initial_data": {}, "labels": {"team": "media"}}),
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(body(line), Ok(expected), "{line:?}");
        }
    }

    #[test]
    fn bad_requests_are_refused() {
        for (line, word) in [
            (&["--data", "{quality:1}"][..], "--data is not JSON"),
            (&["--data", "@/no/such/file"], "cannot be read"),
            (&["--set", "nothing"], "is not KEY=VALUE"),
            (
                &["--data", "[1]", "--set", "a=1"],
                "does not lie in an object",
            ),
            (&["--timeout", "soon"], "expected a duration"),
            (&["--timeout", "1s", "--detach"], "cannot be used with"),
        ] {
            let message = body(line).expect_err("refused");
            assert!(message.contains(word), "{line:?}: {message}");
        }
    }
}
