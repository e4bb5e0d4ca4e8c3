//! Strings that are read again and again: half of a manifest are keys, and most of them are known after its first object.

use std::cell::RefCell;

use pintle_gotemplate::Text;

/// Longer strings are seldom the same.
const MAX_LEN: usize = 24;

const SLOTS: usize = 512;

/// The last short string for each value of a hash. One that is there costs no memory, and less time than a new one.
#[derive(Default)]
pub(super) struct Texts(RefCell<Vec<Option<Text>>>);

impl Texts {
    pub(super) fn get(&self, text: &[u8]) -> Text {
        if text.len() > MAX_LEN {
            return text.into();
        }
        let mut slots = self.0.borrow_mut();
        if slots.is_empty() {
            slots.resize(SLOTS, None);
        }
        let slot = &mut slots[hash(text) % SLOTS];
        match slot {
            Some(known) if **known == *text => known.clone(),
            _ => slot.insert(text.into()).clone(),
        }
    }
}

/// FNV-1a.
fn hash(text: &[u8]) -> usize {
    let hash = text.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    (hash ^ (hash >> 15)) as usize
}
