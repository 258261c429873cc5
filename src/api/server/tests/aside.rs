//! Requests that wait for long, and their connections meanwhile.

use tokio::sync::Notify;

use super::*;

const LATE: &str = "GET /late HTTP/1.1\r\nHost: x\r\n\r\n";

/// What happens to a request that waits, and what lets it go.
#[derive(Default)]
struct Wait {
    reached: Notify,
    open: Notify,
    gone: Notify,
}

/// Tells when a request is not waited for any more.
struct Guard(Arc<Wait>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.gone.notify_one();
    }
}

/// Waits as a handler does, without the second before.
async fn waits(patience: &Patience, wait: &Wait) -> Infallible {
    if let Some(pulse) = &patience.0 {
        pulse.waited(LONG);
    }
    wait.reached.notify_one();
    patience.wait().await
}

fn waiting_app() -> (Router, Arc<Wait>) {
    let wait = Arc::new(Wait::default());
    let inside = Arc::clone(&wait);
    let late = move |Draining(drained): Draining, patience: Patience| async move {
        let guard = Guard(inside);
        tokio::select! {
            () = guard.0.open.notified() => "late",
            () = drained.cancelled() => "drained",
            never = waits(&patience, &guard.0) => match never {},
        }
    };
    let patient = |patience: Patience| async move { patience.0.is_some().to_string() };
    let app = app()
        .route("/late", get(late))
        .route("/patient", get(patient).post(patient));
    (app, wait)
}

/// Sends the request that waits, and waits until it does.
async fn ask_late(running: &Running, wait: &Wait) -> TcpStream {
    let mut stream = running.connect().await;
    stream.write_all(LATE.as_bytes()).await.expect("open");
    wait.reached.notified().await;
    // Once another connection has been answered, this one has long been put aside.
    exchange(&mut running.connect().await, HELLO).await;
    stream
}

#[tokio::test]
async fn a_connection_is_taken_out_of_its_protocol_and_back() {
    let (app, wait) = waiting_app();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let mut client = TcpStream::connect(address).await.expect("it listens");
    let (stream, peer) = listener.accept().await.expect("it comes");
    let settings = ServerSettings::default();
    let shared = Arc::new(Shared {
        protocols: Protocols::new(&settings),
        app,
        drain: CancellationToken::new(),
        abort: CancellationToken::new(),
        settings,
    });
    let slot = Arc::new(Semaphore::new(1)).acquire_owned().await;
    let held = Held::new(slot.expect("open"), TaskTracker::new().token());
    let pulse = Arc::new(Pulse::new());
    let desk = Arc::new(Desk::default());
    let reception = Reception {
        shared: Arc::clone(&shared),
        pulse: Arc::clone(&pulse),
        other: Other {
            peer,
            certificate: None,
        },
        desk: Some(Arc::clone(&desk)),
    };
    let io = Metered::new(Either::Left(stream), Arc::clone(&pulse), held);
    let first_and_next = format!("{HELLO}{LATE}{HELLO}");
    client
        .write_all(first_and_next.as_bytes())
        .await
        .expect("open");
    let mut spoken = shared
        .protocols
        .speak(io, reception.clone())
        .await
        .expect("it begins");
    let left = converse(&shared, &pulse, &mut spoken).await;
    assert!(matches!(left, Left::Waiting));
    assert!(answer(&mut client).await.ends_with("hello"));
    let handling = desk.take().expect("it is being handled");
    let mut io = spoken.leave().expect("it is HTTP/1");
    wait.open.notify_one();
    let late = aside(&shared, &mut io, handling).await.expect("an answer");
    desk.answer(late);
    io.unread(AGAIN);
    let mut spoken = shared.protocols.speak_http1(io, reception);
    let both = async {
        let mut seen = String::new();
        while !seen.ends_with("hello") {
            let mut buffer = [0; 1024];
            let count = client.read(&mut buffer).await.expect("open");
            seen.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
        }
        seen
    };
    tokio::select! {
        seen = both => assert!(seen.contains("\r\n\r\nlateHTTP/1.1 200 OK\r\n"), "{seen}"),
        _ = converse(&shared, &pulse, &mut spoken) => panic!("the connection is kept"),
    }
}

#[tokio::test]
async fn a_late_answer_comes_before_that_to_the_next_request() {
    let (app, wait) = waiting_app();
    let running = start(app, ServerSettings::default()).await;
    let mut stream = ask_late(&running, &wait).await;
    stream.write_all(LATE.as_bytes()).await.expect("open");
    wait.open.notify_one();
    assert!(answer(&mut stream).await.ends_with("late"));
    // The next one was sent meanwhile, and waits as well.
    wait.reached.notified().await;
    wait.open.notify_one();
    assert!(answer(&mut stream).await.ends_with("late"));
    let text = exchange(&mut stream, HELLO).await;
    assert!(
        text.starts_with("HTTP/1.1 200 OK") && text.ends_with("hello"),
        "{text}"
    );
    drop(stream);
    running.stop().await;
}

#[tokio::test]
async fn who_goes_away_is_not_waited_for() {
    let (app, wait) = waiting_app();
    let running = start(app, ServerSettings::default()).await;
    drop(ask_late(&running, &wait).await);
    wait.gone.notified().await;
    running.stop().await;
}

#[tokio::test]
async fn a_drain_answers_what_was_put_aside() {
    let (app, wait) = waiting_app();
    let running = start(app, ServerSettings::default()).await;
    let mut stream = ask_late(&running, &wait).await;
    running.shutdown.cancel();
    let text = answer(&mut stream).await;
    assert!(text.ends_with("drained"), "{text}");
    assert!(text.contains("connection: close\r\n"), "{text}");
    assert_eq!(closes(&mut stream).await, "");
    running.stop().await;
}

/// Its own timeouts are the handler's: the connection is not idle.
#[tokio::test(start_paused = true)]
async fn what_was_put_aside_may_wait_for_longer_than_an_idle_connection() {
    let (app, wait) = waiting_app();
    let running = start(app, ServerSettings::default()).await;
    let mut stream = ask_late(&running, &wait).await;
    tokio::time::sleep(ServerSettings::default().idle_timeout * 2).await;
    wait.open.notify_one();
    assert!(answer(&mut stream).await.ends_with("late"));
    running.stop().await;
}

/// What the protocol does with a request has to be the same with that which stands for it.
#[tokio::test]
async fn only_plain_requests_are_put_aside() {
    let running = start(waiting_app().0, ServerSettings::default()).await;
    for (request, expected) in [
        ("GET /patient HTTP/1.1\r\nHost: x\r\n\r\n", "true"),
        (
            "GET /patient HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "false",
        ),
        (
            "GET /patient HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
            "false",
        ),
        ("GET /patient HTTP/1.0\r\n\r\n", "false"),
        (
            "GET /patient HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
            "false",
        ),
        (
            "POST /patient HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            "false",
        ),
    ] {
        let text = exchange(&mut running.connect().await, request).await;
        assert!(
            text.ends_with(&format!("\r\n\r\n{expected}")),
            "{request}: {text}"
        );
    }
    running.stop().await;
}
