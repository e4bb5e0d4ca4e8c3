//! Compiled regular expressions.

use std::{borrow::Cow, cell::RefCell, collections::HashMap, rc::Rc};

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
use crate::go::unicode;

/// The memory of one compiled expression in bytes.
const SIZE_LIMIT: usize = 4 << 20;

/// The memory of a search that keeps track of all places in the text, in bytes. Each match begins by clearing it, so
/// that many matches in a long text are better looked for without.
const VISITED_CAPACITY: usize = 16 << 10;

/// How many expressions are kept for their next use.
const CACHE_SIZE: usize = 64;

thread_local! {
    // The same few expressions come again and again in a render, and reading one costs more than most searches.
    static CACHE: RefCell<HashMap<Box<[u8]>, Rc<Regex>>> = RefCell::default();
}

/// A compiled regular expression.
pub(super) struct Regex {
    /// Fast, but its memory grows with the text.
    short: Option<(BoundedBacktracker, RefCell<backtrack::Cache>)>,
    /// For texts of any length.
    long: (PikeVM, RefCell<thompson::pikevm::Cache>),
    /// The names of the groups by their numbers, that of the whole match included.
    pub(super) names: Vec<Option<String>>,
}

/// Where a match and its groups begin and end.
pub(super) struct Match(Vec<Option<usize>>);

impl Match {
    pub(super) fn start(&self) -> usize {
        self.group(0).map_or(0, |(start, _)| start)
    }

    pub(super) fn end(&self) -> usize {
        self.group(0).map_or(0, |(_, end)| end)
    }

    /// The place of a group, if it took part.
    pub(super) fn group(&self, number: usize) -> Option<(usize, usize)> {
        let slot = |index: usize| self.0.get(index).copied().flatten();
        Some((slot(number * 2)?, slot(number * 2 + 1)?))
    }
}

/// A text to search in. Bytes that are not UTF-8 are one replacement character each, as Go reads them.
pub(super) struct Haystack<'a> {
    text: Cow<'a, [u8]>,
    /// For each byte of `text` and its end the place in the original, if that is another.
    places: Option<Vec<usize>>,
}

impl<'a> Haystack<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        if std::str::from_utf8(bytes).is_ok() {
            return Self {
                text: Cow::Borrowed(bytes),
                places: None,
            };
        }
        let mut text = Vec::with_capacity(bytes.len() * 2);
        let mut places = Vec::with_capacity(bytes.len() * 2);
        for (at, rune, _) in unicode::runes(bytes) {
            unicode::push(&mut text, rune);
            places.resize(text.len(), at);
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
    /// Compiles an expression, or takes it from the last ones that were.
    pub(super) fn new(pattern: &[u8]) -> Result<Rc<Self>, SyntaxError> {
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

    /// The first match that begins at a place or after it.
    pub(super) fn find_at(&self, haystack: &Haystack<'_>, from: usize) -> Option<Match> {
        let start = haystack.place_of(from);
        let input = Input::new(&haystack.text[..])
            .range(start..)
            .anchored(Anchored::No);
        let mut slots: Vec<Option<NonMaxUsize>> = vec![None; self.names.len() * 2];
        let short = self.short.as_ref();
        let short = short.filter(|(engine, _)| input.get_span().len() <= engine.max_haystack_len());
        let found = short.and_then(|(engine, cache)| {
            let found = engine.try_search_slots(&mut cache.borrow_mut(), &input, &mut slots);
            found.ok()
        });
        let found = found.unwrap_or_else(|| {
            let (engine, cache) = &self.long;
            engine.search_slots(&mut cache.borrow_mut(), &input, &mut slots)
        });
        found?;
        let slots = slots.into_iter();
        let places = slots.map(|slot| slot.map(|place| haystack.original(place.get())));
        Some(Match(places.collect()))
    }
}
