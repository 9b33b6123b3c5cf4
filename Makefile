# SPDX-License-Identifier: GPL-2.0
#
# The door for people; the work is in scripts/.

export IMPL KERNEL_SRC TESTS SCALES KEEP PROFILE SEQUENCE FAULT SEED

help:
	@echo 'make run        boot the emulated mainframe, configure vfio_ap, show it, clean up'
	@echo 'make demo       two guests of Linux compute on their queues; a card goes and comes back'
	@echo 'make test       KUnit and kselftests on the debug kernel, with the C and the Rust driver'
	@echo 'make mainframe-test  of these, the tests of the emulated mainframe alone'
	@echo 'make bench      what operations cost, in instructions, with both drivers'
	@echo 'make compare    the C and the Rust driver side by side: tests, faults, random sequences'
	@echo 'make check      rustfmt, clippy, rustdoc, checkpatch, symbols, the series'
	@echo 'make series     the work as patches for Linux, for git am or git send-email, in build/series/'
	@echo 'make shell      a console in the emulated mainframe'
	@echo 'make clean      remove what this checkout made (build/)'
	@echo 'make distclean  remove also what all checkouts share (toolchain, sources, objects)'
	@echo
	@echo 'IMPL=c or IMPL=rust  the driver to take (run, demo, shell: rust; test: both)'
	@echo 'TESTS="show reset"    of the kselftests, only these programs (test)'
	@echo 'SCALES="4x4 128x128" cards x domains (bench); KEEP=1 keeps the results, see Documentation/'
	@echo 'SEQUENCE= FAULT= SEED=  one sequence; what to make wrong; where to begin (compare)'
	@echo 'KERNEL_SRC=/path     a Linux 7.3 source tree to take instead of that of Debian'
	@echo 'VFIO_AP_CACHE=/path  where what is shared is kept'

run:
	@scripts/run demo

demo:
	@scripts/demo

shell:
	@scripts/run shell

test:
	@scripts/test

mainframe-test:
	@scripts/mainframe-test

compare:
	@scripts/compare

check:
	@scripts/check

bench:
	@scripts/bench

series:
	@scripts/series

clean:
	@scripts/clean

distclean:
	@scripts/clean all

.PHONY: help run demo shell test mainframe-test compare check bench series clean distclean
