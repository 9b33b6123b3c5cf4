// SPDX-License-Identifier: GPL-2.0

//! Mediated devices: create, remove, and what VFIO asks of them.

use crate::{
    attributes::Attributes,
    mdev_table::MdevId,
    state::State, //
};
use kernel::{
    device,
    impl_has_delayed_work,
    impl_ordered_work,
    mdev,
    new_delayed_work,
    prelude::*,
    sync::{
        order::{
            Held,
            Nothing,
            OrderedWork, //
        },
        Arc,
        ArcBorrow, //
    },
    vfio,
    workqueue::{
        self,
        DelayedWork, //
    }, //
};

/// A mediated device, as its attributes and VFIO know it.
pub(crate) struct MediatedDevice {
    pub(crate) state: Arc<State>,
    pub(crate) id: MdevId,
    vfio: vfio::Registration<VfioDevice>,
}

impl mdev::Driver for MediatedDevice {
    const NAME: &'static CStr = c"vfio_ap_mdev";
    const DEVICE_API: &'static CStr = c"vfio-ap";
    const TYPE_NAME: &'static CStr = c"passthrough";
    const TYPE_TITLE: &'static CStr = c"VFIO AP Passthrough Device";
    const MAX_INSTANCES: u32 = MdevId::PLACES;
    type Shared = State;
    type Data = Self;
    type Attributes = Attributes;

    fn probe(
        mdev: &mdev::Device<device::Core<'_>>,
        state: ArcBorrow<'_, State>,
        held: &mut Held<'_, Nothing>,
    ) -> Result<Self> {
        let state: Arc<State> = state.into();
        let id = state.add_mdev(mdev.as_ref(), held)?;

        VfioUser::new(state.clone(), id)
            .and_then(|user| vfio::Registration::new_emulated(mdev.as_ref(), user))
            .inspect_err(|_| state.remove_mdev(id, held))
            .map(|vfio| Self { state, id, vfio })
    }

    fn unbind(_mdev: &mdev::Device<device::Core<'_>>, this: Self, held: &mut Held<'_, Nothing>) {
        let Self { state, id, vfio } = this;

        // First of all the users have to go; this waits for them.
        drop(vfio);
        state.remove_mdev(id, held);
    }
}

/// A mediated device, as VFIO and the users of the device know it.
#[pin_data]
pub(crate) struct VfioUser {
    state: Arc<State>,
    pub(crate) id: MdevId,
    /// Gives back what the device's user can have back. That waits for the user's own locks of
    /// VFIO, which nobody else may have to.
    #[pin]
    work: DelayedWork<VfioUser>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for VfioUser { self.work }
}

impl VfioUser {
    fn new(state: Arc<State>, id: MdevId) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                state,
                id,
                work <- new_delayed_work!("vfio_ap::user"),
            }),
            GFP_KERNEL,
        )
    }

    /// Has the work done; the caller does not wait for it.
    pub(crate) fn give_back_soon(self: &Arc<Self>) {
        // Queued already is as good.
        let _ = workqueue::system_long().enqueue_delayed(self.clone(), 0);
    }

    /// Waits until the work is not done any more. Nobody may ask for it again at the same time.
    pub(crate) fn cancel_work(self: &Arc<Self>) {
        workqueue::cancel_delayed_sync(self);
    }
}

impl OrderedWork for VfioUser {
    fn run(this: Arc<Self>, held: &mut Held<'_, Nothing>) {
        this.state.drop_retired(this.id, held);
    }
}

impl_ordered_work!(VfioUser);

/// What VFIO calls.
pub(crate) struct VfioDevice;

impl vfio::Operations for VfioDevice {
    const NAME: &'static CStr = c"vfio_ap";
    type Data = VfioUser;

    fn open(
        dev: &vfio::Opening<'_, Self>,
        user: ArcBorrow<'_, VfioUser>,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        user.state.open(user.into(), dev, held)
    }

    fn close(
        _dev: &vfio::Device<Self>,
        user: ArcBorrow<'_, VfioUser>,
        held: &mut Held<'_, Nothing>,
    ) {
        user.state.close(user.id, held);
    }

    fn ioctl(
        _dev: &vfio::Device<Self>,
        user: ArcBorrow<'_, VfioUser>,
        cmd: u32,
        arg: usize,
        held: &mut Held<'_, Nothing>,
    ) -> Result<c_long> {
        user.state.ioctl(user.id, cmd, arg, held).map(|()| 0)
    }

    fn request(
        dev: &vfio::Device<Self>,
        user: ArcBorrow<'_, VfioUser>,
        count: u32,
        held: &mut Held<'_, Nothing>,
    ) {
        let asked = user.state.request(user.id, held);

        if asked && count % 10 == 0 {
            dev_notice!(
                dev.device(),
                "Relaying device request to user (#{})\n",
                count
            );
        } else if !asked && count == 0 {
            dev_notice!(
                dev.device(),
                "No device request registered, blocked until released by user\n"
            );
        }
    }

    fn dma_unmap(
        _dev: &vfio::Device<Self>,
        user: ArcBorrow<'_, VfioUser>,
        iova: u64,
        length: u64,
        held: &mut Held<'_, Nothing>,
    ) {
        user.state.dma_unmap(user.id, iova, length, held);
    }
}
