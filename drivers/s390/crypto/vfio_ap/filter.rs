// SPDX-License-Identifier: GPL-2.0

//! What of an assigned matrix a guest can have.
//!
//! A guest's access is a product of adapters and domains, so a single queue cannot be kept from it:
//! where a queue of an adapter is not fit to be passed on, the guest does not get the adapter. This
//! is a pure function of what is assigned, what the host has and which queues are fit. It must not
//! depend on what was before, take locks or do I/O.

use crate::matrix::{
    Matrix,
    Queues, //
};
use kernel::{
    ap::{
        self,
        Apqn,
        Mask, //
    },
    prelude::*, //
};

/// A set of queues: a mask of domains for each adapter.
pub(crate) struct Grid {
    rows: KBox<[Mask; 1 << u8::BITS]>,
    /// The adapters whose masks are not empty.
    apm: Mask,
}

impl Grid {
    /// Makes an empty set.
    #[inline(never)]
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            rows: KBox::zeroed(GFP_KERNEL)?,
            apm: Mask::EMPTY,
        })
    }

    /// Adds a queue or takes it out.
    pub(crate) fn set(&mut self, apqn: Apqn, member: bool) {
        let row = &mut self.rows[usize::from(apqn.apid)];
        if member {
            row.insert(apqn.apqi);
            self.apm.insert(apqn.apid);
        } else {
            row.remove(apqn.apqi);
            self.note_row(apqn.apid);
        }
    }

    /// Adds queues of one adapter or takes them out.
    pub(crate) fn set_row(&mut self, apid: u8, domains: Mask, member: bool) {
        let row = &mut self.rows[usize::from(apid)];
        *row = if member {
            *row | domains
        } else {
            *row - domains
        };
        self.note_row(apid);
    }

    /// Notes whether an adapter has a queue in the set.
    fn note_row(&mut self, apid: u8) {
        if self.rows[usize::from(apid)].is_empty() {
            self.apm.remove(apid);
        } else {
            self.apm.insert(apid);
        }
    }

    /// Returns the domains of an adapter.
    pub(crate) fn row(&self, apid: u8) -> Mask {
        self.rows[usize::from(apid)]
    }

    /// Tells whether the queue is in the set.
    pub(crate) fn contains(&self, apqn: Apqn) -> bool {
        self.row(apqn.apid).contains(apqn.apqi)
    }

    /// Tells whether there is no queue in the set.
    pub(crate) fn is_empty(&self) -> bool {
        self.apm.is_empty()
    }

    /// Tells whether a queue of one of these adapters is in the set.
    pub(crate) fn has_one_of(&self, apm: Mask) -> bool {
        !(self.apm & apm).is_empty()
    }

    /// Tells whether one of these queues is in the set.
    pub(crate) fn meets(&self, queues: &Queues) -> bool {
        self.walk(queues).next(self).is_some()
    }

    /// Starts a walk over those of these queues that are in the set.
    #[inline(never)]
    pub(crate) fn walk(&self, queues: &Queues) -> Walk {
        let apm = self.apm & queues.apm;

        Walk {
            // Many a set is empty, most of the time.
            apids: if apm.is_empty() {
                ap::Iter::END
            } else {
                apm.iter()
            },
            apid: 0,
            apqis: ap::Iter::END,
            aqm: queues.aqm,
        }
    }
}

/// A walk over queues that are in a set, in ascending order. It does not borrow the set: what is
/// done with a queue may change whether it, and those before it, are members.
pub(crate) struct Walk {
    apids: ap::Iter,
    /// The adapter that the walk has come to, and its domains that are still ahead.
    apid: u8,
    apqis: ap::Iter,
    aqm: Mask,
}

impl Walk {
    /// Goes on, in the set that the walk is over.
    #[inline(never)]
    pub(crate) fn next(&mut self, set: &Grid) -> Option<Apqn> {
        loop {
            if let Some(apqi) = self.apqis.next() {
                let apid = self.apid;
                return Some(Apqn { apid, apqi });
            }
            self.apid = self.apids.next()?;
            self.apqis = (set.row(self.apid) & self.aqm).iter();
        }
    }
}

/// What of an assigned matrix a guest does not get.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// An adapter that the host does not have.
    Adapter(u8),
    /// A domain that the host does not have.
    Domain(u8),
    /// An adapter because of this queue, the first one that is not fit to be passed on.
    Queue(Apqn),
}

/// Calls `f` for all that a guest does not get of `assigned`: for adapters, then for domains.
pub(crate) fn for_each_left_out(
    assigned: &Matrix,
    host: &Matrix,
    grid: &Grid,
    mut f: impl FnMut(LeftOut),
) {
    let aqm = assigned.aqm & host.aqm;

    for apid in assigned.apm.iter() {
        if !host.apm.contains(apid) {
            f(LeftOut::Adapter(apid));
        } else if let Some(apqi) = (aqm - grid.row(apid)).first() {
            f(LeftOut::Queue(Apqn { apid, apqi }));
        }
    }
    for apqi in (assigned.aqm - host.aqm).iter() {
        f(LeftOut::Domain(apqi));
    }
}

/// Computes what a guest gets of `assigned`; `grid` has the queues that are fit to be passed on.
///
/// An adapter costs a few word operations, however many queues it has.
pub(crate) fn effective(assigned: &Matrix, host: &Matrix, grid: &Grid) -> Matrix {
    let aqm = assigned.aqm & host.aqm;
    let mut apm = Mask::EMPTY;

    for apid in (assigned.apm & host.apm).iter() {
        if aqm.is_subset(&grid.row(apid)) {
            apm.insert(apid);
        }
    }

    Matrix {
        apm,
        aqm,
        adm: assigned.adm & host.adm,
    }
}

#[kunit_tests(vfio_ap_filter)]
mod tests {
    use super::*;

    /// The lowest numbers as a mask: bit `n` of `bits` is number `n`.
    fn small(bits: u32) -> Mask {
        let mut mask = Mask::EMPTY;
        for id in 0..8 {
            if bits & (1 << id) != 0 {
                mask.insert(id);
            }
        }
        mask
    }

    fn matrix(apm: u32, aqm: u32) -> Matrix {
        Matrix {
            apm: small(apm),
            aqm: small(aqm),
            adm: small(aqm),
        }
    }

    /// Everything that two adapters and two domains can be in, against the rule written plainly.
    #[test]
    fn exhaustive() -> Result {
        let mut grid = Grid::new()?;
        for queues in 0u32..16 {
            let fit = |apid: u8, apqi: u8| queues & (1 << (apid * 2 + apqi)) != 0;
            for apid in 0..2 {
                for apqi in 0..2 {
                    grid.set(Apqn { apid, apqi }, fit(apid, apqi));
                }
            }
            for bits in 0u32..256 {
                let assigned = matrix(bits & 3, bits >> 2 & 3);
                let host = matrix(bits >> 4 & 3, bits >> 6 & 3);
                let got = effective(&assigned, &host, &grid);

                for apqi in 0..2 {
                    let both = assigned.aqm.contains(apqi) && host.aqm.contains(apqi);
                    assert_eq!(got.aqm.contains(apqi), both);
                    assert_eq!(got.adm.contains(apqi), both);
                }
                for apid in 0..2 {
                    let all = (0..2).all(|apqi| !got.aqm.contains(apqi) || fit(apid, apqi));
                    let both = assigned.apm.contains(apid) && host.apm.contains(apid);
                    assert_eq!(got.apm.contains(apid), both && all);
                }
                assert!(got.apm.is_subset(&small(3)));

                // What is left out is just what was assigned and is missing.
                let (mut apm, mut aqm) = (Mask::EMPTY, Mask::EMPTY);
                for_each_left_out(&assigned, &host, &grid, |left_out| match left_out {
                    LeftOut::Adapter(apid) => {
                        assert!(!host.apm.contains(apid));
                        apm.insert(apid);
                    }
                    LeftOut::Domain(apqi) => aqm.insert(apqi),
                    LeftOut::Queue(Apqn { apid, apqi }) => {
                        assert!(got.aqm.contains(apqi) && !fit(apid, apqi));
                        apm.insert(apid);
                    }
                });
                assert_eq!(apm, assigned.apm - got.apm);
                assert_eq!(aqm, assigned.aqm - got.aqm);
                assert!(got.aqm.is_subset(&small(3)));
            }
        }
        Ok(())
    }

    /// Numbers that look drawn by chance, and are the same in every run.
    struct Chance(u64);

    impl Chance {
        fn word(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        /// Has most of the numbers, as what is configured has.
        fn mask(&mut self) -> Mask {
            Mask::from_words(core::array::from_fn(|_| {
                self.word() | self.word() | self.word()
            }))
        }

        fn matrix(&mut self) -> Matrix {
            Matrix {
                apm: self.mask(),
                aqm: self.mask(),
                adm: self.mask(),
            }
        }
    }

    /// At full size: what is left out has a reason, and nothing else is; what is the result already
    /// stays; a queue that goes takes its adapter with it and nothing else.
    #[test]
    fn properties() -> Result {
        let mut chance = Chance(0x7666_696f);
        let mut grid = Grid::new()?;
        for apid in 0..=u8::MAX {
            for apqi in 0..=u8::MAX {
                grid.set(Apqn { apid, apqi }, true);
            }
        }
        for _ in 0..50 {
            let (assigned, host) = (chance.matrix(), chance.matrix());
            // CAST: The rightmost bits are as good as any.
            let gone = Apqn::from_raw(chance.word() as u16);
            let before = effective(&assigned, &host, &grid);
            grid.set(gone, false);
            let got = effective(&assigned, &host, &grid);

            assert_eq!(got.aqm, assigned.aqm & host.aqm);
            assert_eq!(got.adm, assigned.adm & host.adm);
            for apid in 0..=u8::MAX {
                let both = assigned.apm.contains(apid) && host.apm.contains(apid);
                let all = got.aqm.is_subset(&grid.row(apid));
                assert_eq!(got.apm.contains(apid), both && all);
            }
            assert!(effective(&got, &host, &grid) == got);

            let mut left = before.apm;
            if got.aqm.contains(gone.apqi) {
                left.remove(gone.apid);
            }
            assert_eq!(got.apm, left);
        }
        Ok(())
    }
}
