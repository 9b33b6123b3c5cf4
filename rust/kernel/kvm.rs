// SPDX-License-Identifier: GPL-2.0

//! What a driver that gives AP queues to KVM guests needs of KVM for s390.
//!
//! A [`Kvm`] is a reference to a VM. Its AP masks (the CRYCB) are changed with `kvm->lock` held
//! ([`KvmGuard`]); intercepted PQAP instructions come to a [`Hook`], of which a VM has one at most;
//! interrupts for a guest go through a [`Gisc`]. What must never happen here is that something of a
//! guest outlives the reference to its VM.
//!
//! KVM is a module on most configurations: whatever refers to a symbol of it is generic or
//! `#[inline]`, so that it ends up in the driver's module.
//!
//! C headers: `include/linux/kvm_host.h`, `arch/s390/include/asm/kvm_host_s390.h`.

use crate::{
    ap,
    bindings,
    container_of,
    error::to_result,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        order::{
            After,
            Held,
            Level,
            Nothing, //
        }, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

/// `kvm->lock` in the lock order.
pub struct KvmLevel;

impl Level for KvmLevel {}
impl After<Nothing> for KvmLevel {}
impl After<ap::AttrMutex> for KvmLevel {}

/// `kvm->arch.crypto.pqap_hook_rwsem` in the lock order.
///
/// Changing the hook takes it for writing; the hook runs with it held for reading.
pub struct HookLevel;

impl Level for HookLevel {}
impl After<Nothing> for HookLevel {}
impl After<ap::AttrMutex> for HookLevel {}
impl After<KvmLevel> for HookLevel {}

/// A VM.
///
/// # Invariants
///
/// Represents a valid `struct kvm`, reference counted by KVM.
#[repr(transparent)]
pub struct Kvm(Opaque<bindings::kvm>);

// SAFETY: A VM is reference counted and can be released on any thread.
unsafe impl Send for Kvm {}

// SAFETY: What can be done with a shared `Kvm` takes the locks that it needs.
unsafe impl Sync for Kvm {}

// SAFETY: VMs are reference counted by `kvm_get_kvm()` and `kvm_put_kvm()`.
unsafe impl AlwaysRefCounted for Kvm {
    #[inline]
    fn inc_ref(&self) {
        // SAFETY: By the type invariant, the VM is valid.
        unsafe { bindings::kvm_get_kvm(self.0.get()) };
    }

    #[inline]
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives back a reference.
        unsafe { bindings::kvm_put_kvm(obj.cast().as_ptr()) };
    }
}

/// Returns the adapters and the domains that a CRYCB has room for, by its designation, if those are
/// not all.
#[inline]
fn room(crycbd: u32) -> Option<(ap::Mask, ap::Mask)> {
    if crycbd & bindings::CRYCB_FORMAT_MASK == bindings::CRYCB_FORMAT2 {
        None
    } else {
        Some((ap::Mask::up_to(63), ap::Mask::up_to(15)))
    }
}

impl Kvm {
    /// Borrows a VM from its C pointer.
    ///
    /// # Safety
    ///
    /// `kvm` must be valid, and referenced for `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(kvm: *mut bindings::kvm) -> &'a Self {
        // SAFETY: Guaranteed by the caller.
        unsafe { &*kvm.cast() }
    }

    /// Returns the adapters and the domains that the VM's CRYCB has room for, if those are not all.
    #[inline]
    pub fn crycb_room(&self) -> Option<(ap::Mask, ap::Mask)> {
        // SAFETY: By the type invariant, the VM is valid; `crycbd` is set when the VM is made.
        room(unsafe { (*self.0.get()).arch.crypto.crycbd })
    }

    /// Takes `kvm->lock`. Sleeps.
    #[inline]
    pub fn lock<'a, Outer: Level>(
        &'a self,
        held: &'a mut Held<'_, Outer>,
    ) -> (KvmGuard<'a>, Held<'a, KvmLevel>)
    where
        KvmLevel: After<Outer>,
    {
        // SAFETY: By the type invariant, the VM and the mutex in it are valid.
        unsafe { bindings::mutex_lock(&raw mut (*self.0.get()).lock) };
        (
            KvmGuard {
                kvm: self,
                _context: NotThreadSafe,
            },
            held.descend(),
        )
    }
}

/// `kvm->lock`, held.
pub struct KvmGuard<'a> {
    kvm: &'a Kvm,
    _context: NotThreadSafe,
}

impl KvmGuard<'_> {
    /// Sets the guest's adapters, domains and control domains. Stops all vCPUs for it.
    #[inline]
    pub fn set_masks(&self, apm: &ap::Mask, aqm: &ap::Mask, adm: &ap::Mask) {
        // CAST: A mask has the layout of its words; the function only reads them.
        let words = |mask: &ap::Mask| core::ptr::from_ref(mask).cast_mut().cast();

        // SAFETY: `kvm->lock` is held; the masks have 256 bits and are only read.
        // `kvm_s390_crypto_init()` has given the VM the CRYCB that they are written to.
        unsafe {
            bindings::kvm_arch_crypto_set_masks(
                self.kvm.0.get(),
                words(apm),
                words(aqm),
                words(adm),
            )
        };
    }
}

impl Drop for KvmGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `self` owns the mutex.
        unsafe { bindings::mutex_unlock(&raw mut (*self.kvm.0.get()).lock) };
    }
}

/// What a driver does with intercepted PQAP(AQIC) instructions.
pub trait PqapHandler: Send + Sync + 'static {
    /// A vCPU has issued PQAP(AQIC). Returns the status word for the guest, or `None` to have the
    /// instruction handled by user space.
    ///
    /// The VM stays, and with it the [`Hook`], until this returns.
    fn aqic(&self, vcpu: &Vcpu, held: &mut Held<'_, HookLevel>) -> Option<ap::Status>;
}

/// What KVM finds the handler by: KVM keeps a pointer to the function pointer.
#[repr(C)]
struct HookTarget<T: PqapHandler> {
    function: bindings::crypto_hook,
    handler: T,
}

/// A handler that is installed as the hook of a VM; removed when dropped.
///
/// Dropping waits for handlers that are running, which may take as long as the guest's memory takes
/// to be pinned. It must not be dropped while a lock is held that others wait for, or that the
/// handler takes.
pub struct Hook<T: PqapHandler> {
    kvm: ARef<Kvm>,
    // KVM has a pointer to it.
    _target: KBox<HookTarget<T>>,
}

impl<T: PqapHandler> Hook<T> {
    /// Installs `handler`.
    ///
    /// Returns [`EPERM`] if the VM has a hook already.
    pub fn install<Outer: Level>(kvm: &Kvm, handler: T, _held: &mut Held<'_, Outer>) -> Result<Self>
    where
        HookLevel: After<Outer>,
    {
        let mut target = KBox::new(
            HookTarget {
                function: Some(Self::callback),
                handler,
            },
            GFP_KERNEL,
        )?;
        let crypto = Self::crypto(kvm);

        // SAFETY: The VM is valid. The pointer to the target is removed in `drop()`, before the
        // target is freed.
        unsafe {
            bindings::down_write(&raw mut (*crypto).pqap_hook_rwsem);
            let taken = !(*crypto).pqap_hook.is_null();
            if !taken {
                (*crypto).pqap_hook = &raw mut target.function;
            }
            bindings::up_write(&raw mut (*crypto).pqap_hook_rwsem);
            if taken {
                return Err(EPERM);
            }
        }

        Ok(Self {
            kvm: kvm.into(),
            _target: target,
        })
    }

    /// Returns the VM.
    #[inline]
    pub fn kvm(&self) -> &Kvm {
        &self.kvm
    }

    fn crypto(kvm: &Kvm) -> *mut bindings::kvm_s390_crypto {
        // SAFETY: By the type invariant of `Kvm`, the pointer is valid.
        unsafe { &raw mut (*kvm.0.get()).arch.crypto }
    }

    extern "C" fn callback(vcpu: *mut bindings::kvm_vcpu) -> c_int {
        // SAFETY: KVM calls this with the hook's semaphore held for reading and has come here
        // through the pointer that `install()` left: the target cannot go before this returns.
        let target = unsafe {
            let crypto = Self::crypto(Kvm::from_raw((*vcpu).kvm));
            &*container_of!((*crypto).pqap_hook, HookTarget<T>, function)
        };
        // SAFETY: KVM passes the vCPU that the current thread runs.
        let vcpu = unsafe { &*vcpu.cast::<Vcpu>() };
        // SAFETY: The hook's semaphore is held, and nothing that comes after it.
        let mut held = unsafe { Held::assume() };

        match target.handler.aqic(vcpu, &mut held) {
            Some(status) => {
                vcpu.set_gpr(1, status.to_raw().into());
                0
            }
            None => EOPNOTSUPP.to_errno(),
        }
    }
}

impl<T: PqapHandler> Drop for Hook<T> {
    fn drop(&mut self) {
        let crypto = Self::crypto(&self.kvm);

        // SAFETY: The VM is valid. Taking the semaphore for writing waits for the handler, which
        // KVM calls with it held for reading; afterwards KVM does not know the target any more.
        unsafe {
            bindings::down_write(&raw mut (*crypto).pqap_hook_rwsem);
            (*crypto).pqap_hook = core::ptr::null_mut();
            bindings::up_write(&raw mut (*crypto).pqap_hook_rwsem);
        }
    }
}

/// The vCPU that the current thread runs, at the interception of an instruction.
///
/// # Invariants
///
/// Represents a valid `struct kvm_vcpu`, loaded on the current thread.
#[repr(transparent)]
pub struct Vcpu(Opaque<bindings::kvm_vcpu>, PhantomData<NotThreadSafe>);

impl Vcpu {
    /// Returns the VM.
    #[inline]
    pub fn kvm(&self) -> &Kvm {
        // SAFETY: By the type invariant, the vCPU is valid, and its VM with it.
        unsafe { Kvm::from_raw((*self.0.get()).kvm) }
    }

    /// Returns a general register of the guest.
    ///
    /// The VMM can change it at any time: what was checked must not be read again.
    #[inline]
    pub fn gpr(&self, number: usize) -> u64 {
        // SAFETY: By the type invariant, the vCPU is valid; its registers are in its run structure
        // as long as it is intercepted. That is mapped by user space, hence the volatile access.
        unsafe { (&raw const (*(*self.0.get()).run).s.regs.gprs[number]).read_volatile() }
    }

    fn set_gpr(&self, number: usize, value: u64) {
        // SAFETY: As in `gpr()`.
        unsafe { (&raw mut (*(*self.0.get()).run).s.regs.gprs[number]).write_volatile(value) };
    }

    /// Tells whether adapter interrupts can go to the guest without KVM's help (ECA.AIV).
    #[inline]
    pub fn has_aiv(&self) -> bool {
        // SAFETY: By the type invariant, the vCPU is valid and loaded.
        unsafe { bindings::kvm_s390_vcpu_aiv(self.0.get()) }
    }

    /// Tells whether the guest is a secure one.
    #[inline]
    pub fn is_protected(&self) -> bool {
        // SAFETY: By the type invariant, the vCPU is valid and loaded.
        unsafe { bindings::kvm_s390_pv_cpu_is_protected(self.0.get()) }
    }

    /// Tells whether an address is in the guest's memory.
    #[inline]
    pub fn is_guest_memory(&self, address: u64) -> bool {
        // SAFETY: By the type invariant, the vCPU is valid and loaded, so that its thread is in the
        // read-side critical section that looking at memory slots needs.
        unsafe { bindings::kvm_s390_is_gpa_in_memslot((*self.0.get()).kvm, address) }
    }
}

/// A guest interruption subclass, registered for alerts to the host; unregistered when dropped.
pub struct Gisc {
    kvm: ARef<Kvm>,
    gisc: u8,
    host_isc: u8,
}

impl Gisc {
    /// Registers the guest's subclass `gisc`, 0 to 7.
    ///
    /// Returns [`ENODEV`] if the guest has no GISA.
    #[inline]
    pub fn register(kvm: &Kvm, gisc: u8) -> Result<Self> {
        // SAFETY: The VM is valid.
        let ret = unsafe { bindings::kvm_s390_gisc_register(kvm.0.get(), gisc.into()) };

        to_result(ret)?;
        Ok(Self {
            kvm: kvm.into(),
            gisc,
            // CAST: A subclass, 0 to 7.
            host_isc: ret as u8,
        })
    }

    /// Returns general register 1 for PQAP(AQIC) that enables interrupts to this subclass.
    #[inline]
    pub fn aqic_control(&self) -> ap::AqicControl {
        // SAFETY: The VM is valid and has a GISA, or the subclass could not be registered.
        let gisa = unsafe { bindings::kvm_s390_gisa_address(self.kvm.0.get()) };

        ap::AqicControl::enable(self.gisc, self.host_isc, gisa)
    }
}

impl Drop for Gisc {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The VM is valid, and the subclass was registered in `register()`.
        unsafe { bindings::kvm_s390_gisc_unregister(self.kvm.0.get(), self.gisc.into()) };
    }
}

#[macros::kunit_tests(rust_kvm)]
mod tests {
    use super::*;

    /// The format is in the two rightmost bits, whatever the address.
    #[test]
    fn crycb_formats() {
        let small = Some((ap::Mask::up_to(63), ap::Mask::up_to(15)));

        for address in [0, 0x1000, 0x7fff_f000] {
            assert_eq!(room(address | bindings::CRYCB_FORMAT0), small);
            assert_eq!(room(address | bindings::CRYCB_FORMAT1), small);
            assert_eq!(room(address | bindings::CRYCB_FORMAT2), None);
        }
    }
}
