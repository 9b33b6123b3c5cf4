/* SPDX-License-Identifier: GPL-2.0 */
/* The clock comparator and the CPU timer: in a loop, and in a wait. */
	.include "guest.inc"

	.set	PSW_EXT, 0x0100000180000000
	.set	PSW_EXT_WAIT, 0x0102000180000000
	.set	MILLISECOND, 4096000

	/* \code must interrupt what the PSW at \psw does */
	.macro	expect_ext n, code, psw, label
	newpsw	LC_EXT_NEW, 8f
	larl	%r2,\psw
	larl	%r3,\label
	stg	%r3,8(%r2)
	lpswe	0(%r2)
8:	lghi	%r1,\n
	llgh	%r2,LC_EXT_CODE(%r0)
	clfi	%r2,\code
	jgne	failed
	.endm

	/* the clock comparator in a while */
	.macro	set_ckc
	larl	%r2,scratch
	stckf	0(%r2)
	lg	%r3,0(%r2)
	agfi	%r3,5*MILLISECOND
	stg	%r3,0(%r2)
	sckc	0(%r2)
	.endm

	.macro	set_cpu_timer
	larl	%r2,scratch
	lgfi	%r3,5*MILLISECOND
	stg	%r3,0(%r2)
	spt	0(%r2)
	.endm

_start:
	/* clock comparator, which must not be early */
	larl	%r2,cr0_ckc
	lctlg	%c0,%c0,0(%r2)
	set_ckc
	expect_ext 1, 0x1004, ext_psw, loop
	lghi	%r1,2
	larl	%r2,scratch
	lg	%r3,0(%r2)
	stckf	0(%r2)
	clg	%r3,0(%r2)
	jgh	failed
	set_ckc
	expect_ext 3, 0x1004, ext_wait_psw, loop

	larl	%r2,cr0_cpu_timer
	lctlg	%c0,%c0,0(%r2)
	set_cpu_timer
	expect_ext 4, 0x1005, ext_psw, loop
	set_cpu_timer
	expect_ext 5, 0x1005, ext_wait_psw, loop

	/* long due, then enabled by LCTLG, by STOSM and by SSM */
	larl	%r2,scratch
	mvghi	0(%r2),0
	sckc	0(%r2)
	newpsw	LC_EXT_NEW, 1f
	stosm	0(%r2),0x01
	larl	%r2,cr0_ckc
	lctlg	%c0,%c0,0(%r2)
	fail	6
1:	newpsw	LC_EXT_NEW, 2f
	larl	%r2,scratch
	stosm	0(%r2),0x01
	fail	7
2:	newpsw	LC_EXT_NEW, 3f
	larl	%r2,scratch
	mvi	0(%r2),0x01
	ssm	0(%r2)
	fail	8
3:	pass

loop:	j	loop

	.balign	16
ext_psw: .quad	PSW_EXT, 0
ext_wait_psw: .quad PSW_EXT_WAIT, 0
cr0_ckc: .quad	0x800
cr0_cpu_timer: .quad 0x400
scratch: .quad	0
