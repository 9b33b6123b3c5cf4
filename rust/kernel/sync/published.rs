// SPDX-License-Identifier: GPL-2.0

//! Shared state for C callbacks that carry no pointer of their own.
//!
//! The state lives in an [`Arc`]; a `static` [`Published`] cell shows where, for exactly as long as
//! a [`Publication`] lives. What must never happen here is that a callback finds the cell empty or
//! the state gone; that is why only abstractions look into it, from within callbacks that a
//! registration next to the [`Publication`] enables.

use super::{
    atomic::{
        ordering::{
            Acquire,
            Full,
            Release, //
        },
        Atomic, //
    },
    Arc,
    ArcBorrow, //
};
use crate::prelude::*;
use core::marker::PhantomData;

/// A static place for a shared state.
///
/// # Invariants
///
/// The pointer is NULL or comes from [`Arc::into_raw`] of an `Arc` that a live [`Publication`]
/// owns.
pub struct Published<T: 'static> {
    ptr: Atomic<*mut T>,
    _state: PhantomData<Arc<T>>,
}

// SAFETY: All that can be done with a shared `Published` is to put an `Arc<T>` into it and to
// borrow it, on any thread.
unsafe impl<T: Send + Sync> Sync for Published<T> {}

impl<T> Published<T> {
    /// Makes an empty place.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        // INVARIANT: The pointer is NULL.
        Self {
            ptr: Atomic::new(core::ptr::null_mut()),
            _state: PhantomData,
        }
    }

    /// Shows `state` here until the returned [`Publication`] is dropped.
    ///
    /// Returns [`EBUSY`] if the place is taken.
    pub fn publish(&'static self, state: Arc<T>) -> Result<Publication<T>> {
        let ptr = Arc::into_raw(state).cast_mut();

        // INVARIANT: The pointer comes from an `Arc` that the publication owns from here on.
        match self.ptr.cmpxchg(core::ptr::null_mut(), ptr, Full) {
            Ok(_) => Ok(Publication(self)),
            Err(_) => {
                // SAFETY: `ptr` comes from `Arc::into_raw()` above and was not published.
                drop(unsafe { Arc::from_raw(ptr) });
                Err(EBUSY)
            }
        }
    }

    /// Borrows the state.
    ///
    /// # Safety
    ///
    /// A [`Publication`] of this place must exist and outlive `'a`.
    #[cfg_attr(not(CONFIG_RUST_AP_ABSTRACTIONS), expect(dead_code))]
    pub(crate) unsafe fn borrow<'a>(&self) -> ArcBorrow<'a, T> {
        // SAFETY: By the type invariant and the caller's promise, the pointer comes from
        // `Arc::into_raw()`, and the `Arc` outlives `'a`.
        unsafe { ArcBorrow::from_raw(self.ptr.load(Acquire)) }
    }
}

/// Proof that a state is published. Dropping it takes the state back.
pub struct Publication<T: 'static>(&'static Published<T>);

// SAFETY: Owns an `Arc<T>` and a reference to a `Published<T>`.
unsafe impl<T: Send + Sync> Send for Publication<T> {}

// SAFETY: Nothing can be done with a shared `Publication`.
unsafe impl<T: Send + Sync> Sync for Publication<T> {}

impl<T> Drop for Publication<T> {
    fn drop(&mut self) {
        let ptr = self.0.ptr.load(Acquire);

        self.0.ptr.store(core::ptr::null_mut(), Release);
        // SAFETY: By the type invariant of `Published`, `ptr` comes from `Arc::into_raw()`, and the
        // publication owns it.
        drop(unsafe { Arc::from_raw(ptr) });
    }
}
