//! Real processes: the orchestrator is killed again and again under two hundred jobs, and started
//! again on the same data. Every job that was accepted ends, and nothing happens twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use avtomatika::base::{Entropy as _, JobId, SystemEntropy};
use avtomatika::domain::{Event, EventKind, Job, JobStatus};
use avtomatika::net::{Call, ClientOptions, HttpClient, Method};
use avtomatika::store::{HistoryStore as _, JobQuery, JobStore as _, SqliteSettings, SqliteStore};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Jobs in flight.
const JOBS: usize = 200;
/// Times that the orchestrator is killed.
const KILLS: u32 = 20;
/// How long everything together may take; on a quiet machine it is a third of that.
const PATIENCE: Duration = Duration::from_mins(3);
const PAUSE: Duration = Duration::from_millis(50);

/// Statuses of jobs that have not ended.
const OPEN: &str = "pending,running,waiting_for_worker,waiting_for_parallel_tasks,\
                    waiting_for_sub_job,awaiting_retry,waiting_for_timer";

const PARENT: &str = "
blueprint: crash
endpoint: /jobs/crash
start: first
states:
  first:
    dispatch: { skill: analyze_file, params: { file_name: a.txt }, max_deliveries: 50 }
    on: { success: pause }
  pause:
    choose:
      - when: initial_data.n % 4 == 0
        wait: { for: 1s }
        go_to: fan
      - when: initial_data.n % 4 == 1
        wait: { for: 5s }
        go_to: fan
      - when: initial_data.n % 4 == 2
        wait: { for: 10s }
        go_to: fan
    else: { wait: { for: 15s }, go_to: fan }
  fan:
    parallel:
      for_each: \"{{ ['b.txt', 'c.txt'] }}\"
      as: file
      task: { skill: analyze_file, params: { file_name: '{{ file }}' }, max_deliveries: 50 }
    into: child
  child:
    run: { blueprint: crash_child, input: {} }
    on: { success: done }
  done: { end: finished }
";

const CHILD: &str = "
blueprint: crash_child
start: work
states:
  work:
    dispatch: { skill: analyze_file, params: { file_name: d.txt }, max_deliveries: 50 }
    on: { success: done }
  done: { end: finished }
";

const CLIENTS: &str = "
[tester]
token = \"token-of-the-tester\"
plan = \"plain\"
";

const WORKERS: &str = "
[\"pattern:crash-worker-*\"]
token = \"token-of-the-crash-workers\"
";

/// The folder with everything that survives a kill, and the address.
struct Site {
    folder: TempDir,
    port: u16,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("a file is written");
        };
        std::fs::create_dir(folder.path().join("blueprints")).expect("a folder is made");
        write("blueprints/parent.yaml", PARENT);
        write("blueprints/child.yaml", CHILD);
        write("clients.toml", CLIENTS);
        write("workers.toml", WORKERS);
        write("schedules.toml", "");
        // The workers know one address, so each start needs the same one.
        let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = probe.local_addr().expect("bound").port();
        Self { folder, port }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().expect("an ordinary path").to_owned()
    }

    fn binary(&self, arguments: &[&str]) -> Command {
        let log = |name: &str| {
            let file = std::fs::File::options()
                .create(true)
                .append(true)
                .open(self.folder.path().join(name))
                .expect("a log file opens");
            Stdio::from(file)
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_avtomatika"));
        command
            .args(arguments)
            .env_clear()
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log(&format!("{}.log", arguments[0])))
            .kill_on_drop(true);
        command
    }

    fn orchestrator(&self) -> Child {
        self.binary(&["orchestrator"])
            .env("API_HOST", "127.0.0.1")
            .env("API_PORT", self.port.to_string())
            .env("DATA_DIR", self.path("data"))
            .env("BLUEPRINTS_DIR", self.path("blueprints"))
            .env("CLIENTS_CONFIG_PATH", self.path("clients.toml"))
            .env("WORKERS_CONFIG_PATH", self.path("workers.toml"))
            .env("SCHEDULES_CONFIG_PATH", self.path("schedules.toml"))
            .env("TASK_LEASE_SECONDS", "5")
            .env("RATE_LIMITING_ENABLED", "false")
            .env("LOG_LEVEL", "warn")
            .spawn()
            .expect("the orchestrator starts")
    }

    fn worker(&self, number: u32) -> Child {
        let (id, url) = (format!("crash-worker-{number}"), self.url());
        let token = ["--token", "token-of-the-crash-workers"];
        let task = ["--profile", "cpu", "--speed", "20", "--deterministic"];
        let mut arguments = vec!["worker", "--id", &id, "--orchestrator", &url];
        arguments.extend(token.into_iter().chain(task));
        self.binary(&arguments).spawn().expect("a worker starts")
    }

    /// Returns the end of the logs, for when something goes wrong.
    fn logs(&self) -> String {
        let tail = |name: &str| {
            let path = self.folder.path().join(name);
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(15);
            format!("{name}:\n{}\n", lines[from..].join("\n"))
        };
        tail("orchestrator.log") + &tail("worker.log")
    }
}

fn client() -> HttpClient {
    let options = ClientOptions::default();
    HttpClient::new(options).expect("a client")
}

/// Asks for one job until it is accepted; returns it.
async fn submit(client: HttpClient, url: String, number: usize) -> JobId {
    loop {
        let body = json!({ "initial_data": { "n": number } }).to_string();
        let call = Call::new(Method::Post, format!("{url}/api/jobs/crash"))
            .header("x-client-token", "token-of-the-tester")
            .header("idempotency-key", format!("job-{number}"))
            .json(body)
            .timeout(Duration::from_secs(5));
        let Ok(answer) = client.json(call).await else {
            // Killed just now, or not up yet.
            sleep(PAUSE).await;
            continue;
        };
        let id = answer["job_id"].as_str().expect("the answer names the job");
        return id.parse().expect("a job id");
    }
}

async fn submit_all(site: &Site) -> Vec<JobId> {
    let (client, url) = (client(), site.url());
    let mut requests = JoinSet::new();
    for number in 0..JOBS {
        requests.spawn(submit(client.clone(), url.clone(), number));
    }
    requests.join_all().await
}

async fn until_ready(site: &Site) {
    let client = client();
    loop {
        let url = format!("{}/_public/ready", site.url());
        let call = Call::new(Method::Get, url).timeout(Duration::from_secs(2));
        if client
            .send(call)
            .await
            .is_ok_and(|answer| answer.status == 200)
        {
            return;
        }
        sleep(PAUSE).await;
    }
}

/// Returns a random time between the two.
fn between(least_ms: u64, most_ms: u64) -> Duration {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes);
    let width = most_ms - least_ms + 1;
    Duration::from_millis(least_ms + u64::from_le_bytes(bytes) % width)
}

/// Kills the orchestrator at random moments, on its way up as well; returns the one that stays.
async fn kill_again_and_again(site: &Site) -> Child {
    for kill in 0..KILLS {
        let mut orchestrator = site.orchestrator();
        if kill % 4 != 3 {
            until_ready(site).await;
        }
        sleep(between(50, 900)).await;
        let ended = orchestrator.try_wait().expect("its state is known");
        assert!(ended.is_none(), "it ended by itself: {}", site.logs());
        orchestrator.kill().await.expect("it is killed");
    }
    site.orchestrator()
}

async fn until_all_have_ended(site: &Site) {
    let client = client();
    loop {
        let call = Call::new(
            Method::Get,
            format!("{}/api/jobs?status={OPEN}&limit=1", site.url()),
        )
        .header("x-client-token", "token-of-the-tester")
        .timeout(Duration::from_secs(5));
        match client.json(call).await {
            Ok(answer) if answer.as_array().is_some_and(Vec::is_empty) => return,
            _ => sleep(PAUSE * 4).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_every_job_ends_and_none_twice() {
    let site = Site::new();
    let began = Instant::now();
    let story = async {
        let _workers: Vec<Child> = (0..3).map(|number| site.worker(number)).collect();
        let (accepted, mut orchestrator) =
            tokio::join!(submit_all(&site), kill_again_and_again(&site));
        until_ready(&site).await;
        let again = submit_all(&site).await;
        until_all_have_ended(&site).await;
        orchestrator.kill().await.expect("it is killed");
        (accepted, again)
    };
    let Ok((accepted, again)) = timeout(PATIENCE, story).await else {
        let waited = began.elapsed();
        panic!("not done after {waited:?}\n{}", site.logs());
    };
    let accepted: BTreeSet<JobId> = accepted.into_iter().collect();
    assert_eq!(accepted.len(), JOBS, "each key has a job of its own");
    let again: BTreeSet<JobId> = again.into_iter().collect();
    assert_eq!(accepted, again, "a key names its job for ever");
    check(&site.folder.path().join("data/avtomatika.db"), &accepted).await;
}

/// Reads what is left in the store.
async fn check(file: &Path, accepted: &BTreeSet<JobId>) {
    let store = SqliteStore::open(file, &SqliteSettings::default()).expect("the store opens");
    let query = JobQuery {
        limit: 10_000,
        ..JobQuery::default()
    };
    let jobs = store.list(query).await.expect("jobs are listed");
    let mut parents = BTreeSet::new();
    let mut children_of: BTreeMap<JobId, u32> = BTreeMap::new();
    for job in &jobs {
        assert_eq!(job.status, JobStatus::Finished, "{job:?}");
        let history = store.by_job(job.id, None, 10_000).await;
        let history = history.expect("a history is read");
        match &job.parent {
            None => {
                parents.insert(job.id);
                let states = ["first", "pause", "fan", "child", "done"];
                check_history(job, &history, &states, 3);
            }
            Some(parent) => {
                *children_of.entry(parent.job_id).or_default() += 1;
                check_history(job, &history, &["work", "done"], 1);
            }
        }
    }
    assert_eq!(parents, *accepted, "what was accepted, and nothing else");
    assert_eq!(children_of.len(), JOBS, "each has its child");
    assert!(
        children_of.values().all(|count| *count == 1),
        "and only one"
    );
    let queued = store
        .queued_tasks(None, 10)
        .await
        .expect("the queue is read");
    assert_eq!(queued, [], "nothing is left behind");
    store.close().await;
}

/// Each state was entered once, in order; each task counted once; one beginning and one end.
fn check_history(job: &Job, history: &[Event], states: &[&str], tasks: usize) {
    let count = |kind: EventKind| history.iter().filter(|event| event.kind == kind).count();
    let entered: Vec<&str> = history
        .iter()
        .filter(|event| event.kind == EventKind::StateStarted)
        .map(|event| event.state.as_str())
        .collect();
    assert_eq!(entered, states, "job {}", job.id);
    assert_eq!(count(EventKind::JobCreated), 1, "job {}", job.id);
    assert_eq!(count(EventKind::JobFinished), 1, "job {}", job.id);
    let counted = count(EventKind::TaskFinished) - count(EventKind::TaskRetried);
    assert_eq!(counted, tasks, "job {}: {history:?}", job.id);
    let children = usize::from(job.parent.is_none());
    assert_eq!(count(EventKind::ChildFinished), children, "job {}", job.id);
}
