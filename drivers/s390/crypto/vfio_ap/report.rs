// SPDX-License-Identifier: GPL-2.0

//! Queues in messages.
//!
//! A message names every queue that it is about, but has no line for each: neighbours are given as
//! ranges, so that a full matrix makes one line and not 65536.

use crate::reset::Reset;
use kernel::{
    ap::{
        Apqn,
        Mask,
        Response, //
    },
    device,
    fmt,
    prelude::*,
    time::Delta, //
};

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
fn for_each_block(apm: Mask, aqm: Mask, mut line: impl FnMut(fmt::Arguments<'_>)) {
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

/// Says that queues cannot be assigned to the mediated device `dev`, because `owner` has them.
pub(crate) fn sharing(dev: &device::Device, apm: Mask, aqm: Mask, owner: &device::Device) {
    let owner = owner.name();

    for_each_block(apm, aqm, |queues| {
        dev_warn!(
            dev,
            "Userspace may not assign {} to mdev: already assigned to {}\n",
            queues,
            owner
        );
    });
}

/// Says that queues cannot be assigned to the mediated device `dev`, because the default drivers
/// have them.
pub(crate) fn reserved(dev: &device::Device, apm: Mask, aqm: Mask) {
    for_each_block(apm, aqm, |queues| {
        dev_warn!(
            dev,
            "Userspace may not assign {} to mdev: reserved for the default drivers\n",
            queues
        );
    });
}

/// Says that queues cannot be given to the default drivers, because the mediated device `dev` has
/// them.
pub(crate) fn in_use(dev: &device::Device, apm: Mask, aqm: Mask) {
    for_each_block(apm, aqm, |queues| {
        dev_warn!(
            dev,
            "Can not reserve {} for host driver: in use by mdev\n",
            queues
        );
    });
}

/// Says that a queue cannot be reset and is kept from all guests.
pub(crate) fn broken(apqn: Apqn, response: Response) {
    // A queue that is not there any more is no reason to worry.
    if response != Response::NOT_AVAILABLE {
        pr_err!("queue {apqn}: reset failed with response {response}, no guest will get it\n");
    }
}

/// Says that a queue leaves the driver without having been reset.
pub(crate) fn unbound(apqn: Apqn, reset: &Reset) {
    if let Reset::Failed(response) = reset {
        if *response != Response::NOT_AVAILABLE {
            pr_warn!("queue {apqn}: unbound without having been reset\n");
        }
    }
}

/// Says that something had to wait for resets, of this queue among others.
pub(crate) fn waited(apqn: Apqn, time: Delta) {
    /// What nobody wants to hear of.
    const SHORT_MS: i64 = 100;

    if time.as_millis() >= SHORT_MS {
        pr_notice!("Waited {}ms for reset of queue {apqn}\n", time.as_millis());
    }
}
