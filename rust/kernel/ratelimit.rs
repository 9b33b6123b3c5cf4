// SPDX-License-Identifier: GPL-2.0

//! Rate limits: so that what somebody can cause at will does not fill the kernel log.
//!
//! C headers: [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h),
//! [`include/linux/ratelimit_types.h`](srctree/include/linux/ratelimit_types.h)

use crate::{
    bindings,
    prelude::*,
    time::{
        msecs_to_jiffies,
        Msecs, //
    },
    types::Opaque, //
};

/// So many events in so much time.
///
/// What is suppressed is counted; the next event after it is allowed again says how much it was, in
/// a line of its own.
///
/// # Examples
///
/// ```
/// use kernel::ratelimit::RateLimit;
///
/// let limit = KBox::pin_init(RateLimit::new(5000, 2), GFP_KERNEL)?;
///
/// assert!(limit.allows(c"example"));
/// assert!(limit.allows(c"example"));
/// assert!(!limit.allows(c"example"));
/// # Ok::<(), Error>(())
/// ```
#[pin_data]
pub struct RateLimit {
    #[pin]
    state: Opaque<bindings::ratelimit_state>,
}

// SAFETY: The C structure holds numbers and a lock, which belong to no thread.
unsafe impl Send for RateLimit {}

// SAFETY: `___ratelimit()` can be called on any number of threads at once.
unsafe impl Sync for RateLimit {}

impl RateLimit {
    /// Allows `burst` events in each `interval`, in milliseconds.
    ///
    /// An interval of 0 is none: everything is allowed.
    pub fn new(interval: Msecs, burst: u16) -> impl PinInit<Self> {
        let interval = c_int::try_from(msecs_to_jiffies(interval)).unwrap_or(c_int::MAX);

        pin_init!(Self {
            // SAFETY: `ratelimit_state_init()` overwrites the memory that the slot points to, and
            // the structure needs nothing to be undone when it goes.
            state <- Opaque::ffi_init(move |slot| unsafe {
                bindings::ratelimit_state_init(slot, interval, burst.into());
            }),
        })
    }

    /// Counts an event, and returns whether it is within the limit.
    ///
    /// `name` stands in the line about what was suppressed. Never waits, and can be called in any
    /// context.
    pub fn allows(&self, name: &CStr) -> bool {
        // SAFETY: The state was initialized by `new()`, and the C function only reads the name,
        // which ends with NUL, while it runs.
        unsafe { bindings::___ratelimit(self.state.get(), name.as_char_ptr()) != 0 }
    }
}
