// SPDX-License-Identifier: GPL-2.0

//! Interrupts of queues toward guests: intercepted PQAP(AQIC) instructions, and guest memory that
//! goes away.
//!
//! Pages are pinned before the tables are locked and unpinned after they are unlocked: pinning
//! waits for other guests' memory, and VFIO calls back with its own locks held.

use crate::{
    matrix::Queues,
    mdev::VfioDevice,
    mdev_table::MdevId,
    state::{
        Mdev,
        State,
        Tables, //
    }, //
};
use kernel::{
    ap::{
        Apqn,
        GuestInterrupt,
        Response,
        Status, //
    },
    kvm::{
        Gisc,
        HookLevel,
        PqapHandler,
        Vcpu, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        order::{
            Held,
            Nothing, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta,
        Instant, //
    },
    vfio, //
};

/// An interrupt of a queue, and whose it is.
pub(crate) struct Interrupt {
    /// The mediated device that it came through.
    pub(crate) session: MdevId,
    /// What hardware may write to.
    pub(crate) hardware: GuestInterrupt<VfioDevice>,
    /// What follows in a [`Chain`].
    next: Option<KBox<Interrupt>>,
}

/// Interrupts that no queue has any more and whose resources are to be given back.
#[derive(Default)]
pub(crate) struct Chain(Option<KBox<Interrupt>>);

impl Chain {
    pub(crate) fn push(&mut self, mut interrupt: KBox<Interrupt>) {
        interrupt.next = self.0.take();
        self.0 = Some(interrupt);
    }

    pub(crate) fn pop(&mut self) -> Option<KBox<Interrupt>> {
        let mut interrupt = self.0.take()?;

        self.0 = interrupt.next.take();
        Some(interrupt)
    }
}

impl Interrupt {
    /// Turns the interrupt off, and says whether that is through. Hardware refuses that during a
    /// reset, which turns it off by itself.
    pub(crate) fn turn_off(&mut self) -> bool {
        if !self.hardware.is_off() && !self.hardware.is_disarming() {
            self.hardware.disable();
        }
        if self.hardware.is_disarming() {
            self.hardware.poll();
        }
        self.hardware.is_off()
    }
}

/// Which interrupts are to be turned off.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    /// All.
    All,
    /// Those of the user of a mediated device.
    Session(MdevId),
    /// Those of such a user that go to so much of its memory from an address on.
    Memory(MdevId, u64, u64),
}

impl Wanted {
    /// Returns the mediated device whose user's memory is given back.
    pub(crate) fn session(self) -> Option<MdevId> {
        match self {
            Self::All => None,
            Self::Session(id) | Self::Memory(id, ..) => Some(id),
        }
    }

    /// Tells whether the interrupt is one of them.
    pub(crate) fn has(self, interrupt: &Interrupt) -> bool {
        match self {
            Self::All => true,
            Self::Session(id) => interrupt.session == id,
            Self::Memory(id, iova, length) => {
                interrupt.session == id && interrupt.hardware.iova().wrapping_sub(iova) < length
            }
        }
    }
}

/// How long a guest has to wait with pinning a page when its user has unmapped memory. When we have
/// answered, VFIO looks whether something is pinned there, and cannot go on if it always is.
const AFTER_UNMAP: Delta = Delta::from_millis(20);

/// What handles the intercepted instructions of one guest.
pub(crate) struct GuestHandler {
    state: Arc<State>,
    id: MdevId,
    dev: ARef<vfio::Device<VfioDevice>>,
}

/// General register 1 of PQAP(AQIC): whether interrupts are to be enabled.
const IR: u64 = 1 << (63 - 16);
/// General register 1 of PQAP(AQIC): the guest's interruption subclass.
const ISC: u64 = 7;

impl PqapHandler for GuestHandler {
    fn aqic(&self, vcpu: &Vcpu, held: &mut Held<'_, HookLevel>) -> Option<Status> {
        // Without the facility, user space emulates the instruction.
        if !vcpu.has_aiv() {
            return None;
        }
        // CAST: The APQN is in the rightmost 16 bits.
        let apqn = Apqn::from_raw(vcpu.gpr(0) as u16);
        let control = vcpu.gpr(1);

        let status = if control & IR != 0 {
            // CAST: A subclass has three bits.
            self.enable(apqn, (control & ISC) as u8, vcpu, held)
                .unwrap_or_else(Status::from_response)
        } else {
            self.disable(apqn, held)
        };
        if status.response() != Response::NORMAL {
            self.state
                .debug
                .aqic_refused(apqn, vcpu.gpr(2), status.response());
        }
        Some(status)
    }
}

impl GuestHandler {
    pub(crate) fn new(state: Arc<State>, id: MdevId, dev: &vfio::Device<VfioDevice>) -> Self {
        Self {
            state,
            id,
            dev: dev.into(),
        }
    }

    /// Enables interrupts of a queue that the guest has.
    fn enable(
        &self,
        apqn: Apqn,
        isc: u8,
        vcpu: &Vcpu,
        held: &mut Held<'_, HookLevel>,
    ) -> Result<Status, Response> {
        let nib = vcpu.gpr(2);
        while !self.loosen(apqn, held)? {
            fsleep(AFTER_UNMAP);
        }
        let ret = self.enable_loose(apqn, isc, nib, vcpu, held);

        let (mut tables, _) = self.state.tables.lock(held);
        tables.settle(self.id);
        ret
    }

    /// Notes that something is about to be pinned for a queue that the guest has. Returns `false`
    /// if that must not be yet.
    fn loosen(&self, apqn: Apqn, held: &mut Held<'_, HookLevel>) -> Result<bool, Response> {
        let (mut tables, _) = self.state.tables.lock(held);
        let mdev = tables.check_plugged(self.id, apqn)?;

        let lately = (mdev.unmapped).is_some_and(|at| at.elapsed() < AFTER_UNMAP);
        if lately || mdev.unmapping != 0 {
            return Ok(false);
        }
        tables.loosen(self.id);
        Ok(true)
    }

    /// Does the work of [`Self::enable`]; all that is pinned and not needed is unpinned on return.
    ///
    /// The interrupt that was there stays until hardware has accepted the new one.
    fn enable_loose(
        &self,
        apqn: Apqn,
        isc: u8,
        nib: u64,
        vcpu: &Vcpu,
        held: &mut Held<'_, HookLevel>,
    ) -> Result<Status, Response> {
        if nib == 0 || !vcpu.is_guest_memory(nib) {
            return Err(Response::INVALID_ADDRESS);
        }
        let invalid = |_| Response::INVALID_ADDRESS;
        let room = KBox::<Interrupt>::new_uninit(GFP_KERNEL).map_err(|_| Response::BUSY)?;
        let gisc = Gisc::register(vcpu.kvm(), isc).map_err(invalid)?;
        // The last to be taken: whoever takes the memory away waits until it is noted.
        let page = self.dev.pin_page(nib).map_err(invalid)?;
        // A secure guest has to share the page, or nobody could write to it.
        if vcpu.is_protected() && !page.is_shared() {
            return Err(Response::INVALID_ADDRESS);
        }

        // What is not needed any more. Declared before the tables are locked, hence dropped after
        // they are unlocked.
        let _unneeded;
        let _replaced;
        let (mut tables, _) = self.state.tables.lock(held);
        tables.check_plugged(self.id, apqn)?;

        let (status, hardware) = GuestInterrupt::enable(apqn, page, nib, vcpu.kvm(), gisc);
        let interrupt = Interrupt {
            session: self.id,
            hardware,
            next: None,
        };
        let interrupt = KBox::write(room, interrupt);
        if interrupt.hardware.is_off() {
            _unneeded = interrupt;
        } else {
            _replaced = tables.set_interrupt(apqn, interrupt);
        }
        Ok(status)
    }

    /// Disables interrupts of a queue that the guest has.
    ///
    /// What they used is given back when hardware shows that they are off.
    fn disable(&self, apqn: Apqn, held: &mut Held<'_, HookLevel>) -> Status {
        let (mut tables, _) = self.state.tables.lock(held);

        if let Err(response) = tables.check_plugged(self.id, apqn) {
            return Status::from_response(response);
        }
        let status = tables.with_queue(apqn, |queue| match &mut queue.interrupt {
            None => apqn.disable_interrupts(),
            Some(interrupt) => interrupt.hardware.disable(),
        });
        self.state.look_after(&tables);
        status.unwrap_or(Status::from_response(Response::NOT_AVAILABLE))
    }
}

impl Tables {
    /// Refuses a queue that the guest does not have.
    fn check_plugged(&self, id: MdevId, apqn: Apqn) -> Result<&Mdev, Response> {
        self.mdev(id)
            .ok()
            .filter(|mdev| mdev.has_plugged(apqn) && self.queues.get(apqn).is_some())
            .ok_or(Response::NOT_AVAILABLE)
    }

    /// Notes an interrupt that hardware has accepted, and returns the one that it replaces, if that
    /// was the guest's own.
    fn set_interrupt(&mut self, apqn: Apqn, interrupt: KBox<Interrupt>) -> Option<KBox<Interrupt>> {
        let session = interrupt.session;
        let mut replaced = self
            .with_queue(apqn, |queue| {
                // Hardware refuses the instruction during a reset.
                queue.reset.note_use();
                queue.interrupt.replace(interrupt)
            })
            .flatten()?;

        replaced.hardware.superseded();
        if replaced.session == session {
            Some(replaced)
        } else {
            self.retire(replaced);
            None
        }
    }
}

impl State {
    /// The user of a mediated device takes memory away from its guest: interrupts that go there are
    /// turned off, and what they used is given back before this returns.
    pub(crate) fn dma_unmap(
        &self,
        id: MdevId,
        iova: u64,
        length: u64,
        held: &mut Held<'_, Nothing>,
    ) {
        if let Ok(mdev) = self.tables.lock(held).0.mdev_mut(id) {
            mdev.unmapping += 1;
        }
        self.turn_off(&Queues::ALL, Wanted::Memory(id, iova, length), held);
        if let Ok(mdev) = self.tables.lock(held).0.mdev_mut(id) {
            mdev.unmapping -= 1;
            mdev.unmapped = Some(Instant::now());
        }
    }
}
