//! The order in which the Go libraries write keys: numbers inside keys are compared as numbers.

use std::cmp::Ordering;

use super::{
    Flavor,
    letters::{is_digit, is_letter},
};

/// Sorts keys as that version of the library does.
///
/// The order is not always consistent: `a10`, `a1b`, `a9` and again `a10` each come before the next. Go's own result is then left
/// to chance. The standard library's sort may panic on such an order, so it cannot be used.
pub(crate) fn sort<T: AsRef<[u8]>>(keys: &mut [T], flavor: Flavor) {
    // Keys arrive in byte order, which is nearly always the right one. Each key moves a short way, if at all.
    for end in 1..keys.len() {
        let mut place = end;
        while place > 0 && less(keys[place].as_ref(), keys[place - 1].as_ref(), flavor) {
            place -= 1;
            if end - place > INSERTION_LIMIT {
                return merge_sort(keys, flavor);
            }
            keys.swap(place, place + 1);
        }
    }
}

/// The distance of a key's move from which merge sort is the better choice.
const INSERTION_LIMIT: usize = 64;

fn merge_sort<T: AsRef<[u8]>>(keys: &mut [T], flavor: Flavor) {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    let mut merged = Vec::with_capacity(keys.len());
    let mut width = 1;
    while width < order.len() {
        merged.clear();
        for run in order.chunks(2 * width) {
            let (mut left, mut right) = run.split_at(width.min(run.len()));
            while let (Some((&one, left_rest)), Some((&two, right_rest))) =
                (left.split_first(), right.split_first())
            {
                if less(keys[two].as_ref(), keys[one].as_ref(), flavor) {
                    merged.push(two);
                    right = right_rest;
                } else {
                    merged.push(one);
                    left = left_rest;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        std::mem::swap(&mut order, &mut merged);
        width *= 2;
    }
    // order[i] is the key that belongs to place i. Follow the cycles.
    for place in 0..order.len() {
        let mut from = order[place];
        while from < place {
            from = order[from];
        }
        keys.swap(place, from);
    }
}

/// Returns whether one key comes before the other.
fn less(one: &[u8], two: &[u8], flavor: Flavor) -> bool {
    if one.is_ascii() && two.is_ascii() {
        compare(one, two, flavor)
    } else {
        compare(&characters(one), &characters(two), flavor)
    }
    .is_lt()
}

/// Returns the characters that Go's conversion to `[]rune` gives.
fn characters(text: &[u8]) -> Vec<u32> {
    let mut all = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        all.extend(chunk.valid().chars().map(u32::from));
        all.extend(chunk.invalid().iter().map(|_| 0xfffd));
    }
    all
}

fn compare<C: Copy + Into<u32>>(one: &[C], two: &[C], flavor: Flavor) -> Ordering {
    let same = one
        .iter()
        .zip(two)
        .take_while(|&(&one, &two)| one.into() == two.into())
        .count();
    let (Some(&first), Some(&second)) = (one.get(same), two.get(same)) else {
        return one.len().cmp(&two.len());
    };
    let (first, second) = (first.into(), second.into());
    match (is_letter(first), is_letter(second)) {
        (true, true) => return first.cmp(&second),
        (false, false) => {}
        (first_letter, _) => {
            // Version 3 puts letters before other characters if they follow a digit.
            let after_digit =
                flavor == Flavor::Pretty && same > 0 && is_digit(one[same - 1].into());
            return if first_letter == after_digit {
                Ordering::Less
            } else {
                Ordering::Greater
            };
        }
    }
    // Zeros count as leading zeros unless another digit precedes them.
    let zero = u32::from('0');
    let inside = (first == zero || second == zero)
        && one[..same]
            .iter()
            .rev()
            .map(|&c| c.into())
            .take_while(|&c| is_digit(c))
            .any(|c| c != zero);
    let (first_number, first_len) = number(&one[same..], inside);
    let (second_number, second_len) = number(&two[same..], inside);
    first_number
        .cmp(&second_number)
        .then(first_len.cmp(&second_len))
        .then(first.cmp(&second))
}

/// Reads the number at the front, which overflows as in Go. Also returns the number of its digits.
fn number<C: Copy + Into<u32>>(text: &[C], inside: bool) -> (i64, usize) {
    let mut number = i64::from(inside);
    let mut len = 0;
    for &character in text {
        let character: u32 = character.into();
        if !is_digit(character) {
            break;
        }
        // Digits of other scripts have larger values, as in Go.
        number = number
            .wrapping_mul(10)
            .wrapping_add(i64::from(character) - i64::from(b'0'));
        len += 1;
    }
    (number, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(keys: &[&str], flavor: Flavor) -> String {
        let mut keys = keys.to_vec();
        sort(&mut keys, flavor);
        keys.join(" ")
    }

    #[test]
    fn numbers_count() {
        let keys = [
            "10", "9", "a10", "a9", "a01", "a1", "_", "-", "B", "a-b", "ab", "é",
        ];
        assert_eq!(
            sorted(&keys, Flavor::Plain),
            "- _ 9 10 B a-b a1 a01 a9 a10 ab é"
        );
        assert_eq!(sorted(&["a1", "a1b", "a10"], Flavor::Plain), "a1 a10 a1b");
        assert_eq!(sorted(&["a1", "a1b", "a10"], Flavor::Pretty), "a1 a1b a10");
    }

    #[test]
    fn many_keys() {
        let mut keys: Vec<String> = (0..1000).rev().map(|n| format!("k{n}")).collect();
        sort(&mut keys, Flavor::Plain);
        let expected: Vec<String> = (0..1000).map(|n| format!("k{n}")).collect();
        assert_eq!(keys, expected);
    }
}
