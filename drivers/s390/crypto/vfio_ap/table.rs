// SPDX-License-Identifier: GPL-2.0

//! A table of what is known of queues, by APQN.
//!
//! Finding an entry costs the same however many there are. No locks, no I/O.

use kernel::{
    ap::Apqn,
    prelude::*, //
};

/// The entries of one adapter, by domain.
struct Row<T> {
    entries: KVec<Option<KBox<T>>>,
    used: usize,
}

impl<T> Row<T> {
    fn new() -> Result<Self> {
        Ok(Self {
            entries: empty(|| None)?,
            used: 0,
        })
    }
}

/// Entries by APQN.
pub(crate) struct Table<T> {
    rows: KVec<Option<KBox<Row<T>>>>,
}

/// Makes a place for each of the numbers that there can be.
fn empty<T>(make: impl Fn() -> T) -> Result<KVec<T>> {
    const NUMBERS: usize = 1 << u8::BITS;
    let mut places = KVec::with_capacity(NUMBERS, GFP_KERNEL)?;

    for _ in 0..NUMBERS {
        places.push(make(), GFP_KERNEL)?;
    }
    Ok(places)
}

impl<T> Table<T> {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            rows: empty(|| None)?,
        })
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
            None => place.insert(KBox::new(Row::new()?, GFP_KERNEL)?),
        };
        let place = &mut row.entries[usize::from(apqn.apqi)];

        if place.is_some() {
            return Err(EEXIST);
        }
        *place = Some(entry);
        row.used += 1;
        Ok(())
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, apqn: Apqn) -> Option<KBox<T>> {
        let place = &mut self.rows[usize::from(apqn.apid)];
        let row = place.as_mut()?;
        let entry = row.entries[usize::from(apqn.apqi)].take()?;

        row.used -= 1;
        if row.used == 0 {
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
