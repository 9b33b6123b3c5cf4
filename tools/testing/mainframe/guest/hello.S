/* SPDX-License-Identifier: GPL-2.0 */
/* Write a line, and wait. */
	.include "guest.inc"
_start:
	larl	%r2,text
1:	llgc	%r3,0(%r2)
	ltgr	%r3,%r3
	jz	2f
	diag	%r3,%r0,0x700
	la	%r2,1(%r2)
	j	1b
2:	pass

text:	.asciz	"hello from a guest\n"
