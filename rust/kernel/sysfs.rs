// SPDX-License-Identifier: GPL-2.0

//! Attributes of bound devices in sysfs.
//!
//! A driver implements [`Attribute`] (or [`BinaryAttribute`], for contents of more than a page)
//! once for each file and lists them in an [`Attributes`] implementation, which its bus abstraction
//! hands to the driver core. The driver core creates the files after a successful probe and removes
//! them before the driver is unbound, waiting for those who are in them; so an attribute always
//! finds the driver's data, and may take the locks that unbinding takes.
//!
//! C header: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)
//!
//! # Examples
//!
//! ```
//! use kernel::{
//!     device,
//!     prelude::*,
//!     sync::order::{Held, Nothing},
//!     sysfs,
//! };
//!
//! struct Kettle {
//!     litres: u32,
//! }
//!
//! struct Volume;
//!
//! #[vtable]
//! impl sysfs::Attribute for Volume {
//!     type Data = Kettle;
//!     const NAME: &'static CStr = c"volume";
//!
//!     fn show(
//!         kettle: &Kettle,
//!         _dev: &device::Device,
//!         out: &mut sysfs::Text<'_>,
//!         _held: &mut Held<'_, Nothing>,
//!     ) -> Result {
//!         writeln!(out, "{}", kettle.litres)?;
//!         Ok(())
//!     }
//! }
//!
//! struct KettleAttributes;
//!
//! impl sysfs::Attributes for KettleAttributes {
//!     type Data = Kettle;
//!     const TEXT: sysfs::List<Kettle> = {
//!         const TABLE: &sysfs::Table<sysfs::TextRef<Kettle>, 1> =
//!             &sysfs::Table::new([sysfs::text::<Volume>()]);
//!         sysfs::List::new(TABLE)
//!     };
//! }
//! ```

use crate::{
    bindings,
    container_of,
    device::{
        BoundInternal,
        Device,
        DeviceContext, //
    },
    error::to_result,
    fmt,
    page::PAGE_SIZE,
    prelude::*,
    sync::order::{
        Held,
        Nothing, //
    }, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

/// The page that a text attribute is shown in.
///
/// Write to it with [`writeln!`]; what does not fit is an error, never a silent cut.
pub struct Text<'a> {
    page: &'a mut [u8],
    len: usize,
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = self.len + s.len();
        self.page
            .get_mut(self.len..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl Text<'_> {
    /// Writes formatted text; makes [`write!`] and [`writeln!`] work without an import.
    pub fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> Result {
        fmt::Write::write_fmt(self, args).map_err(|_| EFBIG)
    }
}

/// A text attribute: one page at most, shown or stored as a whole.
///
/// Its mode follows from what is implemented: 0444, 0200 or 0644.
#[vtable]
pub trait Attribute: 'static {
    /// The type of the driver's data of the device.
    type Data: Send + Sync + 'static;

    /// The name of the file.
    const NAME: &'static CStr;

    /// Shows the value.
    fn show(
        _data: &Self::Data,
        _dev: &Device,
        _out: &mut Text<'_>,
        _held: &mut Held<'_, Nothing>,
    ) -> Result {
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }

    /// Stores the value; `text` is what was written, up to the first NUL.
    fn store(
        _data: &Self::Data,
        _dev: &Device,
        _text: &CStr,
        _held: &mut Held<'_, Nothing>,
    ) -> Result {
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }
}

/// An attribute of any size that is read piece by piece, mode 0444.
pub trait BinaryAttribute: 'static {
    /// The type of the driver's data of the device.
    type Data: Send + Sync + 'static;

    /// The name of the file.
    const NAME: &'static CStr;

    /// Reads from `offset`, returning how many bytes of `out` were filled; 0 is the end.
    fn read(
        data: &Self::Data,
        dev: &Device,
        offset: usize,
        out: &mut [u8],
        held: &mut Held<'_, Nothing>,
    ) -> Result<usize>;
}

/// The piece of a long text that the reader of a [`BinaryAttribute`] asks for.
///
/// The text is written from its beginning; only the piece is kept.
pub struct Piece<'a> {
    skip: usize,
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Piece<'a> {
    /// Starts a text of which the part from `offset` on goes to `out`.
    pub fn new(offset: usize, out: &'a mut [u8]) -> Self {
        Self {
            skip: offset,
            out,
            len: 0,
        }
    }

    /// Writes formatted text; makes [`write!`] and [`writeln!`] work without an import.
    pub fn write_fmt(&mut self, args: fmt::Arguments<'_>) {
        // A `Piece` takes any text, so there is no error.
        let _ = fmt::Write::write_fmt(self, args);
    }

    /// Returns how many bytes of `out` were filled.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tells whether the text has ended before the piece.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Write for Piece<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let skipped = self.skip.min(s.len());
        let rest = &s.as_bytes()[skipped..];
        let len = rest.len().min(self.out.len() - self.len);

        self.skip -= skipped;
        self.out[self.len..self.len + len].copy_from_slice(&rest[..len]);
        self.len += len;
        Ok(())
    }
}

/// The attributes of the devices that a driver is bound to.
pub trait Attributes: 'static {
    /// The type of the driver's data of the device.
    type Data: Send + Sync + 'static;

    /// The text attributes.
    const TEXT: List<Self::Data> = List::EMPTY;

    /// The binary attributes.
    const BINARY: BinaryList<Self::Data> = BinaryList::EMPTY;
}

/// The C structures of one [`Attribute`] or [`BinaryAttribute`].
struct Entry<A>(PhantomData<A>);

/// Runs `f` with the driver's data of a device.
///
/// # Safety
///
/// Must only be called from an attribute that a bus abstraction has registered through [`groups`]:
/// `dev` is valid and bound, and its driver's data is of type `D`.
unsafe fn with_data<D, R>(
    dev: *mut bindings::device,
    f: impl FnOnce(&D, &Device, &mut Held<'_, Nothing>) -> R,
) -> R {
    // SAFETY: By the contract of this function, the device is valid and bound.
    let dev: &Device<BoundInternal> = unsafe { Device::from_raw(dev) };
    // SAFETY: By the contract of this function, the data is there and of this type.
    let data = unsafe { dev.drvdata_borrow::<D>() };
    // SAFETY: sysfs calls with its own active reference only, which is no lock of any order.
    let mut held = unsafe { Held::assume() };

    f(&data, dev, &mut held)
}

impl<A: Attribute> Entry<A> {
    const ATTRIBUTE: bindings::device_attribute = {
        let mut attr: bindings::device_attribute = pin_init::zeroed();
        attr.attr.name = crate::str::as_char_ptr_in_const_context(A::NAME);
        if A::HAS_SHOW {
            attr.attr.mode |= 0o444;
            attr.__bindgen_anon_1.show = Some(Self::show);
        }
        if A::HAS_STORE {
            attr.attr.mode |= 0o200;
            attr.__bindgen_anon_2.store = Some(Self::store);
        }
        attr
    };

    extern "C" fn show(
        dev: *mut bindings::device,
        _attr: *mut bindings::device_attribute,
        buf: *mut c_char,
    ) -> isize {
        // SAFETY: This is an attribute registered through `groups()`, and sysfs passes a buffer of
        // one page.
        unsafe { show(dev, buf, A::show) }
    }

    extern "C" fn store(
        dev: *mut bindings::device,
        _attr: *mut bindings::device_attribute,
        buf: *const c_char,
        count: usize,
    ) -> isize {
        // SAFETY: This is an attribute registered through `groups()`, and sysfs ends what was
        // written with a NUL.
        unsafe { store(dev, buf, count, A::store) }
    }
}

/// Shows an attribute by its [`Attribute::show`]. All attributes of a driver share this.
///
/// # Safety
///
/// As for [`with_data`]; and `buf` must be a buffer of one page.
unsafe fn show<D>(
    dev: *mut bindings::device,
    buf: *mut c_char,
    show: fn(&D, &Device, &mut Text<'_>, &mut Held<'_, Nothing>) -> Result,
) -> isize {
    // SAFETY: By the contract of this function.
    let page = unsafe { core::slice::from_raw_parts_mut(buf.cast(), PAGE_SIZE) };
    let mut out = Text { page, len: 0 };

    // SAFETY: By the contract of this function.
    match unsafe { with_data(dev, |data, dev, held| show(data, dev, &mut out, held)) } {
        Ok(()) => out.len as isize,
        Err(e) => e.to_errno() as isize,
    }
}

/// Stores an attribute by its [`Attribute::store`]. All attributes of a driver share this.
///
/// # Safety
///
/// As for [`with_data`]; and `buf` must hold a string that ends with a NUL.
unsafe fn store<D>(
    dev: *mut bindings::device,
    buf: *const c_char,
    count: usize,
    store: fn(&D, &Device, &CStr, &mut Held<'_, Nothing>) -> Result,
) -> isize {
    // SAFETY: By the contract of this function.
    let text = unsafe { CStr::from_char_ptr(buf) };

    // SAFETY: By the contract of this function.
    match unsafe { with_data(dev, |data, dev, held| store(data, dev, text, held)) } {
        Ok(()) => count as isize,
        Err(e) => e.to_errno() as isize,
    }
}

struct BinaryEntry<A>(PhantomData<A>);

impl<A: BinaryAttribute> BinaryEntry<A> {
    const ATTRIBUTE: bindings::bin_attribute = {
        let mut attr: bindings::bin_attribute = pin_init::zeroed();
        attr.attr.name = crate::str::as_char_ptr_in_const_context(A::NAME);
        attr.attr.mode = 0o444;
        attr.read = Some(Self::read);
        attr
    };

    extern "C" fn read(
        _file: *mut bindings::file,
        kobj: *mut bindings::kobject,
        _attr: *const bindings::bin_attribute,
        buf: *mut c_char,
        offset: bindings::loff_t,
        count: usize,
    ) -> isize {
        let Ok(offset) = usize::try_from(offset) else {
            return EINVAL.to_errno() as isize;
        };
        // SAFETY: The attribute belongs to a device, whose `kobj` this is.
        let dev = unsafe { container_of!(kobj, bindings::device, kobj) };
        // SAFETY: sysfs passes a buffer of `count` bytes.
        let out = unsafe { core::slice::from_raw_parts_mut(buf.cast(), count) };

        // SAFETY: This is an attribute registered through `groups()`.
        match unsafe { with_data(dev, |data, dev, held| A::read(data, dev, offset, out, held)) } {
            Ok(len) => len.min(count) as isize,
            Err(e) => e.to_errno() as isize,
        }
    }
}

/// A text attribute of devices whose driver's data is `D`.
#[repr(transparent)]
pub struct TextRef<D>(*const bindings::attribute, PhantomData<fn(D)>);

/// Names a text attribute for a [`Table`].
pub const fn text<A: Attribute>() -> TextRef<A::Data> {
    TextRef(&raw const Entry::<A>::STATIC.attr, PhantomData)
}

impl<A: Attribute> Entry<A> {
    const STATIC: &'static bindings::device_attribute = &Self::ATTRIBUTE;
}

/// A binary attribute of devices whose driver's data is `D`.
#[repr(transparent)]
pub struct BinaryRef<D>(*const bindings::bin_attribute, PhantomData<fn(D)>);

/// Names a binary attribute for a [`Table`].
pub const fn binary<A: BinaryAttribute>() -> BinaryRef<A::Data> {
    BinaryRef(BinaryEntry::<A>::STATIC, PhantomData)
}

impl<A: BinaryAttribute> BinaryEntry<A> {
    const STATIC: &'static bindings::bin_attribute = &Self::ATTRIBUTE;
}

/// References to attributes, ended as C code expects it.
#[repr(C)]
pub struct Table<R, const N: usize> {
    refs: [R; N],
    end: *const c_void,
}

impl<R, const N: usize> Table<R, N> {
    /// Makes a table; the C code sees the attributes in this order.
    pub const fn new(refs: [R; N]) -> Self {
        Self {
            refs,
            end: core::ptr::null(),
        }
    }
}

/// The text attributes of devices whose driver's data is `D`.
pub struct List<D>(*const *mut bindings::attribute, PhantomData<fn(D)>);

impl<D> List<D> {
    /// No attributes.
    pub const EMPTY: Self = Self(core::ptr::null(), PhantomData);

    /// Makes a list of a table.
    pub const fn new<const N: usize>(table: &'static Table<TextRef<D>, N>) -> Self {
        // CAST: `TextRef` is a transparent pointer, and `Table` ends with a NULL pointer. The C
        // code takes the attributes as mutable but does not write to them.
        Self(core::ptr::from_ref(table).cast(), PhantomData)
    }
}

/// The binary attributes of devices whose driver's data is `D`.
pub struct BinaryList<D>(*const *const bindings::bin_attribute, PhantomData<fn(D)>);

impl<D> BinaryList<D> {
    /// No attributes.
    pub const EMPTY: Self = Self(core::ptr::null(), PhantomData);

    /// Makes a list of a table.
    pub const fn new<const N: usize>(table: &'static Table<BinaryRef<D>, N>) -> Self {
        // CAST: `BinaryRef` is a transparent pointer, and `Table` ends with a NULL pointer.
        Self(core::ptr::from_ref(table).cast(), PhantomData)
    }
}

struct Groups<A>(PhantomData<A>);

impl<A: Attributes> Groups<A> {
    const GROUP: &'static bindings::attribute_group = &{
        let mut group: bindings::attribute_group = pin_init::zeroed();
        group.__bindgen_anon_2.attrs = A::TEXT.0.cast_mut();
        group.bin_attrs = A::BINARY.0;
        group
    };

    const GROUPS: &'static [*const bindings::attribute_group; 2] =
        &[Self::GROUP, core::ptr::null()];
}

/// Returns the attributes in the form of `struct device_driver::dev_groups`.
///
/// The driver that they are given to must store data of type `A::Data` with
/// `Device::set_drvdata()` in its probe callback: bus abstractions see to that.
pub(crate) const fn groups<A: Attributes>() -> *const *const bindings::attribute_group {
    Groups::<A>::GROUPS.as_ptr()
}

/// The file of an attribute, for telling those who poll it that it has changed.
///
/// Who polls a file has read it, to know what may change: so a file that nobody ever read costs
/// nothing.
///
/// # Invariants
///
/// The pointer, if there is one, owns a reference to a file.
#[derive(Default)]
pub struct AttributeFile(Option<NonNull<bindings::kernfs_node>>);

// SAFETY: A `struct kernfs_node` is reference counted, and may be used and given back anywhere.
unsafe impl Send for AttributeFile {}

impl AttributeFile {
    /// Makes one that was not looked for yet.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Notes that the attribute `name` of `dev` is being read: its reader may poll it from here on.
    ///
    /// To be called with the same device and name each time, before the value is looked at and with
    /// the lock held that [`Self::notify`] is called with.
    pub fn read<Ctx: DeviceContext>(&mut self, dev: &Device<Ctx>, name: &CStr) {
        if self.0.is_none() {
            // SAFETY: The device is valid, and so is its directory while it has one.
            self.0 = unsafe {
                NonNull::new((*dev.as_raw()).kobj.sd).and_then(|dir| {
                    NonNull::new(bindings::kernfs_find_and_get_ns(
                        dir.as_ptr(),
                        name.as_char_ptr(),
                        core::ptr::null(),
                    ))
                })
            };
        }
    }

    /// Tells whether there is anybody to be told.
    #[inline]
    pub fn is_read(&self) -> bool {
        self.0.is_some()
    }

    /// Tells those who poll the attribute that it has changed.
    #[inline]
    pub fn notify(&self) {
        if let Some(file) = self.0 {
            // SAFETY: By the type invariant, the file is valid; one that was removed may be told.
            unsafe { bindings::kernfs_notify(file.as_ptr()) };
        }
    }
}

impl Drop for AttributeFile {
    fn drop(&mut self) {
        if let Some(file) = self.0 {
            // SAFETY: By the type invariant, `self` owns a reference.
            unsafe { bindings::kernfs_put(file.as_ptr()) };
        }
    }
}

/// Parses a number as C attributes do with `kstrtoul(buf, 0, ...)`: decimal, `0x` hexadecimal or
/// `0` octal, an optional `+`, and one newline at the end that is ignored.
///
/// Returns [`EINVAL`] for anything else and [`ERANGE`] for what has more than 64 bits.
pub fn parse_number(text: &CStr) -> Result<u64> {
    let mut number: c_ulonglong = 0;

    // SAFETY: `text` ends with a NUL, and `number` is writable.
    to_result(unsafe { bindings::kstrtoull(text.as_char_ptr(), 0, &mut number) })?;
    Ok(number)
}

#[macros::kunit_tests(rust_sysfs)]
mod tests {
    use super::*;

    /// A text in pieces is the text.
    #[test]
    fn pieces() {
        let whole = b"one, two, three\n";
        for size in 1..=whole.len() + 1 {
            let mut offset = 0;
            let mut buf = [0; 32];
            loop {
                let mut piece = Piece::new(offset, &mut buf[..size]);
                piece.write_fmt(fmt!("one, {}, ", "two"));
                piece.write_fmt(fmt!("three\n"));
                let len = piece.len();
                if piece.is_empty() {
                    break;
                }
                assert_eq!(buf[..len], whole[offset..offset + len]);
                offset += len;
            }
            assert_eq!(offset, whole.len());
        }
    }

    /// All forms of numbers that there are, and what is no number.
    #[test]
    fn parse() {
        for (text, number) in [
            (c"0", 0),
            (c"255\n", 255),
            (c"+7", 7),
            (c"0xFf", 255),
            (c"0X10\n", 16),
            (c"017", 15),
            (c"18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_number(text), Ok(number));
        }
        for text in [
            c"", c"\n", c" 1", c"1 ", c"1\n\n", c"-1", c"0x", c"08", c"1a", c"0b1", c"0o7",
        ] {
            assert_eq!(parse_number(text), Err(EINVAL));
        }
        assert_eq!(parse_number(c"18446744073709551616"), Err(ERANGE));
    }
}
