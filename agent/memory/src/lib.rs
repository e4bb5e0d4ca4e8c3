//! `memcpy` and `memmove` for the static program.
//!
//! musl's versions copy with `rep movsq`, and up to seven single bytes before and after it, whatever the length. That has a
//! startup cost of tens of cycles, and nearly all copies are a few bytes of text: a fifth of the time of a render was spent
//! there (docs/decisions/0023-copying-memory.md). A program that uses this crate uses these functions instead, and so does its
//! C code: the linker searches the C library only for what it has not found yet.
//!
//! They are only for `x86_64`: for other architectures musl has functions of another design.
#![cfg_attr(not(test), no_std)]
// The compiler must not recognise a copy inside the implementation of a copy, and call that.
#![no_builtins]
#![cfg(target_arch = "x86_64")]
#![expect(
    unsafe_code,
    reason = "these are what everything else calls to copy memory. All of it is in this file, each length and overlap up to a \
              few hundred bytes is tested against a slice's own copy, and callers promise what the C standard asks of them"
)]
#![expect(
    clippy::inline_always,
    reason = "a call within a copy of a few bytes would take longer than the copy"
)]

use core::{
    arch::x86_64::{__m128i, _mm_loadu_si128, _mm_storeu_si128},
    ptr,
};

/// The amount that one step of a loop copies: four registers.
type Step = Pair<Pair<__m128i>>;
const STEP: usize = size_of::<Step>();

/// Copies `len` bytes. Source and destination may overlap.
///
/// # Safety
///
/// `from` must be valid for reads, and `to` for writes, of `len` bytes.
#[inline(always)]
pub unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: each arm reads and writes within `len` bytes. For up to 128 bytes, everything is read before anything is written.
    unsafe {
        match len {
            0 => {}
            1 => *to = *from,
            2..4 => ends::<u16>(to, from, len),
            4..8 => ends::<u32>(to, from, len),
            8..16 => ends::<u64>(to, from, len),
            16..=32 => ends::<__m128i>(to, from, len),
            33..=64 => ends::<Pair<__m128i>>(to, from, len),
            65..=128 => ends::<Step>(to, from, len),
            _ if to.addr().wrapping_sub(from.addr()) >= len => forward(to, from, len),
            _ => backward(to, from, len),
        }
    }
}

/// A block that is copied at once, through registers.
trait Block: Copy {
    unsafe fn read(from: *const u8) -> Self;
    unsafe fn write(self, to: *mut u8);
}

macro_rules! integer_block {
    ($($integer:ty)*) => {$(
        impl Block for $integer {
            #[inline(always)]
            unsafe fn read(from: *const u8) -> Self {
                // SAFETY: as the caller promises; nothing has to be aligned.
                unsafe { ptr::read_unaligned(from.cast()) }
            }

            #[inline(always)]
            unsafe fn write(self, to: *mut u8) {
                // SAFETY: as the caller promises; nothing has to be aligned.
                unsafe { ptr::write_unaligned(to.cast(), self) }
            }
        }
    )*};
}
integer_block!(u16 u32 u64);

impl Block for __m128i {
    #[inline(always)]
    unsafe fn read(from: *const u8) -> Self {
        // SAFETY: as the caller promises; nothing has to be aligned.
        unsafe { _mm_loadu_si128(from.cast()) }
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) {
        // SAFETY: as the caller promises; nothing has to be aligned.
        unsafe { _mm_storeu_si128(to.cast(), self) }
    }
}

/// Two blocks, one after the other. This is not an array, because what the library does with arrays is not part of this crate's
/// functions.
#[derive(Clone, Copy)]
struct Pair<B>(B, B);

impl<B: Block> Block for Pair<B> {
    #[inline(always)]
    unsafe fn read(from: *const u8) -> Self {
        // SAFETY: as the caller promises for both together.
        unsafe { Self(B::read(from), B::read(from.add(size_of::<B>()))) }
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) {
        // SAFETY: as the caller promises for both together.
        unsafe {
            self.0.write(to);
            self.1.write(to.add(size_of::<B>()));
        }
    }
}

/// Copies a length between one and two blocks: the first block and the last, which overlap unless the length is exactly two.
#[inline(always)]
unsafe fn ends<B: Block>(to: *mut u8, from: *const u8, len: usize) {
    let last = len - size_of::<B>();
    // SAFETY: both blocks are within the length.
    unsafe {
        let (first_block, last_block) = (B::read(from), B::read(from.add(last)));
        first_block.write(to);
        last_block.write(to.add(last));
    }
}

/// Copies more than a step, from the start. If the ranges overlap, the destination must come before the source.
#[inline(always)]
unsafe fn forward(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: each block is within the length. The last one is read before anything is written over it.
    unsafe {
        let last = len - STEP;
        let end = Step::read(from.add(last));
        let mut at = 0;
        while at < last {
            Step::read(from.add(at)).write(to.add(at));
            at += STEP;
        }
        end.write(to.add(last));
    }
}

/// Copies more than a step, from the end. If the ranges overlap, the destination must come after the source.
#[inline(always)]
unsafe fn backward(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: each block is within the length. The first one is read before anything is written over it.
    unsafe {
        let start = Step::read(from);
        let mut left = len;
        while left > STEP {
            left -= STEP;
            Step::read(from.add(left)).write(to.add(left));
        }
        start.write(to);
    }
}

#[cfg(all(target_env = "musl", not(test)))]
mod symbols {
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        // SAFETY: the caller makes the same promise.
        unsafe { super::copy(to, from, len) };
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        // SAFETY: the caller makes the same promise.
        unsafe { super::copy(to, from, len) };
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns bytes in which neighbours differ, however far they are moved.
    fn bytes(len: usize) -> Vec<u8> {
        (0..251).cycle().take(len).collect()
    }

    /// Returns every length that takes all arms and several rounds of the loops, and some far above.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..400).chain([2048, 4096, 5003])
    }

    #[test]
    fn what_is_apart() {
        let from = bytes(6000);
        for len in lengths() {
            for (start, target) in [(0, 0), (1, 0), (0, 1), (3, 7), (9, 2), (15, 8)] {
                let mut to = vec![255; len + 32];
                // SAFETY: both have room for the length after their start.
                unsafe { copy(to[target..].as_mut_ptr(), from[start..].as_ptr(), len) };
                assert_eq!(to[target..][..len], from[start..][..len], "{len} bytes");
                let around = to[..target].iter().chain(&to[target + len..]);
                assert!(around.clone().all(|byte| *byte == 255), "{len} bytes");
            }
        }
    }

    #[test]
    fn what_overlaps() {
        for len in lengths() {
            for apart in [1, 2, 7, 8, 15, 16, 17, 63, 64, 65, 100, 127, 128, 129, 300] {
                for (start, target) in [(0, apart), (apart, 0)] {
                    let mut found = bytes(len + apart);
                    let mut expected = found.clone();
                    // SAFETY: both ends are within the vector.
                    unsafe {
                        let at = found.as_mut_ptr();
                        copy(at.add(target), at.add(start), len);
                    }
                    expected.copy_within(start..start + len, target);
                    assert!(found == expected, "{len} bytes from {start} to {target}");
                }
            }
        }
    }
}
