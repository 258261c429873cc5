//! The command channel when its other side does not play along.

use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::socket::Unacknowledged;
use super::*;

#[tokio::test(start_paused = true)]
async fn a_channel_whose_other_side_takes_nothing_is_given_up() {
    let config = config(&["http://127.0.0.1:9"]);
    let worker = Worker::new(config).unwrap();
    // Room for one byte, and nobody reads it.
    let (near, _far) = tokio::io::duplex(1);
    let channel = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    let serving = socket::serve(&worker, 0, channel);
    let ended = tokio::time::timeout(Duration::from_mins(10), serving).await;
    assert_eq!(ended.expect("it ends"), "the other side takes nothing");
}

#[test]
fn a_pong_stands_for_all_events_before_it() {
    let mut unacknowledged = Unacknowledged::default();
    let mut events = Vec::new();
    let mut pings = Vec::new();
    for _ in 0..3 {
        let (taken, acknowledgement) = oneshot::channel();
        pings.push(unacknowledged.note(taken));
        events.push(acknowledgement);
    }
    let mut acknowledged = || -> Vec<bool> {
        let mut taken = |event: &mut oneshot::Receiver<()>| event.try_recv().is_ok();
        events.iter_mut().map(&mut taken).collect()
    };
    for foreign in [&b""[..], b"hello", b"something longer"] {
        unacknowledged.acknowledge(foreign);
    }
    assert_eq!(acknowledged(), [false, false, false]);
    unacknowledged.acknowledge(&pings[1]);
    assert_eq!(acknowledged(), [true, true, false]);
    unacknowledged.acknowledge(&pings[2]);
    assert_eq!(acknowledged(), [false, false, true], "each is told once");
}
