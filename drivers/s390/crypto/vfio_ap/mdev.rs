// SPDX-License-Identifier: GPL-2.0

//! Mediated devices: create, remove, and what VFIO asks of them.

use crate::{
    attributes::Attributes,
    state::{
        MdevId,
        State, //
    }, //
};
use kernel::{
    device,
    mdev,
    prelude::*,
    sync::{
        order::{
            Held,
            Nothing, //
        },
        Arc,
        ArcBorrow, //
    },
    vfio, //
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
    const MAX_INSTANCES: u32 = 65536;
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
        let user = VfioUser {
            state: state.clone(),
            id,
        };

        Arc::new(user, GFP_KERNEL)
            .map_err(Error::from)
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
pub(crate) struct VfioUser {
    state: Arc<State>,
    id: MdevId,
}

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
        user.state.open(user.id, dev, held)
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
