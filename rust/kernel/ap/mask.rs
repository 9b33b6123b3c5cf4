// SPDX-License-Identifier: GPL-2.0

//! Masks of AP adapters and domains.
//!
//! Values only: no locks, no I/O, nothing that can fail. What handles whole masks is not inlined,
//! as the bitmap functions of C are not: drivers do that a lot, and seldom where it has to be fast.

use crate::prelude::*;
use core::ops::{
    BitAnd,
    BitOr,
    Not,
    Sub, //
};

/// A set of adapter or domain numbers, 0 to 255, in the bit order of the AP architecture.
///
/// Number 0 is the leftmost bit of the first word, number 255 the rightmost bit of the last one:
/// the order of the masks in the QCI block, in a guest's APCB, and of `unsigned long[4]` that C
/// code accesses with `test_bit_inv()`.
///
/// # Examples
///
/// ```
/// use kernel::ap::Mask;
///
/// let mut mask = Mask::EMPTY;
/// mask.insert(0);
/// mask.insert(0x47);
/// assert_eq!(mask.words(), [1 << 63, 1 << (63 - 7), 0, 0]);
/// assert!(mask.iter().eq([0, 0x47]));
///
/// let low = Mask::up_to(15);
/// assert!((mask & low).iter().eq([0]));
/// assert!((mask - low).iter().eq([0x47]));
/// assert!((low | mask).ranges().eq([(0, 15), (0x47, 0x47)]));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Zeroable)]
#[repr(transparent)]
pub struct Mask([u64; Mask::WORDS]);

impl Mask {
    /// The number of 64-bit words.
    pub const WORDS: usize = 4;

    /// The set without members.
    pub const EMPTY: Mask = Mask([0; Mask::WORDS]);

    /// The set of all numbers.
    pub const ALL: Mask = Mask([!0; Mask::WORDS]);

    /// Makes a mask of its words, the one with number 0 first.
    #[inline]
    pub const fn from_words(words: [u64; Mask::WORDS]) -> Self {
        Self(words)
    }

    /// Returns the words, the one with number 0 first.
    #[inline]
    pub const fn words(self) -> [u64; Mask::WORDS] {
        self.0
    }

    /// Returns the set of one number.
    #[inline]
    pub const fn single(id: u8) -> Self {
        let mut words = [0; Mask::WORDS];
        words[(id / 64) as usize] = Self::bit(id);
        Self(words)
    }

    /// Returns the set of all numbers from 0 to `last`, inclusive.
    #[inline(never)]
    pub const fn up_to(last: u8) -> Self {
        let mut words = [0; Mask::WORDS];
        let mut i = 0;
        while i < (last / 64) as usize {
            words[i] = !0;
            i += 1;
        }
        words[i] = !0 << (63 - last % 64);
        Self(words)
    }

    #[inline]
    const fn bit(id: u8) -> u64 {
        1 << (63 - id % 64)
    }

    /// Tells whether `id` is a member.
    #[inline]
    pub const fn contains(self, id: u8) -> bool {
        self.0[(id / 64) as usize] & Self::bit(id) != 0
    }

    /// Adds `id`.
    #[inline]
    pub fn insert(&mut self, id: u8) {
        self.0[usize::from(id / 64)] |= Self::bit(id);
    }

    /// Takes `id` out.
    #[inline]
    pub fn remove(&mut self, id: u8) {
        self.0[usize::from(id / 64)] &= !Self::bit(id);
    }

    /// Tells whether there are no members.
    #[inline]
    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    /// Returns the number of members, 0 to 256.
    pub fn len(self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Tells whether every member is one of `other`.
    #[inline(never)]
    pub fn is_subset(&self, other: &Self) -> bool {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);

        (a & !e) | (b & !f) | (c & !g) | (d & !h) == 0
    }

    /// Returns the lowest member.
    #[inline(never)]
    pub fn first(self) -> Option<u8> {
        for (i, word) in self.0.iter().enumerate() {
            if *word != 0 {
                // CAST: Below 4 * 64.
                return Some((i as u32 * 64 + word.leading_zeros()) as u8);
            }
        }
        None
    }

    /// Returns the members in ascending order.
    #[inline]
    pub fn iter(self) -> Iter {
        Iter {
            left: self,
            word: 0,
        }
    }

    /// Returns the runs of adjacent members, first and last of each, in ascending order.
    #[inline]
    pub fn ranges(self) -> Ranges {
        Ranges(self)
    }
}

impl BitAnd for Mask {
    type Output = Self;

    #[inline(never)]
    fn bitand(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);

        Self([a & e, b & f, c & g, d & h])
    }
}

impl BitOr for Mask {
    type Output = Self;

    #[inline(never)]
    fn bitor(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);

        Self([a | e, b | f, c | g, d | h])
    }
}

/// The members of the left side that the right side does not have.
impl Sub for Mask {
    type Output = Self;

    #[inline(never)]
    fn sub(self, other: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);

        Self([a & !e, b & !f, c & !g, d & !h])
    }
}

impl Not for Mask {
    type Output = Self;

    #[inline(never)]
    fn not(self) -> Self {
        Self(self.0.map(|word| !word))
    }
}

/// Iterator over the members of a [`Mask`], in ascending order.
pub struct Iter {
    left: Mask,
    /// The first word that may have members.
    word: usize,
}

impl Iter {
    /// An iterator that has come to its end.
    pub const END: Self = Self {
        left: Mask::EMPTY,
        word: Mask::WORDS,
    };
}

impl Iterator for Iter {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        while let Some(word) = self.left.0.get_mut(self.word) {
            if *word != 0 {
                // CAST: Below 64, and below 4.
                let id = (word.leading_zeros() as u8) | (self.word as u8) << 6;
                *word &= !Mask::bit(id);
                return Some(id);
            }
            self.word += 1;
        }
        None
    }

    #[inline(never)]
    fn nth(&mut self, n: usize) -> Option<u8> {
        for _ in 0..n {
            self.next()?;
        }
        self.next()
    }
}

/// Iterator over the runs of adjacent members of a [`Mask`], in ascending order.
pub struct Ranges(Mask);

impl Iterator for Ranges {
    type Item = (u8, u8);

    fn next(&mut self) -> Option<(u8, u8)> {
        let first = self.0.first()?;
        // The run ends before the first number from `first` on that is missing.
        let below = Mask::up_to(first) - Mask::single(first);
        let last = match (!(self.0 | below)).first() {
            Some(end) => end - 1,
            None => u8::MAX,
        };
        self.0 = self.0 - Mask::up_to(last);
        Some((first, last))
    }
}

#[macros::kunit_tests(rust_ap_mask)]
mod tests {
    use super::*;

    /// Every number alone: membership, order and position of the bit.
    #[test]
    fn singles() {
        for id in 0..=u8::MAX {
            let mask = Mask::single(id);
            assert_eq!(mask.len(), 1);
            assert_eq!(mask.first(), Some(id));
            assert!(mask.iter().eq([id]));
            assert!(mask.ranges().eq([(id, id)]));
            for other in 0..=u8::MAX {
                assert_eq!(mask.contains(other), other == id);
            }
            let byte = mask.words()[usize::from(id) / 64].to_be_bytes()[usize::from(id) % 64 / 8];
            assert_eq!(byte, 0x80 >> (id % 8));
        }
    }

    /// Every interval: up_to, subtraction and ranges agree.
    #[test]
    fn intervals() {
        for last in 0..=u8::MAX {
            assert_eq!(Mask::up_to(last).len(), usize::from(last) + 1);
            for first in [0, 1, last / 2, last] {
                if first > last {
                    continue;
                }
                let mut mask = Mask::up_to(last);
                if let Some(below) = first.checked_sub(1) {
                    mask = mask - Mask::up_to(below);
                }
                assert!(mask.ranges().eq([(first, last)]));
                assert!(mask.iter().eq(first..=last));
                assert!(mask.is_subset(&Mask::up_to(last)));
            }
        }
    }

    /// Set algebra over pseudo-random masks, against membership one by one.
    #[test]
    fn algebra() {
        let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..64 {
            let a = Mask::from_words(core::array::from_fn(|_| next() & next()));
            let b = Mask::from_words(core::array::from_fn(|_| next() | next()));
            for id in 0..=u8::MAX {
                let (x, y) = (a.contains(id), b.contains(id));
                assert_eq!((a & b).contains(id), x && y);
                assert_eq!((a | b).contains(id), x || y);
                assert_eq!((a - b).contains(id), x && !y);
                assert_eq!((!a).contains(id), !x);
            }
            assert_eq!(a.len() + (!a).len(), 256);
            let mut rebuilt = Mask::EMPTY;
            for (first, last) in a.ranges() {
                for id in first..=last {
                    assert!(!rebuilt.contains(id));
                    rebuilt.insert(id);
                }
            }
            assert_eq!(rebuilt, a);
            assert_eq!(a.is_subset(&b), (a & b) == a);
        }
    }
}
