// SPDX-License-Identifier: GPL-2.0

//! Resetting a queue, and what is known of whether it is clean.
//!
//! A queue that leaves a guest, or that was just bound, may hold keys of its former user, so its
//! reset is started at once. It is clean only when a reset that was asked for here has ended; only
//! then does it enter a guest. The machine below is stepped by whoever waits for it and by a work
//! item; it issues instructions but never waits, and it ends by itself after [`LIMIT`].

use kernel::{
    ap::{
        Apqn,
        Response,
        Status, //
    },
    prelude::*,
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

/// How long a reset may take before the queue counts as broken.
pub(crate) const LIMIT: Delta = Delta::from_millis(5000);

/// What is known of a queue.
#[derive(Clone, Copy)]
pub(crate) enum Reset {
    /// Reset since it was last used.
    Clean,
    /// To be reset, or being reset.
    Running(Run),
    /// The reset failed, with this response. The queue is kept from every guest.
    Failed(Response),
}

/// A reset that has not ended.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// Whether hardware has accepted our request; if not, it has to be repeated.
    accepted: bool,
    /// Whether the queue stays in its guest: a reset that the guest's user asked for.
    in_place: bool,
    /// Whether the queue stays in its guest and was clean before, so that all who had waited for a
    /// reset had got it.
    was_clean: bool,
    since: Instant<Monotonic>,
}

/// What a response says of a queue that is being reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// Done; for the request itself: accepted.
    Done,
    /// Not yet; look again.
    Wait,
    /// Ask again for the reset.
    Again,
    /// The queue cannot hold anything: its adapter is off, and comes back in a reset state.
    Off,
    /// No reset is possible.
    Broken,
}

/// What each response says, the same for the request and for the tests that follow it.
static ANSWERS: [Answer; 1 << u8::BITS] = {
    let mut answers = [Answer::Broken; 1 << u8::BITS];

    answers[Response::NORMAL.0 as usize] = Answer::Done;
    answers[Response::RESET_IN_PROGRESS.0 as usize] = Answer::Wait;
    answers[Response::BUSY.0 as usize] = Answer::Wait;
    answers[Response::STATE_CHANGE_IN_PROGRESS.0 as usize] = Answer::Wait;
    answers[Response::ASSOC_SECRET_NOT_UNIQUE.0 as usize] = Answer::Again;
    answers[Response::ASSOC_FAILED.0 as usize] = Answer::Again;
    answers[Response::DECONFIGURED.0 as usize] = Answer::Off;
    answers[Response::CHECKSTOPPED.0 as usize] = Answer::Off;
    answers
};

fn answer(response: Response) -> Answer {
    ANSWERS[usize::from(response.0)]
}

impl Run {
    /// Begins now; with `in_place`, the queue stays in its guest.
    pub(crate) fn new(in_place: bool) -> Self {
        Self {
            accepted: false,
            in_place,
            was_clean: in_place,
            since: Instant::now(),
        }
    }
}

impl Reset {
    /// Tells whether the queue may be in a guest.
    pub(crate) fn is_passable(&self) -> bool {
        matches!(
            self,
            Self::Clean | Self::Running(Run { in_place: true, .. })
        )
    }

    /// Starts a reset. One in place that is still under way serves for another one: since it began,
    /// hardware has refused whatever would have to be reset.
    pub(crate) fn start(&mut self, mut new: Run) {
        if new.in_place && !matches!(self, Self::Clean) {
            if matches!(self, Self::Running(Run { in_place: true, .. })) {
                return;
            }
            new.was_clean = false;
        }
        *self = Self::Running(new);
    }

    /// Tells whether those have to wait for this who asked for a reset at `asked` or before. Not if
    /// the queue was clean later, and is only being reset again.
    pub(crate) fn is_awaited(&self, asked: Instant<Monotonic>) -> bool {
        matches!(self, Self::Running(run) if !run.was_clean || (asked - run.since).as_nanos() >= 0)
    }

    /// Notes that the queue has accepted an instruction that it refuses while it is being reset.
    pub(crate) fn note_use(&mut self) {
        if let Self::Running(Run { accepted: true, .. }) = self {
            *self = Self::Clean;
        }
    }

    /// Tells whether there is something to be stepped.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    /// Goes on with a reset as far as that is possible without waiting, and returns the last status
    /// of the queue.
    pub(crate) fn step(&mut self, apqn: Apqn) -> Option<Status> {
        let Self::Running(mut run) = *self else {
            return None;
        };

        let status = loop {
            let asked = !run.accepted;
            let status = if asked { apqn.zeroize() } else { apqn.test() };

            match answer(status.response()) {
                Answer::Done if asked => {
                    run.accepted = true;
                    continue;
                }
                // A reset turns the interrupts off. If they are on, somebody has used the queue
                // since: its guest, or else it has to be reset again.
                Answer::Done if run.in_place || !status.irq_enabled() => {
                    *self = Self::Clean;
                    return Some(status);
                }
                Answer::Done | Answer::Again => run.accepted = false,
                Answer::Wait => {}
                Answer::Off => {
                    *self = Self::Clean;
                    return Some(status);
                }
                Answer::Broken => {
                    *self = Self::Failed(status.response());
                    return Some(status);
                }
            }
            break status;
        };

        *self = if (run.since.elapsed()).as_nanos() > LIMIT.as_nanos() {
            Self::Failed(status.response())
        } else {
            Self::Running(run)
        };
        Some(status)
    }
}

#[kunit_tests(vfio_ap_reset)]
mod tests {
    use super::*;

    /// Every response code has one meaning; only an accepted reset and an adapter that is off
    /// make a queue clean.
    #[test]
    fn answers() {
        for code in 0..=u8::MAX {
            let expected = match code {
                0x00 => Answer::Done,
                0x02 | 0x05 | 0x0a => Answer::Wait,
                0x35 | 0x36 => Answer::Again,
                0x03 | 0x04 => Answer::Off,
                _ => Answer::Broken,
            };
            assert_eq!(answer(Response(code)), expected);
        }
    }

    /// Only clean queues, and those that are reset in place, may be in a guest.
    #[test]
    fn passable() {
        assert!(Reset::Clean.is_passable());
        assert!(Reset::Running(Run::new(true)).is_passable());
        assert!(!Reset::Running(Run::new(false)).is_passable());
        assert!(!Reset::Failed(Response::BUSY).is_passable());
    }
}
