// SPDX-License-Identifier: GPL-2.0

//! Interrupts of an AP queue that go to a guest.
//!
//! Hardware writes to two places of memory when a queue has an interrupt: the notification
//! indicator byte (NIB), in a page of the guest, and the guest's GISA. A [`GuestInterrupt`] owns
//! both for as long as hardware may write. What must never happen here is that a page goes back to
//! its owner, or to somebody else, while a queue is still armed to write to it.

use super::{
    Apqn,
    Response,
    Status, //
};
use crate::{
    kvm::{
        Gisc,
        Kvm, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::aref::ARef,
    vfio::{
        self,
        PinnedPage, //
    }, //
};

/// Interrupts of one queue, enabled toward a guest.
///
/// Dropping it unpins the page, so that must not happen under a lock that
/// [`vfio::Operations::dma_unmap`] takes.
pub struct GuestInterrupt<T: vfio::Operations> {
    apqn: Apqn,
    page: PinnedPage<T>,
    _gisc: Gisc,
    kvm: ARef<Kvm>,
    state: State,
}

/// Whether hardware may write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It may. A test of the queue that shows no interrupts proves nothing: enabling takes time.
    Armed,
    /// Hardware has accepted to turn the interrupts off; it may write until a test shows that.
    Disarming,
    /// It does not write.
    Off,
}

impl<T: vfio::Operations> GuestInterrupt<T> {
    /// Enables interrupts of the queue: the NIB is the byte of the page that `nib`, the guest's
    /// address of it, says.
    ///
    /// Returns what the instruction answers, and what was taken for it. If the answer is not a
    /// normal one, that is off.
    pub fn enable(
        apqn: Apqn,
        page: PinnedPage<T>,
        nib: u64,
        kvm: &Kvm,
        gisc: Gisc,
    ) -> (Status, Self) {
        let nib = page.address() | (nib & (PAGE_SIZE as u64 - 1));
        let status = apqn.control_interrupts(gisc.aqic_control(), nib);

        (
            status,
            Self {
                apqn,
                page,
                _gisc: gisc,
                kvm: kvm.into(),
                state: if status.response() == Response::NORMAL {
                    State::Armed
                } else {
                    State::Off
                },
            },
        )
    }

    /// Asks hardware to turn the interrupts off. See [`Self::poll`] for when they are.
    pub fn disable(&mut self) -> Status {
        let status = self.apqn.disable_interrupts();

        match status.response() {
            Response::NORMAL | Response::OTHERWISE_CHANGED => {
                if self.state == State::Armed {
                    self.state = State::Disarming;
                }
            }
            response => self.note(response),
        }
        status
    }

    /// Looks whether the interrupts are off by now.
    pub fn poll(&mut self) {
        let status = self.apqn.test();
        let response = status.response();
        // With others, the rest of the status need not mean anything.
        let shown = matches!(response, Response::NORMAL | Response::RESET_IN_PROGRESS);

        if self.state == State::Disarming && shown && !status.irq_enabled() {
            self.state = State::Off;
        }
        self.note(response);
    }

    /// A queue that is not there, or whose adapter is off, writes no more.
    fn note(&mut self, response: Response) {
        if let Response::NOT_AVAILABLE | Response::DECONFIGURED | Response::CHECKSTOPPED = response
        {
            self.state = State::Off;
        }
    }

    /// Tells whether hardware does not write any more.
    pub fn is_off(&self) -> bool {
        self.state == State::Off
    }

    /// Tells whether [`Self::poll`] has to be called until [`Self::is_off`].
    pub fn is_disarming(&self) -> bool {
        self.state == State::Disarming
    }

    /// Notes that a reset of the queue has ended that was started after the interrupts were
    /// enabled.
    pub fn zeroized(&mut self) {
        self.state = State::Off;
    }

    /// Notes that the queue has accepted another interrupt: it was off before that.
    pub fn superseded(&mut self) {
        self.state = State::Off;
    }

    /// Returns where the user has the page of the NIB.
    pub fn iova(&self) -> u64 {
        self.page.iova()
    }
}

impl<T: vfio::Operations> Drop for GuestInterrupt<T> {
    fn drop(&mut self) {
        if self.state != State::Off {
            // Rather lose a page and the VM's structure than let hardware write to what is
            // somebody else's by then.
            dev_err!(
                self.page.device(),
                "queue {}: interrupts cannot be turned off, a page of memory is lost\n",
                self.apqn
            );
            self.page.keep_forever();
            core::mem::forget(self.kvm.clone());
        }
    }
}
