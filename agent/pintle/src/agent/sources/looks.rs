//! Looks at sources: requests for what a source gives now, and not what it gave at the last fetch.

use tokio::sync::watch;

/// The number generator for the looks at all sources. No source has a number twice, even if it is left and followed again.
#[derive(Debug, Default)]
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// The looks at one source while it is followed.
#[derive(Debug)]
pub(super) struct Looks {
    /// Lower numbers are from an earlier time at which the source was followed.
    pub(super) began: u64,
    newest: watch::Sender<u64>,
}

impl Looks {
    /// Starts with a number that is not a look, and returns the receiver for the newest one.
    pub(super) fn begin(numbers: &mut Numbers) -> (Self, watch::Receiver<u64>) {
        let began = numbers.next();
        let (newest, receiver) = watch::channel(began);
        (Self { began, newest }, receiver)
    }

    /// Requests an immediate fetch of the source, and returns the number of this look.
    pub(super) fn look(&self, numbers: &mut Numbers) -> u64 {
        let number = numbers.next();
        self.newest.send_replace(number);
        number
    }

    /// Returns whether a fetch that knows of a look belongs to the current subscription.
    pub(super) const fn is_of_now(&self, looked: u64) -> bool {
        looked >= self.began
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_before_a_source_was_left_answers_nobody_who_follows_it_again() {
        let mut numbers = Numbers::default();
        let (before, heard) = Looks::begin(&mut numbers);
        let first = *heard.borrow();
        let asked = before.look(&mut numbers);
        assert_eq!(*heard.borrow(), asked);
        assert!(asked > first && before.is_of_now(first) && before.is_of_now(asked));
        let (again, heard) = Looks::begin(&mut numbers);
        assert!(!again.is_of_now(first) && !again.is_of_now(asked));
        assert!(again.is_of_now(*heard.borrow()), "its first fetch");
        let asked_again = again.look(&mut numbers);
        assert!(asked_again > asked && again.is_of_now(asked_again));
    }
}
