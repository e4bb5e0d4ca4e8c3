//! What the judges answer.

use pintle_sdk::{Assessment, Status};

use crate::object::Malformed;

/// A judge's answer; an object that cannot be read as its kind gets none.
pub(crate) type Verdict = Result<Assessment, Malformed>;

/// Longest message in bytes: status and events repeat it, and a controller's own text can be pages.
const LONGEST_MESSAGE: usize = 1024;

/// Says that the object is as it should be.
pub(crate) fn healthy(message: impl Into<String>) -> Assessment {
    assessment(Status::Healthy, message)
}

/// Says that the object is on its way.
pub(crate) fn progressing(message: impl Into<String>) -> Assessment {
    assessment(Status::Progressing, message)
}

/// Says that the object will not become healthy without a change.
pub(crate) fn degraded(message: impl Into<String>) -> Assessment {
    assessment(Status::Degraded, message)
}

/// Says that the object is stopped on purpose.
pub(crate) fn suspended(message: impl Into<String>) -> Assessment {
    assessment(Status::Suspended, message)
}

/// Says that nothing can be said.
pub(crate) fn unknown(message: impl Into<String>) -> Assessment {
    assessment(Status::Unknown, message)
}

/// Makes an assessment whose message is one line of bounded length.
pub(crate) fn assessment(status: Status, message: impl Into<String>) -> Assessment {
    Assessment::new(status, one_line(&message.into()))
}

/// When an object is judged.
///
/// It can be compared with a deadline in one way only, which tells the host of it: a verdict that time alone changes
/// cannot lack the time at which to judge again.
#[derive(Clone, Copy)]
pub(crate) struct Now(u64);

impl Now {
    /// So many milliseconds after the epoch.
    pub(crate) fn at(now_ms: u64) -> Self {
        Self(now_ms)
    }

    /// Judges in one way before a deadline, in milliseconds since the epoch, and in another from then on.
    pub(crate) fn until(
        self,
        deadline_ms: u64,
        before: impl FnOnce() -> Assessment,
        after: impl FnOnce() -> Assessment,
    ) -> Assessment {
        // The deadline itself is after, so that what is judged then is not to be judged again in no time.
        if self.0 < deadline_ms {
            before().until(deadline_ms, self.0)
        } else {
            after()
        }
    }
}

/// `1 replica`, `2 replicas`
pub(crate) fn counted(count: impl Into<i128>, one: &str) -> String {
    match count.into() {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    }
}

/// `1 replica too many is still to be removed`
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
