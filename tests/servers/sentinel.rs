//! Redis behind Sentinel: a server, its replica, and those that watch both and put the replica in its
//! place when it dies.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::launch::{Launched, free_port, run, until};
use super::redis::{Redis, TRIES, answers};

/// What the servers are called together.
const SERVICE: &str = "jobs";
/// What the servers, and what the sentinels want to hear of those that know a password.
const PASSWORD: &str = "hush";
const SENTINEL_PASSWORD: &str = "still";

/// A certificate of 127.0.0.1 and its key, as files.
pub(crate) struct Certificate {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// One that watches.
struct Sentinel {
    /// Kept for its end, which is the process's.
    _launched: Launched,
    port: u16,
    tls_port: u16,
    password: Option<&'static str>,
    /// It writes into its settings what it learns.
    _folder: TempDir,
}

impl Sentinel {
    fn start(settings: &str, password: Option<&'static str>) -> Self {
        for _ in 0..TRIES {
            let (port, tls_port) = (free_port(), free_port());
            let folder = tempfile::tempdir().expect("a temporary folder");
            let (file, log) = (folder.path().join("settings"), folder.path().join("log"));
            let mut text = format!("port {port}\ndir {}\n{settings}", folder.path().display());
            if password.is_some() {
                text.push_str(&format!("tls-port {tls_port}\n"));
            }
            std::fs::write(&file, text).expect("is written");
            let arguments = [file.display().to_string()];
            let program = Path::new("redis-sentinel");
            let mut launched = Launched::start(program, &arguments, None, &log);
            if launched.comes_up(|| answers(port)) {
                return Self {
                    _launched: launched,
                    port,
                    tls_port,
                    password,
                    _folder: folder,
                };
            }
            assert!(launched.said().contains("in use"), "{}", launched.said());
        }
        panic!("no port was free in {TRIES} tries");
    }

    fn command(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string(), "sentinel"]);
        if let Some(password) = self.password {
            command.env("REDISCLI_AUTH", password);
        }
        run(command.args(words)).trim_end().to_owned()
    }

    /// Tells whether it knows so many other sentinels, and a replica.
    fn knows(&self, others: usize) -> bool {
        let known = self.command(&["master", SERVICE]);
        let lines: Vec<&str> = known.lines().collect();
        let says = |name: &str, value: usize| {
            let value = value.to_string();
            let mut pairs = lines.chunks_exact(2);
            pairs.any(|pair| pair[0] == name && pair[1] == value)
        };
        says("num-other-sentinels", others) && says("num-slaves", 1)
    }
}

/// All of them.
pub(crate) struct Sentinels {
    /// Those that have been started, dead ones too.
    servers: Vec<Redis>,
    watchers: Vec<Sentinel>,
    certificate: Option<Certificate>,
}

impl Sentinels {
    /// Starts a server, its replica and so many sentinels.
    pub(crate) fn start(count: usize) -> Self {
        Self::with(count, None)
    }

    /// Likewise, all of which talk TLS with each other and let in by password.
    pub(crate) fn guarded(count: usize, certificate: Certificate) -> Self {
        Self::with(count, Some(certificate))
    }

    fn with(count: usize, certificate: Option<Certificate>) -> Self {
        let mut all = Self {
            servers: Vec::new(),
            watchers: Vec::new(),
            certificate,
        };
        all.servers.push(all.server(None));
        all.add_replica_of(0);
        // More than half of them have to agree that a server is dead.
        let (port, agree) = (announced(&all.servers[0]), count / 2 + 1);
        let mut settings = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {port} {agree}\n\
             sentinel down-after-milliseconds {SERVICE} 1000\n\
             sentinel failover-timeout {SERVICE} 3000\n"
        );
        if let Some(Certificate { certificate, key }) = &all.certificate {
            settings.push_str(&format!(
                "sentinel auth-pass {SERVICE} {PASSWORD}\n\
                 sentinel sentinel-pass {SENTINEL_PASSWORD}\nrequirepass {SENTINEL_PASSWORD}\n\
                 tls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {certificate}\n\
                 tls-auth-clients no\ntls-replication yes\n"
            ));
        }
        let password = all.certificate.is_some().then_some(SENTINEL_PASSWORD);
        for _ in 0..count {
            all.watchers.push(Sentinel::start(&settings, password));
        }
        until("the sentinels know each other and the replica", || {
            all.watchers.iter().all(|one| one.knows(count - 1))
        });
        all
    }

    fn server(&self, replica_of: Option<u16>) -> Redis {
        let mut options = vec!["--repl-diskless-sync-delay", "0"];
        let replica_of = replica_of.map(|port| port.to_string());
        if let Some(port) = &replica_of {
            options.extend(["--replicaof", "127.0.0.1", port]);
        }
        if let Some(Certificate { certificate, key }) = &self.certificate {
            options.extend(["--requirepass", PASSWORD, "--masterauth", PASSWORD]);
            options.extend(["--tls-port", Redis::FREE, "--tls-cert-file", certificate]);
            options.extend(["--tls-key-file", key, "--tls-ca-cert-file", certificate]);
            options.extend(["--tls-auth-clients", "no", "--tls-replication", "yes"]);
        }
        Redis::with(&options)
    }

    /// Returns the URL by which clients find the server that takes writes.
    pub(crate) fn url(&self) -> String {
        let mut nodes = self.watchers.iter().map(|one| match self.certificate {
            Some(_) => format!("127.0.0.1:{}", one.tls_port),
            None => format!("127.0.0.1:{}", one.port),
        });
        let first = nodes.next().expect("there are some");
        let (scheme, user, password) = match self.certificate {
            Some(_) => (
                "rediss-sentinel",
                format!(":{PASSWORD}@"),
                format!("&sentinelPassword={SENTINEL_PASSWORD}"),
            ),
            None => ("redis-sentinel", String::new(), String::new()),
        };
        let rest: String = nodes.map(|node| format!("&node={node}")).collect();
        format!("{scheme}://{user}{first}?sentinelServiceName={SERVICE}{password}{rest}")
    }

    /// Returns which of the servers takes writes, as the sentinels say.
    fn first(&self) -> usize {
        let said = self.watchers[0].command(&["get-master-addr-by-name", SERVICE]);
        let port: u16 = said
            .lines()
            .nth(1)
            .and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("no address: {said}"));
        let mut servers = self.servers.iter();
        servers
            .position(|server| announced(server) == port)
            .expect("one of them")
    }

    /// Waits until the server that takes writes has its replica.
    pub(crate) fn is_replicated(&self) {
        self.servers[self.first()].has_replicas(1);
    }

    /// Kills the server that takes writes; another takes its place some time later.
    pub(crate) fn kill_first(&mut self) {
        let first = self.first();
        self.servers[first].kill();
    }

    /// Has the server that takes writes do nothing any more; another takes its place some time later.
    pub(crate) fn pause_first(&self) {
        self.servers[self.first()].pause();
    }

    /// Starts another replica of the one that takes writes now, and waits until it follows.
    pub(crate) fn add_replica(&mut self) {
        self.add_replica_of(self.first());
    }

    fn add_replica_of(&mut self, first: usize) {
        let port = announced(&self.servers[first]);
        self.servers.push(self.server(Some(port)));
        self.servers[first].has_replicas(1);
    }
}

/// Returns the port under which the others know a server.
fn announced(server: &Redis) -> u16 {
    let tls = server.option("--tls-port");
    tls.map_or(server.port(), |port| port.parse().expect("a port"))
}
