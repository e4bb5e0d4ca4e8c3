//! Looks at sources: somebody wants to know what one gives now, and not what it gave when it was fetched last.

use tokio::sync::watch;

/// Numbers the looks at all sources: none of them has a number twice, also if it is left and followed again.
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
    /// Lower numbers are of a time before, when it was followed as well.
    pub(super) began: u64,
    newest: watch::Sender<u64>,
}

impl Looks {
    /// Begins with a number that is no look, and returns how the newest is heard of.
    pub(super) fn begin(numbers: &mut Numbers) -> (Self, watch::Receiver<u64>) {
        let began = numbers.next();
        let (newest, receiver) = watch::channel(began);
        (Self { began, newest }, receiver)
    }

    /// Lets the source be fetched at once, and returns the number of this look.
    pub(super) fn look(&self, numbers: &mut Numbers) -> u64 {
        let number = numbers.next();
        self.newest.send_replace(number);
        number
    }

    /// Says whether a fetch that knows of a look is of the time since it is followed.
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
