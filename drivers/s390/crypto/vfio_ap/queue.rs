// SPDX-License-Identifier: GPL-2.0

//! AP queues: the driver on the AP bus, and the attributes of a bound queue.

use crate::{
    matrix::Queues,
    state::{
        State,
        Status, //
    }, //
};
use kernel::{
    ap::{
        self,
        Apqn,
        AttrMutex,
        DeviceType,
        Mask, //
    },
    device,
    prelude::*,
    sync::{
        order::{
            Held,
            Nothing, //
        },
        Arc,
        ArcBorrow,
        Published, //
    },
    sysfs, //
};

/// Where the callbacks of the AP bus that come without a device find the state.
static STATE: Published<State> = Published::new();

/// A queue while it is bound.
pub(crate) struct BoundQueue {
    state: Arc<State>,
    apqn: Apqn,
}

impl ap::Driver for BoundQueue {
    type Shared = State;
    type Data = Self;
    type Attributes = Attributes;

    // KVM guests can be given adapters from CEX4 on.
    const ID_TABLE: &'static dyn ap::AnyIdTable = &ap::IdTable::queues([
        DeviceType::Cex4,
        DeviceType::Cex5,
        DeviceType::Cex6,
        DeviceType::Cex7,
        DeviceType::Cex8,
    ]);

    fn published() -> &'static Published<State> {
        &STATE
    }

    fn probe(
        queue: &ap::Queue<device::Core<'_>>,
        state: ArcBorrow<'_, State>,
        held: &mut Held<'_, Nothing>,
    ) -> Result<Self> {
        let apqn = queue.apqn();

        let state: Arc<State> = state.into();

        state.bind_queue(apqn, held)?;
        Ok(Self { state, apqn })
    }

    fn unbind(_queue: &ap::Queue<device::Core<'_>>, this: Self, held: &mut Held<'_, Nothing>) {
        this.state.unbind_queue(this.apqn, held);
    }

    fn on_registered(state: ArcBorrow<'_, State>, held: &mut Held<'_, Nothing>) {
        state.refresh_host(held);
    }

    fn before_unregister(state: ArcBorrow<'_, State>, held: &mut Held<'_, Nothing>) {
        Arc::from(state).leave_queues(held);
    }

    fn in_use(
        state: ArcBorrow<'_, State>,
        apm: Mask,
        aqm: Mask,
        held: &mut Held<'_, AttrMutex>,
    ) -> Result {
        state.in_use(&Queues { apm, aqm }, held)
    }

    fn on_config_changed(
        state: ArcBorrow<'_, State>,
        new: ap::Config,
        _old: ap::Config,
        held: &mut Held<'_, Nothing>,
    ) {
        Arc::from(state).config_changed(new, held);
    }

    fn on_scan_complete(
        state: ArcBorrow<'_, State>,
        new: ap::Config,
        old: ap::Config,
        held: &mut Held<'_, Nothing>,
    ) {
        Arc::from(state).scan_complete(new, old, held);
    }
}

pub(crate) struct Attributes;

impl sysfs::Attributes for Attributes {
    type Data = BoundQueue;
    const TEXT: sysfs::List<BoundQueue> = {
        const TABLE: &sysfs::Table<sysfs::TextRef<BoundQueue>, 2> =
            &sysfs::Table::new([sysfs::text::<QueueStatus>(), sysfs::text::<Owner>()]);
        sysfs::List::new(TABLE)
    };
}

/// `status`: how the queue is used.
struct QueueStatus;

#[vtable]
impl sysfs::Attribute for QueueStatus {
    type Data = BoundQueue;
    const NAME: &'static CStr = c"status";

    fn show(
        queue: &BoundQueue,
        dev: &device::Device,
        out: &mut sysfs::Text<'_>,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        let status = match queue.state.status(queue.apqn, dev, Self::NAME, held) {
            Status::Unassigned => "unassigned",
            Status::Assigned => "assigned",
            Status::InUse => "in use",
        };
        writeln!(out, "{status}")
    }
}

/// `owner`: the mediated device that the queue is assigned to, or an empty line.
struct Owner;

#[vtable]
impl sysfs::Attribute for Owner {
    type Data = BoundQueue;
    const NAME: &'static CStr = c"owner";

    fn show(
        queue: &BoundQueue,
        dev: &device::Device,
        out: &mut sysfs::Text<'_>,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        (queue.state).with_owner(queue.apqn, dev, Self::NAME, held, |owner| match owner {
            Some(mdev) => out.write_fmt(fmt!("{}\n", mdev.name())),
            None => out.write_fmt(fmt!("\n")),
        })
    }
}
