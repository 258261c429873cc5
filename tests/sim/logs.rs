//! Reads a world's logs: they are shown to people, so no secret may be in them.

use std::io;
use std::sync::Arc;

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use crate::seen::Seen;
use crate::world::World;

/// Hands each line to the world's record.
#[derive(Clone)]
struct Lines(Arc<World>);

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        self.0.note("log", Seen::Said { text });
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Reads all logs of this thread, until the guard is dropped.
pub fn capture(world: &Arc<World>) -> DefaultGuard {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(Lines(Arc::clone(world)))
        .with_ansi(false)
        .without_time()
        .finish();
    tracing::subscriber::set_default(subscriber)
}
