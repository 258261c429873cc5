//! Server-sent events: a pure parser, and the stream that feeds it.
//! Source: the HTML standard, "Server-sent events".

use std::collections::VecDeque;
use std::time::Duration;

use http_body_util::BodyExt as _;

use super::NetError;
use super::client::Body;

/// The longest event. Units: bytes.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// `message` unless named.
    pub event: String,
    /// Its lines, joined by line feeds.
    pub data: String,
    /// The last id that the stream has named.
    pub id: Option<String>,
}

/// Cuts a stream of bytes into events.
#[derive(Debug, Default)]
struct Parser {
    /// Bytes of the line under way.
    line: Vec<u8>,
    /// Whether the last byte was a carriage return, whose line feed is then part of the line end.
    after_return: bool,
    name: String,
    data: String,
    has_data: bool,
    id: Option<String>,
}

impl Parser {
    /// Takes the next bytes and adds the events that they complete.
    fn push(&mut self, bytes: &[u8], events: &mut VecDeque<ServerEvent>) -> Result<(), NetError> {
        for byte in bytes {
            match byte {
                b'\n' if self.after_return => self.after_return = false,
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    self.end_of_line(&String::from_utf8_lossy(&line), events);
                }
                _ => {
                    self.after_return = false;
                    self.line.push(*byte);
                }
            }
            if self.line.len() + self.data.len() > EVENT_BYTES_MAX {
                return Err(NetError::TooLarge {
                    bytes_max: EVENT_BYTES_MAX,
                });
            }
        }
        Ok(())
    }

    fn end_of_line(&mut self, line: &str, events: &mut VecDeque<ServerEvent>) {
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let data = std::mem::take(&mut self.data);
            if std::mem::take(&mut self.has_data) {
                let event = if name.is_empty() {
                    "message".to_owned()
                } else {
                    name
                };
                events.push_back(ServerEvent {
                    event,
                    data,
                    id: self.id.clone(),
                });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // Comments (an empty field name), `retry` and unknown fields say nothing here.
            _ => {}
        }
    }
}

/// A stream of server-sent events.
pub struct EventStream {
    body: Body,
    idle: Duration,
    parser: Parser,
    ready: VecDeque<ServerEvent>,
}

impl EventStream {
    pub(super) fn new(body: Body, idle: Duration) -> Self {
        Self {
            body,
            idle,
            parser: Parser::default(),
            ready: VecDeque::new(),
        }
    }

    /// Returns the next event; nothing when the other side has closed the stream. Comments count
    /// as signs of life.
    ///
    /// Errors end the stream: open it anew from the last id.
    pub async fn next(&mut self) -> Option<Result<ServerEvent, NetError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            let frame = match tokio::time::timeout(self.idle, self.body.frame()).await {
                Err(_) => return Some(Err(NetError::Timeout { after: self.idle })),
                Ok(None) => return None,
                Ok(Some(Err(error))) => return Some(Err(NetError::Broken(error.to_string()))),
                Ok(Some(Ok(frame))) => frame,
            };
            if let Ok(bytes) = frame.into_data()
                && let Err(error) = self.parser.push(&bytes, &mut self.ready)
            {
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(chunks: &[&str]) -> Vec<(String, String, Option<String>)> {
        let mut parser = Parser::default();
        let mut events = VecDeque::new();
        for chunk in chunks {
            parser.push(chunk.as_bytes(), &mut events).unwrap();
        }
        events
            .into_iter()
            .map(|e| (e.event, e.data, e.id))
            .collect()
    }

    fn event(name: &str, data: &str, id: Option<&str>) -> (String, String, Option<String>) {
        (name.to_owned(), data.to_owned(), id.map(str::to_owned))
    }

    #[test]
    fn events_are_cut_at_empty_lines() {
        for (chunks, expected) in [
            (&["data: a\n\n"][..], vec![event("message", "a", None)]),
            (
                &["da", "ta: a\r", "\n\r\n"],
                vec![event("message", "a", None)],
            ),
            (
                &["event: state\nid: 7\ndata: a\ndata:b\n\ndata\n\n"],
                vec![
                    event("state", "a\nb", Some("7")),
                    event("message", "", Some("7")),
                ],
            ),
            (&[": comment\nretry: 5\nevent: x\n\n"], vec![]),
            (&["data: not ended\n"], vec![]),
            (
                &["data: ü\rdata: b\r\r"],
                vec![event("message", "ü\nb", None)],
            ),
        ] {
            assert_eq!(parse(chunks), expected, "{chunks:?}");
        }
    }

    #[test]
    fn an_event_is_bounded() {
        let mut parser = Parser::default();
        let long = vec![b'a'; EVENT_BYTES_MAX + 1];
        let error = parser.push(&long, &mut VecDeque::new());
        assert!(matches!(error, Err(NetError::TooLarge { .. })));
    }
}
