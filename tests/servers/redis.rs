//! Private Redis servers: one alone, and a cluster of three.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

pub(crate) use super::launch::free_port;
use super::launch::{Launched, run, until};

/// Tries to find a port that nobody takes meanwhile.
pub(super) const TRIES: u32 = 20;

/// A Redis server with an append-only file, alone unless its options say otherwise.
pub(crate) struct Redis {
    launched: Option<Launched>,
    port: u16,
    options: Vec<String>,
    folder: TempDir,
}

impl Redis {
    /// Starts a server.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Stands for a free port in its options.
    pub(crate) const FREE: &str = "FREE";

    /// Starts a server with further options, as on its command line: `["--maxmemory", "10mb"]`. It
    /// listens on a Unix socket too.
    pub(crate) fn with(options: &[&str]) -> Self {
        let mut redis = Self {
            launched: None,
            port: 0,
            options: Vec::new(),
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        for _ in 0..TRIES {
            redis.port = free_port();
            let filled = options.iter().map(|option| match *option {
                Self::FREE => free_port().to_string(),
                option => option.to_owned(),
            });
            redis.options = filled.collect();
            if redis.comes_up() {
                return redis;
            }
        }
        panic!("no port was free in {TRIES} tries");
    }

    fn comes_up(&mut self) -> bool {
        let text = |text: &str| text.to_owned();
        let mut arguments = vec![
            text("--port"),
            self.port.to_string(),
            text("--bind"),
            text("127.0.0.1"),
            text("--dir"),
            self.folder.path().display().to_string(),
            text("--unixsocket"),
            self.socket().display().to_string(),
            text("--save"),
            String::new(),
            text("--appendonly"),
            text("yes"),
        ];
        arguments.extend(self.options.iter().cloned());
        let program = Path::new("redis-server");
        let log = self.folder.path().join("log");
        let mut launched = Launched::start(program, &arguments, None, &log);
        let port = self.port;
        // It says so itself: on its port another test's server may answer, which was faster.
        let says = || std::fs::read_to_string(&log).unwrap_or_default();
        let is_up =
            launched.comes_up(|| answers(port) && says().contains("eady to accept connections"));
        let said = launched.said();
        assert!(is_up || said.contains("in use"), "{arguments:?}: {said}");
        self.launched = is_up.then_some(launched);
        is_up
    }

    /// Returns its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the value of one of its options.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let place = self.options.iter().position(|option| option == name)?;
        self.options.get(place + 1).map(String::as_str)
    }

    /// Returns its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the path of its Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Returns all that it has written to its append-only file.
    pub(crate) fn written(&self) -> Vec<u8> {
        let folder = self.folder.path().join("appendonlydir");
        let files = std::fs::read_dir(folder).expect("its folder");
        let read = |file: std::io::Result<std::fs::DirEntry>| {
            std::fs::read(file.expect("a file").path()).expect("can be read")
        };
        files.flat_map(read).collect()
    }

    /// Waits until it sends so many replicas what it writes. Only the server itself knows from when
    /// on it does.
    pub(crate) fn has_replicas(&self, count: usize) {
        until("it has its replicas", || {
            let info = self.command(&["info", "replication"]);
            info.matches("state=online").count() >= count
        });
    }

    /// Waits until so many replicas say that they have all that it has written by now, whoever wrote it.
    /// `WAIT` says nothing of that: it waits for what came over its own connection.
    pub(crate) fn has_replicated(&self, count: usize) {
        let info = || self.command(&["info", "replication"]);
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let told = info();
        let mut lines = told.lines();
        let written = lines.find_map(|line| number(line.strip_prefix("master_repl_offset:")?));
        let written = written.unwrap_or_else(|| panic!("no offset: {told}"));
        until("its replicas have all that it has", || {
            let told = info();
            let offsets = told.lines().filter_map(|line| {
                let (_, offset) = line.split_once(",offset=")?;
                number(offset.split(',').next()?)
            });
            offsets.filter(|offset| *offset >= written).count() >= count
        });
    }

    /// Kills it at once.
    pub(crate) fn kill(&mut self) {
        self.launched = None;
    }

    /// Starts it again, on its port and with its file.
    pub(crate) fn restart(&mut self) {
        self.kill();
        assert!(self.comes_up(), "port {} is taken meanwhile", self.port);
    }

    /// Has it do nothing until [`Redis::resume`].
    pub(crate) fn pause(&self) {
        self.process().signal("STOP");
    }

    /// Has it go on.
    pub(crate) fn resume(&self) {
        self.process().signal("CONT");
    }

    fn process(&self) -> &Launched {
        self.launched.as_ref().expect("it runs")
    }

    /// Runs a command by `redis-cli` and returns its answer.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]);
        if let Some(password) = self.option("--requirepass") {
            command.env("REDISCLI_AUTH", password);
        }
        run(command.args(words)).trim_end().to_owned()
    }
}

/// Tells whether a server answers there, and has read its file.
pub(super) fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"+PONG" || &answer == b"-NOAU")
    };
    ask().unwrap_or(false)
}

/// Three servers that share all keys.
pub(crate) struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts three servers and makes them one cluster.
    pub(crate) fn start() -> Self {
        let slots = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        let mut nodes: Vec<Redis> = Vec::new();
        for (first, last) in slots {
            let node = member(nodes.first());
            node.command(&["cluster", "addslotsrange", first, last]);
            nodes.push(node);
        }
        let cluster = Self { nodes };
        for node in &cluster.nodes {
            // The nodes tell each other; nothing else waits for that.
            until("each node has the whole cluster", || {
                let info = node.command(&["cluster", "info"]);
                info.contains("cluster_state:ok")
            });
        }
        cluster
    }

    /// Returns the servers.
    pub(crate) fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// Returns the URL by which clients find all of it.
    pub(crate) fn url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.nodes[0].port)
    }

    /// Gives keys that nobody has yet to another of the servers.
    pub(crate) fn move_key(&self, key: &str, to: usize) {
        let slot = self.nodes[0].command(&["cluster", "keyslot", key]);
        let id = self.nodes[to].command(&["cluster", "myid"]);
        // Its word holds against what the one before has said and others have not heard yet.
        self.nodes[to].command(&["cluster", "bumpepoch"]);
        let tell = |node: &Redis| {
            let done = node.command(&["cluster", "setslot", &slot, "node", &id]);
            assert_eq!(done, "OK");
        };
        self.nodes.iter().for_each(tell);
        let port = format!(":{}", self.nodes[to].port);
        until("every node knows who has the key", || {
            let mut is_known = true;
            for (index, node) in self.nodes.iter().enumerate() {
                let said = node.command(&["get", key]);
                let is_elsewhere = said.starts_with("MOVED");
                if is_elsewhere == (index == to) || (is_elsewhere && !said.ends_with(&port)) {
                    // Where two have said it with the same epoch neither word holds, and a node that has
                    // heard the old one after the new one stays with it.
                    tell(node);
                    is_known = false;
                }
            }
            is_known
        });
    }

    /// Starts a replica of one of the servers, which takes its place when it dies.
    pub(crate) fn add_replica(&mut self, of: usize) {
        let node = member(self.nodes.first());
        let id = self.nodes[of].command(&["cluster", "myid"]);
        until("the replica knows whom it follows", || {
            node.command(&["cluster", "nodes"]).contains(&id)
        });
        assert_eq!(node.command(&["cluster", "replicate", &id]), "OK");
        self.nodes.push(node);
        self.nodes[of].has_replicas(1);
        // Those who are to vote for it have to know whom it follows.
        for node in &self.nodes {
            until("every node knows the replica", || {
                let nodes = node.command(&["cluster", "nodes"]);
                nodes.contains(&format!("slave {id}"))
            });
        }
    }
}

/// Starts a server that may be one of a cluster, and has it meet another.
fn member(known: Option<&Redis>) -> Redis {
    let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    let rest = ["--cluster-port", Redis::FREE];
    let node = Redis::with(&[&options[..], &rest].concat());
    if let Some(known) = known {
        let (port, bus) = (node.port.to_string(), node.option("--cluster-port"));
        known.command(&["cluster", "meet", "127.0.0.1", &port, bus.expect("its own")]);
    }
    node
}
