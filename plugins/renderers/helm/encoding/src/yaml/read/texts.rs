//! A cache for recurring strings: half of a manifest consists of keys, and most of them are known after the first object.

use std::cell::RefCell;

use pintle_gotemplate::Text;

/// The length up to which strings are cached. Longer strings seldom recur.
const MAX_LEN: usize = 24;

const SLOTS: usize = 512;

thread_local! {
    /// The last short string for each hash value, across all documents. The documents of a chart have the same keys, and a
    /// separate table for each would have to be created and dropped.
    static KNOWN: RefCell<[Option<Text>; SLOTS]> = const { RefCell::new([const { None }; SLOTS]) };
}

/// Returns the text. A cached one costs no memory, and less time than a new one.
pub(super) fn text(text: &[u8]) -> Text {
    if text.len() > MAX_LEN {
        return text.into();
    }
    KNOWN.with_borrow_mut(|known| {
        let slot = &mut known[hash(text) % SLOTS];
        match slot {
            Some(known) if **known == *text => known.clone(),
            _ => slot.insert(text.into()).clone(),
        }
    })
}

/// Returns the FNV-1a hash.
fn hash(text: &[u8]) -> usize {
    let hash = text.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    (hash ^ (hash >> 15)) as usize
}
