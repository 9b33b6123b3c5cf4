// SPDX-License-Identifier: GPL-2.0

//! A table of what is known of queues, by APQN.
//!
//! Finding an entry costs the same however many there are. No locks, no I/O.

use crate::filter::Grid;
use kernel::{
    ap::Apqn,
    prelude::*, //
};

/// A place for each of the numbers that there can be.
type Places<T> = KBox<[Option<T>; 1 << u8::BITS]>;

/// Entries by APQN.
pub(crate) struct Table<T> {
    /// By adapter and domain.
    rows: Places<Places<KBox<T>>>,
    /// The queues that have an entry.
    present: Grid,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            rows: KBox::zeroed(GFP_KERNEL)?,
            present: Grid::new()?,
        })
    }

    /// Returns the queues that have an entry.
    pub(crate) fn present(&self) -> &Grid {
        &self.present
    }

    pub(crate) fn get(&self, apqn: Apqn) -> Option<&T> {
        let row = self.rows[usize::from(apqn.apid)].as_ref()?;

        row[usize::from(apqn.apqi)].as_deref()
    }

    pub(crate) fn get_mut(&mut self, apqn: Apqn) -> Option<&mut T> {
        let row = self.rows[usize::from(apqn.apid)].as_mut()?;

        row[usize::from(apqn.apqi)].as_deref_mut()
    }

    /// Adds an entry; there must be none yet.
    pub(crate) fn insert(&mut self, apqn: Apqn, entry: T) -> Result {
        let entry = KBox::new(entry, GFP_KERNEL)?;
        let place = &mut self.rows[usize::from(apqn.apid)];
        let row = match place {
            Some(row) => row,
            None => place.insert(KBox::zeroed(GFP_KERNEL)?),
        };
        let place = &mut row[usize::from(apqn.apqi)];

        if place.is_some() {
            return Err(EEXIST);
        }
        *place = Some(entry);
        self.present.set(apqn, true);
        Ok(())
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, apqn: Apqn) -> Option<KBox<T>> {
        let place = &mut self.rows[usize::from(apqn.apid)];
        let row = place.as_mut()?;
        let entry = row[usize::from(apqn.apqi)].take()?;

        self.present.set(apqn, false);
        if self.present.row(apqn.apid).is_empty() {
            *place = None;
        }
        Some(entry)
    }
}

#[kunit_tests(vfio_ap_table)]
mod tests {
    use super::*;

    /// What was put in is found until it is taken out, and nothing else is.
    #[test]
    fn entries() -> Result {
        let mut table = Table::new()?;
        let all = [0, 0x00ff, 0x0100, 0x0547, 0xff00, 0xffff].map(Apqn::from_raw);

        for (n, apqn) in all.into_iter().enumerate() {
            assert!(table.get(apqn).is_none());
            table.insert(apqn, n)?;
            assert!(table.insert(apqn, n).is_err());
        }
        for (n, apqn) in all.into_iter().enumerate() {
            assert_eq!(table.get(apqn), Some(&n));
            assert_eq!(table.get_mut(apqn), Some(&mut { n }));
            assert!(table.present().contains(apqn));
        }
        for (n, apqn) in all.into_iter().enumerate() {
            assert_eq!(table.remove(apqn).as_deref(), Some(&n));
            assert!(table.remove(apqn).is_none());
            assert!(table.get(apqn).is_none());
        }
        assert!(table.rows.iter().all(Option::is_none));
        Ok(())
    }
}
