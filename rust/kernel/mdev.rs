// SPDX-License-Identifier: GPL-2.0

//! Abstractions for mediated devices.
//!
//! A parent device registers a type of mediated devices; user space makes devices of it by writing
//! UUIDs to the type's `create`, and removes them by their `remove`. [`Registration`] is both at
//! once, the driver of the mediated devices and the parent's registration, as no mdev driver has
//! any use for one without the other.
//!
//! The mdev core is a module on most configurations: whatever refers to a symbol of it is generic,
//! so that it ends up in the driver's module.
//!
//! C header: [`include/linux/mdev.h`](srctree/include/linux/mdev.h)

use crate::{
    bindings,
    container_of,
    device,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        order::{
            Held,
            Nothing, //
        },
        Arc,
        ArcBorrow, //
    },
    sysfs,
    types::Opaque,
    ThisModule, //
};
use core::{
    marker::PhantomData,
    mem::offset_of, //
};

/// A mediated device.
///
/// # Invariants
///
/// Represents a valid `struct mdev_device` created by the mdev core.
#[repr(transparent)]
pub struct Device<Ctx: device::DeviceContext = device::Normal>(
    Opaque<bindings::mdev_device>,
    PhantomData<Ctx>,
);

impl<Ctx: device::DeviceContext> AsRef<device::Device<Ctx>> for Device<Ctx> {
    fn as_ref(&self) -> &device::Device<Ctx> {
        // SAFETY: By the type invariant, the pointer is valid, and so is the device in it.
        unsafe { device::Device::from_raw(&raw mut (*self.0.get()).dev) }
    }
}

// SAFETY: `Device` is a transparent wrapper of a type that doesn't depend on its generic argument.
kernel::impl_device_context_deref!(unsafe { Device });

// SAFETY: The `struct device` is at this offset in `struct mdev_device`.
unsafe impl<Ctx: device::DeviceContext> device::AsBusDevice<Ctx> for Device<Ctx> {
    const OFFSET: usize = offset_of!(bindings::mdev_device, dev);
}

/// A driver of mediated devices of one type.
pub trait Driver: Sized + 'static {
    /// The name of the driver on the mdev bus.
    const NAME: &'static CStr;

    /// What the type's `device_api` shows; one of the `VFIO_DEVICE_API_*` strings.
    const DEVICE_API: &'static CStr;

    /// The name of the type's directory, after the name of the parent's driver and a hyphen.
    const TYPE_NAME: &'static CStr;

    /// What the type's `name` shows.
    const TYPE_TITLE: &'static CStr;

    /// How many devices there can be.
    const MAX_INSTANCES: u32;

    /// What belongs to the parent.
    type Shared: Send + Sync + 'static;

    /// What belongs to one mediated device.
    type Data: Send + Sync + 'static;

    /// The attributes of a mediated device.
    type Attributes: sysfs::Attributes<Data = Self::Data>;

    /// A device is being created. Nothing can fail after this has succeeded, except that the core
    /// may take the device away again.
    fn probe(
        mdev: &Device<device::Core<'_>>,
        shared: ArcBorrow<'_, Self::Shared>,
        held: &mut Held<'_, Nothing>,
    ) -> Result<Self::Data>;

    /// A device is being removed; its attributes are gone.
    fn unbind(mdev: &Device<device::Core<'_>>, data: Self::Data, held: &mut Held<'_, Nothing>);
}

/// The registration of a parent device and of the driver of its mediated devices.
///
/// Dropping it removes all mediated devices, waiting until each is no longer open.
#[pin_data]
pub struct Registration<T: Driver> {
    // Dropped in this order; made in the opposite one.
    #[pin]
    parent: Parent<T>,
    #[pin]
    driver: MdevDriver<T>,
}

impl<T: Driver> Registration<T> {
    /// Registers `dev` as a parent, with `shared` as what belongs to it.
    ///
    /// `dev` must be bound to a driver already: the driver's name is the first part of the type's
    /// name.
    pub fn new<'a>(
        dev: &'a device::Device,
        module: &'static ThisModule,
        mod_name: &'static CStr,
        shared: &'a Arc<T::Shared>,
    ) -> impl PinInit<Self, Error> + 'a {
        try_pin_init!(Self {
            driver <- MdevDriver::new(module, mod_name),
            parent <- Parent::new(dev, driver.driver.get(), shared.clone()),
        })
    }
}

/// The driver on the mdev bus.
#[pin_data(PinnedDrop)]
struct MdevDriver<T: Driver> {
    #[pin]
    driver: Opaque<bindings::mdev_driver>,
    _callbacks: PhantomData<T>,
}

// SAFETY: A driver can be unregistered from any thread.
unsafe impl<T: Driver> Send for MdevDriver<T> {}

// SAFETY: There is nothing to do with a shared `MdevDriver`.
unsafe impl<T: Driver> Sync for MdevDriver<T> {}

impl<T: Driver> MdevDriver<T> {
    fn new(module: &'static ThisModule, mod_name: &'static CStr) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            driver <- Opaque::try_ffi_init(|driver: *mut bindings::mdev_driver| {
                let init = bindings::mdev_driver {
                    device_api: T::DEVICE_API.as_char_ptr(),
                    max_instances: T::MAX_INSTANCES,
                    probe: Some(Self::probe_callback),
                    remove: Some(Self::remove_callback),
                    driver: bindings::device_driver {
                        name: T::NAME.as_char_ptr(),
                        owner: module.as_ptr(),
                        mod_name: mod_name.as_char_ptr(),
                        dev_groups: sysfs::groups::<T::Attributes>(),
                        ..Default::default()
                    },
                    ..Default::default()
                };
                // SAFETY: `driver` is valid for writes, and pinned until it is unregistered.
                to_result(unsafe {
                    driver.write(init);
                    bindings::mdev_register_driver(driver)
                })
            }),
            _callbacks: PhantomData,
        })
    }

    extern "C" fn probe_callback(mdev: *mut bindings::mdev_device) -> c_int {
        // SAFETY: The mdev core passes a valid device, locked for the duration of the call.
        let dev = unsafe { &*mdev.cast::<Device<device::CoreInternal<'_>>>() };
        // SAFETY: The device's type and the type's parent are set when it is made. Only this
        // driver's parent has devices of this driver.
        let shared = unsafe { Parent::<T>::shared((*(*mdev).type_).parent) };
        // SAFETY: The mdev core calls with locks of the driver model only.
        let mut held = unsafe { Held::assume() };

        from_result(|| {
            dev.as_ref()
                .set_drvdata_with(|| T::probe(dev, shared, &mut held))?;
            Ok(0)
        })
    }

    extern "C" fn remove_callback(mdev: *mut bindings::mdev_device) {
        // SAFETY: As in `probe_callback()`.
        let dev = unsafe { &*mdev.cast::<Device<device::CoreInternal<'_>>>() };
        // SAFETY: As in `probe_callback()`.
        let mut held = unsafe { Held::assume() };

        // SAFETY: `remove` follows a successful `probe`, which has stored data of this type.
        if let Some(data) = unsafe { dev.as_ref().drvdata_take::<T::Data>() } {
            T::unbind(dev, data, &mut held);
        }
    }
}

#[pinned_drop]
impl<T: Driver> PinnedDrop for MdevDriver<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered in `new()`; the parent is gone and with it all devices.
        unsafe { bindings::mdev_unregister_driver(self.driver.get()) };
    }
}

/// The parent, its one type, and what belongs to it.
#[pin_data(PinnedDrop)]
struct Parent<T: Driver> {
    #[pin]
    parent: Opaque<bindings::mdev_parent>,
    #[pin]
    ty: Opaque<bindings::mdev_type>,
    /// What the core takes as the list of types: it keeps the pointer to this array.
    #[pin]
    types: Opaque<[*mut bindings::mdev_type; 1]>,
    shared: Arc<T::Shared>,
    // The core wants the device to stay until the parent is unregistered.
    _dev: ARef<device::Device>,
}

// SAFETY: A parent can be unregistered from any thread.
unsafe impl<T: Driver> Send for Parent<T> {}

// SAFETY: Only `shared`, which is `Sync`, is accessible.
unsafe impl<T: Driver> Sync for Parent<T> {}

impl<T: Driver> Parent<T> {
    fn new(
        dev: &device::Device,
        driver: *mut bindings::mdev_driver,
        shared: Arc<T::Shared>,
    ) -> impl PinInit<Self, Error> + '_ {
        try_pin_init!(Self {
            shared,
            _dev: dev.into(),
            ty <- Opaque::ffi_init(|ty: *mut bindings::mdev_type| {
                let init = bindings::mdev_type {
                    sysfs_name: T::TYPE_NAME.as_char_ptr(),
                    pretty_name: T::TYPE_TITLE.as_char_ptr(),
                    ..Default::default()
                };
                // SAFETY: `ty` is valid for writes.
                unsafe { ty.write(init) };
            }),
            types: Opaque::new([ty.get()]),
            // Last: devices can be created from here on, and find `shared` through the parent.
            parent <- Opaque::try_ffi_init(|parent| {
                // SAFETY: All that is passed stays pinned until the parent is unregistered, and
                // `types` has one entry.
                to_result(unsafe {
                    bindings::mdev_register_parent(
                        parent,
                        dev.as_raw(),
                        driver,
                        types.get().cast(),
                        1,
                    )
                })
            }),
        })
    }

    /// # Safety
    ///
    /// `parent` must be that of a registered `Parent<T>` that outlives `'a`.
    unsafe fn shared<'a>(parent: *mut bindings::mdev_parent) -> ArcBorrow<'a, T::Shared> {
        // SAFETY: Guaranteed by the caller.
        let this = unsafe { &*container_of!(Opaque::cast_from(parent), Self, parent) };

        this.shared.as_arc_borrow()
    }
}

#[pinned_drop]
impl<T: Driver> PinnedDrop for Parent<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered in `new()`.
        unsafe { bindings::mdev_unregister_parent(self.parent.get()) };
    }
}
