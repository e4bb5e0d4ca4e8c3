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
#[derive(Debug)]
pub struct Regex {
    /// Fast, but its memory grows with the text.
    short: Option<(BoundedBacktracker, RefCell<backtrack::Cache>)>,
    /// For texts of any length.
    long: (PikeVM, RefCell<thompson::pikevm::Cache>),
    /// The names of the groups by their numbers, that of the whole match included.
    names: Vec<Option<String>>,
}

/// Where a match and its groups begin and end.
#[derive(Clone, Debug)]
pub struct Match(Vec<Option<usize>>);

impl Match {
    /// Where it begins.
    pub fn start(&self) -> usize {
        self.group(0).map_or(0, |(start, _)| start)
    }

    /// Where it ends.
    pub fn end(&self) -> usize {
        self.group(0).map_or(0, |(_, end)| end)
    }

    /// The place of a group, if it took part; that of the whole match for 0.
    pub fn group(&self, number: usize) -> Option<(usize, usize)> {
        let slot = |index: usize| self.0.get(index).copied().flatten();
        Some((slot(number * 2)?, slot(number * 2 + 1)?))
    }
}

/// A text to search in. Bytes that are not UTF-8 are one replacement character each, as Go reads them.
#[derive(Clone, Debug)]
pub struct Haystack<'a> {
    text: Cow<'a, [u8]>,
    /// For each byte of `text` and its end the place in the original, if that is another.
    places: Option<Vec<usize>>,
}

impl<'a> Haystack<'a> {
    /// A text that may be searched several times.
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
    /// Compiles an expression, or takes it from the last ones that were.
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

    /// Whether a text has a match anywhere.
    pub fn is_match(&self, text: &[u8]) -> bool {
        let haystack = Haystack::new(text);
        // Where it ends does not matter, so the search need not look for the best match.
        let input = Input::new(&haystack.text[..])
            .anchored(Anchored::No)
            .earliest(true);
        self.search(&input, &mut [])
    }

    /// The first match that begins at a place or after it.
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

    /// The numbers of the groups with a name, of which there may be several.
    pub fn groups_named(&self, name: &[u8]) -> impl Iterator<Item = usize> {
        let names = self.names.iter().enumerate();
        names
            .filter(move |(_, known)| known.as_deref().map(str::as_bytes) == Some(name))
            .map(|(number, _)| number)
    }

    /// How many bytes it takes, about: what a search needs besides grows with it.
    pub fn memory_usage(&self) -> usize {
        let (engine, _) = &self.long;
        engine.get_nfa().memory_usage()
    }

    /// Searches, and notes in the slots where the groups begin and end, as far as there are slots.
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
