//! The verdicts that judges return.

use pintle_sdk::{Assessment, Status};

use crate::object::Malformed;

/// A judge's verdict; an object that cannot be read as its kind gets an error.
pub(crate) type Verdict = Result<Assessment, Malformed>;

/// The length of the longest message in bytes: status and events repeat it, and a controller's own text can fill pages.
const LONGEST_MESSAGE: usize = 1024;

/// Returns the assessment of an object that is as it should be.
pub(crate) fn healthy(message: impl Into<String>) -> Assessment {
    assessment(Status::Healthy, message)
}

/// Returns the assessment of an object that is still progressing.
pub(crate) fn progressing(message: impl Into<String>) -> Assessment {
    assessment(Status::Progressing, message)
}

/// Returns the assessment of an object that will not become healthy without a change.
pub(crate) fn degraded(message: impl Into<String>) -> Assessment {
    assessment(Status::Degraded, message)
}

/// Returns the assessment of an object that is stopped on purpose.
pub(crate) fn suspended(message: impl Into<String>) -> Assessment {
    assessment(Status::Suspended, message)
}

/// Returns the assessment of an object about which nothing can be said.
pub(crate) fn unknown(message: impl Into<String>) -> Assessment {
    assessment(Status::Unknown, message)
}

/// Returns an assessment whose message is one line of bounded length.
pub(crate) fn assessment(status: Status, message: impl Into<String>) -> Assessment {
    Assessment::new(status, one_line(&message.into()))
}

/// The time at which an object is judged.
///
/// There is only one way to compare it with a deadline, and that reports the deadline to the host: a verdict that time alone
/// changes cannot lack the time at which to judge again.
#[derive(Clone, Copy)]
pub(crate) struct Now(u64);

impl Now {
    /// Returns the time that many milliseconds after the epoch.
    pub(crate) fn at(now_ms: u64) -> Self {
        Self(now_ms)
    }

    /// Judges in one way before a deadline, given in milliseconds since the epoch, and in another from then on.
    pub(crate) fn until(
        self,
        deadline_ms: u64,
        before: impl FnOnce() -> Assessment,
        after: impl FnOnce() -> Assessment,
    ) -> Assessment {
        // The deadline itself counts as passed, so that a verdict at that moment does not ask to be judged again at once.
        if self.0 < deadline_ms {
            before().until(deadline_ms, self.0)
        } else {
            after()
        }
    }
}

/// Formats a count: `1 replica`, `2 replicas`.
pub(crate) fn counted(count: impl Into<i128>, one: &str) -> String {
    match count.into() {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    }
}

/// Formats a surplus: `1 replica too many is still to be removed`.
pub(crate) fn surplus(total: i64, wanted: i64) -> String {
    let surplus = total.saturating_sub(wanted);
    let verb = if surplus == 1 { "is" } else { "are" };
    format!(
        "{} too many {verb} still to be removed",
        counted(surplus, "replica")
    )
}

fn one_line(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() <= LONGEST_MESSAGE {
        return line;
    }
    let end = line.floor_char_boundary(LONGEST_MESSAGE);
    format!("{}…", &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_judged_before_a_deadline_is_judged_again_at_it() {
        let judge = |now_ms| Now::at(now_ms).until(5, || progressing("early"), || degraded("late"));
        assert_eq!(judge(3), progressing("early").until(5, 3));
        assert_eq!(judge(4).recheck_after_ms, Some(1));
        assert_eq!(judge(5), degraded("late"));
        assert_eq!(judge(6), degraded("late"));
    }

    #[test]
    fn a_message_is_one_bounded_line() {
        assert_eq!(healthy("two\n\tlines ").message, "two lines");
        let long = healthy("é".repeat(2000)).message;
        assert!(
            long.len() <= LONGEST_MESSAGE + '…'.len_utf8() && long.ends_with("é…"),
            "{} bytes",
            long.len()
        );
    }
}
