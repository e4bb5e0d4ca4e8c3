//! What a proxy does to a request instead of just forwarding it.

use std::time::Duration;

use serde_json::json;

/// A rule of a [`Proxy`](crate::Proxy): which requests it applies to, how many of them, and what happens to them.
///
/// Without one of the methods that set what happens, it only uses up its count.
#[derive(Clone, Debug)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    method: String,
    part: String,
    skip: usize,
    times: usize,
    pub(super) delay: Duration,
    /// The pause between two pieces of the answer's body.
    pub(super) pace: Duration,
    pub(super) effect: Effect,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The request is forwarded.
    None,
    /// The proxy itself answers.
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// The connection is closed without an answer, and the server never sees the request.
    Refuse,
    /// The server gets the request, but its answer is lost.
    LoseAnswer,
    /// The answer breaks off after this many bytes of its body.
    CutAfter(usize),
    /// After this many events, a watch ends with the error that its position is too old.
    ExpireAfter(usize),
    /// A watch is resumed at a position that is older than the requested one by this much.
    Rewind(u64),
}

impl Fault {
    /// Creates a fault for requests with `method` (`*`: any) and with `part` anywhere in their path and query. It applies every
    /// time, unless [`Fault::times`] limits it.
    pub fn on(method: &str, part: &str) -> Self {
        Self {
            method: method.to_owned(),
            part: part.to_owned(),
            skip: 0,
            times: usize::MAX,
            delay: Duration::ZERO,
            pace: Duration::ZERO,
            effect: Effect::None,
        }
    }

    /// Lets the first `count` matching requests through.
    pub fn after(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Applies at most `count` times.
    pub fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }

    /// Answers with this status and, as the API server does, with a `Status` object as the body.
    pub fn status(self, status: u16, reason: &str, message: &str) -> Self {
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "reason": reason, "message": message, "code": status,
        });
        self.body(status, "application/json", body.to_string())
    }

    /// Answers with this status, content type and body.
    pub fn body(mut self, status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        self.effect = Effect::Answer {
            status,
            headers,
            body: body.into(),
        };
        self
    }

    /// Adds a header, such as `Retry-After`, to the answer that [`Fault::status`] or [`Fault::body`] has set.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Effect::Answer { headers, .. } = &mut self.effect {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Waits before anything else happens to the request.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Closes the connection without an answer. The server never sees the request.
    pub fn refuse(mut self) -> Self {
        self.effect = Effect::Refuse;
        self
    }

    /// Forwards the request and closes the connection instead of answering: the request is carried out, and the client cannot
    /// know.
    pub fn lose_answer(mut self) -> Self {
        self.effect = Effect::LoseAnswer;
        self
    }

    /// Breaks the answer off after `bytes` of its body.
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.effect = Effect::CutAfter(bytes);
        self
    }

    /// Forwards the answer's body slowly, with this pause before each piece. Messages on another connection overtake it.
    pub fn pace(mut self, pause: Duration) -> Self {
        self.pace = pause;
        self
    }

    /// Lets `events` of a watch through and then ends it with the error event 410 `Expired`, as the API server does when etcd has
    /// compacted the requested position.
    pub fn expire_after(mut self, events: usize) -> Self {
        self.effect = Effect::ExpireAfter(events);
        self
    }

    /// Resumes a watch `versions` before the requested position: the server repeats earlier events, as one that lags behind does.
    /// A watch without a position is forwarded unchanged.
    pub fn rewind(mut self, versions: u64) -> Self {
        self.effect = Effect::Rewind(versions);
        self
    }

    /// Counts a matching request, and returns the fault if it applies.
    pub(super) fn strike(&mut self, method: &str, uri: &str) -> Option<Self> {
        let matches = (self.method == "*" || self.method.eq_ignore_ascii_case(method))
            && uri.contains(&self.part);
        if !matches || self.times == 0 {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_only_what_it_is_for_and_so_often() {
        let mut fault = Fault::on("PATCH", "/configmaps/")
            .after(1)
            .times(2)
            .refuse();
        let mut strikes = |method, uri| fault.strike(method, uri).is_some();
        assert!(!strikes("GET", "/api/v1/configmaps/a"));
        assert!(!strikes("PATCH", "/api/v1/secrets/a"));
        assert!(
            !strikes("PATCH", "/api/v1/configmaps/a"),
            "the first one is let through"
        );
        assert!(strikes("PATCH", "/api/v1/configmaps/a"));
        assert!(strikes("patch", "/api/v1/configmaps/b?dryRun=All"));
        assert!(!strikes("PATCH", "/api/v1/configmaps/a"), "used up");
    }
}
