//! Lists of branches and tags that are kept, in memory that is bounded for all of them together.

use std::{sync::Arc, time::Instant};

use super::{Repository, Shared, lock};

/// Most bytes of all lists together. Nearly every list has some kilobytes; the largest that is accepted has some MiB.
pub(super) const KEPT: usize = 64 << 20;

/// Forgets the lists that were made first, until the others take no more than they may. A repository whose list is
/// forgotten is asked for it again, whoever wants to know.
pub(super) fn trim(shared: &Shared, most: usize) {
    let known: Vec<Arc<Repository>> = lock(&shared.known).values().cloned().collect();
    let listed = |repository: &Arc<Repository>| -> Option<(Instant, usize)> {
        let last = lock(&repository.last);
        let (at, refs) = last.listed.as_ref()?;
        Some((*at, refs.bytes()))
    };
    let mut lists: Vec<_> = known
        .iter()
        .filter_map(|repository| Some((listed(repository)?, repository)))
        .collect();
    let mut all: usize = lists.iter().map(|((_, bytes), _)| bytes).sum();
    if all <= most {
        return;
    }
    lists.sort_by_key(|((at, _), _)| *at);
    for ((at, bytes), repository) in lists {
        if all <= most {
            break;
        }
        let mut last = lock(&repository.last);
        // There may be a newer one by now, which counts the next time.
        if last.listed.as_ref().is_some_and(|(now, _)| *now == at) {
            last.listed = None;
        }
        all -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gix::ObjectId;

    use super::*;
    use crate::{
        credentials::Credentials,
        limits::Options,
        location::Location,
        refs::{Found, Refs},
        repositories::Repositories,
    };

    fn refs(count: usize) -> Arc<Refs> {
        let id = ObjectId::null(gix::hash::Kind::Sha1);
        let branches = (0..count).map(|number| (format!("branch-{number:04}"), id));
        let found = Found {
            branches: branches.collect(),
            ..Found::default()
        };
        Arc::new(found.into())
    }

    #[test]
    fn the_oldest_lists_are_forgotten_when_all_together_are_too_large() {
        let dir = tempfile::tempdir().unwrap();
        let repositories = Repositories::new(Options::new(dir.path())).unwrap();
        let begin = Instant::now();
        let of = |name: &str, after: u64, count: usize| {
            let url = format!("https://git.example.com/{name}");
            let location = Location::parse(&url).unwrap();
            let repository = repositories.repository(location, &Credentials::default());
            let at = begin + Duration::from_secs(after);
            lock(&repository.last).listed = Some((at, refs(count)));
            repository
        };
        let (second, first, third) = (of("b", 2, 100), of("a", 1, 100), of("c", 3, 100));
        let _never = repositories.repository(
            Location::parse("https://git.example.com/d").unwrap(),
            &Credentials::default(),
        );
        let kept = || [&first, &second, &third].map(|it| lock(&it.last).listed.is_some());
        let one = refs(100).bytes();
        trim(&repositories.shared, 3 * one);
        assert_eq!(kept(), [true, true, true]);
        trim(&repositories.shared, 3 * one - 1);
        assert_eq!(kept(), [false, true, true]);
        trim(&repositories.shared, one);
        assert_eq!(kept(), [false, false, true]);
        trim(&repositories.shared, 0);
        assert_eq!(kept(), [false, false, false]);
    }
}
