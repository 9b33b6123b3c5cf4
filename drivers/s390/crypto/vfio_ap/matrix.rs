// SPDX-License-Identifier: GPL-2.0

//! A set of adapters, domains and control domains, and how it reads in sysfs.
//!
//! Values only: no locks, no I/O.

use kernel::{
    ap::{
        self,
        Apqn,
        Mask, //
    },
    fmt,
    prelude::*, //
};

/// Which of the three masks of a [`Matrix`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    Adapter,
    Domain,
    ControlDomain,
}

impl Axis {
    /// Returns the highest number that the machine can have.
    pub(crate) fn max(self, host: &ap::Config) -> u8 {
        match self {
            Self::Adapter => host.max_apid,
            Self::Domain | Self::ControlDomain => host.max_apqi,
        }
    }
}

/// The queues of some adapters and some domains: all of the product.
#[derive(Clone, Copy)]
pub(crate) struct Queues {
    pub(crate) apm: Mask,
    pub(crate) aqm: Mask,
}

impl Queues {
    /// All that there can be.
    pub(crate) const ALL: Self = Self {
        apm: Mask::ALL,
        aqm: Mask::ALL,
    };

    /// Returns one queue alone.
    pub(crate) fn one(apqn: Apqn) -> Self {
        Self {
            apm: Mask::single(apqn.apid),
            aqm: Mask::single(apqn.apqi),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.apm.is_empty() || self.aqm.is_empty()
    }
}

/// Adapters, domains and control domains; the queues are the product of the first two.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub(crate) apm: Mask,
    pub(crate) aqm: Mask,
    pub(crate) adm: Mask,
}

impl Matrix {
    /// Returns one mask, for changing it.
    pub(crate) fn axis_mut(&mut self, axis: Axis) -> &mut Mask {
        match axis {
            Axis::Adapter => &mut self.apm,
            Axis::Domain => &mut self.aqm,
            Axis::ControlDomain => &mut self.adm,
        }
    }

    /// Tells whether the queue is one of the product.
    pub(crate) fn contains(&self, apqn: Apqn) -> bool {
        self.apm.contains(apqn.apid) && self.aqm.contains(apqn.apqi)
    }

    /// Parses three masks, separated by commas and with one newline at the end, if any: adapters,
    /// domains and control domains.
    ///
    /// A mask is up to 64 hexadecimal digits from number 0 on, with or without `0x`; what is
    /// missing on the right is zero. Returns [`EINVAL`] for anything else.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let mut masks = text.split(|byte| *byte == b',');
        let mut next = || parse_mask(masks.next().ok_or(EINVAL)?);
        let matrix = Self {
            apm: next()?,
            aqm: next()?,
            adm: next()?,
        };

        match masks.next() {
            None => Ok(matrix),
            Some(_) => Err(EINVAL),
        }
    }

    /// Returns the queues.
    pub(crate) fn queues(&self) -> Queues {
        Queues {
            apm: self.apm,
            aqm: self.aqm,
        }
    }

    /// Returns the queues of this matrix that are not of the other one, as two products.
    #[inline(never)]
    pub(crate) fn queues_beyond(&self, other: &Self) -> [Queues; 2] {
        [
            Queues {
                apm: self.apm - other.apm,
                aqm: self.aqm,
            },
            Queues {
                apm: self.apm & other.apm,
                aqm: self.aqm - other.aqm,
            },
        ]
    }

    /// Returns the part that is among these adapters and domains.
    pub(crate) fn within(&self, room: &Queues) -> Self {
        Self {
            apm: self.apm & room.apm,
            aqm: self.aqm & room.aqm,
            adm: self.adm & room.aqm,
        }
    }

    /// Tells whether the machine can have all of the numbers.
    pub(crate) fn is_possible(&self, host: &ap::Config) -> bool {
        self.apm.is_subset(&Mask::up_to(host.max_apid))
            && (self.aqm | self.adm).is_subset(&Mask::up_to(host.max_apqi))
    }

    /// Reads from the list of queues, the text of the attributes `matrix` and `guest_matrix`.
    ///
    /// A line is `05.0047`; with adapters or domains only it is `05.` or `.0047`. All lines are of
    /// the same length, so a reader that comes back with an offset costs no more than one that
    /// takes all at once. Returns the number of bytes of `out` that were filled.
    #[inline(never)]
    pub(crate) fn read_queues(&self, offset: usize, out: &mut [u8]) -> usize {
        let (adapters, domains) = (self.apm.len(), self.aqm.len());
        let (width, lines) = match (adapters, domains) {
            (_, 0) => (4, adapters),
            (0, _) => (6, domains),
            _ => (8, adapters * domains),
        };
        let end = (lines * width).min(offset.saturating_add(out.len()));
        if offset >= end {
            return 0;
        }

        let per_adapter = domains.max(1);
        let line = offset / width;
        let (mut apids, mut apqis) = (self.apm.iter(), self.aqm.iter());
        let mut apid = apids.nth(line / per_adapter);
        let mut apqi = apqis.nth(line % per_adapter);
        let mut skip = offset % width;
        let mut left = &mut out[..end - offset];
        while !left.is_empty() {
            let mut text = [0; 8];
            let piece = &Self::line(&mut text, apid, apqi)[skip..];
            let len = piece.len().min(left.len());
            let (filled, rest) = left.split_at_mut(len);
            filled.copy_from_slice(&piece[..len]);
            left = rest;
            skip = 0;

            apqi = apqis.next();
            if apqi.is_none() {
                apid = apids.next();
                apqis = self.aqm.iter();
                apqi = apqis.next();
            }
        }
        end - offset
    }

    /// Writes one line of the list of queues.
    fn line(buf: &mut [u8; 8], apid: Option<u8>, apqi: Option<u8>) -> &[u8] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let hex = |n: u8| [DIGITS[usize::from(n >> 4)], DIGITS[usize::from(n & 15)]];
        let [a, b] = hex(apid.unwrap_or_default());
        let [c, d] = hex(apqi.unwrap_or_default());

        *buf = [a, b, b'.', b'0', b'0', c, d, b'\n'];
        match (apid, apqi) {
            (None, _) => &buf[2..],
            (_, None) => {
                buf[3] = b'\n';
                &buf[..4]
            }
            _ => buf,
        }
    }
}

#[inline(never)]
fn parse_mask(text: &[u8]) -> Result<Mask> {
    const DIGITS: usize = 16;

    let mut digits = text.strip_prefix(b"0x").unwrap_or(text);
    if digits.is_empty() || digits.len() > Mask::WORDS * DIGITS {
        return Err(EINVAL);
    }

    let mut words = [0; Mask::WORDS];
    for word in &mut words {
        let (first, rest) = digits.split_at(digits.len().min(DIGITS));
        for digit in first {
            let digit = char::from(*digit).to_digit(16).ok_or(EINVAL)?;
            *word = *word << 4 | u64::from(digit);
        }
        // CAST: At most 64.
        *word = word.unbounded_shl(4 * (DIGITS - first.len()) as u32);
        digits = rest;
    }
    Ok(Mask::from_words(words))
}

/// A mask as `ap_config` shows it: `0x` and 64 hexadecimal digits.
pub(crate) struct Hex(pub(crate) Mask);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        for word in self.0.words() {
            write!(f, "{word:016x}")?;
        }
        Ok(())
    }
}

/// What the host has is a matrix, too.
impl From<&ap::Config> for Matrix {
    fn from(config: &ap::Config) -> Self {
        Self {
            apm: config.apm,
            aqm: config.aqm,
            adm: config.adm,
        }
    }
}

#[kunit_tests(vfio_ap_matrix)]
mod tests {
    use super::*;

    /// The text, written plainly.
    fn plain(matrix: &Matrix) -> KVVec<u8> {
        struct Out(KVVec<u8>);

        impl fmt::Write for Out {
            fn write_str(&mut self, s: &str) -> fmt::Result {
                self.0
                    .extend_from_slice(s.as_bytes(), GFP_KERNEL)
                    .map_err(|_| fmt::Error)
            }
        }

        let mut out = Out(KVVec::new());
        let write = |out: &mut Out, args: fmt::Arguments<'_>| {
            assert!(fmt::Write::write_fmt(out, args).is_ok());
        };

        if matrix.aqm.is_empty() {
            for apid in matrix.apm.iter() {
                write(&mut out, fmt!("{apid:02x}.\n"));
            }
        } else if matrix.apm.is_empty() {
            for apqi in matrix.aqm.iter() {
                write(&mut out, fmt!(".{apqi:04x}\n"));
            }
        }
        for apid in matrix.apm.iter() {
            for apqi in matrix.aqm.iter() {
                write(&mut out, fmt!("{}\n", Apqn { apid, apqi }));
            }
        }
        out.0
    }

    fn check(matrix: &Matrix, piece: usize) {
        let expected = plain(matrix);
        let mut buf = [0; 64];
        let mut offset = 0;
        loop {
            let len = matrix.read_queues(offset, &mut buf[..piece]);
            assert!(len <= piece);
            if len == 0 {
                break;
            }
            assert_eq!(buf[..len], expected[offset..offset + len]);
            offset += len;
        }
        assert_eq!(offset, expected.len());
    }

    /// All shapes, read in pieces of several sizes, agree with the plain text.
    #[test]
    fn read_queues() {
        let some = Mask::from_words([0x8000_0000_0000_0001, 0, 1 << 40, 1]);
        for apm in [Mask::EMPTY, Mask::single(0), Mask::single(255), some] {
            for aqm in [Mask::EMPTY, Mask::single(7), some, Mask::up_to(9)] {
                let matrix = Matrix {
                    apm,
                    aqm,
                    adm: Mask::EMPTY,
                };
                for piece in [1, 2, 3, 5, 8, 13, 64] {
                    check(&matrix, piece);
                }
                assert_eq!(matrix.read_queues(usize::MAX, &mut [0; 8]), 0);
                assert_eq!(matrix.read_queues(0, &mut []), 0);
            }
        }
    }

    /// What is a configuration and what is not.
    #[test]
    fn parse() {
        let id = |id| Mask::single(id);
        for (text, apm, aqm, adm) in [
            (&b"0x8,0x01,0x0"[..], id(0), id(7), Mask::EMPTY),
            (b"8,4,2\n", id(0), id(1), id(2)),
            (
                b"0xF0,0x00000000000000008,0",
                Mask::up_to(3),
                id(64),
                Mask::EMPTY,
            ),
        ] {
            assert!(Matrix::parse(text).is_ok_and(|m| m == Matrix { apm, aqm, adm }));
        }

        let mut full = [b'f'; 65 + 4];
        full[65..].copy_from_slice(b",0,0");
        assert!(Matrix::parse(&full[1..]).is_ok_and(|m| m.apm == Mask::ALL));
        assert!(Matrix::parse(&full).is_err());
        for text in [
            &b""[..],
            b",,",
            b"0,0",
            b"0,0,",
            b"0,,0",
            b"0,0,0,",
            b"0,0,0,0",
            b"0,0,0\n\n",
            b"0,0,0 ",
            b" 0,0,0",
            b"0x,0,0",
            b"0x0x0,0,0",
            b"0X0,0,0",
            b"g,0,0",
            b"-1,0,0",
            b"0\n,0,0",
        ] {
            assert!(Matrix::parse(text).is_err());
        }
    }

    /// What is beyond is each queue of one matrix that the other does not have, once.
    #[test]
    fn queues_beyond() {
        let matrix = |apm: u64, aqm: u64| Matrix {
            apm: Mask::from_words([apm << 61, 0, 0, 0]),
            aqm: Mask::from_words([aqm << 61, 0, 0, 0]),
            adm: Mask::EMPTY,
        };
        for bits in 0..1 << 12 {
            let a = matrix(bits & 7, bits >> 3 & 7);
            let b = matrix(bits >> 6 & 7, bits >> 9 & 7);
            for apid in 0..3 {
                for apqi in 0..3 {
                    let apqn = Apqn { apid, apqi };
                    let times = a
                        .queues_beyond(&b)
                        .iter()
                        .filter(|q| q.apm.contains(apid) && q.aqm.contains(apqi))
                        .count();
                    let beyond = a.contains(apqn) && !b.contains(apqn);
                    assert_eq!(times, usize::from(beyond));
                }
            }
        }
    }

    /// The full matrix is complete: 65536 lines.
    #[test]
    fn full() {
        let matrix = Matrix {
            apm: Mask::ALL,
            aqm: Mask::ALL,
            adm: Mask::EMPTY,
        };
        let mut buf = [0; 16];
        assert_eq!(matrix.read_queues(65536 * 8 - 16, &mut buf), 16);
        assert_eq!(&buf, b"ff.00fe\nff.00ff\n");
        assert_eq!(matrix.read_queues(65536 * 8, &mut buf), 0);
    }
}
