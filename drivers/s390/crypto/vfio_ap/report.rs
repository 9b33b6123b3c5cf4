// SPDX-License-Identifier: GPL-2.0

//! Queues in messages.
//!
//! A message names every queue that it is about, but has no line for each: neighbours are given as
//! ranges, so that a full matrix makes one line and not 65536. What an operator can cause at will
//! is rate limited, for each mediated device by itself.

use crate::{
    reset::Reset,
    state::Mdev, //
};
use kernel::{
    ap::{
        Apqn,
        Mask,
        Response, //
    },
    fmt,
    prelude::*,
    ratelimit::RateLimit,
    time::Delta, //
};

/// Makes the limit for messages about one mediated device, or about queues as such.
pub(crate) fn new_limit() -> Result<Pin<KBox<RateLimit>>> {
    const INTERVAL_MS: u32 = 5000;
    const LINES: u16 = 64;

    KBox::pin_init(RateLimit::new(INTERVAL_MS, LINES), GFP_KERNEL)
}

/// Writes a line, if the limit allows it.
macro_rules! limited {
    ($limit:expr, $($message:tt)*) => {
        if $limit.allows(c"vfio_ap") {
            $($message)*;
        }
    };
}

/// A run of adapters or domains, as text.
struct Run<const WIDTH: usize>(u8, u8);

impl<const WIDTH: usize> fmt::Display for Run<WIDTH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(first, last) = *self;
        write!(f, "{first:0WIDTH$x}")?;
        if last != first {
            write!(f, "-{last:0WIDTH$x}")?;
        }
        Ok(())
    }
}

/// Calls `line` for each block of adjacent queues of `apm` x `aqm`, with the text to name it by:
/// `queue 05.0047` or `queues 05-07.0004-0047`.
#[inline(never)]
fn for_each_block(apm: Mask, aqm: Mask, line: &mut dyn FnMut(fmt::Arguments<'_>)) {
    for (apid, last_apid) in apm.ranges() {
        for (apqi, last_apqi) in aqm.ranges() {
            let s = if (apid, apqi) == (last_apid, last_apqi) {
                ""
            } else {
                "s"
            };
            line(fmt!(
                "queue{s} {}.{}",
                Run::<2>(apid, last_apid),
                Run::<4>(apqi, last_apqi)
            ));
        }
    }
}

/// Says that queues cannot be assigned to the mediated device `mdev`, because `owner` has them.
pub(crate) fn sharing(mdev: &Mdev, apm: Mask, aqm: Mask, owner: &Mdev) {
    let owner = owner.dev.name();

    for_each_block(apm, aqm, &mut |queues| {
        limited!(
            mdev.limit,
            dev_warn!(
                mdev.dev,
                "Userspace may not assign {} to mdev: already assigned to {}\n",
                queues,
                owner
            )
        );
    });
}

/// Says that queues cannot be assigned to the mediated device `mdev`, because the default drivers
/// have them.
pub(crate) fn reserved(mdev: &Mdev, apm: Mask, aqm: Mask) {
    for_each_block(apm, aqm, &mut |queues| {
        limited!(
            mdev.limit,
            dev_warn!(
                mdev.dev,
                "Userspace may not assign {} to mdev: reserved for the default drivers\n",
                queues
            )
        );
    });
}

/// Says that queues cannot be given to the default drivers, because the mediated device `mdev` has
/// them.
pub(crate) fn in_use(mdev: &Mdev, apm: Mask, aqm: Mask) {
    for_each_block(apm, aqm, &mut |queues| {
        limited!(
            mdev.limit,
            dev_warn!(
                mdev.dev,
                "Can not reserve {} for host driver: in use by mdev\n",
                queues
            )
        );
    });
}

/// Says that a queue cannot be reset and is kept from all guests.
pub(crate) fn broken(limit: &RateLimit, apqn: Apqn, response: Response) {
    // A queue that is not there any more is no reason to worry.
    if response != Response::NOT_AVAILABLE {
        limited!(
            limit,
            pr_err!("queue {apqn}: reset failed with response {response}, no guest will get it\n")
        );
    }
}

/// Says that a queue leaves the driver without having been reset.
pub(crate) fn unbound(limit: &RateLimit, apqn: Apqn, reset: &Reset) {
    if let Reset::Failed(response) = reset {
        if *response != Response::NOT_AVAILABLE {
            limited!(
                limit,
                pr_warn!("queue {apqn}: unbound without having been reset\n")
            );
        }
    }
}

/// Says that something had to wait for resets, of this queue among others.
pub(crate) fn waited(limit: &RateLimit, apqn: Apqn, time: Delta) {
    /// What nobody wants to hear of.
    const SHORT_MS: i64 = 100;

    if time.as_millis() >= SHORT_MS {
        limited!(
            limit,
            pr_notice!("Waited {}ms for reset of queue {apqn}\n", time.as_millis())
        );
    }
}
