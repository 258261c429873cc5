//! What makes a shell's script of a guide: which lines stay, how they are awaited, what the script may call.

use crate::shell::{Command, Line};

/// Roles that stay, and what they say when they are there.
const ROLES: [(&str, &str); 5] = [
    ("orchestrator", "orchestrator ready"),
    ("dev", "avtomatika is ready"),
    ("worker", "registered"),
    ("webhook-sink", "webhook sink at"),
    ("scheduler", "scheduler started"),
];

/// What the script may call: each waits for at most a minute.
pub(crate) const FUNCTIONS: &str = r#"set -eEo pipefail
mkdir -p out
came() { # log, words, process
  for _ in $(seq 1200); do
    grep -qFs -e "$2" "$1" && return
    kill -0 "$3" 2>/dev/null || break
    sleep 0.05
  done
  echo "it did not say '$2':"; cat "$1"; return 1
}
gone() { # log, process
  kill -TERM "$2"
  wait "$2" || { echo "it ended with $?:"; cat "$1"; return 1; }
}
known() { # blueprint
  for _ in $(seq 1200); do
    curl -s -H "X-Client-Token: $CLIENT_TOKEN" "$AVTOMATIKA_URL/api/v1/blueprints" | grep -qF "\"$1\"" && return
    sleep 0.05
  done
  echo "blueprint $1 is not served"; return 1
}
"#;

/// Returns what a line's program says when it is there, if it is one that stays.
pub(crate) fn ready_words(line: &Line) -> Option<&'static str> {
    let [command] = line.commands.as_slice() else {
        return None;
    };
    role(command).map(|(_, words)| words)
}

fn role(command: &Command) -> Option<(&'static str, &'static str)> {
    let (program, name) = (command.words.first()?, command.words.get(1)?);
    let leaves = command.words.iter().any(|word| word == "--list");
    let known = ROLES.into_iter().find(|(role, _)| role == name);
    known.filter(|_| program == "avtomatika" && !leaves)
}

/// Returns a line without its comment and its `&`.
pub(crate) fn without_end(raw: &str) -> &str {
    let code = raw.split_once("  #").map_or(raw, |(code, _)| code);
    code.trim_end().trim_end_matches('&').trim_end()
}
