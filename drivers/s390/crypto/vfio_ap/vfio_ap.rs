// SPDX-License-Identifier: GPL-2.0

//! VFIO AP: AP queues for KVM guests.
//!
//! The module is a driver on the AP bus, for the queues that the default drivers leave to it, and
//! the parent of mediated devices, each of which is a set of adapters and domains for one guest.
//!
//! This file holds the module and the order in which its parts come and go. It must not hold
//! behaviour: that is in the file of its topic.
//!
//! | file | what it holds |
//! |---|---|
//! | `device.rs` | the matrix device, which the mediated devices are children of |
//! | `queue.rs` | AP queues: probe, remove, `status` |
//! | `mdev.rs` | mediated devices: create, remove, VFIO |
//! | `attributes.rs` | the attributes of mediated devices |
//! | `ioctl.rs` | the ioctls of a mediated device's user |
//! | `table.rs` | a table of queues by APQN |
//! | `mdev_table.rs` | a table of mediated devices by id |
//! | `state.rs` | all that is shared, the locks that own it, and what is assigned to whom |
//! | `guest.rs` | guests: open, close, and what is plugged into them |
//! | `interrupt.rs` | interrupts toward guests: PQAP(AQIC), and memory that goes away |
//! | `reset.rs` | the reset of a queue |
//! | `matrix.rs` | a set of adapters, domains and control domains, and its text form |
//! | `filter.rs` | what of a matrix a guest can have |
//! | `report.rs` | queues in messages |
//! | `debug.rs` | what goes to the s390 debug feature |

use kernel::{
    ap,
    bus,
    prelude::*,
    InPlaceModule,
    ModuleMetadata,
    ThisModule, //
};

mod attributes;
mod debug;
mod device;
mod filter;
mod guest;
mod interrupt;
mod ioctl;
mod matrix;
mod mdev;
mod mdev_table;
mod queue;
mod report;
mod reset;
mod state;
mod table;

use self::{
    device::MatrixDevice,
    guest::StateOwner,
    mdev::MediatedDevice,
    queue::BoundQueue,
    state::State, //
};

/// The module's registrations.
#[pin_data]
struct VfioAp {
    // Dropped in this order; made in the opposite one. Tools rely on it: when user space hears of
    // the parent, the queues are bound.
    #[pin]
    _mdev: kernel::mdev::Registration<MediatedDevice>,
    #[pin]
    _ap: ap::Registration<BoundQueue>,
    #[pin]
    matrix: bus::Registration<MatrixDevice>,
    state: StateOwner,
}

impl InPlaceModule for VfioAp {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let name = <Self as ModuleMetadata>::NAME;

        try_pin_init!(Self {
            state: StateOwner(State::new()?),
            matrix <- bus::Registration::new(name, module),
            _ap <- ap::Registration::new(name, module, &state.0),
            _mdev <- kernel::mdev::Registration::new(matrix.device(), module, name, &state.0),
        })
    }
}

module! {
    type: VfioAp,
    name: "vfio_ap",
    authors: ["Seed d3c941b2 maintainers"],
    description: "VFIO AP device driver",
    license: "GPL",
}
