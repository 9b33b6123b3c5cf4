// SPDX-License-Identifier: GPL-2.0

//! Queues in messages.
//!
//! A message names every queue that it is about, but has no line for each: neighbours are given as
//! ranges, so that a full matrix makes one line and not 65536. What an operator can cause at will
//! is rate limited, for each mediated device by itself.

use crate::{
    matrix::Queues,
    reset::Reset,
    state::Mdev, //
};
use kernel::{
    ap::{
        Apqn,
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

/// A run of adapters or domains, from the first to the last, as text with so many digits.
struct Run(usize, u8, u8);

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(width, first, last) = *self;
        write!(f, "{first:0width$x}")?;
        if last != first {
            write!(f, "-{last:0width$x}")?;
        }
        Ok(())
    }
}

/// Says of each block of adjacent queues what `mdev` has to do with it: between `before` and
/// `after` stands what to name it by, `queue 05.0047` or `queues 05-07.0004-0047`.
#[inline(never)]
fn for_each_block(mdev: &Mdev, queues: &Queues, before: &str, after: fmt::Arguments<'_>) {
    for (apid, last_apid) in queues.apm.ranges() {
        for (apqi, last_apqi) in queues.aqm.ranges() {
            let s = if (apid, apqi) == (last_apid, last_apqi) {
                ""
            } else {
                "s"
            };
            limited!(
                mdev.limit,
                dev_warn!(
                    mdev.dev,
                    "{} queue{s} {}.{} {}\n",
                    before,
                    Run(2, apid, last_apid),
                    Run(4, apqi, last_apqi),
                    after
                )
            );
        }
    }
}

/// Says that queues cannot be assigned to the mediated device `mdev`, because `owner` has them.
pub(crate) fn sharing(mdev: &Mdev, queues: &Queues, owner: &Mdev) {
    let owner = owner.dev.name();

    for_each_block(
        mdev,
        queues,
        "Userspace may not assign",
        fmt!("to mdev: already assigned to {owner}"),
    );
}

/// Says that queues cannot be assigned to the mediated device `mdev`, because the default drivers
/// have them.
pub(crate) fn reserved(mdev: &Mdev, queues: &Queues) {
    for_each_block(
        mdev,
        queues,
        "Userspace may not assign",
        fmt!("to mdev: reserved for the default drivers"),
    );
}

/// Says that queues cannot be given to the default drivers, because the mediated device `mdev` has
/// them.
pub(crate) fn in_use(mdev: &Mdev, queues: &Queues) {
    for_each_block(
        mdev,
        queues,
        "Can not reserve",
        fmt!("for host driver: in use by mdev"),
    );
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

    let ms = time.as_millis();
    if ms >= SHORT_MS {
        limited!(
            limit,
            pr_notice!("Waited {ms}ms for reset of queue {apqn}\n")
        );
    }
}
