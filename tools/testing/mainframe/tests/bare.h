/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs for the bare machine share: the way in, program checks, a
 * console, TAP lines without numbers.  There is no operating system below.
 */
#ifndef BARE_H
#define BARE_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

/*
 * The machine
 */

#define LC_PGM_ILC	(*(volatile u16 *)0x8c)
#define LC_PGM_CODE	(*(volatile u16 *)0x8e)
#define LC_IO_WORD	(*(volatile u32 *)0xc0)
#define LC_RESTART_NEW	((volatile u64 *)0x1a0)
#define LC_EXT_NEW	((volatile u64 *)0x1b0)
#define LC_PGM_NEW	((volatile u64 *)0x1d0)
/* Where the program-check handler keeps things; nobody else uses it */
#define LC_CODE		(*(volatile u64 *)0x308)
#define LC_ESCAPE	(*(volatile u64 *)0x310)
#define LC_ESCAPE_MASK	(*(volatile u64 *)0x318)

#define PSW_64		0x0000000180000000UL
#define PSW_DAT		0x0400000000000000UL
#define PSW_WAIT	0x0002000000000000UL
#define PSW_EXT		0x0100000000000000UL
#define PSW_IO		0x0200000000000000UL
#define PSW_PER		0x4000000000000000UL
#define PSW_PROBLEM	0x0001000000000000UL
#define PSW_ACCREG	0x0000400000000000UL

enum {
	PGM_OPERATION = 1,
	PGM_PRIVILEGED = 2,
	PGM_PROTECTION = 4,
	PGM_ADDRESSING = 5,
	PGM_SPECIFICATION = 6,
	PGM_SEGMENT = 0x10,
	PGM_PAGE = 0x11,
	PGM_SPECIAL_OP = 0x13,
};

asm(
	".section .init,\"ax\"\n"
	".globl _start\n"
	"_start:\n"
	"	larl	%r15,stack_top-160\n"
	"	brasl	%r14,main\n"
	"0:	j	0b\n"
	"start_second:\n"
	"	larl	%r15,stack2_top-160\n"
	"	brasl	%r14,second_cpu\n"
	"1:	j	1b\n"
	/*
	 * Note the code and go on: behind the instruction, or, where the old
	 * PSW does not lead anywhere, at an address given before.
	 */
	"pgm_handler:\n"
	"	stg	%r1,0x300\n"
	"	llgh	%r1,0x8e\n"
	"	stg	%r1,0x308\n"
	"	lg	%r1,0x310\n"
	"	ltgr	%r1,%r1\n"
	"	jz	2f\n"
	"	stg	%r1,0x158\n"
	"	lg	%r1,0x318\n"
	"	stg	%r1,0x150\n"
	"	xc	0x310(8),0x310\n"
	"2:	lg	%r1,0x300\n"
	"	lpswe	0x150\n"
	".previous\n"
	".section .bss\n"
	"	.balign 16\n"
	"	.skip	65536\n"
	"stack_top:\n"
	"	.skip	65536\n"
	"stack2_top:\n"
	".previous\n"
);

extern char start_second[], pgm_handler[];

void *memset(void *p, int c, u64 n)
{
	char *b = p;

	while (n--) {
		*b++ = c;
		asm volatile("" ::: "memory");
	}
	return p;
}

void *memcpy(void *to, const void *from, u64 n)
{
	char *t = to;
	const char *f = from;

	while (n--) {
		*t++ = *f++;
		asm volatile("" ::: "memory");
	}
	return to;
}

static int equal(const void *a, const void *b, u64 n)
{
	const char *x = a, *y = b;

	while (n--)
		if (*x++ != *y++)
			return 0;
	return 1;
}

/*
 * The console
 */

static u8 sccb[4096] __attribute__((aligned(4096)));

static void sclp(u32 command)
{
	u64 wait_psw[2] = { PSW_64 | PSW_WAIT | PSW_EXT, 0 };
	int cc;

	do {
		asm volatile(
			"	.insn	rre,0xb2200000,%1,%2\n"
			"	ipm	%0\n"
			"	srl	%0,28\n"
			: "=d" (cc) : "d" (command), "a" (sccb)
			: "cc", "memory");
	} while (cc == 2);
	if (cc)
		return;
	LC_EXT_NEW[0] = PSW_64;
	asm volatile(
		"	larl	%%r1,0f\n"
		"	stg	%%r1,0x1b8\n"
		"	lpswe	%0\n"
		"0:\n"
		: : "Q" (wait_psw) : "1", "cc", "memory");
}

static void console_init(void)
{
	u64 cr0 = 0x2e0;

	asm volatile("lctlg 0,0,%0" : : "Q" (cr0));
	memset(sccb, 0, sizeof(sccb));
	sccb[1] = 28;			/* length */
	sccb[11] = 4;			/* of a mask */
	sccb[15] = sccb[19] = 0x40;	/* VT220 */
	sclp(0x00780005);
}

static char line[512];
static unsigned int line_len;

static void put(const char *s)
{
	while (*s && line_len < sizeof(line))
		line[line_len++] = *s++;
}

static void put_hex(u64 v)
{
	char buf[17], *p = buf + 16;

	*p = 0;
	do {
		*--p = "0123456789abcdef"[v & 15];
		v >>= 4;
	} while (v);
	put(p);
}

static void flush(void)
{
	put("\n");
	memset(sccb, 0, 64);
	*(u16 *)sccb = 8 + 6 + line_len;
	*(u16 *)(sccb + 8) = 6 + line_len;
	sccb[10] = 0x1a;
	memcpy(sccb + 14, line, line_len);
	line_len = 0;
	sclp(0x00760005);
}

static void check(int good, const char *what)
{
	put(good ? "ok - " : "not ok - ");
	put(what);
	flush();
}

static void check_value(u64 value, u64 expected, const char *what)
{
	put(value == expected ? "ok - " : "not ok - ");
	put(what);
	if (value != expected) {
		put(": 0x");
		put_hex(value);
		put(", not 0x");
		put_hex(expected);
	}
	flush();
}

static void section(const char *what)
{
	put("# ");
	put(what);
	flush();
}

/*
 * Time
 */

static u64 tod(void)
{
	u64 t;

	asm volatile("stck %0" : "=Q" (t) : : "cc");
	return t;
}

#define MS (1000UL << 12)

/*
 * AP instructions
 */

struct result {
	int cc;
	int pgm;
	u64 gr0, gr1, gr2;
	u64 r4, r5, r6, r7;	/* the pairs of NQAP and DQAP */
};

#define STATUS_EMPTY	0x80000000
#define STATUS_REPLIES	0x40000000
#define STATUS_FULL	0x20000000
#define STATUS_ASYNC	0x02000000
#define STATUS_IRQ	0x01000000

static int rc(struct result r)
{
	return r.pgm ? -r.pgm : (int)(r.gr1 >> 16 & 0xff);
}

#define AP_INSN(insn, r)						\
	do {								\
		LC_CODE = 0;						\
		asm volatile(						\
			"	lmg	0,2,%0\n"			\
			"	lmg	4,7,%1\n"			\
			insn						\
			"	ipm	3\n"				\
			"	stmg	0,2,%0\n"			\
			"	stmg	4,7,%1\n"			\
			"	srl	3,28\n"				\
			"	st	3,%2\n"				\
			: "+QS" (*(u64 (*)[3])&(r).gr0),		\
			  "+QS" (*(u64 (*)[4])&(r).r4),			\
			  "=QS" ((r).cc)				\
			:						\
			: "0", "1", "2", "3", "4", "5", "6", "7", "cc",	\
			  "memory");					\
		(r).pgm = LC_CODE;					\
	} while (0)

static struct result pqap(u64 gr0, u64 gr1, u64 gr2)
{
	struct result r = { .gr0 = gr0, .gr1 = gr1, .gr2 = gr2 };

	AP_INSN(".insn rre,0xb2af0000,0,0\n", r);
	return r;
}

static struct result nqap(u64 gr0, u64 psmid, const void *msg, u64 len)
{
	struct result r = {
		.gr0 = gr0, .gr1 = -1, .gr2 = -1,
		.r4 = psmid >> 32, .r5 = psmid & 0xffffffff,
		.r6 = (u64)msg, .r7 = len,
	};

	AP_INSN(".insn rre,0xb2ad0000,4,6\n", r);
	return r;
}

static struct result dqap(u64 gr0, void *msg, u64 len)
{
	struct result r = {
		.gr0 = gr0, .gr1 = -1,
		.r6 = (u64)msg, .r7 = len,
	};

	AP_INSN(".insn rre,0xb2ae0000,4,6\n", r);
	return r;
}

#define TAPQ	0x00000000UL
#define RAPQ	0x01000000UL
#define ZAPQ	0x02000000UL
#define AQIC	0x03000000UL
#define QCI	0x04000000UL
#define QACT	0x05000000UL
#define TBIT	0x00800000UL
#define FBIT	0x00400000UL
#define LAST	0x40000000UL
#define FIRST	0x80000000UL

#define IR(isc)	(0x0000800000000000UL | (isc))
#define GISC(g)	((u64)(g) << 40)

#endif /* BARE_H */
