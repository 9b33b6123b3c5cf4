// SPDX-License-Identifier: GPL-2.0

//! Lock order, checked by the compiler.
//!
//! Lockdep finds a wrong order when it happens; this module makes it a type error. Every lock that
//! takes part has a [`Level`], a type. [`Held`] is the proof, made of types only, of how far down
//! the order the running context has come: taking a lock borrows the proof for the level above and
//! returns the one for its own, so that while the inner lock is held, the outer proof cannot be
//! used to take another lock.
//!
//! A driver never makes a [`Held`] itself: the abstraction through which the kernel calls it hands
//! one in, for the locks that the C caller is known to hold ([`Nothing`] mostly). What must never
//! be here is a way for safe code to come by a [`Held`] out of nothing.
//!
//! # Examples
//!
//! ```
//! use kernel::sync::order::{Held, Nothing, OrderedMutex};
//!
//! kernel::lock_level! {
//!     /// Protects the list of trees.
//!     pub struct Forest: after(Nothing);
//!     /// Protects one tree; may be taken with the list locked.
//!     pub struct Tree: after(Nothing, Forest);
//! }
//!
//! fn grow(
//!     held: &mut Held<'_, Nothing>,
//!     forest: &OrderedMutex<usize, Forest>,
//!     tree: &OrderedMutex<usize, Tree>,
//! ) -> usize {
//!     let (trees, mut held) = forest.lock(held);
//!     let (mut height, _) = tree.lock(&mut held);
//!     *height += 1;
//!     *trees * *height
//! }
//! # let _ = grow;
//! ```
//!
//! The other way round is refused, because `Forest: After<Tree>` does not hold:
//!
//! ```ignore
//! // Does not compile.
//! fn fell(
//!     held: &mut Held<'_, Nothing>,
//!     forest: &OrderedMutex<usize, Forest>,
//!     tree: &OrderedMutex<usize, Tree>,
//! ) {
//!     let (_height, mut held) = tree.lock(held);
//!     let (_trees, _) = forest.lock(&mut held);
//! }
//! ```

use super::{
    Arc,
    LockClassKey,
    Mutex,
    MutexGuard, //
};
use crate::{
    prelude::*,
    types::NotThreadSafe, //
};
use core::marker::PhantomData;

/// A place in the lock order.
///
/// Declare one with [`lock_level!`](crate::lock_level).
pub trait Level: 'static {}

/// Says that a lock of level `Self` may be taken while `Outer` is the innermost one held.
///
/// The relation must be written out for every pair, so that a reader finds the whole order in one
/// place; [`lock_level!`](crate::lock_level) does that.
pub trait After<Outer: Level>: Level {}

/// The level of a context that holds no lock that takes part in an order.
pub struct Nothing;

impl Level for Nothing {}

/// Proof that the running context holds locks of the order down to `L` at most.
///
/// The lifetime is that of the borrow of the proof above it.
pub struct Held<'a, L: Level> {
    _borrow: PhantomData<&'a mut ()>,
    _level: PhantomData<fn() -> L>,
    _context: NotThreadSafe,
}

impl<L: Level> Held<'_, L> {
    /// Starts a chain of proofs.
    ///
    /// # Safety
    ///
    /// The running context must hold no lock of the order at or after `L`, and there must be no
    /// other chain of proofs in it. Both hold where C code calls into Rust code, for the locks that
    /// the C code is documented to hold.
    #[inline]
    pub(crate) unsafe fn assume() -> Self {
        Self {
            _borrow: PhantomData,
            _level: PhantomData,
            _context: NotThreadSafe,
        }
    }

    /// Goes down to `Inner`, for a lock that has just been taken.
    #[inline]
    pub(crate) fn descend<Inner: After<L>>(&mut self) -> Held<'_, Inner> {
        Held {
            _borrow: PhantomData,
            _level: PhantomData,
            _context: NotThreadSafe,
        }
    }
}

/// A work item that takes part in a lock order: it starts with no lock held.
///
/// Implement it instead of [`WorkItem`], and declare it with
/// [`impl_ordered_work!`](crate::impl_ordered_work).
///
/// [`WorkItem`]: crate::workqueue::WorkItem
pub trait OrderedWork: Sized {
    /// Does the work.
    fn run(this: Arc<Self>, held: &mut Held<'_, Nothing>);
}

#[doc(hidden)]
pub fn __run<T: OrderedWork>(this: Arc<T>) {
    // SAFETY: A worker calls this with no lock held; what implements `OrderedWork` cannot call it
    // with a lock of the order held without leaving a chain of proofs unused.
    T::run(this, &mut unsafe { Held::assume() });
}

/// Makes an [`OrderedWork`](crate::sync::order::OrderedWork) the work item of its type.
#[macro_export]
macro_rules! impl_ordered_work {
    ($ty:ty) => {
        impl $crate::workqueue::WorkItem for $ty {
            type Pointer = $crate::sync::Arc<$ty>;

            fn run(this: $crate::sync::Arc<$ty>) {
                $crate::sync::order::__run(this);
            }
        }
    };
}

/// A [`Mutex`] that can only be taken in its place of the lock order.
#[pin_data]
pub struct OrderedMutex<T, L: Level> {
    #[pin]
    inner: Mutex<T>,
    _level: PhantomData<fn() -> L>,
}

impl<T, L: Level> OrderedMutex<T, L> {
    /// Creates an initialiser; see [`new_ordered_mutex!`](crate::new_ordered_mutex).
    pub fn new(
        value: impl PinInit<T>,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Mutex::new(value, name, key),
            _level: PhantomData,
        })
    }

    /// Takes the lock, as far as the order allows it after `Outer`.
    ///
    /// Sleeps. Returns the access to the data and the proof for locks further down.
    #[inline]
    pub fn lock<'a, Outer: Level>(
        &'a self,
        held: &'a mut Held<'_, Outer>,
    ) -> (MutexGuard<'a, T>, Held<'a, L>)
    where
        L: After<Outer>,
    {
        (self.take(), held.descend())
    }

    // Code of its own, and not a copy wherever the lock is taken.
    #[inline(never)]
    fn take(&self) -> MutexGuard<'_, T> {
        self.inner.lock()
    }
}

/// Creates an initialiser of an [`OrderedMutex`](crate::sync::order::OrderedMutex) with a lock
/// class of its own.
#[macro_export]
macro_rules! new_ordered_mutex {
    ($value:expr, $name:literal) => {
        $crate::sync::order::OrderedMutex::new(
            $value,
            $crate::c_str!($name),
            $crate::static_lock_class!(),
        )
    };
}

/// Declares [`Level`](crate::sync::order::Level)s: after which others a lock of the level may be
/// taken, and, for levels that another crate declares, before which.
#[macro_export]
macro_rules! lock_level {
    ($(
        $(#[$attr:meta])*
        $vis:vis struct $name:ident:
            after($($outer:ty),* $(,)?) $(, before($($inner:ty),* $(,)?))? ;
    )*) => {
        $(
            $(#[$attr])*
            $vis struct $name;

            impl $crate::sync::order::Level for $name {}
            $(impl $crate::sync::order::After<$outer> for $name {})*
            $($(impl $crate::sync::order::After<$name> for $inner {})*)?
        )*
    };
}
