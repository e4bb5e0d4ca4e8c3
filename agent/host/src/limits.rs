//! Limits on one call of a plugin.

use std::time::Duration;

use pintle_core::{application, plugin::Stage};

/// Limits on one call of a plugin. They are always on: an operator may change the values but not remove a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The wall time of `describe`, `validate`, `detect`, `inputs` and `judges`, including host calls. 10 s by default.
    pub ask: Duration,
    /// The wall time of `render`, including host calls. 30 s by default.
    pub render: Duration,
    /// The wall time of `evaluate`, including host calls. 10 s by default.
    pub evaluate: Duration,
    /// The wall time of `assess`. 5 s by default, which leaves room for a machine that is short of CPU.
    pub assess: Duration,
    /// The wall time of `notify`, including host calls. 30 s by default.
    pub notify: Duration,
    /// The total number of bytes of all memories, of all tables at 8 bytes per entry, and of what is recorded as read, at 160
    /// bytes plus its name per read. 256 MiB by default.
    pub memory: u64,
    /// The total number of entries of all tables. 200,000 by default: interpreters compiled to Wasm have tens of thousands.
    pub table_entries: u64,
    /// The number of open handles, both to host resources and to the component's own. 1,024 by default.
    pub handles: u32,
    /// The number of bytes that cross between guest and host through imports, in both directions and summed over the call. A glob
    /// counts its pattern for each entry that it walks and each file that it matches. 512 MiB by default.
    pub host_calls: u64,
    /// The number of bytes of the result, and of the arguments of any single host call. 64 MiB by default.
    pub output: u64,
    /// The number of bytes of log messages, plus 128 for each message, after which the call is ended. 1 MiB by default. Messages
    /// beyond [`LOG_KEPT`] are dropped.
    pub log: u64,
}

/// The number of bytes of log messages kept from one call. A marker says that more was dropped.
pub const LOG_KEPT: u64 = 64 << 10;

impl Default for Limits {
    fn default() -> Self {
        Self {
            ask: Duration::from_secs(10),
            render: Duration::from_secs(30),
            evaluate: Duration::from_secs(10),
            assess: Duration::from_secs(5),
            notify: Duration::from_secs(30),
            memory: 256 << 20,
            table_entries: 200_000,
            handles: 1_024,
            host_calls: 512 << 20,
            output: 64 << 20,
            log: 1 << 20,
        }
    }
}

impl Limits {
    /// Applies the values that an operator set for one plugin. A time replaces that of every stage.
    #[must_use]
    pub fn overridden_by(mut self, operator: &application::Limits) -> Self {
        if let Some(time) = operator.time {
            for own in [
                &mut self.ask,
                &mut self.render,
                &mut self.evaluate,
                &mut self.assess,
                &mut self.notify,
            ] {
                *own = time.get();
            }
        }
        if let Some(memory) = operator.memory_mib {
            self.memory = u64::from(memory) << 20;
        }
        if let Some(output) = operator.output_mib {
            self.output = u64::from(output) << 20;
        }
        self
    }

    /// Returns the wall time allowed for a stage.
    pub fn time(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Load
            | Stage::Describe
            | Stage::Validate
            | Stage::Detect
            | Stage::Inputs
            | Stage::Judges => self.ask,
            Stage::Render => self.render,
            Stage::Evaluate => self.evaluate,
            Stage::Assess => self.assess,
            Stage::Notify => self.notify,
        }
    }
}

#[cfg(test)]
mod tests {
    use pintle_core::duration::Span;

    use super::*;

    #[test]
    fn an_operator_sets_what_he_names_and_nothing_else() {
        let operator = application::Limits {
            time: Some(Span::seconds(3)),
            memory_mib: Some(8),
            output_mib: None,
        };
        let limits = Limits::default().overridden_by(&operator);
        for stage in [Stage::Describe, Stage::Render, Stage::Notify] {
            assert_eq!(limits.time(stage), Duration::from_secs(3));
        }
        assert_eq!(limits.memory, 8 << 20);
        assert_eq!(limits.output, Limits::default().output);
    }
}
