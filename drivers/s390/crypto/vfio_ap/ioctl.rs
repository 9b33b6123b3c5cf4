// SPDX-License-Identifier: GPL-2.0

//! The ioctls of a mediated device's user. User memory is accessed with no lock held.

use crate::{
    guest::Event,
    mdev_table::MdevId,
    state::State, //
};
use kernel::{
    eventfd::EventFd,
    prelude::*,
    sync::{
        order::{
            Held,
            Nothing, //
        },
        Arc, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    uapi,
    vfio::ioctl, //
};

/// Size of the parts of the structures that there are in every version of the ABI: for
/// `struct vfio_device_info` and `struct vfio_irq_info` four words, for `struct vfio_irq_set` five.
const INFO_SIZE: usize = 4 * 4;
const IRQ_SET_SIZE: usize = 5 * 4;

impl Event {
    /// Returns the event with the index that user space knows it by.
    fn from_index(index: u32) -> Result<Self> {
        match index {
            uapi::VFIO_AP_REQ_IRQ_INDEX => Ok(Self::Request),
            uapi::VFIO_AP_CFG_CHG_IRQ_INDEX => Ok(Self::ConfigChange),
            _ => Err(EINVAL),
        }
    }
}

impl State {
    /// Handles an ioctl of the user of a mediated device.
    pub(crate) fn ioctl(
        self: &Arc<Self>,
        id: MdevId,
        cmd: u32,
        arg: usize,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        let arg = UserPtr::from_addr(arg);

        match cmd {
            ioctl::DEVICE_GET_INFO => get_info(arg),
            ioctl::DEVICE_GET_IRQ_INFO => get_irq_info(arg),
            ioctl::DEVICE_SET_IRQS => {
                let (event, fd) = read_irq_set(arg)?;
                self.set_event(id, event, fd, held)
            }
            ioctl::DEVICE_RESET => self.reset(id, held),
            _ => Err(EOPNOTSUPP),
        }
    }

    fn set_event(
        &self,
        id: MdevId,
        event: Event,
        fd: Option<EventFd>,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        // Declared before the tables are locked, hence dropped after they are unlocked.
        let _former;
        let (mut tables, _) = self.tables.lock(held);
        let session = tables.mdev_mut(id)?.session.as_mut().ok_or(ENODEV)?;

        _former = session.set_event(event, fd);
        Ok(())
    }
}

/// `VFIO_DEVICE_GET_INFO`
fn get_info(arg: UserPtr) -> Result {
    let (mut reader, mut writer) = UserSlice::new(arg, INFO_SIZE).reader_writer();
    let [argsz, ..] = reader.read::<[u32; 4]>()?;

    if (argsz as usize) < INFO_SIZE {
        return Err(EINVAL);
    }
    let flags = uapi::VFIO_DEVICE_FLAGS_AP | uapi::VFIO_DEVICE_FLAGS_RESET;
    let (regions, irqs) = (0, uapi::VFIO_AP_NUM_IRQS);
    writer.write(&[argsz, flags, regions, irqs])
}

/// `VFIO_DEVICE_GET_IRQ_INFO`
fn get_irq_info(arg: UserPtr) -> Result {
    let (mut reader, mut writer) = UserSlice::new(arg, INFO_SIZE).reader_writer();
    let [argsz, _, index, _] = reader.read::<[u32; 4]>()?;

    if (argsz as usize) < INFO_SIZE {
        return Err(EINVAL);
    }
    Event::from_index(index)?;
    writer.write(&[argsz, uapi::VFIO_IRQ_INFO_EVENTFD, index, 1])
}

/// Reads the argument of `VFIO_DEVICE_SET_IRQS`: which event is to be signalled, and where.
fn read_irq_set(arg: UserPtr) -> Result<(Event, Option<EventFd>)> {
    let mut reader = UserSlice::new(arg, IRQ_SET_SIZE).reader();
    let [argsz, flags, index, start, count] = reader.read::<[u32; 5]>()?;
    let known = uapi::VFIO_IRQ_SET_DATA_TYPE_MASK | uapi::VFIO_IRQ_SET_ACTION_TYPE_MASK;

    if (argsz as usize) < IRQ_SET_SIZE
        || flags & !known != 0
        || (start, count) != (0, 1)
        || flags & uapi::VFIO_IRQ_SET_DATA_TYPE_MASK != uapi::VFIO_IRQ_SET_DATA_EVENTFD
        || flags & uapi::VFIO_IRQ_SET_ACTION_TRIGGER == 0
        || argsz as usize - IRQ_SET_SIZE < core::mem::size_of::<i32>()
    {
        return Err(EINVAL);
    }
    let event = Event::from_index(index)?;

    let fd = UserSlice::new(
        arg.wrapping_byte_add(IRQ_SET_SIZE),
        core::mem::size_of::<i32>(),
    )
    .reader()
    .read::<i32>()?;
    match fd {
        -1 => Ok((event, None)),
        0.. => Ok((event, Some(EventFd::from_fd(fd)?))),
        _ => Err(EINVAL),
    }
}
