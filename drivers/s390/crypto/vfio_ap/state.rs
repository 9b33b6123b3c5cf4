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
        Guests,
        Session, //
    },
    interrupt::{
        Chain,
        Interrupt,
        Wanted, //
    },
    matrix::{
        Axis,
        Matrix,
        Queues, //
    },
    mdev_table::{
        MdevId,
        MdevTable, //
    },
    report,
    reset::{
        Reset,
        Run, //
    },
    table::Table, //
};
use core::mem::replace;
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
    time::{
        Instant,
        Monotonic, //
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

/// A set of the bound queues of which something is so: nobody has to look for them.
#[derive(Clone, Copy)]
pub(crate) enum Set {
    /// A guest can have the queue.
    Passable,
    /// Its reset has failed.
    Broken,
    /// It has to be looked at until a reset or the end of its interrupt is through.
    Busy,
    /// It has an interrupt.
    Armed,
    /// Somebody has read its `status`, and may poll it.
    Watched,
}

impl Set {
    const NUMBER: usize = 5;

    /// Returns the set's bit in [`Queue::sets`].
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A queue that is bound to this driver.
pub(crate) struct Queue {
    /// The sets that it is in, a bit for each [`Set`].
    sets: u8,
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
    /// Computes the sets that the queue belongs to.
    fn sets(&self) -> u8 {
        let mut sets = match self.reset {
            Reset::Clean => 0,
            Reset::Running(_) => Set::Busy.bit(),
            Reset::Failed(_) => Set::Broken.bit(),
        };
        if self.reset.is_passable() && !self.unbinding {
            sets |= Set::Passable.bit();
        }
        if let Some(interrupt) = &self.interrupt {
            sets |= Set::Armed.bit();
            if interrupt.hardware.is_disarming() || interrupt.hardware.is_off() {
                sets |= Set::Busy.bit();
            }
        }
        if self.status_file.is_read() {
            sets |= Set::Watched.bit();
        }
        sets
    }

    /// Tells those who poll that how the queue is used has changed.
    pub(crate) fn notify_status(&self) {
        self.status_file.notify();
    }

    /// Notes who has the queue, and tells those who poll.
    fn set_owner(&mut self, owner: Option<MdevId>) {
        self.owner = owner;
        self.notify_status();
        self.owner_file.notify();
    }
}

/// An attribute of a mediated device that can be polled.
#[derive(Clone, Copy)]
pub(crate) enum File {
    Matrix,
    ApConfig,
    ControlDomains,
    GuestMatrix,
    GuestControlDomains,
    Filtered,
}

impl File {
    const NUMBER: usize = 6;

    /// Returns the name of the file.
    pub(crate) const fn name(self) -> &'static CStr {
        match self {
            Self::Matrix => c"matrix",
            Self::ApConfig => c"ap_config",
            Self::ControlDomains => c"control_domains",
            Self::GuestMatrix => c"guest_matrix",
            Self::GuestControlDomains => c"guest_control_domains",
            Self::Filtered => c"filtered",
        }
    }
}

/// A mediated device.
pub(crate) struct Mdev {
    /// The device, for messages and those who poll its attributes.
    pub(crate) dev: ARef<device::Device>,
    files: [AttributeFile; File::NUMBER],
    /// The limit for these.
    pub(crate) limit: Pin<KBox<RateLimit>>,
    /// What was assigned to it.
    pub(crate) assigned: Matrix,
    /// What belongs to its user, while it is open.
    pub(crate) session: Option<Session>,
    /// What a guest gets of that, or would get.
    pub(crate) effective: Matrix,
    /// Whether that has to be computed anew, see [`Tables::refresh`].
    pub(crate) stale: bool,
    /// Interrupts toward its guest that are over: only its user may have to wait until they are
    /// given back.
    pub(crate) retired: Chain,
    /// How many pages of its user's memory are pinned, or being unpinned, without an interrupt of
    /// a queue that shows it.
    pub(crate) loose: usize,
    /// How many threads of its user are just taking memory away from the guest.
    pub(crate) unmapping: usize,
    /// When the last of them had done so.
    pub(crate) unmapped: Option<Instant<Monotonic>>,
}

impl Mdev {
    /// Tells whether a guest has the queue through it.
    #[inline(never)]
    pub(crate) fn has_plugged(&self, apqn: Apqn) -> bool {
        self.session
            .as_ref()
            .is_some_and(|session| session.plugged.contains(apqn))
    }

    /// Notes that a file is being read; its reader may poll it then.
    fn read(&mut self, file: File) {
        self.files[file as usize].read(&self.dev, file.name());
    }

    /// Tells those who poll these files that they may have changed.
    fn notify(&self, files: &[File]) {
        for file in files {
            self.files[*file as usize].notify();
        }
    }

    /// Tells those who poll that what is assigned has changed.
    fn notify_assigned(&self) {
        self.notify(&[File::Matrix, File::ApConfig, File::ControlDomains]);
    }

    /// Tells those who poll that what the guest has, or would get, may have changed.
    pub(crate) fn notify_guest_matrix(&self) {
        self.notify(&[File::GuestMatrix, File::GuestControlDomains, File::Filtered]);
    }
}

/// A change of what is assigned to a mediated device.
pub(crate) enum Edit {
    /// An adapter, a domain or a control domain comes (`true`), or goes.
    One(Axis, u64, bool),
    /// All of it is replaced.
    All(Matrix),
}

impl Edit {
    /// Returns what `old` becomes.
    ///
    /// Returns [`ENODEV`] for a number that the machine cannot have.
    #[inline(never)]
    fn apply(&self, host: &ap::Config, old: &Matrix) -> Result<Matrix> {
        let mut new = *old;

        match *self {
            Self::One(axis, number, assign) => {
                let number = u8::try_from(number).map_err(|_| ENODEV)?;
                if number > axis.max(host) {
                    return Err(ENODEV);
                }
                if assign {
                    new.axis_mut(axis).insert(number);
                } else {
                    new.axis_mut(axis).remove(number);
                }
            }
            Self::All(all) => new = all,
        }
        Ok(new)
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
    mdevs: MdevTable<Mdev>,
    /// The queues that are assigned, bound or not: derived from `mdevs`.
    assigned: Grid,
    /// Each [`Set`]: derived from `queues`.
    sets: [Grid; Set::NUMBER],
    /// The limit for messages about queues as such.
    pub(crate) limit: Pin<KBox<RateLimit>>,
}

impl Tables {
    /// Returns one of the sets of bound queues.
    pub(crate) fn set(&self, set: Set) -> &Grid {
        &self.sets[set as usize]
    }

    #[inline(never)]
    pub(crate) fn mdev(&self, id: MdevId) -> Result<&Mdev> {
        self.mdevs.get(id).ok_or(ENODEV)
    }

    #[inline(never)]
    pub(crate) fn mdev_mut(&mut self, id: MdevId) -> Result<&mut Mdev> {
        self.mdevs.get_mut(id).ok_or(ENODEV)
    }

    /// Finds the mediated device that the queue is assigned to.
    fn find_owner(&self, apqn: Apqn) -> Option<MdevId> {
        if !self.assigned.contains(apqn) {
            return None;
        }
        self.mdevs
            .iter()
            .find_map(|(id, mdev)| mdev.assigned.contains(apqn).then_some(id))
    }

    /// Gives these queues to a mediated device, or to none.
    #[inline(never)]
    fn set_owner(&mut self, queues: &Queues, owner: Option<MdevId>) {
        for apid in queues.apm.iter() {
            self.assigned.set_row(apid, queues.aqm, owner.is_some());
        }
        let mut bound = self.queues.present().walk(queues);
        while let Some(apqn) = bound.next(self.queues.present()) {
            if let Some(queue) = self.queues.get_mut(apqn) {
                queue.set_owner(owner);
            }
        }
    }

    /// Changes a queue, and keeps the sets that it is in.
    pub(crate) fn with_queue<R>(
        &mut self,
        apqn: Apqn,
        f: impl FnOnce(&mut Queue) -> R,
    ) -> Option<R> {
        let queue = self.queues.get_mut(apqn)?;
        let ret = f(queue);
        let new = queue.sets();
        let old = replace(&mut queue.sets, new);

        if old != new {
            let owner = queue.owner;
            self.move_queue(apqn, owner, old, new);
        }
        Some(ret)
    }

    /// Takes a queue that is being unbound, as its owner knows, out of the table and of the sets.
    #[inline(never)]
    fn remove_queue(&mut self, apqn: Apqn) {
        if let Some(queue) = self.queues.remove(apqn) {
            self.change_sets(apqn, queue.sets, 0);
            report::unbound(&self.limit, apqn, &queue.reset);
        }
    }

    /// Tells whether nothing has to be waited for before a queue can go that no guest has.
    fn is_idle(&self, apqn: Apqn) -> bool {
        !self.set(Set::Busy).contains(apqn) && !self.set(Set::Armed).contains(apqn)
    }

    /// Moves a queue from the sets that it was in to those that it is in now.
    #[inline(never)]
    fn change_sets(&mut self, apqn: Apqn, old: u8, new: u8) {
        let mut changed = old ^ new;

        while changed != 0 {
            let n = changed.trailing_zeros();
            self.sets[n as usize].set(apqn, new >> n & 1 != 0);
            changed &= changed - 1;
        }
    }

    /// Does so, and notes whether the queue's owner has to be looked at again.
    #[inline(never)]
    fn move_queue(&mut self, apqn: Apqn, owner: Option<MdevId>, old: u8, new: u8) {
        self.change_sets(apqn, old, new);
        let visible = Set::Passable.bit() | Set::Broken.bit();
        let host = self.host.aqm;
        // What the host does not have is left out for that reason alone.
        if (old ^ new) & visible == 0 || !host.contains(apqn.apqi) {
            return;
        }
        let mut with_queue = self.set(Set::Passable).row(apqn.apid);
        with_queue.insert(apqn.apqi);
        if let Some(Ok(mdev)) = owner.map(|id| self.mdev_mut(id)) {
            // A guest gets an adapter as a whole: does it depend on this queue?
            if (old ^ new) & Set::Passable.bit() != 0
                && (mdev.assigned.aqm & host).is_subset(&with_queue)
            {
                mdev.stale = true;
            }
            mdev.notify(&[File::Filtered]);
        }
    }

    /// Returns the mediated device that a bound queue is assigned to.
    fn owner(&self, apqn: Apqn) -> Option<(MdevId, &Mdev)> {
        let id = self.queues.get(apqn)?.owner?;

        Some((id, self.mdev(id).ok()?))
    }

    /// Tells those who poll why the guest does not get a queue: it comes, or goes.
    fn notify_filtered(&self, apqn: Apqn) {
        if let Some((_, mdev)) = self.owner(apqn) {
            mdev.notify(&[File::Filtered]);
        }
    }

    /// Brings up to date what a guest of the mediated device gets, and returns the device.
    ///
    /// Whoever changes what that depends on sets `stale`: what is assigned, what the host has, and
    /// which queues are fit to be passed on.
    #[inline(never)]
    pub(crate) fn refresh(&mut self, id: MdevId) -> Result<&mut Mdev> {
        let mdev = self.mdevs.get_mut(id).ok_or(ENODEV)?;

        if replace(&mut mdev.stale, false) {
            let fit = &self.sets[Set::Passable as usize];
            mdev.effective = filter::effective(&mdev.assigned, &Matrix::from(&self.host), fit);
        }
        Ok(mdev)
    }

    /// Returns the first mediated device from `from` on that has to be brought up to date.
    pub(crate) fn first_stale(&self, from: Option<MdevId>) -> Option<MdevId> {
        self.mdevs
            .iter_from(from)
            .find_map(|(id, mdev)| mdev.stale.then_some(id))
    }

    /// Changes what the host has, which may concern all guests.
    fn set_host(&mut self, host: ap::Config) {
        if replace(&mut self.host, host) != host {
            for mdev in self.mdevs.iter_mut() {
                mdev.stale = true;
            }
        }
    }

    /// Refuses queues to the mediated device `taker`, or without one to the default drivers, that
    /// other mediated devices have.
    fn check_sharing(&self, taker: Option<(MdevId, &Mdev)>, queues: &Queues) -> Result {
        let mut ret = Ok(());

        if !self.assigned.meets(queues) {
            return ret;
        }
        for (id, owner) in self.mdevs.iter() {
            let shared = owner.assigned.within(queues).queues();
            if shared.is_empty() {
                continue;
            }
            match taker {
                Some((taker, _)) if taker == id => continue,
                Some((_, mdev)) => report::sharing(mdev, &shared, owner),
                None => report::in_use(owner, &shared),
            }
            ret = Err(EADDRINUSE);
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
        let mdev = self.mdev(id)?;
        let added = new.queues_beyond(&mdev.assigned);

        let mut ret = Ok(());
        for queues in &added {
            ret = ret.and(self.check_reserved(attr, mdev, queues));
        }
        ret?;
        for queues in &added {
            ret = ret.and(self.check_sharing(Some((id, mdev)), queues));
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

        for queues in &old.queues_beyond(&new) {
            self.set_owner(queues, None);
        }
        for queues in &new.queues_beyond(&old) {
            self.set_owner(queues, Some(id));
        }
        let mdev = self.mdev_mut(id)?;
        mdev.stale = true;
        mdev.notify_assigned();
        Ok(())
    }

    /// Gives the broken queues of a mediated device another chance.
    pub(crate) fn retry_broken(&mut self, id: MdevId) {
        if self.set(Set::Broken).is_empty() {
            return;
        }
        let Ok(mdev) = self.mdev(id) else {
            return;
        };
        let mut broken = self.set(Set::Broken).walk(&mdev.assigned.queues());
        while let Some(apqn) = broken.next(self.set(Set::Broken)) {
            self.start_reset(apqn);
        }
    }

    /// Refuses those of these queues that belong to the host's default drivers.
    ///
    /// The AP bus need not be asked about a queue that is bound to this driver and that the masks
    /// leave to it: no default driver can own that.
    fn check_reserved(&self, attr: &AttrGuard<'_>, mdev: &Mdev, queues: &Queues) -> Result {
        let mut ret = Ok(());

        for apid in queues.apm.iter() {
            let ours = self.set(Set::Passable).row(apid) - attr.reserved_by_masks(apid);
            let mut reserved = Mask::EMPTY;
            for apqi in (queues.aqm - ours).iter() {
                if attr.owned_by_default_driver(Apqn { apid, apqi }) {
                    reserved.insert(apqi);
                }
            }
            if !reserved.is_empty() {
                let apm = Mask::single(apid);
                report::reserved(mdev, &Queues { apm, aqm: reserved });
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
            mdevs: MdevTable::new(),
            assigned: Grid::new()?,
            sets: [
                Grid::new()?,
                Grid::new()?,
                Grid::new()?,
                Grid::new()?,
                Grid::new()?,
            ],
            limit: report::new_limit()?,
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
    pub(crate) fn bind_queue(self: &Arc<Self>, apqn: Apqn, held: &mut Held<'_, Nothing>) -> Result {
        let (guests, mut held) = self.guests.lock(held);

        {
            let (mut tables, _) = self.tables.lock(&mut held);
            let queue = Queue {
                sets: 0,
                status_file: AttributeFile::new(),
                owner_file: AttributeFile::new(),
                owner: tables.find_owner(apqn),
                reset: Reset::Running(Run::new(false)),
                unbinding: false,
                interrupt: None,
            };
            tables.queues.insert(apqn, queue)?;
            tables.notify_filtered(apqn);
            tables.step(apqn, None);
        }
        self.commit_stale(&guests, &mut held);
        Ok(())
    }

    /// A queue is about to be unbound from this driver. It leaves its guest and is reset.
    pub(crate) fn unbind_queue(self: &Arc<Self>, apqn: Apqn, held: &mut Held<'_, Nothing>) {
        {
            let (guests, mut held) = self.guests.lock(held);
            let (user, stale, gone) = {
                let (mut tables, _) = self.tables.lock(&mut held);
                let known = tables.with_queue(apqn, |queue| replace(&mut queue.unbinding, true));
                // What the host has lost has left its guest, and its reset was asked for then.
                let in_host = Matrix::from(&tables.host).contains(apqn);
                let owner = if in_host { tables.owner(apqn) } else { None };
                let (user, stale) = owner.map_or((None, false), |(id, mdev)| {
                    mdev.notify(&[File::Filtered]);
                    (mdev.has_plugged(apqn).then_some(id), mdev.stale)
                });
                // If this was known, `leave_queues()` has reset the queue.
                if in_host && user.is_none() && known == Some(false) {
                    tables.start_reset(apqn);
                }
                // Mostly, there is nothing to wait for.
                let gone = user.is_none() && tables.is_idle(apqn);
                if gone {
                    tables.remove_queue(apqn);
                }
                (user, stale, gone)
            };
            // The guest gives up the queue, which is reset then.
            if let Some(id) = user {
                self.commit(&guests, id, &mut held);
            } else if stale {
                self.commit_stale(&guests, &mut held);
            }
            if gone {
                return;
            }
        }

        let queue = Queues::one(apqn);
        self.wait_for_resets(&[queue], held);
        self.turn_off(&queue, Wanted::All, held);

        let (mut tables, _) = self.tables.lock(held);
        tables.remove_queue(apqn);
    }

    /// All queues are about to be unbound from this driver, and there is no mediated device any
    /// more. They are reset together, so that there is one wait and not one for each.
    pub(crate) fn leave_queues(self: &Arc<Self>, held: &mut Held<'_, Nothing>) {
        {
            let (mut tables, _) = self.tables.lock(held);
            let mut bound = tables.queues.present().walk(&Queues::ALL);
            while let Some(apqn) = bound.next(tables.queues.present()) {
                tables.with_queue(apqn, |queue| queue.unbinding = true);
            }
            tables.start_resets(&[Queues::ALL], false);
        }
        self.wait_for_resets(&[Queues::ALL], held);
    }

    /// Tells how a queue is used, for the attribute `name` of its device.
    pub(crate) fn status(
        &self,
        apqn: Apqn,
        dev: &device::Device,
        name: &CStr,
        held: &mut Held<'_, Nothing>,
    ) -> Status {
        let (mut tables, _) = self.tables.lock(held);
        let owner = tables.with_queue(apqn, |queue| {
            queue.status_file.read(dev, name);
            queue.owner
        });

        match owner.flatten().and_then(|id| tables.mdev(id).ok()) {
            None => Status::Unassigned,
            Some(mdev) if mdev.has_plugged(apqn) => Status::InUse,
            Some(_) => Status::Assigned,
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
        let mdev = Mdev {
            dev: dev.into(),
            files: Default::default(),
            limit: report::new_limit()?,
            assigned: Matrix::default(),
            effective: Matrix::default(),
            session: None,
            stale: false,
            retired: Chain::default(),
            loose: 0,
            unmapping: 0,
            unmapped: None,
        };

        tables.mdevs.insert(mdev)
    }

    /// A mediated device that nobody has open is being removed.
    pub(crate) fn remove_mdev(&self, id: MdevId, held: &mut Held<'_, Nothing>) {
        let (_guests, mut held) = self.guests.lock(held);
        let (mut tables, _) = self.tables.lock(&mut held);

        if let Some(mdev) = tables.mdevs.remove(id) {
            tables.set_owner(&mdev.assigned.queues(), None);
        }
    }

    /// Returns what is assigned to a mediated device, for a file of it.
    pub(crate) fn assigned(
        &self,
        id: MdevId,
        file: File,
        held: &mut Held<'_, Nothing>,
    ) -> Result<Matrix> {
        let (mut tables, _) = self.tables.lock(held);
        let mdev = tables.mdev_mut(id)?;

        mdev.read(file);
        Ok(mdev.assigned)
    }

    /// Returns what the guest of a mediated device has, for a file of it; without a guest, what it
    /// would get.
    pub(crate) fn guest_matrix(
        &self,
        id: MdevId,
        file: File,
        held: &mut Held<'_, Nothing>,
    ) -> Result<Matrix> {
        let (mut tables, _) = self.tables.lock(held);
        let mdev = tables.mdev_mut(id)?;

        mdev.read(file);
        Ok(match &mdev.session {
            Some(session) => session.plugged,
            None => mdev.effective,
        })
    }

    /// Returns the name of the mediated device that a queue is assigned to, for the attribute
    /// `name` of the queue's device.
    pub(crate) fn with_owner<R>(
        &self,
        apqn: Apqn,
        dev: &device::Device,
        name: &CStr,
        held: &mut Held<'_, Nothing>,
        f: impl FnOnce(Option<&device::Device>) -> R,
    ) -> R {
        let (mut tables, _) = self.tables.lock(held);
        let owner = tables.queues.get_mut(apqn).and_then(|queue| {
            queue.owner_file.read(dev, name);
            queue.owner
        });

        f(owner
            .and_then(|id| tables.mdev(id).ok())
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
        let (mut tables, _) = self.tables.lock(held);
        let mdev = tables.mdev_mut(id)?;
        mdev.read(File::Filtered);
        let assigned = mdev.assigned;
        let host = Matrix::from(&tables.host);

        filter::for_each_left_out(&assigned, &host, tables.set(Set::Passable), |left_out| {
            match left_out {
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
            }
        });
        Ok(())
    }

    /// Changes what is assigned to a mediated device; without `apply`, only finds out whether that
    /// is possible.
    ///
    /// Returns when the guest has what it now can have and what left it is reset.
    pub(crate) fn reassign(
        self: &Arc<Self>,
        id: MdevId,
        edit: &Edit,
        apply: bool,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        if apply {
            self.wait_for_added(id, edit, held)?;
        }

        let removed = {
            let (attr, mut held) = AttrGuard::lock(held);
            let (guests, mut held) = self.guests.lock(&mut held);
            let (old, new) = {
                let (mut tables, _) = self.tables.lock(&mut held);
                let old = tables.mdev_mut(id)?.assigned;
                let new = edit.apply(&tables.host, &old)?;
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
        if !removed.iter().all(Queues::is_empty) {
            self.wait_for_resets(&removed, held);
        }
        Ok(())
    }

    /// Waits for the queues that `edit` adds: having just been bound, they may be being reset.
    /// Without the wait, their adapters would leave the guest until that is over.
    fn wait_for_added(
        self: &Arc<Self>,
        id: MdevId,
        edit: &Edit,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        let added = {
            let (mut tables, _) = self.tables.lock(held);
            let old = tables.mdev_mut(id)?.assigned;
            let added = edit.apply(&tables.host, &old)?.queues_beyond(&old);
            if tables.first_awaited(&added, Instant::now()).is_none() {
                return Ok(());
            }
            added
        };
        // What will be refused need not be waited for.
        self.reassign(id, edit, false, held)?;
        self.wait_for_resets(&added, held);
        Ok(())
    }

    /// Refuses to give queues to the default drivers that are assigned to mediated devices.
    pub(crate) fn in_use(&self, queues: &Queues, held: &mut Held<'_, AttrMutex>) -> Result {
        let (tables, _) = self.tables.lock(held);

        tables.check_sharing(None, queues)
    }

    /// Asks the machine again for the host's configuration, which may have changed before the AP
    /// bus knew whom to tell. There is no mediated device yet.
    pub(crate) fn refresh_host(&self, held: &mut Held<'_, Nothing>) {
        let (_guests, mut held) = self.guests.lock(held);
        let (mut tables, _) = self.tables.lock(&mut held);

        if let Ok(host) = ap::Config::query() {
            tables.set_host(host);
        }
    }

    /// The host's configuration changed: what is gone leaves the guests at once, what came goes to
    /// them when the scan is complete.
    pub(crate) fn config_changed(self: &Arc<Self>, new: ap::Config, held: &mut Held<'_, Nothing>) {
        let (guests, mut held) = self.guests.lock(held);

        {
            let (mut tables, _) = self.tables.lock(&mut held);
            let old = tables.host;
            tables.set_host(ap::Config {
                apm: new.apm & old.apm,
                aqm: new.aqm & old.aqm,
                adm: new.adm & old.adm,
                ..new
            });
            tables.scanning = false;
        }
        self.commit_stale(&guests, &mut held);

        let (mut tables, _) = self.tables.lock(&mut held);
        tables.scanning = true;
    }

    /// The AP bus has offered all queues of the changed configuration.
    pub(crate) fn scan_complete(
        self: &Arc<Self>,
        new: ap::Config,
        old: ap::Config,
        held: &mut Held<'_, Nothing>,
    ) {
        // The queues that came are still being reset; see `wait_for_added()`. Others are not waited
        // for: the AP bus would stand still meanwhile.
        let came = Matrix::from(&new).queues_beyond(&Matrix::from(&old));
        if !came.iter().all(Queues::is_empty) {
            self.wait_for_resets(&came, held);
        }

        let (guests, mut held) = self.guests.lock(held);
        {
            let (mut tables, _) = self.tables.lock(&mut held);
            tables.set_host(new);
            tables.scanning = false;
        }
        self.commit_stale(&guests, &mut held);
    }
}
