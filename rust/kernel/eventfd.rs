// SPDX-License-Identifier: GPL-2.0

//! Event file descriptors: how the kernel tells a user that something happened.
//!
//! C header: [`include/linux/eventfd.h`](srctree/include/linux/eventfd.h)

use crate::{
    bindings,
    error::from_err_ptr,
    prelude::*, //
};

/// A reference to the context of an eventfd; given back when dropped.
///
/// # Invariants
///
/// The pointer is valid, and `self` owns a reference to what it points to.
pub struct EventFd(*mut bindings::eventfd_ctx);

// SAFETY: The context is reference counted and can be used and released on any thread.
unsafe impl Send for EventFd {}

// SAFETY: Signalling takes the locks that it needs.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// Looks up a file descriptor of the current process.
    ///
    /// Returns [`EBADF`] where there is no such descriptor and [`EINVAL`] where it is not an
    /// eventfd.
    pub fn from_fd(fd: i32) -> Result<Self> {
        // SAFETY: Can be called with any number.
        let ctx = from_err_ptr(unsafe { bindings::eventfd_ctx_fdget(fd) })?;

        // INVARIANT: `eventfd_ctx_fdget()` takes a reference.
        Ok(Self(ctx))
    }

    /// Adds one to the counter. Does not sleep.
    pub fn signal(&self) {
        // SAFETY: By the type invariant, the pointer is valid.
        unsafe { bindings::eventfd_signal_mask(self.0, 0) };
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, `self` owns a reference.
        unsafe { bindings::eventfd_ctx_put(self.0) };
    }
}
