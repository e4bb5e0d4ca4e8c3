//! A cache of powers that were calculated before.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use pintle_core::digest::{Digest, Digester};

/// The size in bytes at which a generation becomes the old one: the powers of some hundred keys of 2,048 bits.
const GENERATION: usize = 2 << 20;

/// The size of an entry without its power.
const ENTRY: usize = 2 * size_of::<(Digest, Box<[u8]>)>();

/// Caches powers by a digest of their operands. An application's keys are recreated from the same numbers in each of its renders.
/// Powers that were not used while a generation filled are evicted with it.
#[derive(Debug, Default)]
pub(crate) struct Memo(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Digest, Box<[u8]>>,
    old: HashMap<Digest, Box<[u8]>>,
    /// The size of the young generation in bytes.
    bytes: usize,
}

impl Memo {
    /// Returns the cached power for the operands, or calculates and caches it.
    pub(super) fn power(
        &self,
        operands: [&[u8]; 3],
        calculate: impl FnOnce() -> Vec<u8>,
    ) -> Vec<u8> {
        let digester = Digester::new("power-modulo/v1");
        let key = operands.into_iter().fold(digester, Digester::part).finish();
        if let Some(power) = self.with(|known| known.get(key)) {
            return power;
        }
        // Without holding the lock, so that others can calculate meanwhile.
        let power = calculate();
        self.with(|known| known.put(key, power.as_slice().into()));
        power
    }

    fn with<T>(&self, work: impl FnOnce(&mut Generations) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Generations {
    fn get(&mut self, key: Digest) -> Option<Vec<u8>> {
        if let Some(power) = self.young.get(&key) {
            return Some(power.to_vec());
        }
        let power = self.old.remove(&key)?;
        let found = power.to_vec();
        self.put(key, power);
        Some(found)
    }

    fn put(&mut self, key: Digest, power: Box<[u8]>) {
        if self.bytes > GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += ENTRY + power.len();
        self.young.insert(key, power);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_calculated_is_not_calculated_again() {
        let memo = Memo::default();
        let power = |operands: [&[u8]; 3]| memo.power(operands, || operands.concat());
        let none = || unreachable!("it is known");
        assert_eq!(power([b"1", b"23", b"4"]), b"1234");
        assert_eq!(memo.power([b"1", b"23", b"4"], none), b"1234");
        // The same bytes, but different numbers.
        assert_eq!(memo.power([b"12", b"3", b"4"], || vec![7]), [7]);
    }

    #[test]
    fn what_is_not_asked_for_is_forgotten() {
        let memo = Memo::default();
        let is_known = |number: usize| {
            let mut known = true;
            memo.power([&number.to_be_bytes(), b"", b""], || {
                known = false;
                vec![0; 1024]
            });
            known
        };
        assert!(!is_known(0));
        assert!(!is_known(1));
        for number in 2..10_000 {
            is_known(number);
            assert!(is_known(0), "{number}");
        }
        assert!(!is_known(1));
        let held = memo.with(|known| known.young.len() + known.old.len());
        assert!(held < 3 * GENERATION / 1024, "{held}");
    }
}
