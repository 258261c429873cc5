//! Plays a guide as its reader would: in a fresh folder with the package's examples, in one shell, block
//! after block. What stays (an orchestrator, a worker) is awaited, and told to stop when its block ends;
//! with a `&` behind it, when the guide ends. Only ports and hosts are others than the guide's.
//!
//! A comment before a block says what is not plain: `not run: REASON`, `file: PATH` for a file to be
//! written, `soon` for a look that is repeated until it shows what the guide says. A block `text` behind
//! one for the shell is what it prints, with `…` for what differs from run to run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::markdown::{Block, blocks, root};
use crate::script::{FUNCTIONS, ready_words, without_end};
use crate::shell::lines;
use crate::shown::{is_like, pattern};

/// Longest time of one guide: far more than is needed, so that a slow machine fails no test.
const PATIENCE: Duration = Duration::from_mins(5);

/// Tries at a guide, should its ports be taken.
const TRIES: u32 = 3;

/// A guide that is to be played.
pub(crate) struct Session {
    blocks: Vec<Block>,
    folder: tempfile::TempDir,
    ports: BTreeMap<u16, u16>,
    hosts: Vec<(String, String)>,
    variables: Vec<(&'static str, String)>,
    programs: Option<PathBuf>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Played {
    /// Blocks that ran.
    pub(crate) ran: usize,
    /// Blocks whose output was compared.
    pub(crate) compared: usize,
}

impl Session {
    /// Takes a guide as it is.
    pub(crate) fn new(guide: &str) -> Self {
        Self::of(blocks(guide))
    }

    /// Takes some blocks of a guide.
    pub(crate) fn of(blocks: Vec<Block>) -> Self {
        Self {
            blocks,
            folder: clone_of_the_package(),
            ports: BTreeMap::new(),
            hosts: Vec::new(),
            variables: Vec::new(),
            programs: None,
        }
    }

    /// Gives each of the guide's ports a free one.
    pub(crate) fn ports(mut self, ports: &[u16]) -> Self {
        // All are taken at once, so that no two are the same.
        let free: Vec<TcpListener> = ports
            .iter()
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
            .collect();
        for (port, listener) in ports.iter().zip(&free) {
            let address = listener.local_addr().expect("an address");
            self.ports.insert(*port, address.port());
        }
        self
    }

    /// Names a server of the test's in the place of the guide's.
    pub(crate) fn host(mut self, guides: &str, tests: &str) -> Self {
        self.hosts.push((guides.to_owned(), tests.to_owned()));
        self
    }

    /// Sets a variable beforehand.
    pub(crate) fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// Looks for programs in another folder, too.
    pub(crate) fn programs(mut self, folder: PathBuf) -> Self {
        self.programs = Some(folder);
        self
    }

    /// Plays the guide; panics with the block that went otherwise than it says. Once more with other
    /// ports when another process was faster at one of them.
    pub(crate) async fn play(mut self) -> Played {
        let ports: Vec<u16> = self.ports.keys().copied().collect();
        for _ in 1..TRIES {
            match self.play_once().await {
                Ok(played) => return played,
                Err(told) => assert!(told.contains("cannot listen on"), "{told}"),
            }
            self.folder = clone_of_the_package();
            self = self.ports(&ports);
        }
        self.play_once()
            .await
            .unwrap_or_else(|told| panic!("{told}"))
    }

    async fn play_once(&self) -> Result<Played, String> {
        let script = self.folder.path().join("guide.sh");
        fs::write(&script, self.script()).expect("written");
        let mut child = tokio::process::Command::new("bash")
            .arg(&script)
            .env_clear()
            .env("PATH", self.path())
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path())
            .env("LC_ALL", "C.UTF-8")
            .envs(self.addresses())
            .envs(self.variables.clone())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(fs::File::create(self.out("said")).expect("a file"))
            .stderr(fs::File::create(self.out("told")).expect("a file"))
            .process_group(0)
            .spawn()
            .expect("bash starts");
        let group = Group(child.id().expect("it runs"));
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
        drop(group);
        if matches!(&ended, Ok(Ok(status)) if status.success()) {
            Ok(self.compare())
        } else {
            Err(self.stopped_at())
        }
    }

    /// Returns the variables that say where the orchestrator is, when that is not where it is by default.
    fn addresses(&self) -> Vec<(&'static str, String)> {
        let Some(port) = self.ports.get(&8080) else {
            return Vec::new();
        };
        let url = format!("http://127.0.0.1:{port}");
        vec![
            ("API_PORT", port.to_string()),
            ("AVTOMATIKA_URL", url.clone()),
            ("ORCHESTRATOR_URL", url),
        ]
    }

    /// Returns where programs are looked for.
    fn path(&self) -> String {
        let own = self.out("bin").display().to_string();
        let more = self
            .programs
            .iter()
            .map(|folder| folder.display().to_string());
        let usual = ["/usr/local/bin", "/usr/bin", "/bin"].map(str::to_owned);
        let all: Vec<String> = [own].into_iter().chain(more).chain(usual).collect();
        all.join(":")
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn said(&self, name: &str) -> String {
        let bytes = fs::read(self.folder.path().join("out").join(name));
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    }

    fn stopped_at(&self) -> String {
        let number = self.said("reached");
        let place = number
            .trim()
            .parse()
            .ok()
            .and_then(|at: usize| self.blocks.get(at));
        let place = place.or(self.blocks.first()).map(Block::place);
        let place = place.unwrap_or_default();
        let told = fs::read_to_string(self.out("told")).unwrap_or_default();
        format!("{place} went wrong:\n{}\n{told}", self.said(number.trim()))
    }

    fn script(&self) -> String {
        let mut script = FUNCTIONS.to_owned();
        let mut staying = Vec::new();
        for (number, block) in self.blocks.iter().enumerate() {
            if let Some(path) = block.said("file:") {
                let text = self.placed(&block.text);
                let folder = format!("mkdir -p \"$(dirname '{path}')\"");
                writeln!(
                    script,
                    "{folder}\ncat > '{path}' <<'END_OF_FILE'\n{text}END_OF_FILE"
                )
                .expect("a string");
                let name = text.strip_prefix("blueprint: ");
                if let Some(name) = name.filter(|_| !staying.is_empty()) {
                    let name = name.split_whitespace().next().unwrap_or_default();
                    writeln!(script, "known {name}").expect("a string");
                }
            } else if is_run(block) {
                writeln!(script, "echo {number} > out/reached").expect("a string");
                script.push_str(&self.body(
                    number,
                    block,
                    self.blocks.get(number + 1),
                    &mut staying,
                ));
            }
        }
        for (log, variable) in staying.iter().rev() {
            writeln!(script, "gone {log} ${variable}").expect("a string");
        }
        script
    }

    /// Returns what the shell is to do for one block.
    fn body(
        &self,
        number: usize,
        block: &Block,
        next: Option<&Block>,
        staying: &mut Vec<(String, String)>,
    ) -> String {
        let (mut body, mut leaving) = (String::new(), Vec::new());
        for (at, line) in lines(&self.placed(&block.text)).iter().enumerate() {
            let Some(words) = ready_words(line) else {
                body.push_str(&line.raw);
                body.push('\n');
                continue;
            };
            let (log, process) = (
                format!("out/{number}.{at}"),
                format!("process_{number}_{at}"),
            );
            let raw = without_end(&line.raw);
            write!(
                body,
                "{raw} > {log} 2>&1 &\n{process}=$!\ncame {log} '{words}' ${process}\n"
            )
            .expect("a string");
            let stops = if line.is_background {
                &mut *staying
            } else {
                &mut leaving
            };
            stops.push((log, process));
        }
        for (log, process) in leaving.iter().rev() {
            writeln!(body, "gone {log} ${process}").expect("a string");
        }
        let whole = format!("{{\n{body}}} > out/{number} 2>&1\n");
        match (block.said("soon"), next) {
            (Some(_), Some(next)) if next.language == "text" => format!(
                "for _ in $(seq 600); do\n{whole}[[ \"$(cat out/{number})\" == *{} ]] && break\nsleep 0.05\ndone\n",
                pattern(&self.placed(&next.text))
            ),
            _ => whole,
        }
    }

    /// Puts the test's ports and hosts in the place of the guide's.
    fn placed(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (guides, tests) in &self.hosts {
            text = text.replace(guides, tests);
        }
        let mut placed = String::new();
        let mut number = String::new();
        for c in text.chars().chain(['\0']) {
            if c.is_ascii_digit() {
                number.push(c);
                continue;
            }
            match number
                .parse()
                .ok()
                .and_then(|port: u16| self.ports.get(&port))
            {
                Some(port) => placed.push_str(&port.to_string()),
                None => placed.push_str(&number),
            }
            number.clear();
            placed.push(c);
        }
        placed.pop();
        placed
    }

    /// Holds what was printed against what the guide shows.
    fn compare(&self) -> Played {
        let (mut ran, mut compared) = (0, 0);
        for (number, block) in self.blocks.iter().enumerate() {
            ran += usize::from(is_run(block));
            let before = number.checked_sub(1).map(|at| &self.blocks[at]);
            if block.language == "text" && before.is_some_and(is_run) {
                let (seen, expected) = (
                    self.said(&(number - 1).to_string()),
                    self.placed(&block.text),
                );
                let place = block.place();
                assert!(
                    is_like(&expected, &seen),
                    "{place} shows\n{expected}\nbut this was printed:\n{seen}"
                );
                compared += 1;
            }
        }
        Played { ran, compared }
    }
}

/// All processes of a session; none is left when it has ended.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        // An error means that nobody is left.
        let _ = std::process::Command::new("kill")
            .args(["-KILL", "--", &format!("-{}", self.0)])
            .stderr(Stdio::null())
            .status();
    }
}

/// Tells whether a block is for the shell, and nothing speaks against running it.
pub(crate) fn is_run(block: &Block) -> bool {
    let is_plain = |word: &str| block.said(word).is_none();
    block.is_shell() && is_plain("not run:") && is_plain("file:")
}

/// Makes the folder of a user who has just cloned the package and built it.
fn clone_of_the_package() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["config", "blueprints"] {
        copy(&root().join(name), &folder.path().join(name));
    }
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).expect("a folder");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_avtomatika"), bin.join("avtomatika"))
        .expect("a link to the binary");
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("an entry");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}
