// SPDX-License-Identifier: GPL-2.0
/*
 * Test of interpretive execution (SIE), on the bare machine.
 *
 * First what a host sees of a guest: interceptions, faults of the second level,
 * clocks, what is not valid.  Then guests and SIE blocks of random content, on all
 * CPUs at once: whatever they do, the host gets the CPU back, as it was.  In the
 * end the cost of an entry and an exit.
 */

#include "bare.h"

/* Where the code below keeps registers; every CPU has a lowcore of its own */
#define LC_GREGS	((volatile u64 *)0x480)	/* GR0 to GR13 of the guest */
#define LC_SCB		(*(volatile u64 *)0x4f0)
#define LC_EXT_CODE	(*(volatile u16 *)0x86)
#define LC_TEID		(*(volatile u64 *)0xa8)

#define MIB		0x100000UL
#define PAGE		4096UL
#define GUEST_PAGES	256

/*
 * What a guest is made of.  Its absolute storage is the second MiB of an address
 * space of the host in which there is nothing else, so that it can harm nobody.
 */
struct guest {
	u8 scb[512] __attribute__((aligned(512)));
	u8 sca[512] __attribute__((aligned(512)));
	u8 gisa[32] __attribute__((aligned(32)));
	u8 crycb[256] __attribute__((aligned(256)));
	u8 facilities[2048] __attribute__((aligned(8)));
	u64 pages[GUEST_PAGES] __attribute__((aligned(2048)));
	u64 segments[512] __attribute__((aligned(4096)));
	u8 mem[MIB] __attribute__((aligned(4096)));
};

#define CPUS 2

static struct guest guests[CPUS];
static u8 lowcore[8192] __attribute__((aligned(8192)));	/* of the second CPU */

#define CODE		0x2000	/* in the guest, which is in real mode */
#define PAGE_INVALID	0x80	/* the host has not mapped it */
#define PAGE_READONLY	0x81

#define SCB8(g, at)	(*(volatile u8 *)((g)->scb + (at)))
#define SCB16(g, at)	(*(volatile u16 *)((g)->scb + (at)))
#define SCB32(g, at)	(*(volatile u32 *)((g)->scb + (at)))
#define SCB64(g, at)	(*(volatile u64 *)((g)->scb + (at)))

enum {
	CPUFLAGS = 0x00, PREFIX = 0x04, CPU_TIMER = 0x28, CLOCK_COMPARATOR = 0x30, EPOCH = 0x38,
	LCTL = 0x44, ICTL = 0x48, ECA = 0x4c, ICPTCODE = 0x50, ICPTSTATUS = 0x51, IPA = 0x56,
	IPB = 0x58, SCAOH = 0x5c, SCAOL = 0x64, SDF = 0x68, GD = 0x70, MSO = 0x80, MSL = 0x88,
	GPSW = 0x90, GG14 = 0xa0, PGMILC = 0xcc, IPRCC = 0xce, CRYCBD = 0xfc, GCR = 0x100,
	FAC = 0x1a0,
};

enum {
	ICPT_NONE = 0x00, ICPT_INST = 0x04, ICPT_PROGI = 0x08, ICPT_EXTREQ = 0x10,
	ICPT_IOREQ = 0x18, ICPT_WAIT = 0x1c, ICPT_VALIDITY = 0x20, ICPT_STOP = 0x28,
	ICPT_OPEREXC = 0x2c,
};

#define FLAG_STOP	0x04000000
#define FLAG_IO		0x02000000
#define FLAG_EXT	0x01000000
#define FLAGS_VALID	0x00000880	/* z/Architecture, and the mode KVM uses */
#define ECA_AIV		0x00200000
#define ECA_APIE	0x00000008
#define ICTL_OPEREXC	0x80000000
#define CR0_CKC		0x800UL
#define CR0_CPU_TIMER	0x400UL

static void guest_init(struct guest *g)
{
	u64 i;

	memset(g->scb, 0, sizeof(g->scb));
	memset(g->sca, 0, sizeof(g->sca));
	memset(g->gisa, 0, sizeof(g->gisa));
	memset(g->crycb, 0, sizeof(g->crycb));
	for (i = 0; i < 512; i++)
		g->segments[i] = 0x20;
	g->segments[1] = (u64)g->pages;
	for (i = 0; i < GUEST_PAGES; i++)
		g->pages[i] = (u64)g->mem + i * PAGE;
	g->pages[PAGE_INVALID] = 0x400;
	g->pages[PAGE_READONLY] |= 0x200;

	SCB32(g, CPUFLAGS) = FLAGS_VALID;
	SCB64(g, MSO) = MIB;
	SCB64(g, MSL) = 2 * MIB - 1;
	SCB64(g, GPSW) = PSW_64;
	SCB64(g, GPSW + 8) = CODE;
	SCB64(g, CPU_TIMER) = -1UL >> 1;
	SCB64(g, CLOCK_COMPARATOR) = -1UL;
	SCB64(g, GCR) = 0xe0;
	SCB64(g, GCR + 14 * 8) = 0xc2000000;
}

/*
 * Runs the guest until it is left, for whatever reason.  External interruptions of
 * the host are open meanwhile: their code is in LC_EXT_CODE.  Returns the code of
 * a program interruption of the host.
 */
static int sie(struct guest *g)
{
	LC_CODE = 0;
	LC_EXT_CODE = 0;
	LC_SCB = (u64)g->scb;
	LC_EXT_NEW[0] = PSW_64;
	asm volatile(
		"	lctlg	1,1,%0\n"
		"	stmg	0,15,0x400\n"
		"	larl	1,0f\n"
		"	stg	1,0x1b8\n"
		"	lg	14,0x4f0\n"
		"	lmg	0,13,0x480\n"
		"	stosm	0x4f8,1\n"
		"	.insn	s,0xb2140000,0(14)\n"
		"0:	stnsm	0x4f8,0xfe\n"
		"	stmg	0,13,0x480\n"
		"	lmg	0,15,0x400\n"
		: : "Q" (*(u64 []){ (u64)g->segments }) : "cc", "memory");
	return LC_CODE;
}

/* The host's clock comparator: a guest that does not end is left by it. */
static void watchdog(u64 time)
{
	u64 until = tod() + time;

	asm volatile("sckc %0" : : "Q" (until));
}

static void watchdog_init(void)
{
	u64 cr0;

	asm volatile("stctg 0,0,%0" : "=Q" (cr0));
	cr0 |= CR0_CKC;
	watchdog(1000000 * MS);
	asm volatile("lctlg 0,0,%0" : : "Q" (cr0));
}

/* One instruction, and behind it one that is not valid: was it intercepted? */
static int run_code(struct guest *g, const void *code, int len)
{
	SCB64(g, GPSW + 8) = CODE;
	memset(g->mem + CODE, 0, 16);
	memcpy(g->mem + CODE, code, len);
	watchdog(1000 * MS);
	return sie(g) ?: (LC_EXT_CODE ? -1 : 0);
}

#define RUN(g, insn)							\
	({								\
		static const u64 insn_ = (insn);			\
									\
		run_code(g, &insn_, sizeof(insn_));			\
	})

static void check_icpt(struct guest *g, int host, int code, const char *what)
{
	if (host)
		check_value(host, 0, what);
	else
		check_value(SCB8(g, ICPTCODE), code, what);
}

/*
 * Tests
 */

static void test_instruction(struct guest *g)
{
	u64 problem[2] = { PSW_64 | PSW_PROBLEM, 0 };

	section("START INTERPRETIVE EXECUTION itself");
	guest_init(g);
	LC_CODE = 0;
	LC_ESCAPE_MASK = PSW_64;
	asm volatile(
		"	larl	1,1f\n"
		"	stg	1,0x310\n"
		"	larl	1,0f\n"
		"	stg	1,8(%0)\n"
		"	lpswe	0(%0)\n"
		"0:	.insn	s,0xb2140000,0(%1)\n"
		"	.insn	e,0x0001\n"
		"1:\n"
		: : "a" (problem), "a" (g->scb) : "1", "cc", "memory");
	check_value(LC_CODE, PGM_PRIVILEGED, "is privileged");
	LC_CODE = 0;
	asm volatile("	.insn	s,0xb2140000,0(%0)\n" : : "a" (g->scb + 256) : "memory");
	check_value(LC_CODE, PGM_SPECIFICATION, "wants its block aligned");
	LC_CODE = 0;
	asm volatile("	.insn	s,0xb2140000,0(%0)\n" : : "a" (1UL << 40) : "memory");
	check_value(LC_CODE, PGM_ADDRESSING, "wants its block in storage");
	LC_CODE = 0;
	asm volatile("	.insn	s,0xb2140000,0(%0)\n" : : "a" (-512UL) : "memory");
	check_value(LC_CODE, PGM_ADDRESSING, "wherever it is");
}

static void test_validity(struct guest *g)
{
	section("SIE blocks that are not valid");
	guest_init(g);
	SCB32(g, CPUFLAGS) = FLAGS_VALID & ~0x800;
	check_icpt(g, RUN(g, 0), ICPT_VALIDITY, "ESA/390");
	check_value(SCB16(g, IPB), 0x0001, "its reason");
	SCB32(g, CPUFLAGS) = FLAGS_VALID & ~0x80;
	check_icpt(g, RUN(g, 0), ICPT_VALIDITY, "a guest without a gmap");
	check_value(SCB16(g, IPB), 0x0018, "its reason");
	guest_init(g);
	SCB8(g, SDF) = 2;
	check_icpt(g, RUN(g, 0), ICPT_VALIDITY, "a protected guest");
	guest_init(g);
	SCB64(g, MSL) = MIB - 1;
	check_icpt(g, RUN(g, 0), ICPT_VALIDITY, "no storage");
	guest_init(g);
	SCB32(g, PREFIX) = 0x7fffe000;
	check_icpt(g, RUN(g, 0), ICPT_VALIDITY, "a prefix beyond the storage");
	guest_init(g);
	check_icpt(g, RUN(g, 0), ICPT_PROGI, "and one that is valid");
}

/* Left-aligned, with operands that are right where it matters */
static const struct {
	const char *name;
	u64 insn;
} intercepted[] = {
	{ "SCKPF", 0x0107000000000000 }, { "DIAG", 0x8312050000000000 },
	{ "SIGP", 0xae02000100000000 }, { "STIDP", 0xb202300000000000 },
	{ "SCK", 0xb204300000000000 }, { "SPX", 0xb210300000000000 },
	{ "STPX", 0xb211300000000000 }, { "STAP", 0xb212300000000000 },
	{ "SIE", 0xb214300000000000 }, { "SERVC", 0xb220001200000000 },
	{ "ISKE", 0xb229001200000000 }, { "RRBE", 0xb22a001200000000 },
	{ "SSKE", 0xb22b001200000000 }, { "TB", 0xb22c001200000000 },
	{ "CSCH", 0xb230000000000000 }, { "HSCH", 0xb231000000000000 },
	{ "MSCH", 0xb232300000000000 }, { "SSCH", 0xb233300000000000 },
	{ "STSCH", 0xb234300000000000 }, { "TSCH", 0xb235300000000000 },
	{ "TPI", 0xb236300000000000 }, { "SAL", 0xb237000000000000 },
	{ "RSCH", 0xb238000000000000 }, { "STCRW", 0xb239300000000000 },
	{ "STCPS", 0xb23a300000000000 }, { "RCHP", 0xb23b000000000000 },
	{ "SCHM", 0xb23c000000000000 }, { "CHSC", 0xb25f001200000000 },
	{ "SIGA", 0xb274300000000000 }, { "XSCH", 0xb276000000000000 },
	{ "STSI", 0xb27d300000000000 }, { "STFL", 0xb2b1000000000000 },
	{ "CLP", 0xb9a0001200000000 }, { "PCISTG", 0xb9d0001200000000 },
	{ "PCILG", 0xb9d2001200000000 }, { "RPCIT", 0xb9d3001200000000 },
	{ "MPCIFC", 0xe310300000d00000 }, { "STPCIFC", 0xe310300000d40000 },
	{ "PCISTB", 0xeb12300000d00000 }, { "SIC", 0xeb12300000d10000 },
	{ "TPROT", 0xe501300030000000 },
	{ "PQAP without APIE", 0xb2af000000000000 },
	{ "NQAP without APIE", 0xb2ad002400000000 },
	{ "DQAP without APIE", 0xb2ae002400000000 },
	{ "STFLE without a list", 0xb2b0300000000000 },
};

static int insn_len(u64 insn)
{
	return insn >> 62 == 0 ? 2 : insn >> 62 == 3 ? 6 : 4;
}

static void test_interceptions(struct guest *g)
{
	unsigned int i;
	int host;

	section("interceptions of instructions");
	for (i = 0; i < sizeof(intercepted) / sizeof(intercepted[0]); i++) {
		u64 insn = intercepted[i].insn;

		guest_init(g);
		memset((void *)LC_GREGS, 0, 14 * 8);
		LC_GREGS[3] = 0x4000;
		host = run_code(g, &insn, sizeof(insn));
		check(!host && SCB8(g, ICPTCODE) == ICPT_INST && SCB16(g, IPA) == insn >> 48 &&
		      SCB32(g, IPB) == (u32)(insn >> 16) &&
		      SCB64(g, GPSW + 8) == CODE + (u64)insn_len(insn), intercepted[i].name);
		guest_init(g);
		SCB64(g, GPSW) |= PSW_PROBLEM;
		host = run_code(g, &insn, sizeof(insn));
		if (intercepted[i].insn >> 48 == 0xb2b0)
			continue;
		section(intercepted[i].name);
		check_icpt(g, host, ICPT_PROGI, "is privileged in a guest");
	}

	guest_init(g);
	check_icpt(g, RUN(g, 0x0000000000000000), ICPT_PROGI, "an operation exception");
	check_value(SCB16(g, IPRCC), PGM_OPERATION, "its code");
	check_value(SCB16(g, PGMILC), 2, "its length");
	SCB32(g, ICTL) = ICTL_OPEREXC;
	check_icpt(g, RUN(g, 0x0000000000000000), ICPT_OPEREXC, "the same on demand");
	guest_init(g);
	/* EXECUTE of STAP, which is at 0x3000 */
	LC_GREGS[3] = 0x3000;
	*(u64 *)(g->mem + 0x3000) = 0xb212400000000000;
	check_icpt(g, RUN(g, 0x4400300000000000), ICPT_INST, "the target of EXECUTE");
	check_value(SCB8(g, ICPTSTATUS) & 0x61, 0x41, "said to be one");
	check_value(SCB64(g, GPSW + 8), CODE + 4, "the PSW is behind EXECUTE");
	guest_init(g);
	LC_GREGS[3] = 0x4000;
	SCB16(g, LCTL) = 0x4000;	/* CR1 */
	check_icpt(g, RUN(g, 0xeb113000002f0000), ICPT_INST, "LCTLG on demand");
	check_icpt(g, RUN(g, 0xeb223000002f0000), ICPT_PROGI, "but of that register only");

	guest_init(g);
	SCB64(g, GPSW) = PSW_64 | PSW_WAIT;
	check_icpt(g, RUN(g, 0), ICPT_WAIT, "a PSW that waits");
	guest_init(g);
	SCB64(g, GPSW) = PSW_64 | 1UL << 60;
	check_icpt(g, RUN(g, 0), ICPT_PROGI, "a PSW that is not valid");
	check_value(SCB16(g, IPRCC), PGM_SPECIFICATION, "its code");
}

/* A guest in a loop is left for what the host wants */
static void test_requests(struct guest *g)
{
	const u64 loop = 0xa7f4000000000000;	/* j . */
	int host;

	section("requests of the host");
	guest_init(g);
	watchdog(20 * MS);
	memcpy(g->mem + CODE, &loop, sizeof(loop));
	host = sie(g);
	check(!host && LC_EXT_CODE == 0x1004 && SCB8(g, ICPTCODE) == ICPT_NONE,
	      "an interruption of the host ends a loop");
	check_value(SCB64(g, GPSW + 8), CODE, "the guest can go on there");
	guest_init(g);
	SCB32(g, CPUFLAGS) |= FLAG_STOP;
	check_icpt(g, run_code(g, &loop, 8), ICPT_STOP, "stop");
	guest_init(g);
	SCB32(g, CPUFLAGS) |= FLAG_EXT;
	SCB64(g, GPSW) |= PSW_EXT;
	check_icpt(g, run_code(g, &loop, 8), ICPT_EXTREQ, "external request");
	guest_init(g);
	SCB32(g, CPUFLAGS) |= FLAG_IO;
	SCB64(g, GPSW) |= PSW_IO;
	check_icpt(g, run_code(g, &loop, 8), ICPT_IOREQ, "I/O request");
	guest_init(g);
	SCB32(g, CPUFLAGS) |= FLAG_EXT | FLAG_IO;
	check_icpt(g, RUN(g, 0), ICPT_PROGI, "neither if the guest is disabled");
	guest_init(g);
	SCB64(g, GPSW) |= PSW_IO;
	SCB64(g, GCR + 6 * 8) = 0x04000000;
	SCB32(g, ECA) = ECA_AIV;
	SCB32(g, GD) = (u64)g->gisa;
	g->gisa[4] = 0x04;
	check_icpt(g, run_code(g, &loop, 8), ICPT_IOREQ, "an interruption in the GISA");
	g->gisa[4] = 0x08;
	check_icpt(g, RUN(g, 0), ICPT_PROGI, "not if the guest has masked its subclass");

	section("clocks of the guest");
	guest_init(g);
	SCB64(g, GPSW) |= PSW_EXT;
	SCB64(g, GCR) |= CR0_CKC;
	SCB64(g, CLOCK_COMPARATOR) = tod() + 5 * MS;
	check_icpt(g, run_code(g, &loop, 8), ICPT_EXTREQ, "clock comparator");
	check(tod() >= SCB64(g, CLOCK_COMPARATOR), "not before its time");
	guest_init(g);
	SCB64(g, GPSW) |= PSW_EXT;
	SCB64(g, GCR) |= CR0_CKC;
	SCB64(g, EPOCH) = 1UL << 60;
	SCB64(g, CLOCK_COMPARATOR) = tod() + (1UL << 60) + 5 * MS;
	check_icpt(g, run_code(g, &loop, 8), ICPT_EXTREQ, "clock comparator with an epoch");
	guest_init(g);
	SCB64(g, GPSW) |= PSW_EXT;
	SCB64(g, GCR) |= CR0_CPU_TIMER;
	SCB64(g, CPU_TIMER) = 5 * MS;
	check_icpt(g, run_code(g, &loop, 8), ICPT_EXTREQ, "CPU timer");
	check((long)SCB64(g, CPU_TIMER) < 0, "it has run out");
	guest_init(g);
	SCB64(g, GCR) |= CR0_CPU_TIMER | CR0_CKC;
	SCB64(g, CPU_TIMER) = -1;
	SCB64(g, CLOCK_COMPARATOR) = 0;
	check_icpt(g, RUN(g, 0), ICPT_PROGI, "neither if the guest is disabled");
}

static void test_storage(struct guest *g)
{
	section("storage of the guest");
	guest_init(g);
	LC_GREGS[3] = PAGE_INVALID * PAGE;
	/* STG %r1,8(%r3) */
	check_value(RUN(g, 0xe310300800240000), PGM_PAGE, "a fault of the second level");
	check_value(LC_TEID & ~0xfffUL, MIB + PAGE_INVALID * PAGE, "where");
	check_value(LC_TEID & 0xc00, 0x400, "that it was a store");
	check_value(SCB8(g, ICPTCODE), ICPT_NONE, "no interception");
	check_value(SCB64(g, GPSW + 8), CODE, "the guest can try again");
	LC_GREGS[3] = PAGE_READONLY * PAGE;
	check_value(RUN(g, 0xe310300800240000), PGM_PROTECTION, "protection of the second level");
	check_value(LC_TEID & ~0xfffUL, MIB + PAGE_READONLY * PAGE, "where");
	check_icpt(g, RUN(g, 0xe310300800040000), ICPT_PROGI, "which may be read");
	check_value(SCB16(g, IPRCC), PGM_OPERATION, "indeed");
	LC_GREGS[3] = MIB;
	check_icpt(g, RUN(g, 0xe310300800240000), ICPT_PROGI, "beyond its end");
	check_value(SCB16(g, IPRCC), PGM_ADDRESSING, "there is nothing");
	LC_GREGS[3] = -PAGE;
	check_icpt(g, RUN(g, 0xe310300800240000), ICPT_PROGI, "far beyond");
	check_value(SCB16(g, IPRCC), PGM_ADDRESSING, "either");
	guest_init(g);
	SCB32(g, PREFIX) = 0x10000;
	LC_GREGS[1] = 0x1234;
	LC_GREGS[3] = 0;
	check_icpt(g, RUN(g, 0xe310330000240000), ICPT_PROGI, "a store into the prefix area");
	check_value(*(u64 *)(g->mem + 0x10300), 0x1234, "goes where the prefix is");
}

#define Q		0x0504
#define MAILBOX		0x0604

static u8 nib __attribute__((aligned(4096)));
static u8 reply[4096];

/* Have the host (run-sie-test) look at the oracles, and wait until it has */
static void ask(const char *what, u64 value)
{
	int before = rc(pqap(TAPQ | MAILBOX, 0, 0));

	put("@");
	put(what);
	put(" 0x");
	put_hex(value);
	flush();
	while (rc(pqap(TAPQ | MAILBOX, 0, 0)) == before)
		;
}

/* Translation by access registers is not there: it must be seen, and do no harm */
static void test_access_registers(struct guest *g)
{
	const u64 lg = 0xe310300000040000, lra = 0xb110300000000000;
	u64 psw[2] = { PSW_64 | PSW_ACCREG | PSW_DAT, PSW_64 | PSW_ACCREG };
	const u64 *insn[2] = { &lg, &lra };
	int i, host;

	section("access-register mode");
	for (i = 0; i < 2; i++) {
		guest_init(g);
		SCB64(g, GCR + 8) = 0x20;	/* virtual is real */
		SCB64(g, GPSW) = psw[i];
		LC_GREGS[3] = 0x4000;
		host = run_code(g, insn[i], sizeof(u64));
		check_icpt(g, host, ICPT_PROGI, "with zero in all of them");
		check_value(SCB16(g, IPRCC), PGM_OPERATION, "an instruction is executed");
		SCB64(g, GPSW) = psw[i];
		asm volatile("sar 3,%0" : : "d" (2));
		host = run_code(g, insn[i], sizeof(u64));
		asm volatile("sar 3,%0" : : "d" (0));
		check_icpt(g, host, ICPT_PROGI, "with another value");
		check_value(SCB16(g, IPRCC), PGM_SPECIAL_OP, "it is not");
	}
}

static void test_ap(struct guest *g)
{
	u8 *apm = g->crycb + 0x80, *aqm = apm + 0x20;
	int host;

	section("AP instructions in a guest");
	guest_init(g);
	SCB32(g, ECA) = ECA_APIE;
	SCB32(g, CRYCBD) = (u64)g->crycb | 3;
	apm[0] = 0x04;			/* 05 */
	aqm[0] = 0x08;			/* 0004 */

#define AP(gr0, insn)							\
	({								\
		LC_GREGS[0] = (gr0);					\
		LC_GREGS[1] = LC_GREGS[2] = 0x4000;			\
		LC_GREGS[4] = LC_GREGS[5] = LC_GREGS[6] = 0x4000;	\
		LC_GREGS[7] = 16;					\
		host = RUN(g, insn);					\
		host ? host : (int)(LC_GREGS[1] >> 16 & 0xff);		\
	})
#define PQAP	0xb2af000000000000
#define NQAP	0xb2ad004600000000
#define DQAP	0xb2ae004600000000

	check_value(AP(0x0504, PQAP), 0, "TAPQ of a queue it has");
	check_icpt(g, host, ICPT_PROGI, "without the host");
	check_value(AP(0x0604, PQAP), 1, "TAPQ of another card");
	check_value(AP(0x0547, PQAP), 1, "TAPQ of another domain");
	check_value(AP(0x02000604, PQAP), 1, "ZAPQ of another card");
	check_value(AP(0x40000604, NQAP), 1, "NQAP to another card");
	check_value(AP(0x80000547, DQAP), 1, "DQAP from another domain");
	check_value(AP(0x40000504, NQAP), 0, "NQAP to a queue it has");
	check_value(AP(0x80000504, DQAP), 0, "DQAP from it");
	check_value(AP(0x02000504, PQAP), 0, "ZAPQ of it");
	AP(0x03000504, PQAP);
	check_icpt(g, host, ICPT_INST, "AQIC is for the host");
	check_value(AP(0x04000000, PQAP), 0, "QCI");
	check(g->mem[0x4010] == 0x04 && !g->mem[0x4011] && g->mem[0x4030] == 0x08 &&
	      !g->mem[0x4038], "shows what the guest has");
	SCB32(g, CRYCBD) = 0;
	check_value(AP(0x0504, PQAP), 1, "nothing without a control block");
	SCB32(g, CRYCBD) = (u64)g->crycb | 3;

	section("interrupts of a guest");
	SCB32(g, ECA) |= ECA_AIV;
	SCB32(g, GD) = (u64)g->gisa;
	nib = 0;
	check_value(rc(pqap(AQIC | Q, IR(5) | GISC(2) | (u64)g->gisa, (u64)&nib)), 0,
		    "AQIC by the host, with the GISA");
	check_value(AP(0x40000504, NQAP), 0, "NQAP by the guest");
	check_value(nib, 1, "the indicator is set");
	check_value(g->gisa[4], 0x20, "the interruption is pending in the GISA");
	check_value(AP(0x80000504, DQAP), 0, "DQAP by the guest");
	ask("guest", (u64)g->crycb);

	section("what must not happen");
	check_value(AP(0x40000504, NQAP), 0, "NQAP by the guest");
	check_value(rc(dqap(FIRST | Q, reply, sizeof(reply))), 0, "DQAP by the host");
	ask("leak", 0);
	check_value(rc(pqap(ZAPQ | Q, 0, 0)), 0, "ZAPQ");
	pqap(AQIC | Q, IR(5), (u64)&nib);
	ask("page-gone", (u64)&nib);
	nqap(LAST | Q, 1, reply, 16);
	ask("page", 0);
	pqap(ZAPQ | Q, 0, 0);
	pqap(AQIC | Q, IR(5), (u64)&nib);
	nqap(LAST | Q, 1, reply, 16);
	ask("none", 0);
	pqap(ZAPQ | Q, 0, 0);
	pqap(AQIC | Q, IR(5) | GISC(2) | (u64)g->gisa, (u64)&nib);
	ask("guest-gone", (u64)g->crycb);
	nqap(LAST | Q, 1, reply, 16);
	ask("gone", 0);
	pqap(ZAPQ | Q, 0, 0);
}

/*
 * Anything.  Numbers from xorshift, so that every run is the same.
 */

struct fuzz {
	u64 seed, rounds, icpt[64], host, watchdog;
};

static u64 next(struct fuzz *f)
{
	f->seed ^= f->seed << 13;
	f->seed ^= f->seed >> 7;
	f->seed ^= f->seed << 17;
	return f->seed;
}

static int one_in(struct fuzz *f, u64 n)
{
	return next(f) >> 20 & 0xffff ? !((next(f) >> 20) % n) : 0;
}

/* Instructions that have to do with control, and have operands that exist */
static u64 random_insn(struct fuzz *f)
{
	static const u16 opcodes[] = {
		0xb200, 0xb200, 0xb900, 0xe500, 0x0100, 0x0a00, 0x8000, 0xb600, 0xb700, 0xac00,
		0xad00, 0xae00, 0x8200, 0x8300, 0x4400, 0xc600, 0xda00, 0xdb00, 0xd900, 0x9300,
	};
	u64 insn = next(f);

	switch (next(f) >> 32 & 7) {
	case 0 ... 3:
		insn &= ~(0xff00UL << 48);
		insn |= (u64)opcodes[(next(f) >> 20) % (sizeof(opcodes) / 2)] << 48;
		break;
	case 4:
		insn = intercepted[(next(f) >> 20) %
				   (sizeof(intercepted) / sizeof(intercepted[0]))].insn;
		break;
	case 5:
		insn = (insn & 0x00ffffffff00ffff) | 0xeb00000000000000;
		break;
	}
	return insn;
}

static void random_guest(struct fuzz *f, struct guest *g)
{
	u64 i, v;

	guest_init(g);
	for (i = 0; i < 14; i++)
		LC_GREGS[i] = one_in(f, 2) ? next(f) : next(f) & (MIB - 1) & ~7UL;
	for (i = 0; i < 256; i += insn_len(v)) {
		v = random_insn(f);
		memcpy(g->mem + CODE + i, &v, 6);
	}
	/* some of the block is anything, and some is what makes sense */
	for (i = 0; i < 512; i += 8)
		if (one_in(f, 4))
			*(u64 *)(g->scb + i) = next(f);
	if (!one_in(f, 16))
		SCB32(g, CPUFLAGS) = FLAGS_VALID;
	if (!one_in(f, 16)) {
		SCB64(g, MSO) = MIB;
		SCB64(g, MSL) = 2 * MIB - 1;
		SCB32(g, PREFIX) = next(f) & (MIB / 2 - 1);
		SCB8(g, SDF) = 0;
	}
	/* what QEMU changes in storage of the host must be there for it, or nowhere */
	SCB32(g, SCAOH) = one_in(f, 8) ? -1 : 0;
	SCB32(g, SCAOL) = one_in(f, 8) ? 0 : (u64)g->sca;
	SCB32(g, GD) = one_in(f, 8) ? next(f) : (u64)g->gisa;
	SCB32(g, CRYCBD) = one_in(f, 8) ? next(f) : (u64)g->crycb | (next(f) & 3);
	SCB32(g, FAC) = one_in(f, 8) ? next(f) : (u64)g->facilities;
	for (i = 0; i < 16; i++)
		if (!one_in(f, 4))
			SCB64(g, GCR + i * 8) = next(f) & (MIB - 1) & ~0xfffUL;
	if (one_in(f, 4))
		g->sca[0] ^= 0x80;
	for (i = 0; i < 256; i++)
		g->crycb[i] = next(f) >> 24;
	g->gisa[4] = next(f) >> 24;
}

/* Where it goes on, and what the host wants of it */
static void random_entry(struct fuzz *f, struct guest *g)
{
	u64 psw = PSW_64;

	if (one_in(f, 4))
		psw |= next(f) & 0x4303c00000000000;	/* PER, I/O, external, wait, spaces */
	SCB64(g, GCR + 8) = one_in(f, 2) ? 0x20 : SCB64(g, GCR + 8);
	if (one_in(f, 8))
		psw |= PSW_DAT;
	if (one_in(f, 64))
		psw = next(f);
	SCB64(g, GPSW) = psw;
	SCB64(g, GPSW + 8) = one_in(f, 32) ? next(f) : CODE + (next(f) & 0xfe);
	if ((SCB32(g, CPUFLAGS) & FLAGS_VALID) == FLAGS_VALID)
		SCB32(g, CPUFLAGS) = FLAGS_VALID | (one_in(f, 8) ? next(f) & 0x07000000 : 0);
}

static void fuzz(struct fuzz *f, struct guest *g, u64 rounds)
{
	int host;

	for (f->rounds = 0; f->rounds < rounds; f->rounds++) {
		if (f->rounds % 8 == 0)
			random_guest(f, g);
		random_entry(f, g);
		watchdog(MS / 4);
		SCB8(g, ICPTCODE) = 0xff;
		host = sie(g);
		if (host)
			f->host++;
		else if (LC_EXT_CODE)
			f->watchdog++;
		else if (SCB8(g, ICPTCODE) < 64)
			f->icpt[SCB8(g, ICPTCODE)]++;
	}
	watchdog(1000000 * MS);
}

static struct fuzz fuzzers[CPUS];
static volatile int second_ready, second_go, second_done;

/* To be had otherwise by hand, with -D */
#ifndef ROUNDS
#define ROUNDS 20000
#endif
#ifndef SEED
#define SEED 0x2026
#endif

void second_cpu(void)
{
	u32 prefix = (u64)lowcore;

	memset(lowcore, 0, sizeof(lowcore));
	asm volatile("spx %0" : : "Q" (prefix) : "memory");
	LC_PGM_NEW[0] = PSW_64;
	LC_PGM_NEW[1] = (u64)pgm_handler;
	watchdog_init();
	second_ready = 1;
	while (!second_go)
		;
	fuzzers[1].seed = SEED ^ 0x5555555555;
	fuzz(&fuzzers[1], &guests[1], ROUNDS);
	second_done = 1;
	for (;;)
		;
}

static int sigp(u16 cpu, u8 order)
{
	register u64 gr1 asm("1") = 0;
	int cc;

	asm volatile(
		"	sigp	%1,%2,0(%3)\n"
		"	ipm	%0\n"
		"	srl	%0,28\n"
		: "=d" (cc), "+d" (gr1) : "d" ((u64)cpu), "a" ((u64)order) : "cc", "memory");
	return cc;
}

static void check_fuzz(struct fuzz *f)
{
	u64 sum = f->host + f->watchdog;
	int i;

	put("#");
	for (i = 0; i < 64; i++) {
		sum += f->icpt[i];
		if (!f->icpt[i])
			continue;
		put(" ");
		put_hex(i);
		put(":");
		put_hex(f->icpt[i]);
	}
	put(" fault:");
	put_hex(f->host);
	put(" clock:");
	put_hex(f->watchdog);
	flush();
	check_value(sum, ROUNDS, "all of them were left for a reason that there is");
	check(f->icpt[ICPT_INST] && f->icpt[ICPT_PROGI] && f->icpt[ICPT_EXTREQ] &&
	      f->icpt[ICPT_IOREQ] && f->icpt[ICPT_WAIT] && f->icpt[ICPT_VALIDITY] &&
	      f->icpt[ICPT_STOP] && f->icpt[ICPT_OPEREXC] && f->host, "of each there was one");
}

static void test_anything(void)
{
	u64 before[16], after[16];
	u32 prefix;
	int cpus;

	section("guests that do anything");
	LC_RESTART_NEW[0] = PSW_64;
	LC_RESTART_NEW[1] = (u64)start_second;
	cpus = sigp(1, 6) ? 1 : 2;
	if (cpus == 2) {
		while (!second_ready)
			;
		second_go = 1;
	}
	asm volatile("stctg 0,15,%0" : "=Q" (before));
	fuzzers[0].seed = SEED;
	fuzz(&fuzzers[0], &guests[0], ROUNDS);
	asm volatile("stctg 0,15,%0" : "=Q" (after));
	asm volatile("stpx %0" : "=Q" (prefix));
	while (cpus == 2 && !second_done)
		;
	before[1] = after[1];
	check(equal(before, after, sizeof(before)), "the host has its control registers");
	check_value(prefix, 0, "and its prefix");
	check_fuzz(&fuzzers[0]);
	if (cpus == 2)
		check_fuzz(&fuzzers[1]);
}

#define ROUNDS_OF_COST 10000UL

/*
 * Enter, have the guest's STAP intercepted, leave: what a round takes, in ns and
 * without the two instructions around SIE, is for the host to judge.
 */
static void test_cost(struct guest *g)
{
	const u64 stap = 0xb212300000000000;
	u64 start, time;

	section("cost");
	guest_init(g);
	memcpy(g->mem + CODE, &stap, sizeof(stap));
	LC_SCB = (u64)g->scb;
	start = tod();
	asm volatile(
		"	lctlg	1,1,%0\n"
		"	stmg	0,15,0x400\n"
		"	lgr	11,%1\n"
		"	lgr	12,%2\n"
		"	lg	14,0x4f0\n"
		"0:	stg	11,0x98(14)\n"
		"	.insn	s,0xb2140000,0(14)\n"
		"	brctg	12,0b\n"
		"	lmg	0,15,0x400\n"
		: : "Q" (*(u64 []){ (u64)g->segments }), "d" (CODE), "d" (ROUNDS_OF_COST)
		: "cc", "memory");
	time = tod() - start;
	check_value(SCB8(g, ICPTCODE), ICPT_INST, "a guest is entered and left many times");
	/* in hundredths of a ns; the TOD clock counts in 1/4096 of a microsecond */
	ask("cost", time * 1000 / 4096 * 100 / ROUNDS_OF_COST);
}

int main(void)
{
	struct guest *g = &guests[0];

	LC_PGM_NEW[0] = PSW_64;
	LC_PGM_NEW[1] = (u64)pgm_handler;
	LC_ESCAPE = 0;
	console_init();
	watchdog_init();

	test_cost(g);
	test_instruction(g);
	test_validity(g);
	test_interceptions(g);
	test_requests(g);
	test_storage(g);
	test_access_registers(g);
	test_ap(g);
	test_anything();
	put("@done");
	flush();
	for (;;)
		;
}
