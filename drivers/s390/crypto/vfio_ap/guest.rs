// SPDX-License-Identifier: GPL-2.0

//! Guests: who has a mediated device open, and what is plugged into them.
//!
//! Every change of what a guest has goes through [`State::commit`]: masks are lowered before a
//! queue that leaves is reset, and a queue enters only when it is clean. Nothing of a guest
//! outlives its session.

use crate::{
    interrupt::{
        GuestHandler,
        Interrupt,
        Wanted, //
    },
    matrix::{
        Matrix,
        Queues, //
    },
    mdev::{
        VfioDevice,
        VfioUser, //
    },
    mdev_table::MdevId,
    report,
    reset::{
        Reset,
        Run,
        LIMIT, //
    },
    state::{
        GuestsLevel,
        Set,
        State,
        Tables, //
    }, //
};
use kernel::{
    ap::{
        Apqn,
        Mask, //
    },
    eventfd::EventFd,
    impl_ordered_work,
    kvm::Hook,
    prelude::*,
    rbtree::RBTree,
    sync::{
        order::{
            Held,
            Nothing,
            OrderedWork, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta,
        Instant,
        Monotonic, //
    },
    vfio,
    workqueue, //
};

/// The guests, by the mediated device that is open for them: a guest is a VM whose intercepted
/// instructions come to us.
pub(crate) type Guests = RBTree<MdevId, Hook<GuestHandler>>;

/// What a user of a mediated device can be told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The device shall be given back.
    Request,
    /// What the guest has was changed.
    ConfigChange,
}

/// What belongs to the user of a mediated device, from open to close.
pub(crate) struct Session {
    pub(crate) user: Arc<VfioUser>,
    /// What is plugged into the guest.
    pub(crate) plugged: Matrix,
    /// The adapters and domains that the guest's CRYCB has room for, if those are not all.
    room: Option<Queues>,
    /// Whether the device was asked back: the guest gets nothing any more.
    requested: bool,
    request: Option<EventFd>,
    config_change: Option<EventFd>,
}

impl Session {
    fn new(user: Arc<VfioUser>, room: Option<(Mask, Mask)>) -> Self {
        Self {
            user,
            plugged: Matrix::default(),
            room: room.map(|(apm, aqm)| Queues { apm, aqm }),
            requested: false,
            request: None,
            config_change: None,
        }
    }

    /// Sets what is signalled for an event, and returns what was before.
    pub(crate) fn set_event(&mut self, event: Event, fd: Option<EventFd>) -> Option<EventFd> {
        core::mem::replace(self.event(event), fd)
    }

    fn event(&mut self, event: Event) -> &mut Option<EventFd> {
        match event {
            Event::Request => &mut self.request,
            Event::ConfigChange => &mut self.config_change,
        }
    }

    /// Signals an event; returns whether somebody wanted to know.
    fn signal(&mut self, event: Event) -> bool {
        match self.event(event) {
            Some(fd) => {
                fd.signal();
                true
            }
            None => false,
        }
    }
}

impl Tables {
    /// Computes what the guest of a mediated device is to have, and notes it. Returns what it had
    /// and what it gets, if that is not the same.
    ///
    /// The reset of queues that leave can start when the guest cannot reach them any more. Until
    /// then the guests have to stay locked, so that no other one gets them.
    fn replug(&mut self, id: MdevId) -> Option<(Matrix, Matrix)> {
        let mdev = self.refresh(id).ok()?;
        let session = mdev.session.as_mut()?;
        let new = match &session.room {
            _ if session.requested => Matrix::default(),
            None => mdev.effective,
            Some(room) => mdev.effective.within(room),
        };
        let old = core::mem::replace(&mut session.plugged, new);
        (old != new).then_some((old, new))
    }

    /// Starts to reset those of these queues that are bound; with `in_place` they stay in their
    /// guest meanwhile.
    #[inline(never)]
    pub(crate) fn start_resets(&mut self, queues: &[Queues], in_place: bool) {
        for queues in queues.iter().filter(|queues| !queues.is_empty()) {
            let run = Run::new(in_place);
            let mut bound = self.queues.present().walk(queues);
            while let Some(apqn) = bound.next(self.queues.present()) {
                self.step(apqn, Some(run));
            }
        }
    }

    /// Starts to reset one queue, which no guest has.
    pub(crate) fn start_reset(&mut self, apqn: Apqn) {
        self.step(apqn, Some(Run::new(false)));
    }

    /// Looks at one busy queue, or at one that starts `new`.
    pub(crate) fn step(&mut self, apqn: Apqn, new: Option<Run>) {
        let stepped = self.with_queue(apqn, |queue| {
            if let Some(run) = new {
                queue.reset.start(run);
            }
            let resetting = queue.reset.is_running();
            let status = queue.reset.step(apqn);

            if let Some(interrupt) = &mut queue.interrupt {
                let in_use = status.is_some_and(|status| status.irq_enabled());
                if resetting && matches!(queue.reset, Reset::Clean) && !in_use {
                    interrupt.hardware.zeroized();
                } else if interrupt.hardware.is_disarming() {
                    interrupt.hardware.poll();
                }
            }
            let over = queue.interrupt.take_if(|i| i.hardware.is_off());
            match queue.reset {
                Reset::Failed(response) if resetting => (over, Some(response)),
                _ => (over, None),
            }
        });

        let (over, failed) = stepped.unwrap_or_default();
        if let Some(interrupt) = over {
            self.retire(interrupt);
        }
        if let Some(response) = failed {
            report::broken(&self.limit, apqn, response);
        }
    }

    /// Looks at all busy queues.
    fn step_all(&mut self) {
        let mut busy = self.set(Set::Busy).walk(&Queues::ALL);

        while let Some(apqn) = busy.next(self.set(Set::Busy)) {
            self.step(apqn, None);
        }
    }
}

/// How long to wait before looking at a queue again that is being reset: soon at first.
struct Pause(i64);

impl Pause {
    const FIRST_MS: i64 = 1;
    const LAST_MS: i64 = 16;

    fn new() -> Self {
        Self(Self::FIRST_MS)
    }

    fn sleep(&mut self) {
        fsleep(Delta::from_millis(self.0));
        self.0 = (self.0 * 2).min(Self::LAST_MS);
    }
}

impl State {
    /// Brings the guest of one mediated device up to date: sets its masks, once and only if they
    /// change, tells its user, and starts to reset what has left.
    pub(crate) fn commit(
        self: &Arc<Self>,
        guests: &Guests,
        id: MdevId,
        held: &mut Held<'_, GuestsLevel>,
    ) {
        let Some(guest) = guests.get(&id) else {
            let (mut tables, _) = self.tables.lock(held);
            if let Ok(mdev) = tables.refresh(id) {
                mdev.notify_guest_matrix();
            }
            return;
        };

        let (kvm, mut held) = guest.kvm().lock(held);
        let change = {
            let (mut tables, _) = self.tables.lock(&mut held);
            tables.replug(id)
        };
        if let Some((_, new)) = &change {
            kvm.set_masks(&new.apm, &new.aqm, &new.adm);
        }

        let (mut tables, _) = self.tables.lock(&mut held);
        if let Some((old, new)) = &change {
            tables.start_resets(&old.queues_beyond(new), false);
            tables.notify_queues(old, new);
        }
        if let Ok(mdev) = tables.mdev_mut(id) {
            mdev.notify_guest_matrix();
            if change.is_some() {
                if let Some(session) = &mut mdev.session {
                    session.signal(Event::ConfigChange);
                }
            }
        }
        self.look_after(&tables);
    }

    /// Brings all guests up to date that a change of queues or of the host may concern. While the
    /// AP bus scans, that is left to [`State::scan_complete`].
    pub(crate) fn commit_stale(
        self: &Arc<Self>,
        guests: &Guests,
        held: &mut Held<'_, GuestsLevel>,
    ) {
        let mut from = None;

        loop {
            let stale = {
                let (tables, _) = self.tables.lock(held);
                self.look_after(&tables);
                if tables.scanning {
                    return;
                }
                tables.first_stale(from)
            };
            let Some(id) = stale else {
                return;
            };
            self.commit(guests, id, held);
            from = Some(id);
        }
    }

    /// The user of a mediated device opens it, for the VM that VFIO holds.
    pub(crate) fn open(
        self: &Arc<Self>,
        user: Arc<VfioUser>,
        dev: &vfio::Opening<'_, VfioDevice>,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        let id = user.id;
        let kvm = dev.kvm().ok_or(EINVAL)?;
        let handler = GuestHandler::new(self.clone(), id, dev);
        // Before the guests are locked: another handler may be running, for as long as it likes.
        // Until there is a session, this one refuses everything.
        let hook = Hook::install(kvm, handler, held)?;
        let (mut guests, mut held) = self.guests.lock(held);

        guests.try_create_and_insert(id, hook, GFP_KERNEL)?;
        {
            let (mut tables, _) = self.tables.lock(&mut held);
            if let Ok(mdev) = tables.mdev_mut(id) {
                mdev.session = Some(Session::new(user, kvm.crycb_room()));
            }
            tables.retry_broken(id);
        }
        self.commit(&guests, id, &mut held);
        Ok(())
    }

    /// The user of a mediated device has closed it. Returns when all queues are reset, or known to
    /// be broken, and nothing of the user's memory is in use.
    pub(crate) fn close(self: &Arc<Self>, id: MdevId, held: &mut Held<'_, Nothing>) {
        let (plugged, guest, session) = {
            let (mut guests, mut held) = self.guests.lock(held);

            let guest = guests.remove(&id);
            if let Some(guest) = &guest {
                let (kvm, _) = guest.kvm().lock(&mut held);
                kvm.set_masks(&Mask::EMPTY, &Mask::EMPTY, &Mask::EMPTY);
            }

            let (mut tables, _) = self.tables.lock(&mut held);
            let session = tables.mdev_mut(id).ok().and_then(|mdev| {
                mdev.stale = true;
                mdev.session.take()
            });
            let plugged = session.as_ref().map_or(Matrix::default(), |s| s.plugged);
            tables.start_resets(&[plugged.queues()], false);
            tables.retry_broken(id);
            tables.notify_queues(&plugged, &Matrix::default());
            self.look_after(&tables);
            (plugged.queues(), guest, session)
        };
        // Both wait for what the guest and its user are doing, hence with no lock held.
        drop(guest);
        if let Some(session) = session {
            session.user.cancel_work();
        }

        self.wait_for_resets(&[plugged], held);
        self.turn_off(&Queues::ALL, Wanted::Session(id), held);
    }

    /// The mediated device is to be removed: takes the queues from the guest, and asks its user to
    /// close the device. Returns whether the user has said where to ask it.
    pub(crate) fn request(self: &Arc<Self>, id: MdevId, held: &mut Held<'_, Nothing>) -> bool {
        let (guests, mut held) = self.guests.lock(held);

        {
            let (mut tables, _) = self.tables.lock(&mut held);
            if let Some(session) = tables.mdev_mut(id).ok().and_then(|m| m.session.as_mut()) {
                session.requested = true;
            }
        }
        self.commit(&guests, id, &mut held);

        let (mut tables, _) = self.tables.lock(&mut held);
        tables
            .mdev_mut(id)
            .ok()
            .and_then(|mdev| mdev.session.as_mut())
            .is_some_and(|session| session.signal(Event::Request))
    }

    /// The user of a mediated device resets it: every queue of its guest is zeroized.
    ///
    /// Returns [`EIO`] if one did not come clean.
    pub(crate) fn reset(self: &Arc<Self>, id: MdevId, held: &mut Held<'_, Nothing>) -> Result {
        let plugged = {
            let (mut tables, _) = self.tables.lock(held);
            let session = tables.mdev_mut(id)?.session.as_ref();
            let plugged = session.map_or(Matrix::default(), |s| s.plugged).queues();
            // A reset in place that has ended meanwhile does not serve for this one.
            tables.step_all();
            tables.start_resets(&[plugged], true);
            tables.retry_broken(id);
            self.look_after(&tables);
            plugged
        };
        let clean = self.wait_for_resets(&[plugged], held);
        self.drop_retired(id, held);
        // A queue that broke has left the guest, and may be being reset once more by now.
        if clean {
            Ok(())
        } else {
            Err(EIO)
        }
    }

    /// Waits until none of these queues is being reset any more, but no longer than a reset and
    /// another one may take. No lock is held meanwhile. Guests get what has become clean.
    ///
    /// Returns whether there was a moment at which all of them were clean.
    pub(crate) fn wait_for_resets(
        self: &Arc<Self>,
        queues: &[Queues],
        held: &mut Held<'_, Nothing>,
    ) -> bool {
        let asked = Instant::<Monotonic>::now();
        let mut pause = Pause::new();
        let mut waiting = None;

        let clean = loop {
            let (awaited, passable) = {
                let (mut tables, _) = self.tables.lock(held);
                tables.step_all();
                (
                    tables.first_awaited(queues, asked),
                    tables.all_passable(queues),
                )
            };
            let Some(apqn) = awaited else {
                break passable;
            };
            waiting = Some(apqn);
            if asked.elapsed().as_nanos() > 2 * LIMIT.as_nanos() {
                break false;
            }
            pause.sleep();
        };
        if let Some(apqn) = waiting {
            let (tables, _) = self.tables.lock(held);
            report::waited(&tables.limit, apqn, asked.elapsed());
        }

        let (guests, mut held) = self.guests.lock(held);
        self.commit_stale(&guests, &mut held);
        clean
    }

    /// Gives back the interrupts toward a guest that are over. Returns whether no memory of its
    /// user is pinned any more that no interrupt of a queue shows.
    ///
    /// Waits for locks that VFIO holds for this user alone, as long as the user makes it: to be
    /// called only by the user, or by its work item.
    pub(crate) fn drop_retired(&self, id: MdevId, held: &mut Held<'_, Nothing>) -> bool {
        let mut given_back = 0;

        loop {
            let interrupt = {
                let (mut tables, _) = self.tables.lock(held);
                let Ok(mdev) = tables.mdev_mut(id) else {
                    return true;
                };
                mdev.loose -= given_back;
                match mdev.retired.pop() {
                    Some(interrupt) => interrupt,
                    None => return mdev.loose == 0,
                }
            };
            drop(interrupt);
            given_back = 1;
        }
    }

    /// Turns off interrupts of queues `among` these and takes them out of the tables, for what they
    /// use to be given back. What is not off after as long as a reset may take is taken out, too.
    ///
    /// Where the user of a mediated device takes its memory back, it must be the caller. All that
    /// is over toward its guest is given back then, and intercepted instructions that have pinned a
    /// page are waited for. That has no limit: nothing new can come, and what there is waits for
    /// locks and memory of the user's own, if at all.
    pub(crate) fn turn_off(&self, among: &Queues, wanted: Wanted, held: &mut Held<'_, Nothing>) {
        /// How often to look, with the pauses between: a reset takes no longer.
        const TRIES: u32 = 330;

        let mut pause = Pause::new();
        let mut left = TRIES;

        loop {
            let (complete, settled) = {
                let (mut tables, _) = self.tables.lock(held);
                if left < TRIES {
                    tables.step_all();
                }
                let complete = tables.take_interrupts(among, wanted, left == 0);
                let mdev = wanted.session().and_then(|id| tables.mdev(id).ok());
                (complete, mdev.is_none_or(|mdev| mdev.loose == 0))
            };
            // Both at one moment, for what was being pinned may have come to a queue.
            if complete && settled {
                return;
            }
            let settled = (wanted.session()).is_none_or(|id| self.drop_retired(id, held));
            if !complete || !settled {
                left = left.saturating_sub(1);
                pause.sleep();
            }
        }
    }

    /// Makes sure that busy queues are looked at again.
    pub(crate) fn look_after(self: &Arc<Self>, tables: &Tables) {
        const INTERVAL_MS: u32 = 20;

        if !tables.set(Set::Busy).is_empty() {
            // Queued already is as good.
            let _ = workqueue::system_long()
                .enqueue_delayed(self.clone(), msecs_to_jiffies(INTERVAL_MS));
        }
    }
}

impl Tables {
    /// Takes the interrupts that are wanted and off out of the tables; the `last` time, whatever is
    /// wanted. Returns whether there are none to come back for.
    fn take_interrupts(&mut self, among: &Queues, wanted: Wanted, last: bool) -> bool {
        let mut complete = true;
        let mut armed = self.set(Set::Armed).walk(among);

        while let Some(apqn) = armed.next(self.set(Set::Armed)) {
            let interrupt = self.with_queue(apqn, |queue| {
                let interrupt = queue.interrupt.as_mut().filter(|i| wanted.has(i))?;
                if interrupt.turn_off() || last {
                    queue.interrupt.take()
                } else {
                    complete = false;
                    None
                }
            });
            if let Some(interrupt) = interrupt.flatten() {
                self.retire(interrupt);
            }
        }
        complete
    }

    /// Has an interrupt given back that no queue has any more, by the user whose memory it is.
    pub(crate) fn retire(&mut self, interrupt: KBox<Interrupt>) {
        // The mediated device is there: closing it waits for its interrupts.
        if let Ok(mdev) = self.mdev_mut(interrupt.session) {
            mdev.loose += 1;
            mdev.retired.push(interrupt);
            if let Some(session) = &mdev.session {
                session.user.give_back_soon();
            }
        }
    }

    /// Notes that something of the memory of a mediated device's user is pinned that the tables do
    /// not show.
    pub(crate) fn loosen(&mut self, id: MdevId) {
        if let Ok(mdev) = self.mdev_mut(id) {
            mdev.loose += 1;
        }
    }

    /// Undoes [`Self::loosen`].
    pub(crate) fn settle(&mut self, id: MdevId) {
        if let Ok(mdev) = self.mdev_mut(id) {
            mdev.loose -= 1;
        }
    }
}

impl Tables {
    /// Tells those who poll queues that have come to a guest or have left it.
    fn notify_queues(&self, old: &Matrix, new: &Matrix) {
        if !self.set(Set::Watched).has_one_of(old.apm | new.apm) {
            return;
        }
        for (from, beyond) in [(old, new), (new, old)] {
            for queues in &from.queues_beyond(beyond) {
                let mut watched = self.set(Set::Watched).walk(queues);
                while let Some(apqn) = watched.next(self.set(Set::Watched)) {
                    if let Some(queue) = self.queues.get(apqn) {
                        queue.notify_status();
                    }
                }
            }
        }
    }

    /// Tells whether a guest can have all of these queues.
    fn all_passable(&self, queues: &[Queues]) -> bool {
        queues.iter().filter(|q| !q.is_empty()).all(|q| {
            q.apm
                .iter()
                .all(|apid| q.aqm.is_subset(&self.set(Set::Passable).row(apid)))
        })
    }

    /// Returns one of these queues that is being reset, as was asked for at `asked` or before.
    pub(crate) fn first_awaited(
        &self,
        queues: &[Queues],
        asked: Instant<Monotonic>,
    ) -> Option<Apqn> {
        for queues in queues {
            let mut busy = self.set(Set::Busy).walk(queues);
            while let Some(apqn) = busy.next(self.set(Set::Busy)) {
                if (self.queues.get(apqn)).is_some_and(|q| q.reset.is_awaited(asked)) {
                    return Some(apqn);
                }
            }
        }
        None
    }
}

impl OrderedWork for State {
    fn run(this: Arc<Self>, held: &mut Held<'_, Nothing>) {
        {
            let (mut tables, _) = this.tables.lock(held);
            tables.step_all();
        }

        let (guests, mut held) = this.guests.lock(held);
        this.commit_stale(&guests, &mut held);
    }
}

impl_ordered_work!(State);

/// Keeps the state's work item from outliving the module.
pub(crate) struct StateOwner(pub(crate) Arc<State>);

impl Drop for StateOwner {
    fn drop(&mut self) {
        workqueue::cancel_delayed_sync(&self.0);
    }
}
