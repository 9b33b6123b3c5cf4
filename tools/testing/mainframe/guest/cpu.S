/* SPDX-License-Identifier: GPL-2.0 */
/* One CPU: interruptions, interceptions, clocks and address translation. */
	.include "guest.inc"

	.set	PSW_PROBLEM, 0x0001000180000000
	.set	PSW_DAT, 0x0400000180000000
	.set	TABLES, 0x100000	/* segment table, then a page table */
	.set	PAGES, 0x200000		/* what virtual addresses 1 MiB and up mean */

_start:
	/* 1: SUPERVISOR CALL is presented without the host */
	newpsw	LC_SVC_NEW, 1f
0:	svc	0x42
	fail	1
1:	lghi	%r1,1
	llgh	%r2,LC_SVC_CODE(%r0)
	cghi	%r2,0x42
	jgne	failed
	llgh	%r2,LC_SVC_ILC(%r0)
	cghi	%r2,2
	jgne	failed
	larl	%r2,0b+2
	cg	%r2,LC_SVC_OLD+8(%r0)
	jgne	failed

	/* 2 to 6: program interruptions are presented by the host */
	pgm_begin
	.long 0x00000000
	pgm_end 2, 0x01
	larl	%r2,psw_problem
	larl	%r3,3f
	stg	%r3,8(%r2)
	pgm_begin
	lpswe	0(%r2)
	pgm_end 3, 0x02
	j	4f
3:	ssm	0(%r0)
4:	lgrl	%r2,beyond
	pgm_begin
	lg	%r3,0(%r2)
	pgm_end 4, 0x05
	pgm_begin
	lpswe	1(%r0)
	pgm_end 5, 0x06
	lghi	%r2,0
	lghi	%r3,0
	pgm_begin
	dr	%r2,%r0
	pgm_end 6, 0x09

	/* 7: the host emulates what EXECUTE executes; the PSW is right then */
	lghi	%r1,7
	larl	%r2,scratch
	larl	%r3,stap_insn
	mvhhi	0(%r2),-1
	ex	%r0,0(%r3)
	llgh	%r3,0(%r2)
	ltgr	%r3,%r3
	jgnz	failed
	mvhhi	0(%r2),-1
	exrl	%r0,stap_insn
	llgh	%r3,0(%r2)
	ltgr	%r3,%r3
	jgnz	failed

	/* 8: both facility lists agree in what is always there */
	lghi	%r1,8
	stfl	0(%r0)
	lghi	%r0,0
	stfle	0(%r2)
	l	%r3,0(%r2)
	nilf	%r3,0xf0ffffff
	l	%r4,LC_STFL(%r0)
	nilf	%r4,0xf0ffffff
	cr	%r3,%r4
	jgne	failed
	tm	0(%r2),0x60		/* z/Architecture */
	jgno	failed

	/* 9: clocks */
	lghi	%r1,9
	stck	0(%r2)
	stck	8(%r2)
	lg	%r3,0(%r2)
	clg	%r3,8(%r2)
	jgh	failed
	lghi	%r3,-1
	srlg	%r3,%r3,1
	stg	%r3,0(%r2)
	spt	0(%r2)
	stpt	8(%r2)
	lg	%r4,8(%r2)
	ltgr	%r4,%r4
	jgm	failed
	cgr	%r4,%r3
	jgh	failed
	lgrl	%r3,beyond
	stg	%r3,0(%r2)
	sckc	0(%r2)
	stckc	8(%r2)
	cg	%r3,8(%r2)
	jgne	failed

	/* 10: control registers */
	lghi	%r1,10
	stctg	%c0,%c15,0(%r15)
	lctlg	%c0,%c15,0(%r15)

	/*
	 * Virtual equals real in the first segment, and the pages of the second
	 * are those at PAGES.
	 */
	lgfi	%r4,TABLES
	lgfi	%r5,TABLES+0x4000
	lgfi	%r3,TABLES+0x6000
	stg	%r3,0(%r4)
	stg	%r5,8(%r4)
	lghi	%r6,0
	lghi	%r7,256
1:	sllg	%r8,%r6,12
	sllg	%r9,%r6,3
	stg	%r8,0(%r9,%r3)
	agfi	%r8,PAGES
	stg	%r8,0(%r9,%r5)
	aghi	%r6,1
	brctg	%r7,1b
	/* page 3 is protected, page 4 invalid, segment 2 and up also */
	oi	3*8+6(%r5),0x02
	oi	4*8+6(%r5),0x04
	lghi	%r6,0x20
	stg	%r6,16(%r4)
	stg	%r6,24(%r4)
	larl	%r2,scratch
	stg	%r4,0(%r2)
	lctlg	%c1,%c1,0(%r2)
	larl	%r2,dat_psw
	larl	%r3,2f
	stg	%r3,8(%r2)
	lpswe	0(%r2)

2:	/* 11: a store that can be seen by its real address */
	lghi	%r1,11
	lgfi	%r4,0x101000
	lgfi	%r3,0x12345678
	stg	%r3,0(%r4)
	lgfi	%r5,PAGES+0x1000
	lurag	%r6,%r5
	cgr	%r6,%r3
	jgne	failed
	lra	%r6,8(%r4)
	jgnz	failed
	lgfi	%r5,PAGES+0x1008
	cgr	%r6,%r5
	jgne	failed

	/* 12: protection, 13: invalid page, 14: invalid segment */
	lgfi	%r4,0x103000
	pgm_begin
	stg	%r3,8(%r4)
	pgm_end 12, 0x04
	brasl	%r14,dat_on
	lghi	%r1,12
	lg	%r5,LC_TEID(%r0)
	tmll	%r5,0x0004
	jgz	failed
	srlg	%r5,%r5,12
	cghi	%r5,0x103
	jgne	failed
	lgfi	%r4,0x104000
	pgm_begin
	lg	%r3,8(%r4)
	pgm_end 13, 0x11
	brasl	%r14,dat_on
	lghi	%r1,13
	lg	%r5,LC_TEID(%r0)
	srlg	%r5,%r5,12
	cghi	%r5,0x104
	jgne	failed
	lgfi	%r4,0x200000
	pgm_begin
	lg	%r3,8(%r4)
	pgm_end 14, 0x10
	brasl	%r14,dat_on

	/* 15: IPTE makes the next access fail */
	lgfi	%r4,0x105000
	lg	%r3,0(%r4)
	lgfi	%r5,TABLES+0x4000
	ipte	%r5,%r4
	pgm_begin
	lg	%r3,0(%r4)
	pgm_end 15, 0x11
	brasl	%r14,dat_on

	/* 16: CSP at work */
	lghi	%r1,16
	larl	%r2,scratch
	mvhi	0(%r2),7
	lghi	%r6,7
	lghi	%r7,8
	lgr	%r8,%r2
	oill	%r8,1
	csp	%r6,%r8
	jgnz	failed
	chsi	0(%r2),8
	jgne	failed

	/* 17: TEST PROTECTION asks the host, which knows the tables */
	lghi	%r1,17
	lgfi	%r4,0x101000
	tprot	0(%r4),0
	jgnz	failed
	lgfi	%r4,0x103000
	tprot	0(%r4),0
	ipm	%r3
	srl	%r3,28
	chi	%r3,1
	jgne	failed
	lgfi	%r4,0x104000
	tprot	0(%r4),0
	jgno	failed
	pass

	/* turn the translation on, after an interruption turned it off */
dat_on:	larl	%r2,dat_psw
	stg	%r14,8(%r2)
	lpswe	0(%r2)

	.balign	16
psw_problem: .quad PSW_PROBLEM, 0
dat_psw: .quad	PSW_DAT, 0
scratch: .quad	0, 0
beyond:	.quad	0x0000100000000000
stap_insn:
	stap	0(%r2)
