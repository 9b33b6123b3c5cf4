// SPDX-License-Identifier: GPL-2.0

//! A table of what is known of mediated devices, by id.
//!
//! Finding an entry costs the same however many there are. No locks, no I/O.
//!
//! The `XArray` of the kernel crate cannot be walked, and it has a lock of its own, which nobody
//! needs beneath the lock of the tables.

use core::num::NonZero;
use kernel::prelude::*;

/// The name of a mediated device in the tables; never used again once the device is gone.
///
/// The rightmost bits are the place of its entry, those before them are new each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MdevId(NonZero<u64>);

impl MdevId {
    /// How many places there can be.
    pub(crate) const PLACES: u32 = 1 << u16::BITS;

    fn new(serial: u64, place: usize) -> Result<Self> {
        let place = u16::try_from(place).map_err(|_| ENOSPC)?;
        let serial = serial.checked_mul(Self::PLACES.into()).ok_or(EOVERFLOW)?;

        NonZero::new(serial | u64::from(place))
            .map(Self)
            .ok_or(EOVERFLOW)
    }

    fn place(self) -> usize {
        // CAST: The place is what is left of it.
        usize::from(self.0.get() as u16)
    }
}

struct Entry<T> {
    id: MdevId,
    value: T,
}

/// Entries by id.
pub(crate) struct MdevTable<T> {
    /// The last place is not empty.
    places: KVVec<Option<KBox<Entry<T>>>>,
    /// How many there have been.
    serial: u64,
}

impl<T> MdevTable<T> {
    pub(crate) fn new() -> Self {
        Self {
            places: KVVec::new(),
            serial: 0,
        }
    }

    pub(crate) fn get(&self, id: MdevId) -> Option<&T> {
        let entry = self.places.get(id.place())?.as_ref()?;

        (entry.id == id).then_some(&entry.value)
    }

    pub(crate) fn get_mut(&mut self, id: MdevId) -> Option<&mut T> {
        let entry = self.places.get_mut(id.place())?.as_mut()?;

        (entry.id == id).then_some(&mut entry.value)
    }

    /// Returns all entries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (MdevId, &T)> {
        self.iter_from(None)
    }

    /// Returns the entries from this one's place on.
    pub(crate) fn iter_from(&self, first: Option<MdevId>) -> impl Iterator<Item = (MdevId, &T)> {
        let first = first.map_or(0, MdevId::place);

        (self.places.iter().skip(first).flatten()).map(|e| (e.id, &e.value))
    }

    /// Returns all entries, for changing them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().flatten().map(|e| &mut e.value)
    }

    /// Adds an entry, and returns its id.
    pub(crate) fn insert(&mut self, value: T) -> Result<MdevId> {
        let empty = self.places.iter().position(Option::is_none);
        let id = MdevId::new(self.serial + 1, empty.unwrap_or(self.places.len()))?;
        let entry = Some(KBox::new(Entry { id, value }, GFP_KERNEL)?);

        match empty {
            Some(place) => self.places[place] = entry,
            None => self.places.push(entry, GFP_KERNEL)?,
        }
        self.serial += 1;
        Ok(id)
    }

    /// Takes an entry out; returns what was in it.
    pub(crate) fn remove(&mut self, id: MdevId) -> Option<T> {
        let place = self.places.get_mut(id.place())?;
        let entry = place.take_if(|entry| entry.id == id)?;

        while let Some(None) = self.places.last() {
            self.places.pop();
        }
        Some(KBox::into_inner(entry).value)
    }
}

#[kunit_tests(vfio_ap_mdev_table)]
mod tests {
    use super::*;

    /// What was put in is found until it is taken out, whatever comes to its place.
    #[test]
    fn entries() -> Result {
        const NUMBER: usize = 300;

        let mut table = MdevTable::new();
        let mut ids = KVec::new();

        for n in 0..NUMBER {
            ids.push(table.insert(n)?, GFP_KERNEL)?;
        }
        // Each third goes, and others come.
        for n in (0..NUMBER).step_by(3) {
            assert_eq!(table.remove(ids[n]), Some(n));
            assert_eq!(table.remove(ids[n]), None);
        }
        let new = table.insert(NUMBER)?;
        assert_eq!(new.place(), ids[0].place());
        assert!(!ids.contains(&new));

        for n in 0..NUMBER {
            let there = (n % 3 != 0).then_some(n);
            assert_eq!(table.get(ids[n]).copied(), there);
            assert_eq!(table.get_mut(ids[n]).copied(), there);
        }
        assert_eq!(table.get(new), Some(&NUMBER));
        assert_eq!(table.iter().count(), NUMBER - NUMBER.div_ceil(3) + 1);
        for (id, n) in table.iter() {
            assert_eq!(table.get(id), Some(n));
        }

        for id in ids {
            table.remove(id);
        }
        assert_eq!(table.places.len(), 1);
        table.remove(new);
        assert_eq!(table.places.len(), 0);
        Ok(())
    }
}
