// SPDX-License-Identifier: GPL-2.0

//! The matrix device: `/sys/devices/vfio_ap/matrix`.
//!
//! It stands for the machine's AP configuration; user space finds the type of the mediated devices
//! below it. Its names and the string in `features` are ABI.

use kernel::{
    bus,
    device,
    prelude::*,
    sync::order::{
        Held,
        Nothing, //
    },
    sysfs, //
};

/// The bus, the device and the driver that the device is bound to.
pub(crate) struct MatrixDevice;

impl bus::Driver for MatrixDevice {
    const ROOT: &'static CStr = c"vfio_ap";
    const BUS: &'static CStr = c"matrix";
    const DEVICE: &'static CStr = c"matrix";
    type Attributes = Attributes;
    type Data = ();

    fn probe(_dev: &device::Device<device::Core<'_>>) -> Result {
        Ok(())
    }
}

pub(crate) struct Attributes;

impl sysfs::Attributes for Attributes {
    type Data = ();
    const TEXT: sysfs::List<()> = {
        const TABLE: &sysfs::Table<sysfs::TextRef<()>, 1> =
            &sysfs::Table::new([sysfs::text::<Features>()]);
        sysfs::List::new(TABLE)
    };
}

/// `features`: what tools can rely on.
struct Features;

#[vtable]
impl sysfs::Attribute for Features {
    type Data = ();
    const NAME: &'static CStr = c"features";

    fn show(
        _data: &(),
        _dev: &device::Device,
        out: &mut sysfs::Text<'_>,
        _held: &mut Held<'_, Nothing>,
    ) -> Result {
        writeln!(out, "guest_matrix hotplug ap_config")
    }
}
