//! A run that does not begin, because other applications have to be Ready first.

use pintle_core::{
    application::Standing,
    dependencies::Obstacle,
    machine::{Outcome, Retry},
};
use serde_json::Value;

use super::Stopped;
use crate::agent::{chronicle::WAITS_FOR_OTHERS, report::Verdict};

/// Says what is in the way; nothing if nothing is. It is looked at again when one of the others changes, not by time.
pub(super) fn stopped(obstacles: &[Obstacle]) -> Option<Stopped> {
    if obstacles.is_empty() {
        return None;
    }
    let passes = obstacles.iter().all(Obstacle::may_pass);
    let texts: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
    let verdict = Verdict {
        standing: if passes {
            Standing::Working
        } else {
            Standing::Stalled
        },
        reason: WAITS_FOR_OTHERS.to_owned(),
        message: format!("waiting: {}", texts.join("; ")),
        event: None,
        details: Value::Null,
    };
    Some(Stopped {
        outcome: Outcome::Failed(Retry::OnChange),
        verdict: Some(verdict),
    })
}
