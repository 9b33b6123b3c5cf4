// SPDX-License-Identifier: GPL-2.0

//! The s390 debug feature: a ring of events that stays in memory and is read in debugfs.
//!
//! The feature keeps the address of an event's format and the raw arguments, and formats them when
//! somebody reads. What must never be logged is therefore anything but plain values: the types here
//! take `'static` formats and integers only.
//!
//! C header: `arch/s390/include/asm/debug.h`

use crate::{
    bindings,
    prelude::*, //
};

/// How important an event is.
#[derive(Clone, Copy)]
#[repr(i32)]
pub enum Level {
    /// Something failed.
    Error = 3,
    /// Something is not as it should be.
    Warning = 4,
    /// Something happened.
    Info = 5,
}

/// The format of an event with `N` arguments.
pub struct Format<const N: usize>(&'static CStr);

impl<const N: usize> Format<N> {
    /// Checks a format: it has to have `N` conversions, all of them of a `long`, such as `%04lx`.
    ///
    /// Meant for constants, so that a wrong format does not compile.
    pub const fn new(format: &'static CStr) -> Self {
        let bytes = format.to_bytes();
        let mut conversions = 0;
        let mut i = 0;

        while i < bytes.len() {
            if bytes[i] == b'%' {
                i += 1;
                while i < bytes.len() && matches!(bytes[i], b'0'..=b'9' | b'#') {
                    i += 1;
                }
                assert!(
                    i + 1 < bytes.len()
                        && bytes[i] == b'l'
                        && matches!(bytes[i + 1], b'x' | b'u' | b'd'),
                    "not the conversion of a long"
                );
                i += 1;
                conversions += 1;
            }
            i += 1;
        }
        assert!(conversions == N, "not as many conversions as arguments");
        assert!(N <= Debug::MAX_ARGS, "too many arguments for an event");
        Self(format)
    }
}

/// A registered debug area, `/sys/kernel/debug/s390dbf/<name>`; gone when dropped.
pub struct Debug(*mut bindings::debug_info_t);

// SAFETY: A debug area can be unregistered from any thread.
unsafe impl Send for Debug {}

// SAFETY: Events can be logged from any thread, in any context.
unsafe impl Sync for Debug {}

impl Debug {
    /// The highest number of arguments of an event.
    pub const MAX_ARGS: usize = 6;

    /// Registers an area with the view `sprintf` that keeps events from `level` on.
    ///
    /// The formats of all events must live at least as long as the area: an area and the formats
    /// that are logged to it belong to the same module.
    pub fn register(name: &'static CStr, level: Level) -> Result<Self> {
        const PAGES: c_int = 1;
        const AREAS: c_int = 1;
        // The format and its arguments.
        const SIZE: c_int = ((1 + Debug::MAX_ARGS) * core::mem::size_of::<c_long>()) as c_int;

        // SAFETY: The name is copied.
        let info = unsafe { bindings::debug_register(name.as_char_ptr(), PAGES, AREAS, SIZE) };
        if info.is_null() {
            return Err(ENOMEM);
        }
        let this = Self(info);
        // SAFETY: The area is registered; the view is a static of the debug feature.
        unsafe {
            bindings::debug_register_view(this.0, &raw mut bindings::debug_sprintf_view);
            bindings::debug_set_level(this.0, level as c_int);
        }
        Ok(this)
    }

    /// Logs an event. Does not sleep.
    pub fn event<const N: usize>(&self, level: Level, format: &Format<N>, args: [u64; N]) {
        let mut longs = [0; Self::MAX_ARGS];
        longs[..N].copy_from_slice(&args);

        // SAFETY: The area is registered, and the format is static and was checked: the feature
        // takes as many of the arguments as it has conversions, all of them as `long`.
        unsafe {
            if level as c_int <= (*self.0).level {
                bindings::__debug_sprintf_event(
                    self.0,
                    level as c_int,
                    format.0.as_char_ptr().cast_mut(),
                    longs[0],
                    longs[1],
                    longs[2],
                    longs[3],
                    longs[4],
                    longs[5],
                );
            }
        }
    }
}

impl Drop for Debug {
    fn drop(&mut self) {
        // SAFETY: Registered in `register()`.
        unsafe { bindings::debug_unregister(self.0) };
    }
}
