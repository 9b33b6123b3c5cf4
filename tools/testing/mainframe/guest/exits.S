/* SPDX-License-Identifier: GPL-2.0 */
/*
 * 100,000 exits that the kernel of the host handles (STORE CPU ADDRESS).
 * Run under time(1) to see what one costs.
 */
	.include "guest.inc"
_start:
	lgfi	%r3,100000
	larl	%r2,scratch
1:	stap	0(%r2)
	brctg	%r3,1b
	pass

	.balign	8
scratch: .quad	0
