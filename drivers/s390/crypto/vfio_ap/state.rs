// SPDX-License-Identifier: GPL-2.0

//! All that queues, mediated devices and guests share, the locks that own it, and what is assigned
//! to whom.
//!
//! Queues and mediated devices know each other by APQN and id only, and find each other in the
//! tables here. There is one place that links a queue to a mediated device or unlinks it
//! ([`Tables::set_owner`]), and one that brings a guest up to date ([`State::commit`] in
//! `guest.rs`): every operation changes the tables first and then commits once.
//!
//! Lock order: `ap_attr_mutex`, guests, `kvm->lock`, `pqap_hook_rwsem`, tables. The levels below
//! make any other order a type error. Neither a wait for hardware nor an access to user memory nor
//! the pinning or unpinning of a page happens under one of them, except that an intercepted
//! instruction runs with the `pqap_hook_rwsem` of its own VM held.

use crate::{
    debug::DebugLog,
    filter::{
        self,
        Grid,
        LeftOut, //
    },
    guest::{
        for_each_queue,
        Guests,
        Session,
        Take,
        TRIES, //
    },
    interrupt::Interrupt,
    matrix::{
        Axis,
        Matrix, //
    },
    report,
    reset::Reset,
    table::Table, //
};
use core::{
    mem::replace,
    num::NonZero, //
};
use kernel::{
    ap::{
        self,
        Apqn,
        AttrGuard,
        AttrMutex,
        Mask, //
    },
    device,
    impl_has_delayed_work,
    kvm::{
        HookLevel,
        KvmLevel, //
    },
    new_delayed_work,
    new_ordered_mutex,
    prelude::*,
    ratelimit::RateLimit,
    rbtree::RBTree,
    sync::{
        aref::ARef,
        order::{
            Held,
            Nothing,
            OrderedMutex, //
        },
        Arc, //
    },
    sysfs::{
        self,
        AttributeFile, //
    },
    workqueue::DelayedWork, //
};

kernel::lock_level! {
    /// The lock of the guests: which mediated device is open for which VM. Held by whoever changes
    /// what is assigned, bound or open, from the change to its arrival in the guest.
    pub(crate) struct GuestsLevel: after(Nothing, AttrMutex), before(KvmLevel, HookLevel);

    /// The lock of the tables. Innermost, and held for short times only.
    pub(crate) struct TablesLevel: after(Nothing, AttrMutex, GuestsLevel, KvmLevel, HookLevel);
}

/// The name of a mediated device in the tables; never used again once the device is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MdevId(NonZero<u64>);

/// A queue that is bound to this driver.
pub(crate) struct Queue {
    /// The device, for those who poll its attributes.
    dev: ARef<device::Device>,
    status_file: AttributeFile,
    owner_file: AttributeFile,
    /// The mediated device that it is assigned to.
    pub(crate) owner: Option<MdevId>,
    pub(crate) reset: Reset,
    /// Set while the queue is being unbound: no guest gets it any more.
    pub(crate) unbinding: bool,
    /// Interrupts toward a guest; stays until hardware is known not to write any more.
    pub(crate) interrupt: Option<KBox<Interrupt>>,
}

impl Queue {
    /// Tells whether a guest can have the queue.
    fn is_passable(&self) -> bool {
        !self.unbinding && self.reset.is_passable()
    }

    /// Tells those who poll that how the queue is used has changed.
    pub(crate) fn notify_status(&mut self) {
        self.status_file.notify(&self.dev, c"status");
    }

    /// Notes who has the queue, and tells those who poll.
    fn set_owner(&mut self, owner: Option<MdevId>) {
        self.owner = owner;
        self.notify_status();
        self.owner_file.notify(&self.dev, c"owner");
    }
}

/// The attributes of a mediated device that can be polled.
#[derive(Default)]
struct Files {
    matrix: AttributeFile,
    ap_config: AttributeFile,
    control_domains: AttributeFile,
    guest_matrix: AttributeFile,
    guest_control_domains: AttributeFile,
    filtered: AttributeFile,
}

/// A mediated device.
pub(crate) struct Mdev {
    /// The device, for messages and those who poll its attributes.
    pub(crate) dev: ARef<device::Device>,
    files: Files,
    /// The limit for these.
    pub(crate) limit: Pin<KBox<RateLimit>>,
    /// What was assigned to it.
    pub(crate) assigned: Matrix,
    /// What belongs to its user, while it is open.
    pub(crate) session: Option<Session>,
    /// Whether a queue has become clean, or has broken, since the last commit.
    pub(crate) stale: bool,
    /// How many pages of its user's memory are pinned, or being unpinned, without an interrupt in
    /// the tables that shows it.
    pub(crate) loose: usize,
}

impl Mdev {
    /// Tells those who poll that what is assigned has changed.
    fn notify_assigned(&mut self) {
        let files = &mut self.files;

        files.matrix.notify(&self.dev, c"matrix");
        files.ap_config.notify(&self.dev, c"ap_config");
        files.control_domains.notify(&self.dev, c"control_domains");
    }

    /// Tells those who poll that what the guest has, or would get, may have changed.
    pub(crate) fn notify_guest_matrix(&mut self) {
        let files = &mut self.files;

        files.guest_matrix.notify(&self.dev, c"guest_matrix");
        files
            .guest_control_domains
            .notify(&self.dev, c"guest_control_domains");
        files.filtered.notify(&self.dev, c"filtered");
    }
}

/// How a queue is used, as its `status` says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Unassigned,
    Assigned,
    InUse,
}

/// The tables of queues and mediated devices.
pub(crate) struct Tables {
    pub(crate) host: ap::Config,
    /// Whether the AP bus is between [`State::config_changed`] and [`State::scan_complete`].
    pub(crate) scanning: bool,
    pub(crate) queues: Table<Queue>,
    pub(crate) mdevs: RBTree<MdevId, Mdev>,
    /// The queues that a guest can have: derived from `queues`.
    grid: Grid,
    /// The queues whose reset has failed: derived from `queues`.
    broken: Grid,
    /// The queues that have to be looked at until a reset or the end of their interrupts is
    /// through.
    pub(crate) busy: Grid,
    /// The queues that have an interrupt: derived from `queues`.
    pub(crate) armed: Grid,
    /// The limit for messages about queues as such.
    pub(crate) limit: Pin<KBox<RateLimit>>,
    last_id: Option<MdevId>,
}

impl Tables {
    pub(crate) fn mdev_mut(&mut self, id: MdevId) -> Result<&mut Mdev> {
        self.mdevs.get_mut(&id).ok_or(ENODEV)
    }

    /// Finds the mediated device that the queue is assigned to.
    fn find_owner(&self, apqn: Apqn) -> Option<MdevId> {
        self.mdevs
            .iter()
            .find_map(|(id, mdev)| mdev.assigned.contains(apqn).then_some(*id))
    }

    /// Gives the queues of `apm` x `aqm` that are bound to a mediated device, or to none.
    fn set_owner(&mut self, apm: Mask, aqm: Mask, owner: Option<MdevId>) {
        for apid in apm.iter() {
            for apqi in aqm.iter() {
                if let Some(queue) = self.queues.get_mut(Apqn { apid, apqi }) {
                    queue.set_owner(owner);
                }
            }
        }
    }

    /// Changes a queue and keeps what is derived from it: the grids, and whether its owner has to
    /// be looked at again.
    pub(crate) fn with_queue<R>(
        &mut self,
        apqn: Apqn,
        f: impl FnOnce(&mut Queue) -> R,
    ) -> Option<R> {
        let queue = self.queues.get_mut(apqn)?;
        let ret = f(queue);
        let (owner, passable) = (queue.owner, queue.is_passable());
        let broken = matches!(queue.reset, Reset::Failed(_));

        if self.broken.contains(apqn) != broken {
            self.broken.set(apqn, broken);
        }
        if self.grid.contains(apqn) != passable {
            self.grid.set(apqn, passable);
            if let Some(mdev) = owner.and_then(|id| self.mdevs.get_mut(&id)) {
                mdev.stale = true;
            }
        }
        Some(ret)
    }

    /// Finds the mediated device whose guest has the queue.
    fn user(&self, apqn: Apqn) -> Option<MdevId> {
        let id = self.queues.get(apqn)?.owner?;
        let session = self.mdevs.get(&id)?.session.as_ref()?;

        session.plugged.contains(apqn).then_some(id)
    }

    /// Computes what a guest of the mediated device gets.
    pub(crate) fn effective(&self, assigned: &Matrix) -> Matrix {
        filter::effective(assigned, &Matrix::from(&self.host), &self.grid)
    }

    /// Returns what the guest of a mediated device has; without a guest, what it would get.
    fn guest_matrix(&self, mdev: &Mdev) -> Matrix {
        match &mdev.session {
            Some(session) => session.plugged,
            None => self.effective(&mdev.assigned),
        }
    }

    /// Refuses queues that mediated devices other than `id` have, calling `conflict` with each such
    /// device and the queues.
    fn check_sharing(
        &self,
        id: Option<MdevId>,
        apm: Mask,
        aqm: Mask,
        conflict: impl Fn(&Mdev, Mask, Mask),
    ) -> Result {
        let mut ret = Ok(());

        for (other, mdev) in self.mdevs.iter() {
            let (apm, aqm) = (mdev.assigned.apm & apm, mdev.assigned.aqm & aqm);
            if Some(*other) != id && !apm.is_empty() && !aqm.is_empty() {
                conflict(mdev, apm, aqm);
                ret = Err(EADDRINUSE);
            }
        }
        ret
    }

    /// Checks whether what is assigned to a mediated device can become `new`: nobody else may have
    /// what that adds.
    ///
    /// The default drivers' queues are looked at first ([`EADDRNOTAVAIL`]), then those of other
    /// mediated devices ([`EADDRINUSE`]), at last whether the machine can have such numbers
    /// ([`ENODEV`]).
    fn check_assign(&self, attr: &AttrGuard<'_>, id: MdevId, new: &Matrix) -> Result {
        let mdev = self.mdevs.get(&id).ok_or(ENODEV)?;
        let added = new.queues_beyond(&mdev.assigned);

        let mut ret = Ok(());
        for (apm, aqm) in added {
            ret = ret.and(self.check_reserved(attr, mdev, apm, aqm));
        }
        ret?;
        for (apm, aqm) in added {
            ret = ret.and(self.check_sharing(Some(id), apm, aqm, |owner, apm, aqm| {
                report::sharing(mdev, apm, aqm, owner);
            }));
        }
        ret?;
        if !new.is_possible(&self.host) {
            return Err(ENODEV);
        }
        Ok(())
    }

    /// Changes what is assigned to a mediated device to `new`, which was checked.
    fn assign(&mut self, id: MdevId, new: Matrix) -> Result {
        let old = replace(&mut self.mdev_mut(id)?.assigned, new);

        for (apm, aqm) in old.queues_beyond(&new) {
            self.set_owner(apm, aqm, None);
        }
        for (apm, aqm) in new.queues_beyond(&old) {
            self.set_owner(apm, aqm, Some(id));
        }
        let mdev = self.mdev_mut(id)?;
        mdev.notify_assigned();
        Ok(())
    }

    /// Gives the broken queues of a mediated device another chance.
    pub(crate) fn retry_broken(&mut self, id: MdevId) {
        let Some(assigned) = self.mdevs.get(&id).map(|mdev| mdev.assigned) else {
            return;
        };
        for apid in (assigned.apm & self.broken.adapters()).iter() {
            for apqi in (assigned.aqm & self.broken.row(apid)).iter() {
                self.start_reset(Apqn { apid, apqi }, false);
            }
        }
    }

    /// Refuses queues of `apm` x `aqm` that belong to the host's default drivers.
    ///
    /// The AP bus need not be asked about a queue that is bound to this driver and that the masks
    /// leave to it: no default driver can own that.
    fn check_reserved(&self, attr: &AttrGuard<'_>, mdev: &Mdev, apm: Mask, aqm: Mask) -> Result {
        let mut ret = Ok(());

        for apid in apm.iter() {
            let ours = self.grid.row(apid) - attr.reserved_by_masks(apid);
            let mut reserved = Mask::EMPTY;
            for apqi in (aqm - ours).iter() {
                if attr.owned_by_default_driver(Apqn { apid, apqi }) {
                    reserved.insert(apqi);
                }
            }
            if !reserved.is_empty() {
                report::reserved(mdev, Mask::single(apid), reserved);
                ret = Err(EADDRNOTAVAIL);
            }
        }
        ret
    }
}

/// The state of the module.
#[pin_data]
pub(crate) struct State {
    #[pin]
    pub(crate) guests: OrderedMutex<Guests, GuestsLevel>,
    #[pin]
    pub(crate) tables: OrderedMutex<Tables, TablesLevel>,
    /// Looks after the busy queues when nobody waits for them.
    #[pin]
    pub(crate) work: DelayedWork<State>,
    pub(crate) debug: DebugLog,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for State { self.work }
}

impl State {
    /// Makes the state of a module that has neither queues nor mediated devices yet.
    ///
    /// Fails with [`ENODEV`] where the machine has no AP instructions, and with [`EOPNOTSUPP`]
    /// where it cannot say what its AP configuration is: nothing could ever be passed to a guest.
    pub(crate) fn new() -> Result<Arc<Self>> {
        if !ap::instructions_available() {
            return Err(ENODEV);
        }
        let debug = DebugLog::new()?;
        let host = ap::Config::query().inspect_err(|_| {
            pr_err!("the machine does not support PQAP(QCI), no queue can be passed to a guest\n");
        })?;

        let tables = Tables {
            host,
            scanning: false,
            queues: Table::new()?,
            mdevs: RBTree::new(),
            grid: Grid::new()?,
            broken: Grid::new()?,
            busy: Grid::new()?,
            armed: Grid::new()?,
            limit: report::new_limit()?,
            last_id: None,
        };
        Arc::pin_init(
            pin_init!(Self {
                guests <- new_ordered_mutex!(Guests::new(), "vfio_ap::guests"),
                tables <- new_ordered_mutex!(tables, "vfio_ap::tables"),
                work <- new_delayed_work!("vfio_ap::work"),
                debug,
            }),
            GFP_KERNEL,
        )
    }

    /// A queue was bound to this driver. It is reset before any guest gets it.
    pub(crate) fn bind_queue(
        self: &Arc<Self>,
        apqn: Apqn,
        dev: &device::Device,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        let (guests, mut held) = self.guests.lock(held);

        {
            let (mut tables, _) = self.tables.lock(&mut held);
            let queue = Queue {
                dev: dev.into(),
                status_file: AttributeFile::new(),
                owner_file: AttributeFile::new(),
                owner: tables.find_owner(apqn),
                reset: Reset::Dirty,
                unbinding: false,
                interrupt: None,
            };
            tables.queues.insert(apqn, queue)?;
            tables.start_reset(apqn, false);
        }
        self.commit_stale(&guests, &mut held);
        Ok(())
    }

    /// A queue is about to be unbound from this driver. It leaves its guest and is reset.
    pub(crate) fn unbind_queue(self: &Arc<Self>, apqn: Apqn, held: &mut Held<'_, Nothing>) {
        {
            let (guests, mut held) = self.guests.lock(held);
            let (known, user) = {
                let (mut tables, _) = self.tables.lock(&mut held);
                let known = tables.with_queue(apqn, |queue| replace(&mut queue.unbinding, true));
                (known, tables.user(apqn))
            };
            match (known, user) {
                // The guest gives up the queue, which is reset then.
                (_, Some(id)) => self.commit(&guests, id, &mut held),
                // See `leave_queues()`.
                (Some(true), None) => {}
                (_, None) => {
                    let (mut tables, _) = self.tables.lock(&mut held);
                    tables.start_reset(apqn, false);
                }
            }
        }
        self.wait_for_resets(Mask::single(apqn.apid), Mask::single(apqn.apqi), held);
        self.give_back(None, TRIES, held, |of, _, interrupt, last| {
            if of != apqn {
                Take::No
            } else if last {
                Take::Yes
            } else {
                interrupt.turn_off()
            }
        });

        let (mut tables, _) = self.tables.lock(held);
        tables.busy.set(apqn, false);
        tables.armed.set(apqn, false);
        tables.broken.set(apqn, false);
        if let Some(queue) = tables.queues.remove(apqn) {
            report::unbound(&tables.limit, apqn, &queue.reset);
        }
    }

    /// All queues are about to be unbound from this driver, and there is no mediated device any
    /// more. They are reset together, so that there is one wait and not one for each.
    pub(crate) fn leave_queues(self: &Arc<Self>, held: &mut Held<'_, Nothing>) {
        {
            let (mut tables, _) = self.tables.lock(held);
            let all = Matrix::from(&tables.host);
            for_each_queue(all.apm, all.aqm, |apqn| {
                if tables
                    .with_queue(apqn, |queue| queue.unbinding = true)
                    .is_some()
                {
                    tables.start_reset(apqn, false);
                }
            });
        }
        self.wait_for_resets(Mask::ALL, Mask::ALL, held);
    }

    /// Tells how a queue is used.
    pub(crate) fn status(&self, apqn: Apqn, held: &mut Held<'_, Nothing>) -> Status {
        let (tables, _) = self.tables.lock(held);
        match tables.queues.get(apqn) {
            Some(Queue { owner: Some(_), .. }) if tables.user(apqn).is_some() => Status::InUse,
            Some(Queue { owner: Some(_), .. }) => Status::Assigned,
            _ => Status::Unassigned,
        }
    }

    /// A mediated device was created.
    pub(crate) fn add_mdev(
        &self,
        dev: &device::Device,
        held: &mut Held<'_, Nothing>,
    ) -> Result<MdevId> {
        let (_guests, mut held) = self.guests.lock(held);
        let (mut tables, _) = self.tables.lock(&mut held);
        let last = tables.last_id.map_or(0, |id| id.0.get());
        let id = MdevId(NonZero::new(last + 1).ok_or(EOVERFLOW)?);
        let mdev = Mdev {
            dev: dev.into(),
            files: Files::default(),
            limit: report::new_limit()?,
            assigned: Matrix::default(),
            session: None,
            stale: false,
            loose: 0,
        };

        tables.mdevs.try_create_and_insert(id, mdev, GFP_KERNEL)?;
        tables.last_id = Some(id);
        Ok(id)
    }

    /// A mediated device that nobody has open is being removed.
    pub(crate) fn remove_mdev(&self, id: MdevId, held: &mut Held<'_, Nothing>) {
        let (_guests, mut held) = self.guests.lock(held);
        let (mut tables, _) = self.tables.lock(&mut held);

        if let Some(mdev) = tables.mdevs.remove(&id) {
            tables.set_owner(mdev.assigned.apm, mdev.assigned.aqm, None);
        }
    }

    /// Returns what is assigned to a mediated device.
    pub(crate) fn assigned(&self, id: MdevId, held: &mut Held<'_, Nothing>) -> Result<Matrix> {
        let (mut tables, _) = self.tables.lock(held);

        tables.mdev_mut(id).map(|mdev| mdev.assigned)
    }

    /// Returns what the guest of a mediated device has; without a guest, what it would get.
    pub(crate) fn guest_matrix(&self, id: MdevId, held: &mut Held<'_, Nothing>) -> Result<Matrix> {
        let (tables, _) = self.tables.lock(held);

        tables
            .mdevs
            .get(&id)
            .map(|mdev| tables.guest_matrix(mdev))
            .ok_or(ENODEV)
    }

    /// Returns the name of the mediated device that a queue is assigned to.
    pub(crate) fn with_owner<R>(
        &self,
        apqn: Apqn,
        held: &mut Held<'_, Nothing>,
        f: impl FnOnce(Option<&device::Device>) -> R,
    ) -> R {
        let (tables, _) = self.tables.lock(held);
        let owner = tables.queues.get(apqn).and_then(|queue| queue.owner);

        f(owner
            .and_then(|id| tables.mdevs.get(&id))
            .map(|mdev| &*mdev.dev))
    }

    /// Writes a line for each adapter and domain that is assigned to a mediated device but that its
    /// guest does not get, with the reason.
    pub(crate) fn explain(
        &self,
        id: MdevId,
        held: &mut Held<'_, Nothing>,
        out: &mut sysfs::Piece<'_>,
    ) -> Result {
        let (tables, _) = self.tables.lock(held);
        let assigned = tables.mdevs.get(&id).ok_or(ENODEV)?.assigned;
        let host = Matrix::from(&tables.host);

        filter::for_each_left_out(&assigned, &host, &tables.grid, |left_out| match left_out {
            LeftOut::Adapter(apid) => {
                out.write_fmt(fmt!("{apid:02x}. not in host configuration\n"));
            }
            LeftOut::Domain(apqi) => {
                out.write_fmt(fmt!(".{apqi:04x} not in host configuration\n"));
            }
            LeftOut::Queue(apqn) => {
                let reason = match tables.queues.get(apqn) {
                    None
                    | Some(Queue {
                        unbinding: true, ..
                    }) => "not bound",
                    Some(Queue {
                        reset: Reset::Failed(_),
                        ..
                    }) => "reset failed",
                    Some(_) => "being reset",
                };
                out.write_fmt(fmt!("{apqn} {reason}\n"));
            }
        });
        Ok(())
    }

    /// Assigns an adapter, a domain or a control domain to a mediated device, or takes it away.
    ///
    /// Returns when the guest has what it now can have and what left it is reset.
    pub(crate) fn change(
        self: &Arc<Self>,
        id: MdevId,
        axis: Axis,
        number: u64,
        assign: bool,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        self.reassign(id, held, true, |host, old| {
            let number = u8::try_from(number).map_err(|_| ENODEV)?;
            if number > axis.max(host) {
                return Err(ENODEV);
            }
            let mut new = *old;
            if assign {
                new.axis_mut(axis).insert(number);
            } else {
                new.axis_mut(axis).remove(number);
            }
            Ok(new)
        })
    }

    /// Replaces all that is assigned to a mediated device; without `apply`, only finds out whether
    /// that is possible.
    pub(crate) fn replace(
        self: &Arc<Self>,
        id: MdevId,
        new: Matrix,
        apply: bool,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        self.reassign(id, held, apply, |_, _| Ok(new))
    }

    fn reassign(
        self: &Arc<Self>,
        id: MdevId,
        held: &mut Held<'_, Nothing>,
        apply: bool,
        edit: impl Fn(&ap::Config, &Matrix) -> Result<Matrix>,
    ) -> Result {
        if apply {
            self.wait_for_added(id, held, &edit)?;
        }

        let removed = {
            let (attr, mut held) = AttrGuard::lock(held);
            let (guests, mut held) = self.guests.lock(&mut held);
            let (old, new) = {
                let (mut tables, _) = self.tables.lock(&mut held);
                let old = tables.mdev_mut(id)?.assigned;
                let new = edit(&tables.host, &old)?;
                if new == old {
                    return Ok(());
                }
                tables.check_assign(&attr, id, &new)?;
                if !apply {
                    return Ok(());
                }
                tables.assign(id, new)?;
                tables.retry_broken(id);
                (old, new)
            };
            self.commit(&guests, id, &mut held);
            old.queues_beyond(&new)
        };
        for (apm, aqm) in removed {
            self.wait_for_resets(apm, aqm, held);
        }
        Ok(())
    }

    /// Waits for the queues that `edit` adds: having just been bound, they may be being reset.
    /// Without the wait, their adapters would leave the guest until that is over.
    fn wait_for_added(
        self: &Arc<Self>,
        id: MdevId,
        held: &mut Held<'_, Nothing>,
        edit: impl Fn(&ap::Config, &Matrix) -> Result<Matrix>,
    ) -> Result {
        let added = {
            let (mut tables, _) = self.tables.lock(held);
            let old = tables.mdev_mut(id)?.assigned;
            edit(&tables.host, &old)?.queues_beyond(&old)
        };
        for (apm, aqm) in added {
            self.wait_for_resets(apm, aqm, held);
        }
        Ok(())
    }

    /// Refuses to give queues to the default drivers that are assigned to mediated devices.
    pub(crate) fn in_use(&self, apm: Mask, aqm: Mask, held: &mut Held<'_, AttrMutex>) -> Result {
        let (tables, _) = self.tables.lock(held);

        tables.check_sharing(None, apm, aqm, |owner, apm, aqm| {
            report::in_use(owner, apm, aqm);
        })
    }

    /// Asks the machine again for the host's configuration, which may have changed before the AP
    /// bus knew whom to tell. There is no mediated device yet.
    pub(crate) fn refresh_host(&self, held: &mut Held<'_, Nothing>) {
        let (_guests, mut held) = self.guests.lock(held);
        let (mut tables, _) = self.tables.lock(&mut held);

        if let Ok(host) = ap::Config::query() {
            tables.host = host;
        }
    }

    /// The host's configuration changed: what is gone leaves the guests at once, what came goes to
    /// them when the scan is complete.
    pub(crate) fn config_changed(self: &Arc<Self>, new: ap::Config, held: &mut Held<'_, Nothing>) {
        let (guests, mut held) = self.guests.lock(held);

        {
            let (mut tables, _) = self.tables.lock(&mut held);
            let old = tables.host;
            tables.host = ap::Config {
                apm: new.apm & old.apm,
                aqm: new.aqm & old.aqm,
                adm: new.adm & old.adm,
                ..new
            };
            tables.scanning = false;
            tables.set_all_stale();
        }
        self.commit_stale(&guests, &mut held);

        let (mut tables, _) = self.tables.lock(&mut held);
        tables.scanning = true;
    }

    /// The AP bus has offered all queues of the changed configuration.
    pub(crate) fn scan_complete(self: &Arc<Self>, new: ap::Config, held: &mut Held<'_, Nothing>) {
        // The queues that came are still being reset; see `reassign()`.
        self.wait_for_resets(new.apm, new.aqm, held);

        let (guests, mut held) = self.guests.lock(held);
        {
            let (mut tables, _) = self.tables.lock(&mut held);
            tables.host = new;
            tables.scanning = false;
            tables.set_all_stale();
        }
        self.commit_stale(&guests, &mut held);
    }
}

impl Tables {
    fn set_all_stale(&mut self) {
        for (_, mdev) in self.mdevs.iter_mut() {
            mdev.stale = true;
        }
    }
}
