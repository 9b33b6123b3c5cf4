// SPDX-License-Identifier: GPL-2.0

//! The AP instructions that a driver of queues issues itself, and what they answer.
//!
//! Every answer is a value that the caller has to look at; none is an error in itself.
//!
//! C header: `arch/s390/include/asm/ap.h`.

use super::Apqn;
use crate::{
    bindings,
    fmt,
    prelude::*, //
};

/// Tells whether the machine has AP instructions.
pub fn instructions_available() -> bool {
    // SAFETY: Issues PQAP(TAPQ) with an exception table entry; always safe.
    unsafe { bindings::ap_instructions_available() }
}

/// The response code of an AP instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response(pub u8);

macro_rules! responses {
    ($($(#[$doc:meta])* $name:ident = $c:ident,)*) => {
        impl Response {
            $($(#[$doc])* pub const $name: Self = Self(bindings::$c as u8);)*
        }
    };
}

responses! {
    /// Done.
    NORMAL = AP_RESPONSE_NORMAL,
    /// There is no such queue in this configuration.
    NOT_AVAILABLE = AP_RESPONSE_Q_NOT_AVAIL,
    /// A reset is still running.
    RESET_IN_PROGRESS = AP_RESPONSE_RESET_IN_PROGRESS,
    /// The adapter is deconfigured.
    DECONFIGURED = AP_RESPONSE_DECONFIGURED,
    /// The adapter is in checkstop state.
    CHECKSTOPPED = AP_RESPONSE_CHECKSTOPPED,
    /// The queue is busy; try again.
    BUSY = AP_RESPONSE_BUSY,
    /// The address of the notification indicator byte is not good.
    INVALID_ADDRESS = AP_RESPONSE_INVALID_ADDRESS,
    /// The interrupt is already as wanted, or another change of it is under way.
    OTHERWISE_CHANGED = AP_RESPONSE_OTHERWISE_CHANGED,
    /// The GISA designation is not good.
    INVALID_GISA = AP_RESPONSE_INVALID_GISA,
    /// A state change is still running.
    STATE_CHANGE_IN_PROGRESS = AP_RESPONSE_STATE_CHANGE_IN_PROGRESS,
    /// Associating a secret failed: the secret is not unique. A reset is needed.
    ASSOC_SECRET_NOT_UNIQUE = AP_RESPONSE_ASSOC_SECRET_NOT_UNIQUE,
    /// Associating a secret failed. A reset is needed.
    ASSOC_FAILED = AP_RESPONSE_ASSOC_FAILED,
}

/// Displayed as two hexadecimal digits, as the architecture writes response codes.
impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

/// The status word of an AP instruction.
///
/// C source: `struct ap_queue_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(u32);

impl Status {
    /// Makes the status that carries only a response code.
    pub const fn from_response(response: Response) -> Self {
        Self((response.0 as u32) << 16)
    }

    /// Returns the word as the instruction leaves it in the right half of general register 1.
    pub const fn to_raw(self) -> u32 {
        self.0
    }

    /// Returns the response code.
    pub const fn response(self) -> Response {
        // CAST: Takes the second byte from the left.
        Response((self.0 >> 16) as u8)
    }

    /// Tells whether there is no message in the queue.
    pub const fn queue_empty(self) -> bool {
        self.0 & 0x8000_0000 != 0
    }

    /// Tells whether interrupts are enabled for the queue.
    pub const fn irq_enabled(self) -> bool {
        self.0 & 0x0100_0000 != 0
    }
}

/// What TAPQ says of a queue, valid for the responses normal, reset in progress, deconfigured,
/// checkstopped and busy.
///
/// C source: `struct ap_tapq_hwinfo`.
#[derive(Clone, Copy, Debug)]
pub struct Info(u64);

impl Info {
    /// Returns the type of the adapter; see [`DeviceType`](super::DeviceType).
    pub const fn device_type(self) -> u8 {
        (self.0 >> 24) as u8
    }
}

/// What PQAP(AQIC) is to do: general register 1.
///
/// C source: `union ap_qirq_ctrl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AqicControl(usize);

impl AqicControl {
    /// Disable interrupts.
    pub const DISABLE: Self = Self(0);

    /// Enable interrupts to a guest: to its subclass `gisc`, through the GISA at the absolute
    /// address `gisa`, with alerts to the host's subclass `isc`.
    pub const fn enable(gisc: u8, isc: u8, gisa: u64) -> Self {
        const IR: usize = 1 << (63 - 16);
        // The GISA is 64-byte aligned and below 2 GiB; its format is 0, as KVM makes it.
        let gisa = (gisa >> 4 & 0x7ff_ffff) << 4;
        // CAST: General registers have 64 bits.
        Self(IR | (gisc as usize & 7) << (63 - 23) | gisa as usize | isc as usize & 7)
    }
}

impl Apqn {
    /// Tests the queue: PQAP(TAPQ).
    #[inline]
    pub fn test(self) -> Status {
        // SAFETY: The AP instructions are there, or nobody would know of a queue; TAPQ changes
        // nothing.
        Status(unsafe { bindings::ap_tapq_word(self.to_raw().into(), core::ptr::null_mut()) })
    }

    /// Tests the queue and returns what it is: PQAP(TAPQ) with the T bit.
    #[inline]
    pub fn test_info(self) -> (Status, Info) {
        let mut info: c_ulong = 0;
        // SAFETY: As for `test()`; `info` is writable.
        let word = unsafe { bindings::ap_tapq_word(self.to_raw().into(), &mut info) };
        (Status(word), Info(info as u64))
    }

    /// Starts a reset that also zeroizes the queue: PQAP(ZAPQ).
    ///
    /// With a normal response, the reset is complete when [`Self::test`] no longer answers "reset
    /// in progress".
    #[inline]
    pub fn zeroize(self) -> Status {
        // SAFETY: Resetting a queue that the calling driver is bound to is its right.
        Status(unsafe { bindings::ap_zapq_word(self.to_raw().into()) })
    }

    /// Enables or disables interrupts: PQAP(AQIC). `nib` is the absolute address of the
    /// notification indicator byte, of no importance when disabling.
    ///
    /// With a normal response, the change is complete when [`Self::test`] shows it.
    ///
    /// Hardware writes to `nib` and the GISA for as long as interrupts are enabled; what backs them
    /// must stay that long. That is why this is for abstractions of memory only.
    #[inline]
    pub(crate) fn control_interrupts(self, control: AqicControl, nib: u64) -> Status {
        // SAFETY: The calling driver is bound to the queue, or the instruction is refused.
        Status(unsafe { bindings::ap_aqic_word(self.to_raw().into(), control.0, nib) })
    }

    /// Disables interrupts: PQAP(AQIC).
    #[inline]
    pub fn disable_interrupts(self) -> Status {
        self.control_interrupts(AqicControl::DISABLE, 0)
    }
}
