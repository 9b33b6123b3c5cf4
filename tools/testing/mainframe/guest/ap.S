/* SPDX-License-Identifier: GPL-2.0 */
/*
 * AP instructions of a guest that has one queue, 0b.000e: what it has, what it has
 * not, and the queue's interrupt, which the host sets up and the machine delivers.
 */
	.include "guest.inc"

	.set	QUEUE, 0x0b0e
	.set	OTHER_DOMAIN, 0x0b04	/* they are there, but the host's */
	.set	OTHER_CARD, 0x030e

	.set	RAPQ, 0x01000000
	.set	ZAPQ, 0x02000000
	.set	AQIC, 0x03000000
	.set	QCI, 0x04000000
	.set	LAST, 0x40000000	/* NQAP: all of the message */
	.set	FIRST, 0x80000000	/* DQAP: from its beginning */
	.set	IR, 0x0000800000000000	/* AQIC: enable */

	.set	ISC, 3
	.set	NIB, 0x30000
	.set	REPLY, 0x32000
	.set	PSMID, 0x1234

	.set	LC_IO_WORD, 0xc0
	.set	LC_IO_NEW, 0x1f0
	.set	PSW_PROBLEM, 0x0001000180000000
	.set	PSW_IO_WAIT, 0x0202000180000000
	.set	PSW_IO, 0x0200000180000000

	/* The response code must be this. */
	.macro	response n, rc
	lgr	%r3,%r1
	lghi	%r1,\n
	srlg	%r3,%r3,16
	nilf	%r3,0xff
	cghi	%r3,\rc
	jgne	failed
	.endm

	/* GR1 and GR2 are what the caller has set */
	.macro	pqap n, function, queue, rc
	lgfi	%r0,\function + \queue
	.insn	rre,0xb2af0000,%r0,%r0
	response \n, \rc
	.endm

	/* queue empty: 02 is a reset that takes its time */
	.macro	pqap_when_ready n, function, queue, rc
7:	lgfi	%r0,\function + \queue
	lghi	%r1,0
	lghi	%r2,0
	.insn	rre,0xb2af0000,%r0,%r0
	srlg	%r3,%r1,16
	nilf	%r3,0xff
	cghi	%r3,2
	je	7b
	response \n, \rc
	.endm

	.macro	nqap n, queue, rc
	llilf	%r0,LAST + \queue
	lghi	%r4,0
	lghi	%r5,PSMID
	larl	%r6,request
	lghi	%r7,request_end - request
	.insn	rre,0xb2ad0000,%r4,%r6
	response \n, \rc
	.endm

	.macro	dqap n, queue, rc
	llilf	%r0,FIRST + \queue
	lgfi	%r6,REPLY
	lghi	%r7,4096
	.insn	rre,0xb2ae0000,%r4,%r6
	response \n, \rc
	.endm

	.macro	aqic_on n, queue, rc
	llihf	%r1,IR >> 32
	oill	%r1,ISC
	lgfi	%r2,NIB
	pqap	\n, AQIC, \queue, \rc
	.endm

_start:
	/* 1 to 9: what it has, and what not */
	lghi	%r1,0
	lghi	%r2,0
	pqap_when_ready 1, 0, QUEUE, 0
	pqap	2, 0, OTHER_DOMAIN, 1
	pqap	3, 0, OTHER_CARD, 1
	pqap	4, RAPQ, OTHER_DOMAIN, 1
	pqap	5, ZAPQ, OTHER_CARD, 1
	nqap	6, OTHER_CARD, 1
	dqap	7, OTHER_DOMAIN, 1
	aqic_on	8, OTHER_DOMAIN, 1
	lgfi	%r2,REPLY
	pqap	9, QCI, 0, 0
	lgfi	%r2,REPLY
	lghi	%r1,10
	llgf	%r3,16(%r2)
	clfi	%r3,0x80000000 >> 0x0b
	jgne	failed
	llgf	%r3,48(%r2)
	clfi	%r3,0x80000000 >> 0x0e
	jgne	failed
	larl	%r3,zeros
	clc	20(28,%r2),0(%r3)
	jgne	failed
	clc	52(28,%r2),0(%r3)
	jgne	failed

	/* 11: no AP instructions in the problem state */
	larl	%r2,psw_problem
	larl	%r3,1f
	stg	%r3,8(%r2)
	pgm_begin
	lpswe	0(%r2)
1:	.insn	rre,0xb2af0000,%r0,%r0
	pgm_end	11, 0x02

	/* 12: a request and its reply, without interrupts */
	nqap	12, QUEUE, 0
2:	lgfi	%r3,100000
	brctg	%r3,.
	llilf	%r0,FIRST + QUEUE
	lgfi	%r6,REPLY
	lghi	%r7,4096
	.insn	rre,0xb2ae0000,%r4,%r6
	jnz	2b
	brasl	%r14,check_reply

	/* 13 to 16: with an interrupt, in a wait */
	aqic_on	13, QUEUE, 0
	larl	%r2,cr6
	lctlg	%c6,%c6,0(%r2)
	larl	%r10,io_wait_psw
	brasl	%r14,with_interrupt
	/* the same in a loop */
	larl	%r10,io_psw
	brasl	%r14,with_interrupt

	/* 17: it is enabled, says TAPQ; not after it was disabled */
	pqap_when_ready 17, 0, QUEUE, 0
	lghi	%r1,0
	lghi	%r2,0
	pqap	18, AQIC, QUEUE, 0
	lgfi	%r2,NIB
	mvi	0(%r2),0
	nqap	19, QUEUE, 0
	lgfi	%r3,1000000
	brctg	%r3,.
	lghi	%r1,20
	lgfi	%r2,NIB
	cli	0(%r2),0
	jgne	failed

	/* 21: a reset empties the queue */
	lghi	%r1,0
	lghi	%r2,0
	pqap	21, ZAPQ, QUEUE, 0
	pqap_when_ready 22, 0, QUEUE, 0
	dqap	23, QUEUE, 0x10
	pass

with_interrupt:
	larl	%r2,return
	stg	%r14,0(%r2)
	newpsw	LC_IO_NEW, 3f
	lgfi	%r2,NIB
	mvi	0(%r2),0
	nqap	14, QUEUE, 0
	larl	%r3,loop
	stg	%r3,8(%r10)
	lpswe	0(%r10)
3:	lghi	%r1,15
	llgf	%r3,LC_IO_WORD(%r0)
	clfi	%r3,0x80000000 + (ISC << 27)
	jgne	failed
	lgfi	%r2,NIB
	cli	0(%r2),1
	jgne	failed
	dqap	16, QUEUE, 0
	lgrl	%r14,return
check_reply:
	lghi	%r1,24
	lgfi	%r2,REPLY
	cghi	%r5,PSMID
	jgne	failed
	larl	%r3,reply_header
	clc	0(4,%r2),0(%r3)
	jgne	failed
	larl	%r3,message
	clc	16(128,%r2),0(%r3)
	jgne	failed
	br	%r14

loop:	j	loop

	.balign	16
psw_problem: .quad PSW_PROBLEM, 0
io_wait_psw: .quad PSW_IO_WAIT, 0
io_psw:	.quad	PSW_IO, 0
cr6:	.quad	0x80000000 >> ISC
return:	.quad	0
zeros:	.fill	32, 1, 0

	/* RSA of 1024 bits with the exponent 1: the message is the result */
request:
	.byte	0, 0x50
	.short	request_end - request
	.fill	5, 1, 0
	.byte	1
	.fill	6, 1, 0
	.fill	127, 1, 0
	.byte	1
	.fill	128, 1, 0xff
message:
	.byte	0
	.fill	127, 1, 0x5a
request_end:
reply_header:
	.byte	0, 0x80, 0, 144
