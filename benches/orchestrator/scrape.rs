//! What a scrape costs with a large fleet and a long queue, and what it costs the others meanwhile.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::Settings;
use crate::parts::number;
use crate::server::Server;
use crate::tell::{figure, head, line, row};

/// Workers whose polls are open; none of them has the skill of the tasks.
const WORKERS: &str = "5000";

/// Jobs with ten thousand tasks each.
const JOBS: usize = 10;

/// Scrapes that are measured.
const SCRAPES: usize = 100;

/// Between two of them, much more often than anybody scrapes.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest wait for the fleet and the queue.
const PATIENCE: Duration = Duration::from_mins(2);

/// Jobs a second whose tasks are handed out while others scrape, or do not: few enough that they wait
/// for nothing else.
const RATE: &str = "50";

/// Times that both are measured, in turn, so that a noisy moment does not hit one of them alone.
const ROUNDS: u64 = 2;

/// Seconds before the jobs of a round count.
const WARM_UP: u64 = 2;

/// Tasks that nobody takes.
const QUEUE: &str = "blueprint: queue
endpoint: /jobs/queue
start: start
states:
  start:
    parallel:
      for_each: \"{{ range(10000) }}\"
      as: n
      task: { skill: nobody, params: { n: \"{{ n }}\" } }
    into: done
  done: { end: finished }
";

/// Asks over a connection of its own; returns status, body, and how long all of it took.
fn ask(port: u16, request: &str) -> Result<(bool, String, Duration), String> {
    let began = Instant::now();
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    let answer = asked.map_err(|error| error.to_string())?;
    let is_good = answer.starts_with("HTTP/1.1 20");
    Ok((is_good, answer, began.elapsed()))
}

fn scrape_once(port: u16) -> Result<(String, Duration), String> {
    let request = "GET /_public/metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    match ask(port, request)? {
        (true, text, took) => Ok((text, took)),
        (false, text, _) => Err(format!("no scrape: {text}")),
    }
}

/// Tries until it succeeds; an error of the last try ends the measuring.
fn until(what: &str, mut is_done: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
    let since = Instant::now();
    while !is_done()? {
        if since.elapsed() > PATIENCE {
            return Err(format!("{what} did not come"));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.and_then(|rest| rest.trim().parse().ok())
        .unwrap_or_default()
}

/// Measures scrapes, and tells of them in a row.
fn measure(server: &Server, name: &str) -> Result<(), String> {
    let (mut times, mut bytes) = (Vec::new(), 0);
    for _ in 0..SCRAPES {
        let (text, took) = scrape_once(server.port())?;
        bytes = text.len();
        times.push(took.as_secs_f64() * 1000.0);
        std::thread::sleep(PAUSE);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| figure(times[(times.len() * share / 100).min(times.len() - 1)]);
    let size = figure(f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1024.0);
    row(&[name.to_owned(), at(50), at(99), at(100), size]);
    Ok(())
}

/// What a scrape takes when there is nothing to count, and when there is much.
pub fn scrape(settings: &Settings) -> Result<(), String> {
    let server = Server::ours(settings)?;
    head(&["Scrape", "p50 ms", "p99 ms", "max ms", "KiB"]);
    measure(&server, "empty")?;
    server.write_blueprint("queue.yaml", QUEUE)?;
    let body = "{\"initial_data\": {}}";
    let submit = format!(
        "POST /api/jobs/queue HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         x-client-token: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        avtomatika::roles::bench::CLIENT_TOKEN,
        body.len()
    );
    for _ in 0..JOBS {
        // The file is read a moment after it was written.
        until("the job", || Ok(ask(server.port(), &submit)?.0))?;
    }
    // The slots of the second table have a warm-up each; the rest is for the fleet and the first one.
    let slots = 2 * ROUNDS * (settings.seconds + WARM_UP);
    let seconds = format!("{}s", slots + 30);
    let fleet = ["idle", "--workers", "1", "--idle-polls", WORKERS];
    let arguments = [&fleet[..], &["--duration", &seconds]].concat();
    server.bench_beside(&arguments, || {
        until("the fleet", || is_there(&server))?;
        measure(&server, "5,000 workers, 100,000 tasks")?;
        dispatch(&server, settings.seconds)?;
        if is_there(&server)? {
            Ok(())
        } else {
            Err("the fleet left before the end".to_owned())
        }
    })
}

/// Tells whether the workers' polls are open and the tasks queued.
fn is_there(server: &Server) -> Result<bool, String> {
    let (text, _) = scrape_once(server.port())?;
    let queued = value(&text, "orchestrator_task_queue_length{skill=\"nobody\"} ");
    let polls = value(&text, "orchestrator_open_polls ");
    Ok(queued >= 100_000.0 && polls >= 4_900.0)
}

/// How long jobs of one task take beside the fleet and the queue, without scrapes and with many.
fn dispatch(server: &Server, seconds: u64) -> Result<(), String> {
    line("");
    let title = format!("one_task at {RATE}/s beside them");
    head(&[&title, "p50 ms", "p95 ms", "p99 ms", "max ms"]);
    let seconds = format!("{seconds}s");
    let warm_up = format!("{WARM_UP}s");
    let job = ["one_task", "--rate", RATE, "--end", "seen"];
    let times = ["--duration", &seconds, "--warm-up", &warm_up];
    let arguments = [&job[..], &times].concat();
    for _ in 0..ROUNDS {
        let quiet = server.bench(&arguments)?;
        let (report, scrapes) = scraped(server, &arguments)?;
        let name = format!("scraped {scrapes} times");
        for (name, report) in [("not scraped", &quiet), (&name, &report)] {
            let places = ["p50", "p95", "p99", "max"];
            let cells = places.map(|place| figure(number(report, &format!("/latency_ms/{place}"))));
            row(&[&[name.to_owned()], &cells[..]].concat());
        }
    }
    Ok(())
}

/// Runs `avtomatika bench` while another thread scrapes; returns the report, and how many scrapes there
/// were.
fn scraped(server: &Server, arguments: &[&str]) -> Result<(Value, u32), String> {
    std::thread::scope(|scope| {
        let (ended, end) = channel::<()>();
        let port = server.port();
        let scraping = scope.spawn(move || {
            let mut scrapes = 0;
            while end.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                scrape_once(port)?;
                scrapes += 1;
            }
            Ok::<u32, String>(scrapes)
        });
        let report = server.bench(arguments);
        drop(ended);
        let scrapes = scraping.join().map_err(|_| "scraping panicked")?;
        Ok((report?, scrapes?))
    })
}
