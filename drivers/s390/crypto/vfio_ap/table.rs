// SPDX-License-Identifier: GPL-2.0

//! A table of what is known of queues, by APQN.
//!
//! Finding an entry costs the same however many there are. No locks, no I/O.

use kernel::{
    ap::{
        Apqn,
        Mask, //
    },
    prelude::*, //
};

/// A place for each of the numbers that there can be.
type Places<T> = KBox<[Option<KBox<T>>; 1 << u8::BITS]>;

/// The entries of one adapter, by domain.
struct Row<T> {
    entries: Places<T>,
    /// The domains that have an entry.
    domains: Mask,
}

/// Entries by APQN.
pub(crate) struct Table<T> {
    rows: Places<Row<T>>,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            rows: KBox::zeroed(GFP_KERNEL)?,
        })
    }

    /// Returns the domains with which an adapter has an entry.
    pub(crate) fn row(&self, apid: u8) -> Mask {
        match &self.rows[usize::from(apid)] {
            Some(row) => row.domains,
            None => Mask::EMPTY,
        }
    }

    pub(crate) fn get(&self, apqn: Apqn) -> Option<&T> {
        let row = self.rows[usize::from(apqn.apid)].as_ref()?;

        row.entries[usize::from(apqn.apqi)].as_deref()
    }

    pub(crate) fn get_mut(&mut self, apqn: Apqn) -> Option<&mut T> {
        let row = self.rows[usize::from(apqn.apid)].as_mut()?;

        row.entries[usize::from(apqn.apqi)].as_deref_mut()
    }

    /// Adds an entry; there must be none yet.
    pub(crate) fn insert(&mut self, apqn: Apqn, entry: T) -> Result {
        let entry = KBox::new(entry, GFP_KERNEL)?;
        let place = &mut self.rows[usize::from(apqn.apid)];
        let row = match place {
            Some(row) => row,
            None => {
                let row = Row {
                    entries: KBox::zeroed(GFP_KERNEL)?,
                    domains: Mask::EMPTY,
                };
                place.insert(KBox::new(row, GFP_KERNEL)?)
            }
        };
        let place = &mut row.entries[usize::from(apqn.apqi)];

        if place.is_some() {
            return Err(EEXIST);
        }
        *place = Some(entry);
        row.domains.insert(apqn.apqi);
        Ok(())
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, apqn: Apqn) -> Option<KBox<T>> {
        let place = &mut self.rows[usize::from(apqn.apid)];
        let row = place.as_mut()?;
        let entry = row.entries[usize::from(apqn.apqi)].take()?;

        row.domains.remove(apqn.apqi);
        if row.domains.is_empty() {
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
            assert!(table.row(apqn.apid).contains(apqn.apqi));
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
