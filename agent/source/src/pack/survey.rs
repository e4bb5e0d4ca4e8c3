//! Surveys a pack before it is indexed, without keeping anything of it.

use std::{
    collections::HashMap,
    io::{self, BufRead, Read as _},
    sync::atomic::{AtomicBool, Ordering},
};

use gix::{
    ObjectId,
    odb::pack::data::{
        Entry,
        entry::Header,
        header::{SIZE as START, decode},
    },
    zlib::{Decompress, stream::inflate},
};

use crate::{
    error::{Excess, chain},
    limits::Limits,
};

/// The most bytes that the two numbers at the beginning of a delta take.
const NUMBERS: usize = 20;

/// The longest chain of objects that one object is made from. It is the most that git makes with `--depth`; without that
/// option, git makes 50. Asking for the size of an object goes through the whole chain, and reading it puts them all together.
const CHAIN: u32 = 4095;

/// Why a pack is not indexed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The pack is not what git would send.
    Malformed(String),
    /// The pack has more of this than the limit.
    TooMuch(Excess, u64),
}

impl Flaw {
    fn malformed(reason: &str) -> Self {
        Self::Malformed(format!("the pack is malformed: {reason}"))
    }
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::malformed("it ends too early"),
            _ => Self::malformed(&chain(&error)),
        }
    }
}

impl From<gix::Error> for Flaw {
    fn from(error: gix::Error) -> Self {
        Self::malformed(&chain(&error))
    }
}

/// Surveys a pack, and returns whether a delta in it names its base by id, so that the base may be elsewhere.
///
/// Indexing finds what this does not look at, such as whether a delta can be applied and whether the digest is right.
pub(super) fn survey(
    pack: &mut impl BufRead,
    limits: Limits,
    interrupt: &AtomicBool,
    is_here: &dyn Fn(&gix::oid) -> bool,
) -> Result<bool, Flaw> {
    let mut survey = Survey {
        limits,
        inflater: Decompress::new(),
        objects: Vec::new(),
        named: HashMap::new(),
        unpacked: 0,
    };
    let mut start = [0; START];
    pack.read_exact(&mut start)?;
    let (_, count) = decode(&start)?;
    if count > limits.objects {
        return Err(Flaw::TooMuch(Excess::Objects, limits.objects.into()));
    }
    let mut offset = START as u64;
    for _ in 0..count {
        in_time(interrupt)?;
        offset += survey.object(pack, offset)?;
    }
    let mut digest = [0; 20];
    pack.read_exact(&mut digest)?;
    if !pack.fill_buf()?.is_empty() {
        return Err(Flaw::malformed("it goes on after its end"));
    }
    if survey.bases(is_here, interrupt)? > limits.bases() {
        return Err(Flaw::TooMuch(Excess::Bases, limits.bases()));
    }
    Ok(!survey.named.is_empty())
}

fn in_time(interrupt: &AtomicBool) -> Result<(), Flaw> {
    if interrupt.load(Ordering::Relaxed) {
        return Err(Flaw::malformed("it takes too long"));
    }
    Ok(())
}

/// What has been seen of a pack.
struct Survey {
    limits: Limits,
    inflater: Decompress,
    /// The objects, ordered by offset.
    objects: Vec<Seen>,
    /// The bases that deltas name by id. They may be in the pack or not.
    named: HashMap<ObjectId, Named>,
    /// The bytes of all objects together.
    unpacked: u64,
}

/// An object in a pack.
struct Seen {
    offset: u64,
    /// Its bytes once it has been put together.
    size: u64,
    /// The index of the object that it is made from.
    base: Option<usize>,
    /// How many objects it is made from, one after the other.
    ///
    /// A delta that names its base by id counts as made from a whole object. If the base is already here, that is true, since
    /// it joins the pack whole. If the base is in the pack, its own chain is known only once everything is put together. git
    /// does not send such deltas when it is asked for deltas that name their bases by offset. Reading through a chain of them
    /// ends at a deadline; see [`crate::tree::work`].
    chain: u32,
    /// How many deltas name it as their base by its offset.
    deltas: u32,
}

/// A base that deltas name by its id.
#[derive(Default)]
struct Named {
    size: u64,
    /// How many deltas name it.
    deltas: u32,
}

impl Survey {
    /// Surveys the object at an offset, and returns how many bytes it takes up.
    fn object(&mut self, pack: &mut impl BufRead, offset: u64) -> Result<u64, Flaw> {
        let entry = Entry::from_read(pack, offset, gix::hash::Kind::Sha1.len_in_bytes())?;
        self.admit(entry.decompressed_size)?;
        let numbers = if entry.header.is_delta() { NUMBERS } else { 0 };
        let (begin, compressed) = self.inflate(pack, entry.decompressed_size, numbers)?;
        let mut seen = Seen {
            offset,
            size: entry.decompressed_size,
            base: None,
            chain: 0,
            deltas: 0,
        };
        if entry.header.is_delta() {
            let (of_base, size) = delta_sizes(&begin)
                .ok_or_else(|| Flaw::malformed("a delta does not begin with two sizes"))?;
            self.admit(of_base.max(size))?;
            seen.size = size;
            seen.base = self.base(offset, entry.header, of_base)?;
            seen.chain = 1 + seen.base.map_or(0, |number| self.objects[number].chain);
            if seen.chain > CHAIN {
                return Err(Flaw::TooMuch(Excess::Chain, CHAIN.into()));
            }
        }
        let most = seen.size.max(entry.decompressed_size);
        self.unpacked = self.unpacked.saturating_add(most);
        if self.unpacked > self.limits.unpacked {
            return Err(Flaw::TooMuch(Excess::Unpacked, self.limits.unpacked));
        }
        self.objects.push(seen);
        Ok(entry.data_offset - offset + compressed)
    }

    fn admit(&self, size: u64) -> Result<(), Flaw> {
        if size > self.limits.object {
            return Err(Flaw::TooMuch(Excess::Object, self.limits.object));
        }
        Ok(())
    }

    /// Decompresses an object, and returns its first bytes and how many bytes it takes up.
    fn inflate(
        &mut self,
        pack: &mut impl BufRead,
        size: u64,
        begin: usize,
    ) -> Result<(Vec<u8>, u64), Flaw> {
        // Compressed data can be arbitrarily long and stand for nothing. No compressor makes it this long.
        let mut compressed = pack.by_ref().take(size + size / 4 + 4096);
        self.inflater.reset();
        let mut first = Vec::new();
        let mut some = [0; 8 << 10];
        let mut total = 0;
        while total <= size {
            let count = inflate::read(&mut compressed, &mut self.inflater, &mut some)?;
            if count == 0 {
                break;
            }
            first.extend(some.iter().take(count.min(begin - first.len())));
            total += count as u64;
        }
        if total != size || compressed.limit() == 0 {
            return Err(Flaw::malformed("an object is not as long as it says"));
        }
        Ok((first, self.inflater.total_in()))
    }

    /// Records the base of a delta, and returns the base's index if the delta names it by offset.
    fn base(&mut self, offset: u64, header: Header, size: u64) -> Result<Option<usize>, Flaw> {
        match header {
            Header::OfsDelta { base_distance } => {
                let number = Header::verified_base_pack_offset(offset, base_distance)
                    .and_then(|at| self.objects.binary_search_by_key(&at, |it| it.offset).ok())
                    .ok_or_else(|| Flaw::malformed("a delta has no base"))?;
                self.objects[number].deltas += 1;
                Ok(Some(number))
            }
            Header::RefDelta { base_id } => {
                let named = self.named.entry(base_id).or_default();
                named.size = named.size.max(size);
                named.deltas += 1;
                Ok(None)
            }
            Header::Commit | Header::Tree | Header::Blob | Header::Tag => Ok(None),
        }
    }

    /// Returns the most bytes of bases that gix keeps at the same time, rather too many than too few.
    ///
    /// gix goes depth-first: from each object down to what is made from it, and only then to the next one beside it. So, of all
    /// the objects that lead to the current one, it keeps those from which another one is still to be made.
    fn bases(
        &self,
        is_here: &dyn Fn(&gix::oid) -> bool,
        interrupt: &AtomicBool,
    ) -> Result<u64, Flaw> {
        let (mut deepest, mut all) = (0_u64, 0_u64);
        let mut kept: Vec<u64> = Vec::with_capacity(self.objects.len());
        for seen in &self.objects {
            let above = seen.base.map_or(0, |number| kept[number]);
            let own = if seen.deltas > 1 { seen.size } else { 0 };
            let here = above.saturating_add(own);
            deepest = deepest.max(here);
            all = all.saturating_add(own);
            kept.push(here);
        }
        let by_place = self.objects.iter().any(|seen| seen.base.is_some());
        let (mut outside, mut inside) = (0_u64, None::<u64>);
        for (id, base) in &self.named {
            in_time(interrupt)?;
            if is_here(id) {
                // It is made from nothing else, so there is never a second one at the same time.
                let own = if base.deltas > 1 { base.size } else { 0 };
                outside = outside.max(own);
            } else {
                // Its place in the pack is known only once everything is put together, so all of these bases may lead to one
                // object.
                let is_shared = base.deltas > 1 || by_place;
                let own = if is_shared { base.size } else { 0 };
                inside = Some(inside.unwrap_or(0).saturating_add(own));
            }
        }
        let within = inside.map_or(deepest, |inside| all.saturating_add(inside));
        Ok(outside.saturating_add(within))
    }
}

/// Reads the two sizes at the beginning of a delta: that of its base, and that of the object that it makes.
fn delta_sizes(delta: &[u8]) -> Option<(u64, u64)> {
    let mut bytes = delta.iter();
    let mut number = || {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = bytes.next()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
    };
    Some((number()?, number()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::{cell::Cell, io::Write as _};

    use gix::{
        odb::pack::data::{Version, header::encode},
        zlib::{Compression, stream::deflate},
    };

    fn limits() -> Limits {
        Limits {
            object: 1000,
            objects: 40,
            unpacked: 30_000,
            ..Limits::default()
        }
    }

    /// A pack as a server could send it.
    pub(crate) struct Packed {
        bytes: Vec<u8>,
        count: u32,
    }

    impl Packed {
        pub(crate) fn new() -> Self {
            Self {
                bytes: vec![0; START],
                count: 0,
            }
        }

        /// Adds an object with any compressed form, and returns its offset.
        fn raw(&mut self, header: Header, size: u64, compressed: &[u8]) -> u64 {
            let offset = self.bytes.len() as u64;
            header.write_to(size, &mut self.bytes).unwrap();
            self.bytes.extend(compressed);
            self.count += 1;
            offset
        }

        fn add(&mut self, header: Header, bytes: &[u8]) -> u64 {
            self.raw(header, bytes.len() as u64, &deflated(bytes))
        }

        pub(crate) fn blob(&mut self, size: usize) -> u64 {
            self.add(Header::Blob, &vec![b'x'; size])
        }

        /// Adds an object of 900 bytes that is made from the one at an offset, which also has 900 bytes.
        fn made_from(&mut self, base: u64) -> u64 {
            let base_distance = self.bytes.len() as u64 - base;
            self.add(Header::OfsDelta { base_distance }, &delta(900, 900))
        }

        pub(crate) fn finish(mut self) -> Vec<u8> {
            self.bytes[..START].copy_from_slice(&encode(Version::V2, self.count));
            let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
            hasher.update(&self.bytes);
            let digest = hasher.try_finalize().unwrap();
            self.bytes.extend(digest.as_bytes());
            self.bytes
        }
    }

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut out = deflate::Write::new(Vec::new(), Compression::DEFAULT);
        out.write_all(bytes).unwrap();
        out.flush().unwrap();
        out.into_inner()
    }

    fn delta(of_base: u64, size: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for mut number in [of_base, size] {
            while number > 0x7f {
                bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
                number >>= 7;
            }
            bytes.push(u8::try_from(number).unwrap());
        }
        bytes.extend(b"\x01x");
        bytes
    }

    fn surveyed(mut pack: &[u8], is_here: bool) -> Result<bool, Flaw> {
        survey(&mut pack, limits(), &AtomicBool::new(false), &|_| is_here)
    }

    fn told(pack: &[u8]) -> String {
        match surveyed(pack, false) {
            Err(Flaw::Malformed(reason)) => reason,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_git_sends_is_gone_through_to_its_end() {
        assert_eq!(surveyed(&Packed::new().finish(), false), Ok(false));
        let mut pack = Packed::new();
        let base = pack.blob(900);
        pack.blob(0);
        pack.made_from(base);
        pack.add(Header::Commit, b"tree");
        assert_eq!(surveyed(&pack.finish(), false), Ok(false));
        let mut thin = Packed::new();
        let base_id = ObjectId::null(gix::hash::Kind::Sha1);
        thin.add(Header::RefDelta { base_id }, &delta(900, 300));
        assert_eq!(surveyed(&thin.finish(), true), Ok(true));
    }

    #[test]
    fn an_object_is_refused_by_the_size_that_it_says() {
        let too_much = Err(Flaw::TooMuch(Excess::Object, 1000));
        let mut whole = Packed::new();
        whole.blob(1001);
        assert_eq!(surveyed(&whole.finish(), false), too_much);
        let mut made = Packed::new();
        let base = made.blob(900);
        let base_distance = made.bytes.len() as u64 - base;
        made.add(Header::OfsDelta { base_distance }, &delta(900, 1001));
        assert_eq!(surveyed(&made.finish(), false), too_much);
    }

    #[test]
    fn many_objects_are_refused_by_their_number_and_by_their_bytes() {
        let of = |count, size| {
            let mut pack = Packed::new();
            for _ in 0..count {
                pack.blob(size);
            }
            surveyed(&pack.finish(), false)
        };
        assert_eq!(of(40, 1), Ok(false));
        assert_eq!(of(41, 1), Err(Flaw::TooMuch(Excess::Objects, 40)));
        assert_eq!(of(30, 1000), Ok(false));
        assert_eq!(of(31, 1000), Err(Flaw::TooMuch(Excess::Unpacked, 30_000)));
    }

    #[test]
    fn bases_that_are_kept_at_the_same_time_are_limited() {
        let too_much = Err(Flaw::TooMuch(Excess::Bases, 2000));
        // Each object has one delta that continues the chain, and some that do not.
        let chain = |length: usize, beside: usize| {
            let mut pack = Packed::new();
            let mut base = pack.blob(900);
            for _ in 0..length {
                for _ in 0..beside {
                    pack.made_from(base);
                }
                base = pack.made_from(base);
            }
            surveyed(&pack.finish(), false)
        };
        assert_eq!(chain(20, 0), Ok(false), "each is the last use of its base");
        assert_eq!(chain(2, 9), Ok(false));
        assert_eq!(chain(3, 1), too_much);

        // With bases named by id, it is not yet known which is made from which.
        let named = |bases: u8, is_here| {
            let mut pack = Packed::new();
            for base in 0..bases {
                let base_id = ObjectId::from_bytes_or_panic(&[base; 20]);
                for _ in 0..2 {
                    pack.add(Header::RefDelta { base_id }, &delta(900, 900));
                }
            }
            surveyed(&pack.finish(), is_here)
        };
        assert_eq!(named(2, false), Ok(true));
        assert_eq!(named(3, false), too_much);
        assert_eq!(named(9, true), Ok(true), "they are made from nothing else");
    }

    #[test]
    fn looking_for_bases_ends_when_the_time_is_over() {
        let mut pack = Packed::new();
        for base in 0..3 {
            let base_id = ObjectId::from_bytes_or_panic(&[base; 20]);
            pack.add(Header::RefDelta { base_id }, &delta(9, 9));
        }
        let (interrupt, looks) = (AtomicBool::new(false), Cell::new(0));
        let is_here = |_: &gix::oid| {
            looks.set(looks.get() + 1);
            interrupt.store(true, Ordering::Relaxed);
            true
        };
        let seen = survey(&mut &pack.finish()[..], limits(), &interrupt, &is_here);
        assert!(matches!(seen, Err(Flaw::Malformed(_))), "{seen:?}");
        assert_eq!(looks.get(), 1);
    }

    #[test]
    fn objects_are_made_from_each_other_as_deep_as_git_makes_them() {
        let limits = Limits {
            objects: CHAIN + 10,
            unpacked: u64::MAX,
            ..limits()
        };
        let chain = |length: u32| {
            let mut pack = Packed::new();
            let mut base = pack.blob(900);
            let beside = pack.made_from(base);
            for _ in 0..length {
                base = pack.made_from(base);
            }
            pack.made_from(beside);
            let pack = pack.finish();
            survey(&mut &pack[..], limits, &AtomicBool::new(false), &|_| false)
        };
        assert_eq!(chain(CHAIN), Ok(false));
        let too_deep = Err(Flaw::TooMuch(Excess::Chain, u64::from(CHAIN)));
        assert_eq!(chain(CHAIN + 1), too_deep);
    }

    #[test]
    fn what_is_malformed_costs_nothing() {
        let with = |header, size, compressed: &[u8]| {
            let mut pack = Packed::new();
            pack.raw(header, size, compressed);
            told(&pack.finish())
        };
        insta::assert_snapshot!(with(Header::Blob, 3, &deflated(b"four")), @"the pack is malformed: an object is not as long as it says");
        insta::assert_snapshot!(with(Header::Blob, 5, &deflated(b"four")), @"the pack is malformed: an object is not as long as it says");
        // Empty blocks, without end.
        let mut blocks = vec![0x78, 0x01];
        blocks.extend([0, 0, 0, 0xff, 0xff].repeat(2000));
        insta::assert_snapshot!(with(Header::Blob, 0, &blocks), @"the pack is malformed: an object is not as long as it says");
        let base_distance = 1;
        insta::assert_snapshot!(with(Header::OfsDelta { base_distance }, 5, &deflated(&delta(1, 1))), @"the pack is malformed: an object is not as long as it says");
        insta::assert_snapshot!(with(Header::OfsDelta { base_distance }, 4, &deflated(&delta(1, 1))), @"the pack is malformed: a delta has no base");
        insta::assert_snapshot!(with(Header::OfsDelta { base_distance }, 1, &deflated(b"\x80")), @"the pack is malformed: a delta does not begin with two sizes");

        let mut pack = Packed::new();
        pack.blob(900);
        let pack = pack.finish();
        insta::assert_snapshot!(told(&pack[..pack.len() - 1]), @"the pack is malformed: it ends too early");
        insta::assert_snapshot!(told(&pack[..START]), @"the pack is malformed: it ends too early");
        insta::assert_snapshot!(told(&[&pack[..], b"x"].concat()), @"the pack is malformed: it goes on after its end");
        let stopped = survey(&mut &pack[..], limits(), &AtomicBool::new(true), &|_| false);
        assert!(matches!(stopped, Err(Flaw::Malformed(_))), "{stopped:?}");
    }
}
