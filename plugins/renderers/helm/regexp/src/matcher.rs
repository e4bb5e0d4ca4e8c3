//! Compiled regular expressions.

use std::{borrow::Cow, cell::RefCell, collections::HashMap, rc::Rc};

use pintle_gotemplate::rune;
use regex_automata::{
    Anchored, Input,
    nfa::thompson::{
        self, NFA, WhichCaptures,
        backtrack::{self, BoundedBacktracker},
        pikevm::PikeVM,
    },
    util::primitives::NonMaxUsize,
};

use super::syntax::{self, Code, SyntaxError};

/// The most memory that one compiled expression may take, in bytes.
const SIZE_LIMIT: usize = 4 << 20;

/// The memory for a search that keeps track of all visited places in the text, in bytes. Each match begins by clearing this
/// memory, so many matches in a long text are found faster without it.
const VISITED_CAPACITY: usize = 16 << 10;

/// The number of compiled expressions to cache.
const CACHE_SIZE: usize = 64;

thread_local! {
    // A render uses the same few expressions again and again, and compiling one costs more than most searches.
    static CACHE: RefCell<HashMap<Box<[u8]>, Rc<Regex>>> = RefCell::default();
}

/// A compiled regular expression.
#[derive(Debug)]
pub struct Regex {
    /// A fast engine whose memory grows with the length of the text.
    short: Option<(BoundedBacktracker, RefCell<backtrack::Cache>)>,
    /// An engine for texts of any length.
    long: (PikeVM, RefCell<thompson::pikevm::Cache>),
    /// The names of the groups by number, including the entry for the whole match.
    names: Vec<Option<String>>,
}

/// The start and end of a match and of its groups.
#[derive(Clone, Debug)]
pub struct Match(Vec<Option<usize>>);

impl Match {
    /// Returns the start of the match.
    pub fn start(&self) -> usize {
        self.group(0).map_or(0, |(start, _)| start)
    }

    /// Returns the end of the match.
    pub fn end(&self) -> usize {
        self.group(0).map_or(0, |(_, end)| end)
    }

    /// Returns the start and end of a group, if it took part in the match. Number 0 is the whole match.
    pub fn group(&self, number: usize) -> Option<(usize, usize)> {
        let slot = |index: usize| self.0.get(index).copied().flatten();
        Some((slot(number * 2)?, slot(number * 2 + 1)?))
    }
}

/// A text to search in. Each byte that is not valid UTF-8 counts as one replacement character, as in Go.
#[derive(Clone, Debug)]
pub struct Haystack<'a> {
    text: Cow<'a, [u8]>,
    /// For each byte of `text`, and for its end, the place in the original. None if both are the same.
    places: Option<Vec<usize>>,
}

impl<'a> Haystack<'a> {
    /// Prepares a text so that it can be searched several times.
    pub fn new(bytes: &'a [u8]) -> Self {
        if std::str::from_utf8(bytes).is_ok() {
            return Self {
                text: Cow::Borrowed(bytes),
                places: None,
            };
        }
        let mut text = Vec::with_capacity(bytes.len() * 2);
        let mut places = Vec::with_capacity(bytes.len() * 2);
        let mut at = 0;
        for rune in rune::runes(bytes) {
            text.extend_from_slice(rune.char.encode_utf8(&mut [0; 4]).as_bytes());
            places.resize(text.len(), at);
            at += rune.len;
        }
        places.push(bytes.len());
        Self {
            text: Cow::Owned(text),
            places: Some(places),
        }
    }

    fn original(&self, place: usize) -> usize {
        match &self.places {
            None => place,
            Some(places) => places[place],
        }
    }

    fn place_of(&self, place: usize) -> usize {
        match &self.places {
            None => place,
            Some(places) => places.partition_point(|&original| original < place),
        }
    }
}

impl Regex {
    /// Compiles an expression, or returns it from the cache.
    pub fn new(pattern: &[u8]) -> Result<Rc<Self>, SyntaxError> {
        if let Some(found) = CACHE.with_borrow(|cache| cache.get(pattern).cloned()) {
            return Ok(found);
        }
        let compiled = Rc::new(Self::compile(pattern)?);
        CACHE.with_borrow_mut(|cache| {
            if cache.len() >= CACHE_SIZE {
                cache.clear();
            }
            cache.insert(pattern.into(), Rc::clone(&compiled));
        });
        Ok(compiled)
    }

    fn compile(pattern: &[u8]) -> Result<Self, SyntaxError> {
        let (hir, names) = syntax::parse(pattern)?;
        let too_large = || SyntaxError::new(Code::Large, &String::from_utf8_lossy(pattern));
        let config = thompson::Config::new()
            .nfa_size_limit(Some(SIZE_LIMIT))
            .which_captures(WhichCaptures::All);
        let nfa = NFA::compiler()
            .configure(config)
            .build_from_hir(&hir)
            .map_err(|_| too_large())?;
        let short = BoundedBacktracker::builder()
            .configure(backtrack::Config::new().visited_capacity(VISITED_CAPACITY))
            .build_from_nfa(nfa.clone())
            .ok();
        let long = PikeVM::new_from_nfa(nfa).map_err(|_| too_large())?;
        Ok(Self {
            short: short.map(|engine| {
                let cache = RefCell::new(engine.create_cache());
                (engine, cache)
            }),
            long: {
                let cache = RefCell::new(long.create_cache());
                (long, cache)
            },
            names,
        })
    }

    /// Returns whether the expression matches anywhere in a text.
    pub fn is_match(&self, text: &[u8]) -> bool {
        let haystack = Haystack::new(text);
        // The end of the match does not matter, so the search need not look for the best match.
        let input = Input::new(&haystack.text[..])
            .anchored(Anchored::No)
            .earliest(true);
        self.search(&input, &mut [])
    }

    /// Returns the first match that begins at or after a place.
    pub fn find_at(&self, haystack: &Haystack<'_>, from: usize) -> Option<Match> {
        let start = haystack.place_of(from);
        let input = Input::new(&haystack.text[..])
            .range(start..)
            .anchored(Anchored::No);
        let mut slots: Vec<Option<NonMaxUsize>> = vec![None; self.names.len() * 2];
        if !self.search(&input, &mut slots) {
            return None;
        }
        let slots = slots.into_iter();
        let places = slots.map(|slot| slot.map(|place| haystack.original(place.get())));
        Some(Match(places.collect()))
    }

    /// Returns the numbers of the groups with a name. Several groups may share one.
    pub fn groups_named(&self, name: &[u8]) -> impl Iterator<Item = usize> {
        let names = self.names.iter().enumerate();
        names
            .filter(move |(_, known)| known.as_deref().map(str::as_bytes) == Some(name))
            .map(|(number, _)| number)
    }

    /// Returns the approximate size in bytes. The additional memory for a search grows with it.
    pub fn memory_usage(&self) -> usize {
        let (engine, _) = &self.long;
        engine.get_nfa().memory_usage()
    }

    /// Searches, and writes the starts and ends of the groups to the slots, as far as there are slots.
    fn search(&self, input: &Input<'_>, slots: &mut [Option<NonMaxUsize>]) -> bool {
        let short = self.short.as_ref();
        let short = short.filter(|(engine, _)| input.get_span().len() <= engine.max_haystack_len());
        let found = short.and_then(|(engine, cache)| {
            let found = engine.try_search_slots(&mut cache.borrow_mut(), input, slots);
            found.ok()
        });
        let found = found.unwrap_or_else(|| {
            let (engine, cache) = &self.long;
            engine.search_slots(&mut cache.borrow_mut(), input, slots)
        });
        found.is_some()
    }
}

#[cfg(test)]
mod tests;
