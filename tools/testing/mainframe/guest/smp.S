/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Two CPUs: start the second, have it count, stop it while it runs in a loop,
 * and have it woken by emergency signals.  Needs "-c 2".
 */
	.include "guest.inc"

	.set	PSW_EXT_WAIT, 0x0102000180000000
	.set	SIGNALS, 1000

	.set	SIGP_SENSE, 1
	.set	SIGP_EMERGENCY, 3
	.set	SIGP_STOP, 5
	.set	SIGP_RESTART, 6

	.macro	sigp_retry order
9:	sigp	%r4,%r5,\order
	jo	7f			/* not operational */
	jnz	9b			/* busy, or a status: as good */
	j	8f
7:	fail	0x70
8:
	.endm

_start:
	lghi	%r5,1
	newpsw	LC_RESTART_NEW, second
	sigp_retry SIGP_RESTART
	larl	%r2,count
1:	lg	%r3,0(%r2)
	clgfi	%r3,100000
	jl	1b

	/* stopped, its counter stands still */
	sigp	%r4,%r5,SIGP_STOP
2:	sigp	%r4,%r5,SIGP_SENSE
	jz	2b
	lg	%r3,0(%r2)
	lgfi	%r6,100000
3:	brctg	%r6,3b
	lghi	%r1,1
	cg	%r3,0(%r2)
	jgne	failed

	/* started again elsewhere, it counts signals */
	newpsw	LC_RESTART_NEW, signalled
	larl	%r2,signals
	sigp_retry SIGP_RESTART
	lghi	%r7,0
4:	lg	%r3,0(%r2)		/* as many as were sent */
	cgr	%r3,%r7
	jne	4b
	cghi	%r7,SIGNALS
	je	5f
	aghi	%r7,1
	sigp_retry SIGP_EMERGENCY
	j	4b
5:	pass

second:	larl	%r2,count
1:	agsi	0(%r2),1
	j	1b

signalled:
	larl	%r2,cr0_emergency
	lctlg	%c0,%c0,0(%r2)
	newpsw	LC_EXT_NEW, signal
	larl	%r2,ext_wait_psw
	lpswe	0(%r2)
signal:	lghi	%r1,2
	llgh	%r3,LC_EXT_CODE(%r0)
	clfi	%r3,0x1201
	jgne	failed
	larl	%r2,signals
	agsi	0(%r2),1
	larl	%r2,ext_wait_psw
	lpswe	0(%r2)

	.balign	16
ext_wait_psw: .quad PSW_EXT_WAIT, 0
cr0_emergency: .quad 0x4000
count:	.quad	0
signals: .quad	0
