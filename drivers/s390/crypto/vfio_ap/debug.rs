// SPDX-License-Identifier: GPL-2.0

//! What goes to the s390 debug feature, `/sys/kernel/debug/s390dbf/vfio_ap`: what a guest does that
//! is refused, of which the kernel log shall not hear.

use kernel::{
    ap::{
        Apqn,
        Response, //
    },
    prelude::*,
    s390dbf::{
        Debug,
        Format,
        Level, //
    }, //
};

/// The module's debug area.
pub(crate) struct DebugLog(Debug);

impl DebugLog {
    pub(crate) fn new() -> Result<Self> {
        Debug::register(c"vfio_ap", Level::Warning).map(Self)
    }

    /// A guest has issued PQAP(AQIC) with this NIB, and gets this response.
    pub(crate) fn aqic_refused(&self, apqn: Apqn, nib: u64, response: Response) {
        const REFUSED: Format<2> = Format::new(c"AQIC refused: apqn=%#04lx, response=%02lx\n");
        const INVALID: Format<2> = Format::new(c"AQIC with invalid NIB: apqn=%#04lx, nib=%#lx\n");
        let apqn = apqn.to_raw().into();

        if response == Response::INVALID_ADDRESS {
            self.0.event(Level::Warning, &INVALID, [apqn, nib]);
        } else {
            self.0
                .event(Level::Warning, &REFUSED, [apqn, response.0.into()]);
        }
    }
}
