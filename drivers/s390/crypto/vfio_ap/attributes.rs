// SPDX-License-Identifier: GPL-2.0

//! The attributes of a mediated device. Their names, modes, forms and errors are ABI.
//!
//! An attribute only translates between text and the state: what an operation does is in
//! `state.rs`.

use crate::{
    matrix::{
        Axis,
        Hex,
        Matrix, //
    },
    mdev::MediatedDevice,
    state::{
        Edit,
        File, //
    }, //
};
use kernel::{
    ap::Mask,
    device,
    prelude::*,
    sync::order::{
        Held,
        Nothing, //
    },
    sysfs, //
};

pub(crate) struct Attributes;

impl sysfs::Attributes for Attributes {
    type Data = MediatedDevice;

    const TEXT: sysfs::List<MediatedDevice> = {
        const TABLE: &sysfs::Table<sysfs::TextRef<MediatedDevice>, 10> = &sysfs::Table::new([
            sysfs::text::<AssignAdapter>(),
            sysfs::text::<UnassignAdapter>(),
            sysfs::text::<AssignDomain>(),
            sysfs::text::<UnassignDomain>(),
            sysfs::text::<AssignControlDomain>(),
            sysfs::text::<UnassignControlDomain>(),
            sysfs::text::<ApConfig>(),
            sysfs::text::<TryApConfig>(),
            sysfs::text::<ControlDomains>(),
            sysfs::text::<GuestControlDomains>(),
        ]);
        sysfs::List::new(TABLE)
    };

    const BINARY: sysfs::BinaryList<MediatedDevice> = {
        const TABLE: &sysfs::Table<sysfs::BinaryRef<MediatedDevice>, 3> = &sysfs::Table::new([
            sysfs::binary::<AssignedMatrix>(),
            sysfs::binary::<GuestMatrix>(),
            sysfs::binary::<Filtered>(),
        ]);
        sysfs::BinaryList::new(TABLE)
    };
}

/// Defines an attribute that assigns or unassigns what is written to it.
macro_rules! assignment {
    ($(#[$doc:meta])* $name:ident, $file:literal, $axis:ident, $assign:literal) => {
        $(#[$doc])*
        struct $name;

        #[vtable]
        impl sysfs::Attribute for $name {
            type Data = MediatedDevice;
            const NAME: &'static CStr = $file;

            fn store(
                mdev: &MediatedDevice,
                _dev: &device::Device,
                text: &CStr,
                held: &mut Held<'_, Nothing>,
            ) -> Result {
                change(mdev, Axis::$axis, $assign, text, held)
            }
        }
    };
}

fn change(
    mdev: &MediatedDevice,
    axis: Axis,
    assign: bool,
    text: &CStr,
    held: &mut Held<'_, Nothing>,
) -> Result {
    let number = sysfs::parse_number(text)?;
    let edit = Edit::One(axis, number, assign);

    mdev.state.reassign(mdev.id, &edit, true, held)
}

assignment!(
    /// `assign_adapter`
    AssignAdapter, c"assign_adapter", Adapter, true
);
assignment!(
    /// `unassign_adapter`
    UnassignAdapter, c"unassign_adapter", Adapter, false
);
assignment!(
    /// `assign_domain`
    AssignDomain, c"assign_domain", Domain, true
);
assignment!(
    /// `unassign_domain`
    UnassignDomain, c"unassign_domain", Domain, false
);
assignment!(
    /// `assign_control_domain`
    AssignControlDomain, c"assign_control_domain", ControlDomain, true
);
assignment!(
    /// `unassign_control_domain`
    UnassignControlDomain, c"unassign_control_domain", ControlDomain, false
);

/// `ap_config`: all that is assigned, as three masks.
struct ApConfig;

#[vtable]
impl sysfs::Attribute for ApConfig {
    type Data = MediatedDevice;
    const NAME: &'static CStr = File::ApConfig.name();

    fn show(
        mdev: &MediatedDevice,
        _dev: &device::Device,
        out: &mut sysfs::Text<'_>,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        let assigned = mdev.state.assigned(mdev.id, File::ApConfig, held)?;

        out.write_fmt(fmt!(
            "{},{},{}\n",
            Hex(assigned.apm),
            Hex(assigned.aqm),
            Hex(assigned.adm)
        ))
    }

    fn store(
        mdev: &MediatedDevice,
        _dev: &device::Device,
        text: &CStr,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        let edit = Edit::All(Matrix::parse(text.to_bytes())?);

        mdev.state.reassign(mdev.id, &edit, true, held)
    }
}

/// `try_ap_config`: what a write to `ap_config` would return, with nothing changed.
struct TryApConfig;

#[vtable]
impl sysfs::Attribute for TryApConfig {
    type Data = MediatedDevice;
    const NAME: &'static CStr = c"try_ap_config";

    fn store(
        mdev: &MediatedDevice,
        _dev: &device::Device,
        text: &CStr,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        let edit = Edit::All(Matrix::parse(text.to_bytes())?);

        mdev.state.reassign(mdev.id, &edit, false, held)
    }
}

/// `control_domains`: the control domains that were assigned.
struct ControlDomains;

#[vtable]
impl sysfs::Attribute for ControlDomains {
    type Data = MediatedDevice;
    const NAME: &'static CStr = File::ControlDomains.name();

    fn show(
        mdev: &MediatedDevice,
        _dev: &device::Device,
        out: &mut sysfs::Text<'_>,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        show_domains(
            mdev.state
                .assigned(mdev.id, File::ControlDomains, held)?
                .adm,
            out,
        )
    }
}

/// `guest_control_domains`: the control domains that a guest gets.
struct GuestControlDomains;

#[vtable]
impl sysfs::Attribute for GuestControlDomains {
    type Data = MediatedDevice;
    const NAME: &'static CStr = File::GuestControlDomains.name();

    fn show(
        mdev: &MediatedDevice,
        _dev: &device::Device,
        out: &mut sysfs::Text<'_>,
        held: &mut Held<'_, Nothing>,
    ) -> Result {
        show_domains(
            mdev.state
                .guest_matrix(mdev.id, File::GuestControlDomains, held)?
                .adm,
            out,
        )
    }
}

#[inline(never)]
fn show_domains(domains: Mask, out: &mut sysfs::Text<'_>) -> Result {
    for domain in domains.iter() {
        writeln!(out, "{domain:04x}")?;
    }
    Ok(())
}

/// `matrix`: the queues that were assigned.
struct AssignedMatrix;

impl sysfs::BinaryAttribute for AssignedMatrix {
    type Data = MediatedDevice;
    const NAME: &'static CStr = File::Matrix.name();

    fn read(
        mdev: &MediatedDevice,
        _dev: &device::Device,
        offset: usize,
        out: &mut [u8],
        held: &mut Held<'_, Nothing>,
    ) -> Result<usize> {
        let matrix = mdev.state.assigned(mdev.id, File::Matrix, held)?;

        Ok(matrix.read_queues(offset, out))
    }
}

/// `guest_matrix`: the queues that a guest gets.
struct GuestMatrix;

impl sysfs::BinaryAttribute for GuestMatrix {
    type Data = MediatedDevice;
    const NAME: &'static CStr = File::GuestMatrix.name();

    fn read(
        mdev: &MediatedDevice,
        _dev: &device::Device,
        offset: usize,
        out: &mut [u8],
        held: &mut Held<'_, Nothing>,
    ) -> Result<usize> {
        let matrix = mdev.state.guest_matrix(mdev.id, File::GuestMatrix, held)?;

        Ok(matrix.read_queues(offset, out))
    }
}

/// `filtered`: what of the matrix a guest does not get, and why.
struct Filtered;

impl sysfs::BinaryAttribute for Filtered {
    type Data = MediatedDevice;
    const NAME: &'static CStr = File::Filtered.name();

    fn read(
        mdev: &MediatedDevice,
        _dev: &device::Device,
        offset: usize,
        out: &mut [u8],
        held: &mut Held<'_, Nothing>,
    ) -> Result<usize> {
        let mut out = sysfs::Piece::new(offset, out);

        mdev.state.explain(mdev.id, held, &mut out)?;
        Ok(out.len())
    }
}
