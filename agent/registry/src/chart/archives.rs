//! Packed archives that somebody holds.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError, Weak},
};

use pintle_core::digest::Digest;

use super::archive::{Archive, Layout, Packed};

/// The archives that are held, each once: one chart may be the source of hundreds of applications in as many namespaces.
///
/// Whoever puts one in has fetched it himself, so nobody learns of what others have.
#[derive(Debug, Default)]
pub(crate) struct Archives {
    held: Mutex<HashMap<(Digest, Layout), Weak<Packed>>>,
}

impl Archives {
    /// Returns the archive that others hold in place of an equal one, or keeps this in mind.
    pub(super) fn share(&self, archive: Archive) -> Archive {
        // A map is whole whatever happened to whoever held it.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, packed| packed.strong_count() > 0);
        let key = (archive.digest(), archive.layout());
        if let Some(known) = held.get(&key).and_then(Archive::of) {
            return known;
        }
        held.insert(key, archive.downgrade());
        archive
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn equal_archives_are_held_once_and_as_long_as_somebody_has_one() {
        let archives = Archives::default();
        let share = |text: &str, layout| {
            let bytes = Bytes::from(text.to_owned());
            archives.share(Archive::new(bytes, layout))
        };
        let place = |archive: &Archive| archive.bytes().as_ptr();
        let one = share("a chart", Layout::Chart);
        let equal = share("a chart", Layout::Chart);
        assert_eq!(place(&one), place(&equal));
        let others = [
            share("another", Layout::Chart),
            share("a chart", Layout::Plain),
        ];
        assert!(others.iter().all(|other| place(other) != place(&one)));
        drop((one, equal, others));
        let last = share("the last", Layout::Chart);
        assert_eq!(archives.held.lock().unwrap().len(), 1);
        drop(last);
    }
}
