// SPDX-License-Identifier: GPL-2.0

//! A bus of a module's own, with one device and the driver that is bound to it.
//!
//! Some modules need a device that no hardware stands behind, at a place in sysfs that user space
//! relies on: `/sys/devices/<root>/<device>`, on `/sys/bus/<bus>`, bound to a driver of a certain
//! name. [`Registration`] makes all of that and takes it away again, in the order that it takes.
//!
//! C headers: [`include/linux/device/bus.h`](srctree/include/linux/device/bus.h),
//! [`include/linux/device.h`](srctree/include/linux/device.h)

use crate::{
    bindings,
    device,
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    prelude::*,
    sysfs,
    types::{
        Opaque,
        ScopeGuard, //
    },
    ThisModule, //
};
use core::marker::PhantomData;

/// What is particular to the bus, its device and its driver.
pub trait Driver: 'static {
    /// The name of the device that all others are below of: `/sys/devices/<root>`.
    const ROOT: &'static CStr;

    /// The name of the bus.
    const BUS: &'static CStr;

    /// The name of the device.
    const DEVICE: &'static CStr;

    /// The attributes of the device.
    type Attributes: sysfs::Attributes<Data = Self::Data>;

    /// The driver's data of the device.
    type Data: Send + Sync + 'static;

    /// Makes the data when the device is bound.
    fn probe(dev: &device::Device<device::Core<'_>>) -> Result<Self::Data>;
}

/// A registered bus with its device and driver.
///
/// Dropping it unbinds and removes everything.
#[pin_data]
pub struct Registration<T: Driver> {
    // Dropped in this order; made in the opposite one.
    #[pin]
    driver: BoundDriver<T>,
    device: OnlyDevice,
    #[pin]
    bus: Bus,
    root: Root,
}

impl<T: Driver> Registration<T> {
    /// Registers the bus, the device, and the driver under the name `name`.
    pub fn new(name: &'static CStr, module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            root: Root::new(T::ROOT, module)?,
            bus <- Bus::new(T::BUS),
            device: OnlyDevice::new(T::DEVICE, root.0, bus.bus.get())?,
            driver <- BoundDriver::new(name, module, bus.bus.get()),
            _: {
                // The driver core does not say whether a probe has failed.
                // SAFETY: The device is registered, and nobody can unbind it.
                if unsafe { (*device.0).driver.is_null() } {
                    return Err(ENODEV);
                }
            },
        })
    }

    /// Returns the device.
    pub fn device(&self) -> &device::Device {
        // SAFETY: The device is registered as long as `self` lives.
        unsafe { device::Device::from_raw(self.device.0) }
    }
}

/// The device that has the name of the root directory.
struct Root(*mut bindings::device);

// SAFETY: A device can be unregistered from any thread.
unsafe impl Send for Root {}

// SAFETY: There is nothing to do with a shared `Root`.
unsafe impl Sync for Root {}

impl Root {
    fn new(name: &'static CStr, module: &'static ThisModule) -> Result<Self> {
        // SAFETY: Both are valid; the name is copied.
        from_err_ptr(unsafe {
            bindings::__root_device_register(name.as_char_ptr(), module.as_ptr())
        })
        .map(Self)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // SAFETY: Registered in `new()`.
        unsafe { bindings::root_device_unregister(self.0) };
    }
}

/// The bus: without a `match` function, so that every driver of it is for every device.
#[pin_data(PinnedDrop)]
struct Bus {
    #[pin]
    bus: Opaque<bindings::bus_type>,
}

// SAFETY: A bus can be unregistered from any thread.
unsafe impl Send for Bus {}

// SAFETY: There is nothing to do with a shared `Bus`.
unsafe impl Sync for Bus {}

impl Bus {
    fn new(name: &'static CStr) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            bus <- Opaque::try_ffi_init(|bus: *mut bindings::bus_type| {
                let init = bindings::bus_type {
                    name: name.as_char_ptr(),
                    ..Default::default()
                };
                // SAFETY: `bus` is valid for writes, and pinned until it is unregistered.
                to_result(unsafe {
                    bus.write(init);
                    bindings::bus_register(bus)
                })
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Bus {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered in `new()`; the device and the driver are gone.
        unsafe { bindings::bus_unregister(self.bus.get()) };
    }
}

/// The one device of the bus.
struct OnlyDevice(*mut bindings::device);

// SAFETY: A device can be unregistered from any thread.
unsafe impl Send for OnlyDevice {}

// SAFETY: There is nothing to do with a shared `OnlyDevice`.
unsafe impl Sync for OnlyDevice {}

impl OnlyDevice {
    fn new(
        name: &'static CStr,
        parent: *mut bindings::device,
        bus: *const bindings::bus_type,
    ) -> Result<Self> {
        let dev = KBox::into_raw(KBox::new(Opaque::<bindings::device>::zeroed(), GFP_KERNEL)?)
            .cast::<bindings::device>();

        // SAFETY: `dev` is zeroed memory; from `device_initialize()` on, `release` frees it.
        unsafe {
            (*dev).parent = parent;
            (*dev).bus = bus;
            (*dev).release = Some(Self::release);
            bindings::device_initialize(dev);
        }
        // From here on, dropping `this` gives the reference back.
        let this = ScopeGuard::new(|| {
            // SAFETY: The reference is the initial one.
            unsafe { bindings::put_device(dev) }
        });

        // SAFETY: `dev` is initialised and not yet added, the name is copied.
        to_result(unsafe { bindings::dev_set_name(dev, c"%s".as_char_ptr(), name.as_char_ptr()) })?;
        // SAFETY: `dev` is initialised and has a name, a parent and a bus.
        to_result(unsafe { bindings::device_add(dev) })?;

        this.dismiss();
        Ok(Self(dev))
    }

    extern "C" fn release(dev: *mut bindings::device) {
        // SAFETY: The memory comes from `new()`, and this was the last reference.
        drop(unsafe { KBox::<Opaque<bindings::device>>::from_raw(dev.cast()) });
    }
}

impl Drop for OnlyDevice {
    fn drop(&mut self) {
        // SAFETY: Registered in `new()`.
        unsafe { bindings::device_unregister(self.0) };
    }
}

/// The driver, bound to the device as soon as it is registered.
#[pin_data(PinnedDrop)]
struct BoundDriver<T: Driver> {
    #[pin]
    driver: Opaque<bindings::device_driver>,
    _callbacks: PhantomData<T>,
}

// SAFETY: A driver can be unregistered from any thread.
unsafe impl<T: Driver> Send for BoundDriver<T> {}

// SAFETY: There is nothing to do with a shared `BoundDriver`.
unsafe impl<T: Driver> Sync for BoundDriver<T> {}

impl<T: Driver> BoundDriver<T> {
    fn new(
        name: &'static CStr,
        module: &'static ThisModule,
        bus: *const bindings::bus_type,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            driver <- Opaque::try_ffi_init(|driver: *mut bindings::device_driver| {
                let init = bindings::device_driver {
                    name: name.as_char_ptr(),
                    bus,
                    owner: module.as_ptr(),
                    mod_name: name.as_char_ptr(),
                    // The device is useless without its driver: there is no choice to offer.
                    suppress_bind_attrs: true,
                    probe_type: bindings::probe_type_PROBE_FORCE_SYNCHRONOUS,
                    probe: Some(Self::probe_callback),
                    dev_groups: sysfs::groups::<T::Attributes>(),
                    p_cb: bindings::device_driver__bindgen_ty_1 {
                        post_unbind_rust: Some(Self::post_unbind_callback),
                    },
                    ..Default::default()
                };
                // SAFETY: `driver` is valid for writes, and pinned until it is unregistered.
                to_result(unsafe {
                    driver.write(init);
                    bindings::driver_register(driver)
                })
            }),
            _callbacks: PhantomData,
        })
    }

    extern "C" fn probe_callback(dev: *mut bindings::device) -> c_int {
        // SAFETY: The driver core passes a valid device, locked for the duration of the call.
        let dev = unsafe { device::Device::<device::CoreInternal<'_>>::from_raw(dev) };

        from_result(|| {
            dev.set_drvdata_with(|| T::probe(dev))?;
            Ok(0)
        })
    }

    extern "C" fn post_unbind_callback(dev: *mut bindings::device) {
        // SAFETY: The driver core passes a valid device, locked for the duration of the call.
        let dev = unsafe { device::Device::<device::CoreInternal<'_>>::from_raw(dev) };

        // SAFETY: Data of this type was stored by `probe_callback()`.
        drop(unsafe { dev.drvdata_obtain::<T::Data>() });
    }
}

#[pinned_drop]
impl<T: Driver> PinnedDrop for BoundDriver<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered in `new()`.
        unsafe { bindings::driver_unregister(self.driver.get()) };
    }
}
