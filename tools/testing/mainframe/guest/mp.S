/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Four CPUs that change the same counters and, all at the same time, their
 * translation tables.  Needs "-c 4".
 */
	.include "guest.inc"

	.set	PSW_DAT, 0x0400000180000000
	.set	CPUS, 4
	.set	ROUNDS, 2000
	.set	TABLES, 0x80000		/* segment table, at 0x4000 a page table */
	.set	PAGES, 0x200000		/* two for each CPU, which hold their number */
	.set	VIRTUAL, 0x40000	/* and the one address that it sees them at */

	.set	SIGP_RESTART, 6

_start:
	/* virtual equals real in the first segment; the others are invalid */
	lgfi	%r4,TABLES
	lgfi	%r3,TABLES+0x4000
	stg	%r3,0(%r4)
	lghi	%r7,256
	lghi	%r8,0
1:	stg	%r8,0(%r3)
	la	%r3,8(%r3)
	aghi	%r8,0x1000
	brctg	%r7,1b
	lghi	%r7,511
	lghi	%r8,0x20
2:	la	%r4,8(%r4)
	stg	%r8,0(%r4)
	brctg	%r7,2b
	/* what the pages hold */
	lgfi	%r3,PAGES
	lghi	%r7,0
3:	stg	%r7,0(%r3)
	agfi	%r3,0x1000
	aghi	%r7,1
	cghi	%r7,2*CPUS
	jl	3b

	newpsw	LC_RESTART_NEW, work
	lghi	%r5,CPUS-1
4:	sigp	%r4,%r5,SIGP_RESTART
	jo	5f
	jnz	4b
	brctg	%r5,4b
	j	work
5:	fail	1

work:	larl	%r2,dat_psw
	larl	%r3,segments
	lctlg	%c1,%c1,0(%r3)
	lpswe	0(%r2)
working:
	/* %r9: CPU address, %r10: its page-table entry, %r11: its virtual address */
	/* STAP stores where another CPU may do as well: under a lock */
whoami:	larl	%r2,lock
	lhi	%r3,0
	lhi	%r4,1
	cs	%r3,%r4,0(%r2)
	jnz	whoami
	larl	%r3,scratch
	stap	0(%r3)
	llgh	%r9,0(%r3)
	lhi	%r3,0
	st	%r3,0(%r2)
	cghi	%r9,CPUS
	jnl	bad_address

	sllg	%r8,%r9,12
	agfi	%r8,VIRTUAL
	lgr	%r11,%r8
	srlg	%r8,%r8,9
	lgfi	%r10,TABLES+0x4000
	agr	%r10,%r8
	sllg	%r12,%r9,13		/* the first of its pages */
	agfi	%r12,PAGES
	sllg	%r13,%r9,1		/* what that holds */
	lghi	%r7,ROUNDS

round:	/* see one page, then the other */
	lgfi	%r5,TABLES+0x4000
	ipte	%r5,%r11
	stg	%r12,0(%r10)
	lghi	%r1,3
	cg	%r13,0(%r11)
	jgne	failed
	ipte	%r5,%r11
	agfi	%r12,0x1000
	stg	%r12,0(%r10)
	agfi	%r12,-0x1000
	aghi	%r13,1
	lghi	%r1,4
	cg	%r13,0(%r11)
	jgne	failed
	aghi	%r13,-1
	/* count, by COMPARE AND SWAP and by COMPARE AND SWAP AND PURGE */
	larl	%r2,counter
	lg	%r3,0(%r2)
6:	la	%r4,1(%r3)
	csg	%r3,%r4,0(%r2)
	jnz	6b
	larl	%r2,purged
	lgr	%r6,%r2
	oill	%r6,1
7:	l	%r4,0(%r2)
	lr	%r5,%r4
	ahi	%r5,1
	csp	%r4,%r6
	jnz	7b
	brctg	%r7,round

	larl	%r2,done
	lg	%r3,0(%r2)
8:	la	%r4,1(%r3)
	csg	%r3,%r4,0(%r2)
	jnz	8b
	ltgr	%r9,%r9
	jnz	9f
	/* the first CPU waits for the others, and looks at the sums */
10:	lg	%r3,0(%r2)
	cghi	%r3,CPUS
	jl	10b
	lghi	%r1,5
	larl	%r2,counter
	lg	%r3,0(%r2)
	cgfi	%r3,CPUS*ROUNDS
	jgne	failed
	lghi	%r1,6
	larl	%r2,purged
	lgf	%r3,0(%r2)
	cgfi	%r3,CPUS*ROUNDS
	jgne	failed
	pass
9:	j	9b

bad_address:
	fail	2

	.balign	16
dat_psw: .quad	PSW_DAT, working
segments: .quad	TABLES
counter: .quad	0
done:	.quad	0
scratch: .quad	0, 0
purged:	.long	0
lock:	.long	0
