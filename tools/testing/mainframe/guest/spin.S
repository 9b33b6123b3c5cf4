/* SPDX-License-Identifier: GPL-2.0 */
/* A loop with interruptions disabled, for the host to end. */
	.include "guest.inc"
_start:
	j	_start
