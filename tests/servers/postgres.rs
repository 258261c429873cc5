//! A private PostgreSQL server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::launch::{Launched, free_port, run};

/// Tries to find a port that nobody takes meanwhile.
const TRIES: u32 = 20;
/// PostgreSQL refuses to run as root; the package makes this user.
const USER: &str = "postgres";

/// A PostgreSQL server with one database, `postgres`, that trusts user `postgres` without a password.
pub(crate) struct Postgres {
    launched: Option<Launched>,
    port: u16,
    user: Option<&'static str>,
    folder: TempDir,
}

impl Postgres {
    /// Makes a database and starts its server.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let is_root = run(Command::new("id").arg("-u")).trim() == "0";
        let user = is_root.then_some(USER);
        if user.is_some() {
            run(Command::new("chown").arg(USER).arg(folder.path()));
        }
        let mut initdb = as_user(user, &program("initdb"));
        initdb
            .current_dir(folder.path())
            .arg("-D")
            .arg(folder.path().join("data"));
        initdb.args([
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        run(&mut initdb);
        let mut postgres = Self {
            launched: None,
            port: 0,
            user,
            folder,
        };
        for _ in 0..TRIES {
            postgres.port = free_port();
            if postgres.comes_up() {
                return postgres;
            }
        }
        panic!("no port was free in {TRIES} tries");
    }

    fn comes_up(&mut self) -> bool {
        let folder = self.folder.path();
        let mut arguments = vec!["-D".to_owned(), folder.join("data").display().to_string()];
        for setting in [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", folder.display()),
            // The tests end processes, not the machine.
            "fsync=off".to_owned(),
        ] {
            arguments.extend(["-c".to_owned(), setting]);
        }
        let program = program("postgres");
        let mut launched = Launched::start(&program, &arguments, self.user, &folder.join("log"));
        let (port, is_ready) = (self.port.to_string(), self::program("pg_isready"));
        let is_up = launched.comes_up(|| {
            let mut look = Command::new(&is_ready);
            let look = look.args(["-q", "-h", "127.0.0.1", "-p", &port]).status();
            look.expect("pg_isready runs").success()
        });
        let said = launched.said();
        assert!(is_up || said.contains("in use"), "{said}");
        self.launched = is_up.then_some(launched);
        is_up
    }

    /// Gives it a certificate and starts it again, so that it offers encryption.
    pub(crate) fn serve_tls(&mut self, certificate: &str, key: &str) {
        let data = self.folder.path().join("data");
        for (name, pem) in [("server.crt", certificate), ("server.key", key)] {
            let file = data.join(name);
            fs::write(&file, pem).expect("its folder can be written");
            // It takes only a key that nobody else can read.
            run(Command::new("chmod").arg("600").arg(&file));
            if let Some(user) = self.user {
                run(Command::new("chown").arg(user).arg(&file));
            }
        }
        let settings = data.join("postgresql.auto.conf");
        fs::write(settings, "ssl = on\n").expect("its folder can be written");
        self.restart();
    }

    /// Returns its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the URL of its database.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/postgres", self.port)
    }

    /// Kills it at once, as a power failure of it alone would; what was committed stays.
    pub(crate) fn kill(&mut self) {
        let Some(mut launched) = self.launched.take() else {
            return;
        };
        // It may stand still.
        launched.signal("CONT");
        launched.signal_children("CONT");
        // Its own way to end without any order; killing the first process would leave the others.
        launched.signal("QUIT");
        launched.ended();
    }

    /// Starts it again, on its port and with its data.
    pub(crate) fn restart(&mut self) {
        self.kill();
        assert!(self.comes_up(), "port {} is taken meanwhile", self.port);
    }

    /// Has it stand still, its connections with it: none is closed, and none answered.
    pub(crate) fn pause(&self) {
        self.signal_all("STOP");
    }

    /// Has it go on.
    pub(crate) fn resume(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, name: &str) {
        let first = self.launched.as_ref().expect("it runs");
        // The first one before the others: it would start new ones.
        first.signal(name);
        first.signal_children(name);
    }

    /// Runs statements by `psql` and returns what they print, columns parted by `|`.
    pub(crate) fn run(&self, sql: &str) -> String {
        let mut psql = Command::new(program("psql"));
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &self.url(),
            "-c",
            sql,
        ]);
        run(&mut psql).trim_end().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn as_user(user: Option<&str>, program: &Path) -> Command {
    let Some(user) = user else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), &format!("--regid={user}")]);
    command.args(["--init-groups", "--"]).arg(program);
    command
}

/// Returns where a program of PostgreSQL lies: Debian keeps them out of the path, by version.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max();
    match newest {
        Some(version) => format!("/usr/lib/postgresql/{version}/bin/{name}").into(),
        None => name.into(),
    }
}
