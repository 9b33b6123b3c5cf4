// SPDX-License-Identifier: GPL-2.0

//! Abstractions for the AP (Adjunct Processor) bus of s390.
//!
//! A driver of AP queues implements [`Driver`] and keeps an [`Registration`]. What belongs to the
//! module as a whole is an `Arc` in a `static` [`Published`] cell, because three of the callbacks
//! ([`Driver::in_use`], [`Driver::on_config_changed`], [`Driver::on_scan_complete`]) come without
//! any device.
//!
//! The AP bus is a module on most configurations. Nothing here may be called from code that is
//! linked into vmlinux: whatever refers to a symbol of the bus is generic or `#[inline]`, so that
//! it ends up in the driver's module.
//!
//! C headers: `drivers/s390/crypto/ap_bus.h`, `arch/s390/include/asm/ap.h`.

use crate::{
    bindings,
    container_of,
    device,
    driver,
    error::{
        from_result,
        to_result, //
    },
    fmt,
    prelude::*,
    sync::{
        order::{
            After,
            Held,
            Level,
            Nothing, //
        },
        Arc,
        ArcBorrow,
        Publication,
        Published, //
    },
    sysfs,
    types::{
        NotThreadSafe,
        Opaque, //
    },
    ThisModule, //
};
use core::{
    marker::PhantomData,
    mem::offset_of, //
};

mod instruction;
#[cfg(CONFIG_RUST_KVM_ABSTRACTIONS)]
mod interrupt;
mod mask;

#[cfg(CONFIG_RUST_KVM_ABSTRACTIONS)]
pub use self::interrupt::GuestInterrupt;
pub use self::{
    instruction::{
        instructions_available,
        AqicControl,
        Info,
        Response,
        Status, //
    },
    mask::{
        Iter,
        Mask,
        Ranges, //
    },
};

/// The number of an AP queue: an adapter and a domain.
///
/// Displayed as the AP bus names the queue's device, for example `05.0047`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Apqn {
    /// The adapter (APID).
    pub apid: u8,
    /// The domain (APQI).
    pub apqi: u8,
}

impl Apqn {
    /// Makes an APQN of the form that C code and the AP instructions use: adapter in bits 8-15 from
    /// the right, domain in bits 0-7.
    #[inline]
    pub const fn from_raw(qid: u16) -> Self {
        let [apid, apqi] = qid.to_be_bytes();
        Self { apid, apqi }
    }

    /// Returns the form that C code and the AP instructions use.
    #[inline]
    pub const fn to_raw(self) -> u16 {
        u16::from_be_bytes([self.apid, self.apqi])
    }
}

impl fmt::Display for Apqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}.{:04x}", self.apid, self.apqi)
    }
}

/// What PQAP(QCI) says of the host: which adapters and domains it has.
///
/// C source: `struct ap_config_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Adapters.
    pub apm: Mask,
    /// Usage domains.
    pub aqm: Mask,
    /// Control domains.
    pub adm: Mask,
    /// The highest possible APID.
    pub max_apid: u8,
    /// The highest possible APQI and control domain number.
    pub max_apqi: u8,
}

impl Config {
    /// The highest APID of a machine without APXA.
    const MAX_APID_WITHOUT_APXA: u8 = 63;
    /// The highest APQI of a machine without APXA.
    const MAX_APQI_WITHOUT_APXA: u8 = 15;

    /// Asks the machine.
    ///
    /// Returns [`EOPNOTSUPP`] where the machine has no PQAP(QCI) (STFLE bit 12).
    pub fn query() -> Result<Self> {
        let mut info = bindings::ap_config_info::default();

        // SAFETY: `info` is a QCI block, aligned and writable.
        to_result(unsafe { bindings::ap_qci(&mut info) })?;

        // SAFETY: `info` is valid.
        Ok(unsafe { Self::from_raw(&info) })
    }

    /// # Safety
    ///
    /// `info` must point to a valid QCI block.
    unsafe fn from_raw(info: *const bindings::ap_config_info) -> Self {
        // SAFETY: Guaranteed by the caller.
        let info = unsafe { &*info };
        let mask = |m: &[u32; 8]| {
            Mask::from_words(core::array::from_fn(|i| {
                u64::from(m[2 * i]) << 32 | u64::from(m[2 * i + 1])
            }))
        };
        // SAFETY: The fields of the union are views of the same word, any value of which is valid.
        let apxa = unsafe { info.__bindgen_anon_1.__bindgen_anon_1.apxa() } != 0;

        Self {
            apm: mask(&info.apm),
            aqm: mask(&info.aqm),
            adm: mask(&info.adm),
            max_apid: if apxa {
                info.na
            } else {
                Self::MAX_APID_WITHOUT_APXA
            },
            max_apqi: if apxa {
                info.nd
            } else {
                Self::MAX_APQI_WITHOUT_APXA
            },
        }
    }
}

/// The AP bus's `ap_attr_mutex` in the lock order: nothing comes before it.
pub struct AttrMutex;

impl Level for AttrMutex {}
impl After<Nothing> for AttrMutex {}

/// The AP bus's `ap_attr_mutex`, held.
///
/// As long as this lives, which queues belong to the default drivers (`apmask`, `aqmask`,
/// `driver_override`) does not change.
pub struct AttrGuard<'a> {
    _held: PhantomData<&'a mut ()>,
    _context: NotThreadSafe,
}

impl<'a> AttrGuard<'a> {
    /// Takes the mutex. Sleeps.
    #[inline]
    pub fn lock(held: &'a mut Held<'_, Nothing>) -> (Self, Held<'a, AttrMutex>) {
        // SAFETY: The mutex is a static of the AP bus, which the calling module depends on.
        unsafe { bindings::mutex_lock(&raw mut bindings::ap_attr_mutex) };
        (
            Self {
                _held: PhantomData,
                _context: NotThreadSafe,
            },
            held.descend(),
        )
    }

    /// Returns the domains whose queues of an adapter `apmask` and `aqmask` give to the default
    /// drivers, where no `driver_override` says otherwise.
    #[inline]
    pub fn reserved_by_masks(&self, apid: u8) -> Mask {
        // SAFETY: `ap_attr_mutex` is held, which protects the masks; they have 256 bits.
        let (apm, aqm) = unsafe { (bindings::ap_perms.apm, bindings::ap_perms.aqm) };

        // CAST: An `unsigned long` of s390 has 64 bits.
        let mask = |words: [usize; Mask::WORDS]| {
            Mask::from_words(core::array::from_fn(|i| words[i] as u64))
        };

        if mask(apm).contains(apid) {
            mask(aqm)
        } else {
            Mask::EMPTY
        }
    }

    /// Tells whether the default drivers own, or would own if it appeared, the queue `apqn`.
    #[inline]
    pub fn owned_by_default_driver(&self, apqn: Apqn) -> bool {
        // SAFETY: `ap_attr_mutex` is held, which is all that `ap_owned_by_def_drv()` needs.
        unsafe { bindings::ap_owned_by_def_drv(apqn.apid.into(), apqn.apqi.into()) != 0 }
    }
}

impl Drop for AttrGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `self` owns the mutex.
        unsafe { bindings::mutex_unlock(&raw mut bindings::ap_attr_mutex) };
    }
}

/// The types of adapters, as TAPQ reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum DeviceType {
    /// Crypto Express 4.
    Cex4 = bindings::AP_DEVICE_TYPE_CEX4 as u8,
    /// Crypto Express 5.
    Cex5 = bindings::AP_DEVICE_TYPE_CEX5 as u8,
    /// Crypto Express 6.
    Cex6 = bindings::AP_DEVICE_TYPE_CEX6 as u8,
    /// Crypto Express 7.
    Cex7 = bindings::AP_DEVICE_TYPE_CEX7 as u8,
    /// Crypto Express 8.
    Cex8 = bindings::AP_DEVICE_TYPE_CEX8 as u8,
}

/// The queues that a driver is for, by the type of their adapter.
#[repr(C)]
pub struct IdTable<const N: usize> {
    ids: [bindings::ap_device_id; N],
    end: bindings::ap_device_id,
}

impl<const N: usize> IdTable<N> {
    /// Makes the table for queues of adapters of `types`.
    pub const fn queues(types: [DeviceType; N]) -> Self {
        let end = bindings::ap_device_id {
            match_flags: 0,
            dev_type: 0,
        };
        let mut ids = [end; N];
        let mut i = 0;
        while i < N {
            ids[i] = bindings::ap_device_id {
                match_flags: bindings::AP_DEVICE_ID_MATCH_QUEUE_TYPE as u16,
                dev_type: types[i] as u8,
            };
            i += 1;
        }
        Self { ids, end }
    }
}

/// An [`IdTable`] of any size.
pub trait AnyIdTable: Sync {
    #[doc(hidden)]
    fn as_ptr(&self) -> *const bindings::ap_device_id;
}

impl<const N: usize> AnyIdTable for IdTable<N> {
    fn as_ptr(&self) -> *const bindings::ap_device_id {
        // CAST: `IdTable` is `repr(C)` and starts with the ids; where there are none, with the end.
        core::ptr::from_ref(self).cast()
    }
}

/// An AP queue device.
///
/// # Invariants
///
/// Represents a valid `struct ap_queue` created by the AP bus.
#[repr(transparent)]
pub struct Queue<Ctx: device::DeviceContext = device::Normal>(
    Opaque<bindings::ap_queue>,
    PhantomData<Ctx>,
);

impl<Ctx: device::DeviceContext> Queue<Ctx> {
    fn as_raw(&self) -> *mut bindings::ap_queue {
        self.0.get()
    }

    /// Returns the queue's number.
    pub fn apqn(&self) -> Apqn {
        // SAFETY: By the type invariant, the pointer is valid; `qid` never changes.
        // CAST: An APQN has 16 bits.
        Apqn::from_raw(unsafe { (*self.as_raw()).qid } as u16)
    }
}

impl<Ctx: device::DeviceContext> AsRef<device::Device<Ctx>> for Queue<Ctx> {
    fn as_ref(&self) -> &device::Device<Ctx> {
        // SAFETY: By the type invariant, the pointer is valid, and so is the device in it.
        unsafe { device::Device::from_raw(&raw mut (*self.as_raw()).ap_dev.device) }
    }
}

// SAFETY: `Queue` is a transparent wrapper of a type that doesn't depend on its generic argument.
kernel::impl_device_context_deref!(unsafe { Queue });

/// A driver of AP queues.
///
/// The bus calls [`probe`](Self::probe) and [`unbind`](Self::unbind) with the device locked. The
/// others come for the driver as a whole, in the context that each names.
pub trait Driver: Sized + 'static {
    /// What belongs to the driver as a whole.
    type Shared: Send + Sync + 'static;

    /// What belongs to one queue while it is bound.
    type Data: Send + Sync + 'static;

    /// The queues that the driver is for.
    const ID_TABLE: &'static dyn AnyIdTable;

    /// The attributes of a bound queue.
    type Attributes: sysfs::Attributes<Data = Self::Data>;

    /// Where [`Self::Shared`] is found.
    fn published() -> &'static Published<Self::Shared>;

    /// Takes over a queue. Nothing can fail after this has succeeded.
    fn probe(
        queue: &Queue<device::Core<'_>>,
        shared: ArcBorrow<'_, Self::Shared>,
        held: &mut Held<'_, Nothing>,
    ) -> Result<Self::Data>;

    /// Gives up a queue; its attributes are gone.
    fn unbind(queue: &Queue<device::Core<'_>>, data: Self::Data, held: &mut Held<'_, Nothing>);

    /// The driver was registered, and the queues that there are were offered to it.
    ///
    /// From here on, changes of the host's configuration are reported. What is known of it from
    /// before may be out of date.
    fn on_registered(shared: ArcBorrow<'_, Self::Shared>, held: &mut Held<'_, Nothing>);

    /// The driver is about to be unregistered: all its queues will be unbound, one by one. What
    /// takes its time can be done for all of them at once here.
    fn before_unregister(shared: ArcBorrow<'_, Self::Shared>, held: &mut Held<'_, Nothing>);

    /// An administrator wants to give the queues of `apm` x `aqm` to the default drivers: an error
    /// refuses that (the bus makes it [`EBUSY`]).
    ///
    /// Called with `ap_attr_mutex` held.
    fn in_use(
        shared: ArcBorrow<'_, Self::Shared>,
        apm: Mask,
        aqm: Mask,
        held: &mut Held<'_, AttrMutex>,
    ) -> Result;

    /// A scan found that the host's configuration is now `new`; queues have neither gone nor come
    /// yet.
    fn on_config_changed(
        shared: ArcBorrow<'_, Self::Shared>,
        new: Config,
        old: Config,
        held: &mut Held<'_, Nothing>,
    );

    /// The scan that found a change of the configuration is through: queues that are gone were
    /// unbound, and those that came were offered to the drivers.
    fn on_scan_complete(
        shared: ArcBorrow<'_, Self::Shared>,
        new: Config,
        old: Config,
        held: &mut Held<'_, Nothing>,
    );
}

/// Connects the callbacks of a `struct ap_driver` with a [`Driver`].
pub struct Adapter<T: Driver>(PhantomData<T>);

// SAFETY:
// - `bindings::ap_driver` is a C type declared as `repr(C)`.
// - `T::Data` is the type of the driver's device private data.
// - `struct ap_driver` embeds a `struct device_driver` at `DEVICE_DRIVER_OFFSET`.
unsafe impl<T: Driver> driver::DriverLayout for Adapter<T> {
    type DriverType = bindings::ap_driver;
    type DriverData<'bound> = T::Data;
    const DEVICE_DRIVER_OFFSET: usize = offset_of!(Self::DriverType, driver);
}

// SAFETY: `ap_driver_unregister()` undoes a successful `ap_driver_register()` of the same driver.
unsafe impl<T: Driver> driver::RegistrationOps for Adapter<T> {
    unsafe fn register(
        driver: &Opaque<Self::DriverType>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        // SAFETY: The driver is not registered yet, so nothing else accesses its fields.
        unsafe {
            let driver = driver.get();

            (*driver).probe = Some(Self::probe_callback);
            (*driver).remove = Some(Self::remove_callback);
            (*driver).in_use = Some(Self::in_use_callback);
            (*driver).on_config_changed = Some(Self::on_config_changed_callback);
            (*driver).on_scan_complete = Some(Self::on_scan_complete_callback);
            // The bus only reads the table.
            (*driver).ids = T::ID_TABLE.as_ptr().cast_mut();
            (*driver).driver.dev_groups = sysfs::groups::<T::Attributes>();
            (*driver).driver.mod_name = name.as_char_ptr();
        }

        // SAFETY: `driver` stays pinned until it is unregistered, and `name` is static; the bus
        // does not write to it.
        to_result(unsafe {
            bindings::ap_driver_register(
                driver.get(),
                module.as_ptr(),
                name.as_char_ptr().cast_mut(),
            )
        })?;

        // SAFETY: The shared state was published, and drivers are registered with no lock held, as
        // `probe` is called by that.
        let (shared, mut held) = unsafe { (Self::shared(), Held::assume()) };
        T::on_registered(shared, &mut held);
        Ok(())
    }

    unsafe fn unregister(driver: &Opaque<Self::DriverType>) {
        // SAFETY: The driver is still registered, and drivers are unregistered with no lock held,
        // as `remove` is called by that.
        let (shared, mut held) = unsafe { (Self::shared(), Held::assume()) };
        T::before_unregister(shared, &mut held);

        // SAFETY: By the contract of this function, `driver` is registered.
        unsafe { bindings::ap_driver_unregister(driver.get()) };
    }
}

impl<T: Driver> Adapter<T> {
    /// # Safety
    ///
    /// Must only be called while the driver is registered, as within a callback of the AP bus:
    /// [`Registration`] has published the shared state and keeps it then.
    unsafe fn shared<'a>() -> ArcBorrow<'a, T::Shared> {
        // SAFETY: See above; `ap_driver_unregister()` waits for running callbacks.
        unsafe { T::published().borrow() }
    }

    extern "C" fn probe_callback(dev: *mut bindings::ap_device) -> c_int {
        // SAFETY: The ID table matches queues only, so the bus passes the `ap_dev` of an
        // `ap_queue`, valid and locked for the duration of the call.
        let queue = unsafe {
            &*container_of!(dev, bindings::ap_queue, ap_dev)
                .cast::<Queue<device::CoreInternal<'_>>>()
        };
        // SAFETY: The bus calls `probe` without `ap_attr_mutex`.
        let mut held = unsafe { Held::assume() };

        from_result(|| {
            queue.as_ref().set_drvdata_with(|| {
                // SAFETY: This is a callback of the AP bus.
                T::probe(queue, unsafe { Self::shared() }, &mut held)
            })?;
            Ok(0)
        })
    }

    extern "C" fn remove_callback(dev: *mut bindings::ap_device) {
        // SAFETY: As in `probe_callback()`.
        let queue = unsafe {
            &*container_of!(dev, bindings::ap_queue, ap_dev)
                .cast::<Queue<device::CoreInternal<'_>>>()
        };
        // SAFETY: The bus calls `remove` without `ap_attr_mutex`.
        let mut held = unsafe { Held::assume() };

        // SAFETY: `remove` follows a successful `probe`, which has stored data of this type.
        if let Some(data) = unsafe { queue.as_ref().drvdata_take::<T::Data>() } {
            T::unbind(queue, data, &mut held);
        }
    }

    extern "C" fn in_use_callback(apm: *mut c_ulong, aqm: *mut c_ulong) -> c_int {
        // SAFETY: The bus passes bitmaps of `AP_DEVICES` and `AP_DOMAINS` bits.
        let (apm, aqm) = unsafe { (*apm.cast(), *aqm.cast()) };
        // SAFETY: The bus calls `in_use` with `ap_attr_mutex` held and none that comes after it.
        let mut held = unsafe { Held::assume() };

        from_result(|| {
            // SAFETY: This is a callback of the AP bus.
            let shared = unsafe { Self::shared() };
            T::in_use(
                shared,
                Mask::from_words(apm),
                Mask::from_words(aqm),
                &mut held,
            )?;
            Ok(0)
        })
    }

    extern "C" fn on_config_changed_callback(
        new: *mut bindings::ap_config_info,
        old: *mut bindings::ap_config_info,
    ) {
        // SAFETY: The bus passes two valid QCI blocks.
        let (new, old) = unsafe { (Config::from_raw(new), Config::from_raw(old)) };
        // SAFETY: The bus calls this without `ap_attr_mutex`.
        let mut held = unsafe { Held::assume() };

        // SAFETY: This is a callback of the AP bus.
        T::on_config_changed(unsafe { Self::shared() }, new, old, &mut held);
    }

    extern "C" fn on_scan_complete_callback(
        new: *mut bindings::ap_config_info,
        old: *mut bindings::ap_config_info,
    ) {
        // SAFETY: The bus passes two valid QCI blocks.
        let (new, old) = unsafe { (Config::from_raw(new), Config::from_raw(old)) };
        // SAFETY: The bus calls this without `ap_attr_mutex`.
        let mut held = unsafe { Held::assume() };

        // SAFETY: This is a callback of the AP bus.
        T::on_scan_complete(unsafe { Self::shared() }, new, old, &mut held);
    }
}

/// The registration of a [`Driver`] with the AP bus.
///
/// Registering binds the queues that are there and match; dropping it unbinds them and then takes
/// the shared state back.
#[pin_data]
pub struct Registration<T: Driver> {
    // Before `_publication`: what the callbacks use goes after the last callback.
    #[pin]
    _driver: driver::Registration<Adapter<T>>,
    _publication: Publication<T::Shared>,
}

impl<T: Driver> Registration<T> {
    /// Registers the driver under `name`, with `shared` as what belongs to it as a whole.
    ///
    /// Returns [`EBUSY`] if it is registered already.
    pub fn new<'a>(
        name: &'static CStr,
        module: &'static ThisModule,
        shared: &'a Arc<T::Shared>,
    ) -> impl PinInit<Self, Error> + 'a {
        try_pin_init!(Self {
            // Initialised first: callbacks come from within the driver's registration.
            _publication: T::published().publish(shared.clone())?,
            _driver <- driver::Registration::new(name, module),
        })
    }
}

#[macros::kunit_tests(rust_ap)]
mod tests {
    use super::*;

    /// The numbers of QCI count where APXA is installed only; the masks do always.
    #[test]
    fn highest_numbers() {
        const APXA: u32 = 0x4000_0000;

        for (flags, max_apid, max_apqi) in [(0, 63, 15), (!APXA, 63, 15), (APXA, 200, 100)] {
            let mut info = bindings::ap_config_info::default();
            info.__bindgen_anon_1.flags = flags;
            info.na = 200;
            info.nd = 100;
            info.apm[0] = 0x8000_0000;
            info.aqm[7] = 1;
            info.adm[1] = 0x8000_0000;

            // SAFETY: `info` is valid.
            let config = unsafe { Config::from_raw(&info) };
            assert_eq!(
                config,
                Config {
                    apm: Mask::single(0),
                    aqm: Mask::single(255),
                    adm: Mask::single(32),
                    max_apid,
                    max_apqi,
                }
            );
        }
    }
}
