//! `pintle:types/log`: messages for the operator.

use std::sync::{Arc, Mutex, PoisonError};

use pintle_core::plugin::{Limit, PluginId};

use crate::{
    bindings::wit::log::{Host, Level},
    limits::LOG_KEPT,
    state::{State, Stop},
};

/// The destination of one call's messages. Clones are the same sink, for a guest with several streams.
#[derive(Debug, Clone)]
pub(crate) struct LogSink(Arc<Mutex<Sink>>);

#[derive(Debug)]
struct Sink {
    plugin: PluginId,
    written: u64,
    limit: u64,
    last_error: Option<String>,
}

/// The number of bytes added for each message: none is free, and each is a line with the plugin's name and the time.
const MESSAGE_BYTES: u64 = 128;

/// The number of characters of the last error that are reported with a crash.
const LAST_WORDS: usize = 400;

impl LogSink {
    pub(crate) fn new(plugin: &PluginId, limit: u64) -> Self {
        Self(Arc::new(Mutex::new(Sink {
            plugin: plugin.clone(),
            written: 0,
            limit,
            last_error: None,
        })))
    }

    /// Writes a message, or drops it beyond [`LOG_KEPT`]. Ends the call beyond the limit.
    pub(crate) fn write(&self, level: Level, message: &str) -> Result<(), Stop> {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let size = message.len() as u64 + MESSAGE_BYTES;
        let before = sink.written;
        sink.written = before.saturating_add(size);
        if sink.written > sink.limit {
            return Err(Limit::Log(sink.limit).into());
        }
        if sink.written > LOG_KEPT {
            if before <= LOG_KEPT {
                tracing::warn!(target: "pintle::plugin", plugin = %sink.plugin, "it logs too much: the rest of this call's messages is dropped");
            }
            return Ok(());
        }
        let message = printable(message);
        let plugin = &sink.plugin;
        match level {
            Level::Debug => tracing::debug!(target: "pintle::plugin", %plugin, "{message}"),
            Level::Info => tracing::info!(target: "pintle::plugin", %plugin, "{message}"),
            Level::Warn => tracing::warn!(target: "pintle::plugin", %plugin, "{message}"),
            Level::Error => tracing::error!(target: "pintle::plugin", %plugin, "{message}"),
        }
        if matches!(level, Level::Error) {
            sink.last_error = Some(message.chars().take(LAST_WORDS).collect());
        }
        Ok(())
    }

    /// Returns the last message at error level.
    pub(crate) fn last_error(&self) -> Option<String> {
        let sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sink.last_error.clone()
    }
}

/// Replaces control characters: a plugin must not be able to forge lines or control a terminal.
fn printable(message: &str) -> String {
    message
        .trim_end()
        .chars()
        .map(|character| match character {
            '\n' | '\t' => ' ',
            control if control.is_control() => '\u{fffd}',
            plain => plain,
        })
        .collect()
}

impl Host for State {
    fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.called(message.len())?;
        Ok(self.log.write(level, &message)?)
    }
}

#[cfg(test)]
mod tests {
    use pintle_core::{digest::Digest, plugin::Kind};

    use super::*;

    fn sink(limit: u64) -> LogSink {
        let plugin = PluginId {
            name: "p".into(),
            digest: Digest::of(""),
            kind: Kind::Health,
        };
        LogSink::new(&plugin, limit)
    }

    #[test]
    fn a_flood_is_dropped_and_then_ends_the_call() {
        let sink = sink(2 * LOG_KEPT);
        let line = "x".repeat(1024 - 128);
        for _ in 0..2 * LOG_KEPT / 1024 {
            sink.write(Level::Info, &line).unwrap();
        }
        let stop = sink.write(Level::Info, "").unwrap_err();
        insta::assert_snapshot!(stop, @"it logged more than 131072 bytes; raise `limits` of the Plugin if this is expected");
    }

    #[test]
    fn many_short_messages_are_a_flood_too() {
        let sink = sink(2 * LOG_KEPT);
        let written = (0..10_000).take_while(|_| sink.write(Level::Info, "x").is_ok());
        assert_eq!(written.count() as u64, 2 * LOG_KEPT / 129);
    }

    #[test]
    fn last_words_are_printable_and_short() {
        let sink = sink(1 << 20);
        sink.write(Level::Error, "first").unwrap();
        sink.write(Level::Error, "a\x1b[31mb\nc\n").unwrap();
        sink.write(Level::Info, "not an error").unwrap();
        assert_eq!(sink.last_error().unwrap(), "a\u{fffd}[31mb c");
        sink.write(Level::Error, &"é".repeat(1000)).unwrap();
        assert_eq!(sink.last_error().unwrap().chars().count(), LAST_WORDS);
    }
}
