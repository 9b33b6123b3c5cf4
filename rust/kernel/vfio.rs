// SPDX-License-Identifier: GPL-2.0

//! Abstractions for VFIO devices.
//!
//! A [`Registration`] makes a device whose DMA is mediated (no IOMMU stands behind it) known to
//! VFIO, which gives it a group and a character device and calls the driver's [`Operations`] for
//! whoever opens them. The driver's data is shared with VFIO by reference count, so that it
//! outlives the last user.
//!
//! VFIO is a module on most configurations: whatever refers to a symbol of it is generic, so that
//! it ends up in the driver's module.
//!
//! C header: [`include/linux/vfio.h`](srctree/include/linux/vfio.h)

use crate::{
    bindings,
    device,
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        order::{
            Held,
            Nothing, //
        },
        Arc,
        ArcBorrow, //
    },
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ptr::NonNull, //
};

/// The ioctls that a driver handles. C header:
/// [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h)
pub mod ioctl {
    use crate::ioctl::_IO;

    // `VFIO_TYPE` and `VFIO_BASE`, of which bindgen knows only the one that is a number.
    const TYPE: u32 = b';' as u32;
    const BASE: u32 = uapi::VFIO_BASE;

    /// `VFIO_DEVICE_GET_INFO`
    pub const DEVICE_GET_INFO: u32 = _IO(TYPE, BASE + 7);
    /// `VFIO_DEVICE_GET_IRQ_INFO`
    pub const DEVICE_GET_IRQ_INFO: u32 = _IO(TYPE, BASE + 9);
    /// `VFIO_DEVICE_SET_IRQS`
    pub const DEVICE_SET_IRQS: u32 = _IO(TYPE, BASE + 10);
    /// `VFIO_DEVICE_RESET`
    pub const DEVICE_RESET: u32 = _IO(TYPE, BASE + 11);
}

/// What a driver does for the users of its VFIO device.
///
/// VFIO calls [`open`](Self::open) and [`close`](Self::close) once for each session, never at the
/// same time, and the others only in between.
pub trait Operations: Sized + 'static {
    /// The name of the driver, for the debugging of VFIO.
    const NAME: &'static CStr;

    /// What belongs to the device.
    type Data: Send + Sync + 'static;

    /// The first user opens the device.
    fn open(
        dev: &Opening<'_, Self>,
        data: ArcBorrow<'_, Self::Data>,
        held: &mut Held<'_, Nothing>,
    ) -> Result;

    /// The last user closes the device. What was pinned must be unpinned when this returns.
    fn close(dev: &Device<Self>, data: ArcBorrow<'_, Self::Data>, held: &mut Held<'_, Nothing>);

    /// A user issues the ioctl `cmd` with the argument `arg`.
    ///
    /// VFIO handles the ioctls that concern itself.
    fn ioctl(
        dev: &Device<Self>,
        data: ArcBorrow<'_, Self::Data>,
        cmd: u32,
        arg: usize,
        held: &mut Held<'_, Nothing>,
    ) -> Result<c_long>;

    /// The device is to be removed: its user shall close it. Repeated, with `count` going up, until
    /// that has happened.
    fn request(
        dev: &Device<Self>,
        data: ArcBorrow<'_, Self::Data>,
        count: u32,
        held: &mut Held<'_, Nothing>,
    );

    /// The user unmaps `length` bytes from `iova` on. Pages of that range must be unpinned when
    /// this returns.
    ///
    /// Called with locks of VFIO held that pinning takes, too.
    fn dma_unmap(
        dev: &Device<Self>,
        data: ArcBorrow<'_, Self::Data>,
        iova: u64,
        length: u64,
        held: &mut Held<'_, Nothing>,
    );
}

/// A VFIO device.
///
/// # Invariants
///
/// - `vdev` was initialised by VFIO, which owns the memory; a reference to `vdev.dev` goes with it.
/// - `data` is NULL or comes from `Arc::<T::Data>::into_foreign()`, and does not change once the
///   device is registered.
#[repr(C)]
pub struct Device<T: Operations> {
    vdev: Opaque<bindings::vfio_device>,
    data: UnsafeCell<*mut c_void>,
    _ops: PhantomData<T>,
}

// SAFETY: VFIO devices are reference counted through the device in them.
unsafe impl<T: Operations> AlwaysRefCounted for Device<T> {
    fn inc_ref(&self) {
        // SAFETY: By the type invariant, the device is valid.
        unsafe { bindings::get_device(&raw mut (*self.vdev.get()).device) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives back a reference.
        unsafe { bindings::put_device(&raw mut (*obj.as_ref().vdev.get()).device) };
    }
}

// SAFETY: A device is reference counted and can be released on any thread.
unsafe impl<T: Operations> Send for Device<T> {}

// SAFETY: What can be done with a shared device takes the locks that it needs; the data is `Sync`.
unsafe impl<T: Operations> Sync for Device<T> {}

impl<T: Operations> Device<T> {
    /// # Safety
    ///
    /// `vdev` must be that of a `Device<T>` that outlives `'a`.
    unsafe fn from_raw<'a>(vdev: *mut bindings::vfio_device) -> &'a Self {
        // CAST: `Device` is `repr(C)` and starts with `vdev`.
        // SAFETY: Guaranteed by the caller.
        unsafe { &*vdev.cast() }
    }

    fn data(&self) -> ArcBorrow<'_, T::Data> {
        // SAFETY: By the type invariant, `data` does not change any more: only callbacks of a
        // registered device come here. It owns a reference.
        unsafe { Arc::borrow(*self.data.get()) }
    }

    /// Returns the device that was registered.
    pub fn device(&self) -> &device::Device {
        // SAFETY: By the type invariant, `dev` is referenced until `self` is released.
        unsafe { device::Device::from_raw((*self.vdev.get()).dev) }
    }

    /// Pins the page at `iova` of the user's memory, for reading and writing.
    ///
    /// Sleeps, and takes locks of VFIO and of the user's address space.
    pub fn pin_page(&self, iova: u64) -> Result<PinnedPage<T>> {
        let iova = iova & !(PAGE_SIZE as u64 - 1);
        let mut page = core::ptr::null_mut();

        // SAFETY: `self` is valid, and `page` has room for one pointer. Where the device is not
        // open, VFIO refuses.
        let pinned = unsafe {
            bindings::vfio_pin_pages(
                self.vdev.get(),
                iova,
                1,
                (bindings::IOMMU_READ | bindings::IOMMU_WRITE) as c_int,
                &mut page,
            )
        };
        to_result(pinned)?;
        if pinned != 1 {
            return Err(EFAULT);
        }
        Ok(PinnedPage {
            dev: self.into(),
            iova,
            page,
        })
    }

    const OPS: &'static bindings::vfio_device_ops = &{
        let mut ops: bindings::vfio_device_ops = pin_init::zeroed();
        ops.name = crate::str::as_char_ptr_in_const_context(T::NAME).cast_mut();
        ops.release = Some(Self::release_callback);
        ops.open_device = Some(Self::open_callback);
        ops.close_device = Some(Self::close_callback);
        ops.ioctl = Some(Self::ioctl_callback);
        ops.request = Some(Self::request_callback);
        ops.dma_unmap = Some(Self::dma_unmap_callback);
        #[cfg(CONFIG_IOMMUFD)]
        {
            ops.bind_iommufd = Some(bindings::vfio_iommufd_emulated_bind);
            ops.unbind_iommufd = Some(bindings::vfio_iommufd_emulated_unbind);
            ops.attach_ioas = Some(bindings::vfio_iommufd_emulated_attach_ioas);
            ops.detach_ioas = Some(bindings::vfio_iommufd_emulated_detach_ioas);
        }
        ops
    };

    extern "C" fn release_callback(vdev: *mut bindings::vfio_device) {
        // SAFETY: VFIO releases a device that it has initialised for `Self`.
        let this = unsafe { Self::from_raw(vdev) };

        // SAFETY: By the type invariant; nobody uses the device any more.
        unsafe {
            drop(Arc::<T::Data>::try_from_foreign(*this.data.get()));
            <device::Device as AlwaysRefCounted>::dec_ref(this.device().into());
        }
    }

    extern "C" fn open_callback(vdev: *mut bindings::vfio_device) -> c_int {
        // SAFETY: VFIO opens a registered device of `Self`.
        let dev = unsafe { Self::from_raw(vdev) };
        // SAFETY: VFIO holds locks of its own only, the lock of the device set and of the group.
        let mut held = unsafe { Held::assume() };

        from_result(|| {
            T::open(&Opening(dev), dev.data(), &mut held)?;
            Ok(0)
        })
    }

    extern "C" fn close_callback(vdev: *mut bindings::vfio_device) {
        // SAFETY: VFIO closes a registered device of `Self`.
        let dev = unsafe { Self::from_raw(vdev) };
        // SAFETY: VFIO holds locks of its own only, the lock of the device set and of the group.
        let mut held = unsafe { Held::assume() };

        T::close(dev, dev.data(), &mut held);
    }

    extern "C" fn ioctl_callback(
        vdev: *mut bindings::vfio_device,
        cmd: c_uint,
        arg: c_ulong,
    ) -> c_long {
        // SAFETY: VFIO passes a registered device of `Self` that is open.
        let dev = unsafe { Self::from_raw(vdev) };
        // SAFETY: VFIO holds no lock.
        let mut held = unsafe { Held::assume() };

        match T::ioctl(dev, dev.data(), cmd, arg, &mut held) {
            Ok(ret) => ret,
            Err(e) => e.to_errno() as c_long,
        }
    }

    extern "C" fn request_callback(vdev: *mut bindings::vfio_device, count: c_uint) {
        // SAFETY: VFIO passes a registered device of `Self`.
        let dev = unsafe { Self::from_raw(vdev) };
        // SAFETY: VFIO holds no lock of the order; the device's lock may be held.
        let mut held = unsafe { Held::assume() };

        T::request(dev, dev.data(), count, &mut held);
    }

    extern "C" fn dma_unmap_callback(vdev: *mut bindings::vfio_device, iova: u64, length: u64) {
        // SAFETY: VFIO passes a registered device of `Self`.
        let dev = unsafe { Self::from_raw(vdev) };
        // SAFETY: VFIO holds locks of its own only.
        let mut held = unsafe { Held::assume() };

        T::dma_unmap(dev, dev.data(), iova, length, &mut held);
    }
}

/// A page of the user's memory, pinned; unpinned when dropped.
///
/// Must not be dropped under a lock that [`Operations::dma_unmap`] takes, and must be dropped
/// before [`Operations::close`] returns.
pub struct PinnedPage<T: Operations> {
    dev: ARef<Device<T>>,
    iova: u64,
    page: *mut bindings::page,
}

// SAFETY: A page can be unpinned on any thread.
unsafe impl<T: Operations> Send for PinnedPage<T> {}

// SAFETY: A shared `PinnedPage` only tells where the page is.
unsafe impl<T: Operations> Sync for PinnedPage<T> {}

impl<T: Operations> PinnedPage<T> {
    /// Returns where the user has the page.
    pub fn iova(&self) -> u64 {
        self.iova
    }

    /// Returns the absolute address of the page.
    pub fn address(&self) -> u64 {
        // SAFETY: The page is pinned.
        unsafe { bindings::page_to_phys(self.page) }
    }

    /// Tells whether the page, which belongs to a secure guest, is shared with the host.
    #[cfg(CONFIG_RUST_KVM_ABSTRACTIONS)]
    pub fn is_shared(&self) -> bool {
        // CAST: Addresses have 64 bits.
        // SAFETY: The page is pinned. Where it was pinned as shared, this is done again to no
        // effect; where not, it was exported, and this fails.
        unsafe { bindings::uv_pin_shared(self.address() as c_ulong) == 0 }
    }

    /// Returns the device whose user has the page.
    #[cfg(CONFIG_RUST_KVM_ABSTRACTIONS)]
    pub(crate) fn device(&self) -> &device::Device {
        self.dev.device()
    }

    /// Keeps the page from ever being used for something else.
    #[cfg(CONFIG_RUST_KVM_ABSTRACTIONS)]
    pub(crate) fn keep_forever(&self) {
        // SAFETY: The page is pinned, so it can be referenced.
        unsafe { bindings::get_page(self.page) };
    }
}

impl<T: Operations> Drop for PinnedPage<T> {
    fn drop(&mut self) {
        // SAFETY: `self` owns a reference to the device and the pin of the page.
        unsafe { bindings::vfio_unpin_pages(self.dev.vdev.get(), self.iova, 1) };
    }
}

/// A device that is being opened.
pub struct Opening<'a, T: Operations>(&'a Device<T>);

impl<T: Operations> Opening<'_, T> {
    /// Returns the VM that the user has told VFIO of.
    ///
    /// VFIO keeps a reference to it until the device is closed.
    #[cfg(CONFIG_RUST_KVM_ABSTRACTIONS)]
    pub fn kvm(&self) -> Option<&crate::kvm::Kvm> {
        // SAFETY: VFIO sets `kvm` before it opens the device and keeps a reference until it is
        // closed; `self` exists only while it is opened.
        unsafe {
            let kvm = (*self.0.vdev.get()).kvm;
            (!kvm.is_null()).then(|| crate::kvm::Kvm::from_raw(kvm))
        }
    }
}

impl<T: Operations> core::ops::Deref for Opening<'_, T> {
    type Target = Device<T>;

    fn deref(&self) -> &Device<T> {
        self.0
    }
}

/// A device without an IOMMU behind it, registered with VFIO.
///
/// Dropping it waits until the device is no longer open, asking its user to close it.
pub struct Registration<T: Operations>(NonNull<Device<T>>);

// SAFETY: A device can be unregistered from any thread.
unsafe impl<T: Operations> Send for Registration<T> {}

// SAFETY: All that can be reached through a `Registration` is `Device`, which VFIO shares among
// threads.
unsafe impl<T: Operations> Sync for Registration<T> {}

impl<T: Operations> Registration<T> {
    /// Registers a device for `parent`, which must stay bound until this is dropped.
    pub fn new_emulated(
        parent: &device::Device<device::Core<'_>>,
        data: Arc<T::Data>,
    ) -> Result<Self> {
        // SAFETY: The operations are static, and the size is that of a structure which starts with
        // `struct vfio_device`.
        let vdev = from_err_ptr(unsafe {
            bindings::_vfio_alloc_device(
                core::mem::size_of::<Device<T>>(),
                parent.as_raw(),
                Device::<T>::OPS,
            )
        })?;
        let dev = NonNull::new(vdev.cast::<Device<T>>()).ok_or(ENOMEM)?;

        // INVARIANT: VFIO has zeroed `data`; it is set before the device is registered. The
        // reference to the parent is given back in `release_callback()`.
        parent.inc_ref();
        // SAFETY: Nobody else knows of the device yet.
        unsafe { *(*dev.as_ptr()).data.get() = data.into_foreign() };

        // SAFETY: The device is initialised.
        let ret = to_result(unsafe { bindings::vfio_register_emulated_iommu_dev(vdev) });
        if ret.is_err() {
            // SAFETY: The reference is the one from the allocation.
            unsafe { bindings::put_device(&raw mut (*vdev).device) };
        }
        ret.map(|()| Self(dev))
    }
}

impl<T: Operations> Drop for Registration<T> {
    fn drop(&mut self) {
        let vdev = self.0.as_ptr().cast::<bindings::vfio_device>();

        // SAFETY: Registered in `new_emulated()`, which also left us a reference.
        unsafe {
            bindings::vfio_unregister_group_dev(vdev);
            bindings::put_device(&raw mut (*vdev).device);
        }
    }
}
