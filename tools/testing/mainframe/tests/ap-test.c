// SPDX-License-Identifier: GPL-2.0
/*
 * Test of the emulated AP instructions, on the bare machine.
 *
 * There is no operating system below: every response, condition code and
 * exception of PQAP, NQAP and DQAP can be provoked and seen as it is.  Results
 * go to the SCLP console, as TAP lines without numbers.  A line that begins with
 * '@' asks the host (run-ap-test) for something over QMP; the host answers by
 * switching the queue of the mailbox card, on which the program waits.
 */

#include "bare.h"
#include "vectors.h"

#define Q	0x0504		/* the accelerator, where most is tried */
#define Q2	0x0547
#define CCA	0x0604
#define EP11	0x0704
#define FUTURE	0x0804		/* of a type above CEX8 */
#define MAILBOX	0xfe04

static int tapq_rc(u64 apqn)
{
	return rc(pqap(TAPQ | apqn, 0, 0));
}

/* Poll until the queue is back after a reset */
static int settle(u64 apqn)
{
	int i, r;

	for (i = 0; i < 1000000; i++) {
		r = tapq_rc(apqn);
		if (r != 2)
			break;
	}
	return r;
}

/*
 * The host
 */

static int mailbox_state;

static void host(const char *what)
{
	put("@");
	put(what);
	flush();
	while (tapq_rc(MAILBOX) == mailbox_state)
		;
	mailbox_state = tapq_rc(MAILBOX);
}

#define QUEUE "/machine/peripheral/card05/queue[4] "

/*
 * Messages
 */

/* 1024 bits: exponent 1, so that the message is the result */
static u8 request[16 + 3 * 128];
static u8 reply[16384];
static u8 nib __attribute__((aligned(8)));

static void make_request(u8 seed)
{
	int i;

	memset(request, 0, sizeof(request));
	request[1] = 0x50;
	*(u16 *)(request + 2) = sizeof(request);
	request[9] = 1;
	request[16 + 127] = 1;
	memset(request + 16 + 128, 0xff, 128);
	for (i = 1; i < 128; i++)
		request[16 + 256 + i] = seed + i;
}

static int reply_matches(u8 seed)
{
	make_request(seed);
	return reply[1] == 0x80 && *(u16 *)(reply + 2) == 16 + 128 &&
	       equal(reply + 16, request + 16 + 256, 128);
}

/*
 * I/O interrupts are never enabled, but looked for.
 */

static void io_mask(u8 isc)
{
	u64 cr6 = 0x80000000UL >> isc;

	asm volatile("lctlg 6,6,%0" : : "Q" (cr6));
}

static int io_pending(void)
{
	int cc;

	LC_IO_WORD = 0;
	asm volatile(
		"	tpi	0\n"
		"	ipm	%0\n"
		"	srl	%0,28\n"
		: "=d" (cc) : : "cc", "memory");
	return cc;
}

/* Without a look at the queue, which would make it advance */
static int wait_io(void)
{
	u64 end = tod() + 5000 * MS;

	while (tod() < end)
		if (io_pending())
			return 1;
	return 0;
}

/*
 * Tests
 */

static u64 facilities[4];

static int facility(int nr)
{
	return facilities[nr / 64] >> (63 - nr % 64) & 1;
}

static void read_facilities(void)
{
	register u64 gr0 asm("0") = 3;

	asm volatile("stfle %0" : "=QS" (facilities), "+d" (gr0) : : "cc");
}

/* Execute an AP instruction in the problem state */
#define IN_PROBLEM_STATE(insn)						\
	({								\
		u64 psw[2] = { PSW_64 | PSW_PROBLEM, 0 };		\
		LC_CODE = 0;						\
		LC_ESCAPE_MASK = PSW_64;				\
		asm volatile(						\
			"	larl	1,1f\n"				\
			"	stg	1,0x310\n"			\
			"	larl	1,0f\n"				\
			"	stg	1,8(%0)\n"			\
			"	lghi	0,0\n"				\
			"	lpswe	0(%0)\n"			\
			"0:	" insn					\
			"	.insn	e,0x0001\n"			\
			"1:\n"						\
			: : "a" (psw)					\
			: "0", "1", "2", "3", "4", "5", "6", "7", "cc",	\
			  "memory");					\
		LC_CODE;						\
	})

static void test_without_ap(void)
{
	section("no AP feature");
	check_value(rc(pqap(TAPQ | Q, 0, 0)), -PGM_OPERATION, "PQAP is invalid");
	check_value(rc(pqap(0x11 << 24, 0, 0)), -PGM_OPERATION, "PQAP with a bad function too");
	check_value(rc(nqap(LAST | Q, 0, request, 16)), -PGM_OPERATION, "NQAP is invalid");
	check_value(rc(dqap(FIRST | Q, reply, 16)), -PGM_OPERATION, "DQAP is invalid");
	check_value(IN_PROBLEM_STATE(".insn rre,0xb2af0000,0,0\n"), PGM_OPERATION,
		    "PQAP is invalid in the problem state");
	check_value(IN_PROBLEM_STATE(".insn rre,0xb2ad0000,4,6\n"), PGM_OPERATION,
		    "NQAP is invalid in the problem state");
	check_value(IN_PROBLEM_STATE(".insn rre,0xb2ae0000,4,6\n"), PGM_OPERATION,
		    "DQAP is invalid in the problem state");
}

static void test_without_facilities(void)
{
	section("no facilities 12, 15, 65");
	check_value(rc(pqap(TAPQ | Q, 0, 0)), 0, "TAPQ is there");
	check_value(rc(pqap(TAPQ | TBIT | Q, 0, 0)), -PGM_SPECIFICATION, "TAPQ with T");
	check_value(rc(pqap(QCI, 0, (u64)reply)), -PGM_SPECIFICATION, "QCI");
	check_value(rc(pqap(AQIC | Q, IR(6), (u64)&nib)), -PGM_SPECIFICATION, "AQIC");
	check_value(rc(pqap(QACT | Q, 0, 0)), -PGM_SPECIFICATION, "QACT");
}

static void test_privilege(void)
{
	section("problem state");
	check_value(IN_PROBLEM_STATE(".insn rre,0xb2af0000,0,0\n"), PGM_PRIVILEGED, "PQAP is privileged");
	check_value(IN_PROBLEM_STATE(".insn rre,0xb2ad0000,4,6\n"), PGM_PRIVILEGED, "NQAP is privileged");
	check_value(IN_PROBLEM_STATE(".insn rre,0xb2ae0000,4,6\n"), PGM_PRIVILEGED, "DQAP is privileged");
	check_value(IN_PROBLEM_STATE(".insn rre,0xb2ad0000,5,7\n"), PGM_PRIVILEGED,
		    "NQAP is privileged before odd registers matter");
}

static void test_specification(void)
{
	struct result r = {};
	u64 fc;

	section("specification exceptions");
	for (fc = 6; fc < 256; fc++)
		if (rc(pqap(fc << 24 | Q, 0, 0)) != -PGM_SPECIFICATION)
			break;
	check_value(fc, 256, "unknown function codes, BAPQ and AAPQ");
	check_value(rc(pqap(TAPQ | 0x00010000 | Q, 0, 0)), -PGM_SPECIFICATION, "reserved bit 47 of GR0");
	check_value(rc(pqap(TAPQ | 0x00200000 | Q, 0, 0)), -PGM_SPECIFICATION, "reserved bit 42 of GR0");
	check_value(rc(pqap(TAPQ | FBIT | Q, 0, 0)), -PGM_SPECIFICATION, "TAPQ with F");
	check_value(rc(pqap(AQIC | FBIT | Q, 0, 0)), -PGM_SPECIFICATION, "AQIC with F");
	check_value(rc(pqap(RAPQ | TBIT | Q, 0, 0)), -PGM_SPECIFICATION, "RAPQ with T");
	check_value(rc(pqap(QCI, 0, (u64)reply + 4)), -PGM_SPECIFICATION, "QCI into an unaligned block");
	check_value(rc(nqap(LAST | Q, 0, request, 0)), -PGM_SPECIFICATION, "NQAP of nothing");
	AP_INSN(".insn rre,0xb2ad0000,5,6\n", r);
	check_value(r.pgm, PGM_SPECIFICATION, "NQAP with odd R1");
	AP_INSN(".insn rre,0xb2ad0000,4,7\n", r);
	check_value(r.pgm, PGM_SPECIFICATION, "NQAP with odd R2");
	AP_INSN(".insn rre,0xb2ae0000,5,6\n", r);
	check_value(r.pgm, PGM_SPECIFICATION, "DQAP with odd R1");
	AP_INSN(".insn rre,0xb2ae0000,4,7\n", r);
	check_value(r.pgm, PGM_SPECIFICATION, "DQAP with odd R2");
	check_value(rc(pqap(0xabcdef0100000000UL | TAPQ | Q, 0, 0)), 0,
		    "the high half of GR0 does not matter");
}

static int mask_bit(const u8 *mask, int nr)
{
	return mask[nr / 8] >> (7 - nr % 8) & 1;
}

static void test_qci(void)
{
	u8 *qci = reply;
	struct result r;
	int i, n;

	section("QCI");
	memset(reply, 0xaa, 256);
	r = pqap(QCI, 0x123, (u64)qci);
	check_value(rc(r), 0, "QCI");
	check_value(r.cc, 0, "its condition code");
	check_value(qci[0], 0xf0, "facilities");
	check_value(qci[4], 255, "largest adapter");
	check_value(qci[5], 255, "largest domain");
	for (i = n = 0; i < 256; i++)
		n += mask_bit(qci + 16, i);
	check(n == 5 && mask_bit(qci + 16, 5) && mask_bit(qci + 16, 6) && mask_bit(qci + 16, 7) &&
	      mask_bit(qci + 16, 8) && mask_bit(qci + 16, 0xfe), "adapters");
	for (i = n = 0; i < 256; i++)
		n += mask_bit(qci + 48, i);
	check(n == 2 && mask_bit(qci + 48, 4) && mask_bit(qci + 48, 0x47), "usage domains");
	for (i = n = 0; i < 256; i++)
		n += mask_bit(qci + 80, i);
	check(n == 2 && mask_bit(qci + 80, 4) && mask_bit(qci + 80, 9), "control domains");
	check(qci[128] == 0xaa, "no more than 128 bytes");
}

static void test_tapq(void)
{
	struct result r;

	section("TAPQ");
	r = pqap(TAPQ | Q, -1UL, -1UL);
	check_value(rc(r), 0, "a queue");
	check_value(r.cc, 0, "its condition code");
	check_value(r.gr1, STATUS_EMPTY, "it is empty");
	check_value(r.gr2, 0x0dff0007, "type, domains, depth");
	r = pqap(TAPQ | TBIT | Q, 0, 0);
	check_value(r.gr2, 0x6a0000000dff0307UL, "an accelerator's facilities");
	r = pqap(TAPQ | TBIT | CCA, 0, 0);
	check_value(r.gr2, 0x720000000cff0301UL, "a CCA coprocessor's facilities");
	r = pqap(TAPQ | TBIT | EP11, 0, 0);
	check_value(r.gr2, 0x660000000eff0307UL, "an EP11 coprocessor's facilities");
	r = pqap(TAPQ | 0x0904, 0, 0x55);
	check_value(rc(r), 1, "no such card");
	check_value(r.cc, 3, "its condition code");
	check_value(r.gr2, 0, "no information");
	check_value(tapq_rc(0x0505), 1, "no such domain");
	check_value(tapq_rc(0x0509), 1, "a domain for control only");
	check_value(tapq_rc(0xffff), 1, "the last queue there may be");
	check_value(rc(pqap(RAPQ | 0x0904, 0, 0)), 1, "RAPQ without a card");
	check_value(rc(pqap(ZAPQ | 0x0904, 0, 0)), 1, "ZAPQ without a card");
	check_value(rc(pqap(AQIC | 0x0904, IR(6), (u64)&nib)), 1, "AQIC without a card");
	check_value(rc(pqap(QACT | 0x0904, 0, 0)), 1, "QACT without a card");
	check_value(rc(nqap(LAST | 0x0904, 1, request, 16)), 1, "NQAP without a card");
	check_value(rc(dqap(FIRST | 0x0904, reply, 16)), 1, "DQAP without a card");
}

static void test_qact(void)
{
	struct result r;

	section("QACT");
	r = pqap(QACT | FUTURE, 2UL << 58 | 14UL << 24, 0);
	check_value(rc(r), 0, "a card of the future");
	check_value(r.gr2, 2UL << 58 | 14UL << 24, "is compatible with CEX8");
	r = pqap(QACT | Q, 2UL << 58 | 14UL << 24, 0);
	check_value(r.gr2, 2UL << 58 | 13UL << 24, "a CEX7 is no more than that");
}

static void test_messages(void)
{
	struct result r;
	int i, good;

	section("messages");
	check_value(rc(dqap(FIRST | Q, reply, 16)), 0x10, "DQAP: no reply");

	make_request(7);
	r = nqap(LAST | Q, 0x1122334455667788UL, request, sizeof(request));
	check_value(rc(r), 0, "NQAP");
	check_value(r.cc, 0, "its condition code");
	check_value(r.r6, (u64)request + sizeof(request), "the address advances");
	check_value(r.r7, 0, "nothing is left");
	check_value(pqap(TAPQ | Q, 0, 0).gr1, STATUS_REPLIES, "a reply is waiting");
	memset(reply, 0, sizeof(reply));
	r = dqap(FIRST | Q, reply, sizeof(reply));
	check_value(rc(r), 0, "DQAP");
	check_value(r.cc, 0, "its condition code");
	check_value(r.r4 << 32 | r.r5, 0x1122334455667788UL, "its identifier");
	check_value(r.r6, (u64)reply + 144, "the address advances");
	check_value(r.r7, sizeof(reply) - 144, "so much room is left");
	check_value(r.gr2, 0, "no residual");
	check_value(r.gr1, STATUS_EMPTY, "the queue is empty again");
	check(reply_matches(7), "the reply");

	/* In parts, a byte at a time in the end */
	make_request(9);
	r = nqap(Q, 5, request, 100);
	check_value(r.cc, 1, "NQAP of a first part");
	check_value(r.r6, (u64)request + 100, "the address advances");
	check_value(pqap(TAPQ | Q, 0, 0).gr1, STATUS_EMPTY, "no message yet");
	for (i = 100; i < 110; i++)
		r = nqap(Q, 5, request + i, 1);
	check_value(r.cc, 1, "more of it");
	r = nqap(LAST | Q, 5, request + 110, sizeof(request) - 110);
	check_value(r.cc, 0, "the last part");
	r = dqap(FIRST | Q, reply, 100);
	check_value(r.cc, 1, "DQAP of a part");
	check_value(r.r7, 0, "the buffer is full");
	check_value(r.gr2, 44, "the residual length");
	check_value(r.gr0, Q, "GR0 designates the rest");
	r = dqap(r.gr0, reply + 100, 40);
	check_value(r.gr2, 4, "the rest gets smaller");
	r = dqap(r.gr0, reply + 140, 100);
	check_value(r.cc, 0, "the rest");
	check_value(r.r5, 5, "its identifier");
	check(reply_matches(9), "the reply");
	check_value(rc(dqap(FIRST | Q, reply, 16)), 0x10, "there is no other");

	/* Beginning anew */
	make_request(3);
	nqap(LAST | Q, 6, request, sizeof(request));
	check_value(rc(dqap(Q, reply, 10)), 0x13, "DQAP of the rest without the beginning");
	dqap(FIRST | Q, reply, 10);
	memset(reply, 0, sizeof(reply));
	check_value(dqap(FIRST | Q, reply, 200).cc, 0, "DQAP begins anew");
	check(reply_matches(3), "the reply");

	/* As many as fit, in order */
	for (i = 0; i < 8; i++) {
		make_request(i);
		r = nqap(LAST | Q, 100 + i, request, sizeof(request));
	}
	check_value(r.gr1 & STATUS_FULL, STATUS_FULL, "eight messages fill the queue");
	r = nqap(LAST | Q, 108, request, sizeof(request));
	check_value(rc(r), 0x10, "NQAP: queue full");
	check_value(r.cc, 3, "its condition code");
	for (i = 0, good = 1; i < 8; i++) {
		r = dqap(FIRST | Q, reply, sizeof(reply));
		good = good && r.r5 == 100UL + i && reply_matches(i);
	}
	check(good, "they come back in order");
	check_value(r.gr1, STATUS_EMPTY, "the queue is empty");

	for (i = 0; i < 2; i++)
		r = nqap(LAST | CCA, i, request, sizeof(request));
	check_value(r.gr1 & STATUS_FULL, STATUS_FULL, "depth=2");
	pqap(RAPQ | CCA, 0, 0);

	/* Limits */
	check_value(rc(nqap(LAST | Q, 1, reply, 12288)), 0, "12 KiB are allowed");
	check_value(rc(nqap(LAST | Q, 1, reply, 12289)), 0x15, "more is too big");
	check_value(rc(nqap(LAST | Q, 1, reply, 1UL << 62)), 0x15, "much more as well");
	nqap(Q, 1, reply, 12000);
	check_value(rc(nqap(LAST | Q, 1, reply, 289)), 0x15, "in parts too");
	check_value(rc(pqap(RAPQ | Q, 0, 0)), 0, "RAPQ");
	check_value(pqap(TAPQ | Q, 0, 0).gr1, STATUS_EMPTY, "throws it all away");

	/* A part of a message that a reset has thrown away */
	make_request(4);
	nqap(Q, 1, request, 100);
	pqap(RAPQ | Q, 0, 0);
	nqap(LAST | Q, 1, request, sizeof(request));
	dqap(FIRST | Q, reply, sizeof(reply));
	check(reply_matches(4), "and the first part of a message");

	/* Nonsense gets the short error reply */
	memset(request, 0, sizeof(request));
	nqap(LAST | Q, 1, request, 1);
	r = dqap(FIRST | Q, reply, sizeof(reply));
	check(reply[1] == 0x82 && reply[4] == 0x20 && r.r6 == (u64)reply + 8, "an unknown message type");
	make_request(1);
	nqap(LAST | Q, 1, request, 100);
	dqap(FIRST | Q, reply, sizeof(reply));
	check(reply[1] == 0x82 && reply[4] == 0x23, "a message of the wrong length");
	make_request(1);
	request[16 + 255] = 0xfe;
	nqap(LAST | Q, 1, request, sizeof(request));
	dqap(FIRST | Q, reply, sizeof(reply));
	check(reply[1] == 0x82 && reply[4] == 0x85, "an even modulus");
	make_request(1);
	nqap(LAST | CCA, 1, request, sizeof(request));
	dqap(FIRST | CCA, reply, sizeof(reply));
	check(reply[1] == 0x82 && reply[4] == 0x20, "RSA for an accelerator at a coprocessor");
}

/* run-ap-test made these up, with a result that it knows */
static void test_rsa(void)
{
	u64 i;
	struct result r;

	section("RSA");
	for (i = 0; i < sizeof(vectors) / sizeof(*vectors); i++) {
		const struct vector *v = vectors + i;

		memset(reply, 0, sizeof(reply));
		nqap(LAST | Q, 1, v->request, v->request_len);
		r = dqap(FIRST | Q, reply, sizeof(reply));
		check(rc(r) == 0 && r.r6 - (u64)reply == v->reply_len &&
		      equal(reply, v->reply, v->reply_len), v->name);
	}
}

static void test_type6(void)
{
	struct result r;

	section("coprocessors");
	memset(request, 0, sizeof(request));
	request[1] = 0x06;
	request[19] = 88;
	request[59] = 226;
	request[88 + 1] = 220;
	request[88 + 2] = 2;
	request[88 + 220] = 'X';
	request[88 + 221] = 'Y';
	nqap(LAST | CCA, 1, request, 88 + 226);
	r = dqap(FIRST | CCA, reply, sizeof(reply));
	check(reply[1] == 0x86 && reply[2] == 2 && r.r6 == (u64)reply + 48 + 226 &&
	      reply[19] == 226 && reply[23] == 48, "CCA answers by type 86");
	check(reply[48 + 145] == 8 && reply[48 + 147] == 66 && reply[48 + 220] == 'X',
	      "unknown functions by 8/66");
	request[59] = 227;
	nqap(LAST | CCA, 1, request, 88 + 226);
	dqap(FIRST | CCA, reply, sizeof(reply));
	check(reply[1] == 0x82 && reply[4] == 0x40, "a block that is not all there");

	memset(request, 0, sizeof(request));
	request[1] = 0x06;
	request[19] = 88;
	request[59] = 32;
	request[88 + 1] = 32;
	request[88 + 2] = 4;
	nqap(LAST | EP11, 1, request, 88 + 32);
	r = dqap(FIRST | EP11, reply, sizeof(reply));
	check(reply[1] == 0x86 && reply[48 + 2] == 4 && reply[48 + 32] == 0x30 &&
	      reply[48 + 53] == 0x54 && r.r6 == (u64)reply + 48 + 54, "EP11 too");
}

/* A request to CCA with one keyword; returns the length of the reply. */
static u64 ask_cca(const char *function, const char *keyword, unsigned int data_len)
{
	struct result r;

	memset(request, 0, sizeof(request));
	request[1] = 0x06;
	request[19] = 88;
	request[59] = 220 + 12;
	request[88 + 1] = 220;
	request[88 + 2] = 2;
	memcpy(request + 88 + 28, &data_len, 4);
	memcpy(request + 88 + 220, function, 2);
	request[88 + 223] = 10;
	memcpy(request + 88 + 224, keyword, 8);
	nqap(LAST | CCA, 1, request, 88 + 220 + 12);
	r = dqap(FIRST | CCA, reply, sizeof(reply));
	return r.r6 - (u64)reply;
}

/* A request to EP11 for information; returns the length of the reply. */
static u64 ask_ep11(unsigned int domain, unsigned int query)
{
	static const u8 payload[] = {
		0x30, 0x82, 0, 24, 4, 4, 0, 1, 0, 38, 4, 4, 0, 0, 0, 0,
		4, 4, 0, 0, 0, 0, 4, 4, 0, 0, 0, 0,
	};
	struct result r;

	memset(request, 0, sizeof(request));
	request[1] = 0x06;
	request[19] = 88;
	request[59] = 32 + sizeof(payload);
	request[88 + 1] = 32;
	request[88 + 2] = 4;
	memset(request + 88 + 16, 0xff, 4);
	memcpy(request + 88 + 32, payload, sizeof(payload));
	memcpy(request + 88 + 32 + 12, &domain, 4);
	memcpy(request + 88 + 32 + 18, &query, 4);
	nqap(LAST | EP11, 1, request, 88 + 32 + sizeof(payload));
	r = dqap(FIRST | EP11, reply, sizeof(reply));
	return r.r6 - (u64)reply;
}

/* What Linux asks coprocessors about themselves, and for random numbers */
static void test_queries(void)
{
	static u8 first[64];
	u8 *parameters = reply + 48 + 220;
	int empty = 1;

	section("queries of coprocessors");
	check_value(ask_cca("FQ", "STATICSA", 0), 48 + 220 + 2 + 2 + 80 + 2 + 204,
		    "CCA's STATICSA is as long as it should be");
	check(reply[48 + 145] == 0 && parameters[3] == 2 + 80 && parameters[85] == 206,
	      "its lengths");
	check(equal(parameters + 4, "TCG00006", 8), "its serial number");
	for (int i = 4; i < 10; i++)
		empty &= parameters[4 + i * 8] == '1';
	check(empty, "its master keys are empty");
	check_value(ask_cca("FQ", "STATICSB", 0), 48 + 220 + 2 + 2 + 104 + 2 + 240,
		    "CCA's STATICSB is as long as it should be");
	ask_cca("FQ", "STATICSZ", 0);
	check(reply[48 + 145] == 8 && reply[48 + 147] == 66, "an unknown query");

	check_value(ask_cca("RL", "RANDOM  ", 64), 48 + 226 + 64, "random numbers");
	check(reply[27] == 64 && reply[48 + 145] == 0 &&
	      *(unsigned int *)(reply + 28) == 48 + 226, "as data of their own");
	memcpy(first, reply + 48 + 226, 64);
	ask_cca("RL", "RANDOM  ", 64);
	check(!equal(first, reply + 48 + 226, 64), "others the next time");
	check_value(ask_cca("RL", "RANDOM  ", 8192), 48 + 226 + 8192, "the most of them");
	ask_cca("RL", "RANDOM  ", 8193);
	check(reply[48 + 145] == 8 && reply[48 + 147] == 66, "not more");
	ask_cca("RL", "RANDOM  ", 0);
	check(reply[48 + 145] == 8, "not none");
	ask_cca("RL", "ODD     ", 8);
	check(reply[48 + 145] == 8, "not with parity");

	parameters = reply + 48 + 32;
	check_value(ask_ep11(0, 1), 48 + 32 + 4 + 18 + 4 + 196,
		    "EP11's module is as long as it should be");
	check(!*(unsigned int *)(reply + 48 + 16) && parameters[21] == 0,
	      "its return codes");
	check(parameters[22] == 4 && parameters[25] == 196 &&
	      parameters[3] == 18 + 4 + 196, "its lengths");
	check(parameters[29] == 4 && equal(parameters + 26 + 108, "TCG00007        ", 16),
	      "its API and serial number");
	check_value(ask_ep11(4, 3), 48 + 32 + 4 + 18 + 4 + 80,
		    "EP11's domain is as long as it should be");
	check(parameters[15] == 4 && parameters[29] == 4, "its number");
	check_value(ask_ep11(4, 7), 48 + 32 + 4 + 18, "an unknown query of EP11");
	check(parameters[21] == 0x54, "its return code");
}

static void test_addressing(void)
{
	struct result r;

	section("addresses");
	make_request(1);
	check_value(rc(nqap(LAST | Q, 1, (void *)0x7fffffff000UL, 16)), -PGM_ADDRESSING,
		    "NQAP from nowhere");
	check_value(tapq_rc(Q), 0, "leaves the queue usable");
	nqap(LAST | Q, 1, request, sizeof(request));
	check_value(rc(dqap(FIRST | Q, (void *)0x7fffffff000UL, 200)), -PGM_ADDRESSING, "DQAP to nowhere");
	check_value(rc(dqap(FIRST | Q, reply, 200)), 0, "leaves the reply where it is");
	check_value(rc(pqap(QCI, 0, 0x7fffffff000UL)), -PGM_ADDRESSING, "QCI to nowhere");
	check_value(rc(dqap(FIRST | 0x0904, (void *)0x7fffffff000UL, 200)), 1,
		    "no queue, no access");
	r = dqap(FIRST | Q, (void *)0x7fffffff000UL, 200);
	check_value(rc(r), 0x10, "no reply, no access");
}

static void test_reset(void)
{
	struct result r;
	u64 t;
	int i, n;

	section("resets");
	check_value(rc(pqap(RAPQ | FBIT | Q, 0, 0)), 0, "RAPQ with F");
	check_value(rc(pqap(ZAPQ | FBIT | Q, 0, 0)), 0, "ZAPQ with F");

	host("set " QUEUE "reset-polls 3");
	make_request(1);
	nqap(LAST | Q, 1, request, sizeof(request));
	r = pqap(ZAPQ | Q, 0, 0);
	check_value(rc(r), 0, "ZAPQ starts a reset");
	check_value(r.cc, 0, "its condition code");
	check_value(rc(nqap(LAST | Q, 1, request, sizeof(request))), 2, "NQAP during the reset");
	check_value(rc(dqap(FIRST | Q, reply, sizeof(reply))), 2, "DQAP during the reset");
	check_value(rc(pqap(AQIC | Q, IR(6), (u64)&nib)), 2, "AQIC during the reset");
	check_value(rc(pqap(RAPQ | Q, 0, 0)), 2, "RAPQ during the reset");
	r = pqap(TAPQ | TBIT | Q, 0, 0);
	check_value(rc(r), 2, "TAPQ during the reset");
	check_value(r.gr2, 0x6a0000000dff0307UL, "with valid information");
	for (n = 1; tapq_rc(Q) == 2; n++)
		;
	check_value(n, 3, "reset-polls=3");
	check_value(rc(dqap(FIRST | Q, reply, sizeof(reply))), 0x10, "the message is gone");
	host("set " QUEUE "reset-polls 0");

	host("set " QUEUE "reset-ms 50");
	t = tod();
	pqap(RAPQ | Q, 0, 0);
	check_value(tapq_rc(Q), 2, "a reset that takes its time");
	check_value(settle(Q), 0, "is over");
	t = tod() - t;
	check(t >= 49 * MS && t < 5000 * MS, "after 50 ms");
	host("set " QUEUE "reset-ms 0");

	host("set " QUEUE "reset-stuck true");
	pqap(ZAPQ | Q, 0, 0);
	for (i = 0; i < 1000; i++)
		if (tapq_rc(Q) != 2)
			break;
	check_value(i, 1000, "a reset that does not end");
	host("expect " QUEUE "state resetting");
	host("set " QUEUE "reset-stuck false");
	check_value(tapq_rc(Q), 0, "ends at last");

	/* A card passes it on to its queues */
	host("set /machine/peripheral/card05 reset-polls 1");
	pqap(ZAPQ | Q2, 0, 0);
	check_value(tapq_rc(Q2), 2, "the card's reset-polls");
	check_value(tapq_rc(Q2), 0, "apply to the other queue too");
	host("set /machine/peripheral/card05 reset-polls 0");
}

static void test_responses(void)
{
	struct result r;
	int i, n;

	section("responses");
	make_request(1);
	nqap(LAST | Q, 1, request, sizeof(request));
	host("set " QUEUE "configured false");
	r = pqap(TAPQ | TBIT | Q, 0, 0);
	check_value(rc(r), 3, "TAPQ: deconfigured");
	check_value(r.cc, 3, "its condition code");
	check_value(r.gr2, 0x6a0000000dff0307UL, "with valid information");
	check_value(rc(nqap(LAST | Q, 1, request, sizeof(request))), 3, "NQAP: deconfigured");
	check_value(rc(dqap(FIRST | Q, reply, sizeof(reply))), 3, "DQAP: deconfigured");
	check_value(rc(pqap(RAPQ | Q, 0, 0)), 3, "RAPQ: deconfigured");
	check_value(rc(pqap(ZAPQ | Q, 0, 0)), 3, "ZAPQ: deconfigured");
	check_value(rc(pqap(AQIC | Q, IR(6), (u64)&nib)), 3, "AQIC: deconfigured");
	check_value(rc(pqap(QACT | Q, 0, 0)), 3, "QACT: deconfigured");
	check_value(tapq_rc(Q2), 0, "the other queue is not");
	host("set " QUEUE "configured true");
	check_value(pqap(TAPQ | Q, 0, 0).gr1, STATUS_EMPTY, "it comes back empty");

	host("set /machine/peripheral/card05 configured false");
	check_value(tapq_rc(Q), 3, "a whole card: one queue");
	check_value(tapq_rc(Q2), 3, "a whole card: the other queue");
	pqap(QCI, 0, (u64)reply);
	check_value(mask_bit(reply + 16, 5), 1, "the card is still in the configuration");
	host("set /machine/peripheral/card05 configured true");
	check_value(tapq_rc(Q2), 0, "a whole card comes back");

	host("set " QUEUE "checkstopped true");
	check_value(tapq_rc(Q), 4, "TAPQ: checkstopped");
	check_value(rc(nqap(LAST | Q, 1, request, sizeof(request))), 4, "NQAP: checkstopped");
	check_value(rc(pqap(ZAPQ | Q, 0, 0)), 4, "ZAPQ: checkstopped");
	host("set " QUEUE "checkstopped false");
	check_value(tapq_rc(Q), 0, "it comes back");

	host("set " QUEUE "busy 2");
	check_value(tapq_rc(Q), 5, "TAPQ: busy");
	check_value(rc(pqap(ZAPQ | Q, 0, 0)), 5, "ZAPQ: busy");
	check_value(tapq_rc(Q), 0, "twice only");

	host("set " QUEUE "force zapq:0a:2+tapq:a36:1+nqap:42");
	check_value(rc(pqap(ZAPQ | Q, 0, 0)), 0x0a, "ZAPQ: state change in progress");
	check_value(rc(pqap(RAPQ | Q, 0, 0)), 0, "RAPQ is not forced");
	host("expect " QUEUE "force zapq:0a:1+tapq:a36:1+nqap:42:1");
	check_value(rc(pqap(ZAPQ | Q, 0, 0)), 0x0a, "ZAPQ again");
	check_value(rc(pqap(ZAPQ | Q, 0, 0)), 0, "but not for ever");
	r = pqap(TAPQ | Q, 0, 0);
	check_value(r.gr1, STATUS_ASYNC | STATUS_EMPTY | 0x360000, "TAPQ: an asynchronous error");
	check_value(rc(nqap(LAST | Q, 1, request, sizeof(request))), 0x42, "NQAP: bad domain");
	check_value(tapq_rc(Q), 0, "all is as before");
	host("set " QUEUE "force tapq:35:*");
	for (i = n = 0; i < 100; i++)
		n += tapq_rc(Q) == 0x35;
	check_value(n, 100, "for ever");
	host("set " QUEUE "force \"\"");
	check_value(tapq_rc(Q), 0, "until it is taken back");
}

static void test_replies(void)
{
	struct result r;
	u64 t;

	section("replies");
	make_request(1);
	host("set " QUEUE "reply-delay-ms 50");
	t = tod();
	nqap(LAST | Q, 1, request, sizeof(request));
	check_value(pqap(TAPQ | Q, 0, 0).gr1, 0, "a request in the queue, no reply yet");
	check_value(rc(dqap(FIRST | Q, reply, sizeof(reply))), 0x10, "DQAP: no reply");
	do {
		r = dqap(FIRST | Q, reply, sizeof(reply));
	} while (rc(r) == 0x10);
	t = tod() - t;
	check(rc(r) == 0 && t >= 49 * MS && t < 5000 * MS, "it takes 50 ms");
	host("set " QUEUE "reply-delay-ms 0");

	host("set " QUEUE "reply none");
	nqap(LAST | Q, 1, request, sizeof(request));
	check_value(rc(dqap(FIRST | Q, reply, sizeof(reply))), 0x10, "no reply");
	host("set " QUEUE "reply normal");
	nqap(LAST | Q, 2, request, sizeof(request));
	r = dqap(FIRST | Q, reply, sizeof(reply));
	check_value(r.r5, 2, "the next one has a reply");
	check_value(r.gr1, 0, "one is lost in the queue");
	pqap(RAPQ | Q, 0, 0);

	host("set " QUEUE "reply error:90");
	nqap(LAST | Q, 1, request, sizeof(request));
	dqap(FIRST | Q, reply, sizeof(reply));
	check(reply[1] == 0x82 && reply[4] == 0x90, "an error reply");
	host("set " QUEUE "reply normal");
}

static void drain_io(void)
{
	while (io_pending())
		;
}

static void test_interrupts(void)
{
	struct result r;
	u64 t;
	int i;

	section("interrupts");
	io_mask(6);
	drain_io();
	make_request(1);
	check_value(rc(pqap(AQIC | Q, 0, 0)), 7, "AQIC: disabled as it is");
	check_value(rc(pqap(AQIC | Q, IR(6), 0)), 6, "AQIC: NIB 0");
	check_value(rc(pqap(AQIC | Q, IR(6), -1UL)), 6, "AQIC: NIB -1");
	check_value(rc(pqap(AQIC | Q, IR(6), 0x7fffffff000UL)), 6, "AQIC: NIB nowhere");
	check_value(rc(pqap(AQIC | Q, IR(6) | 0x70000000, (u64)&nib)), 8, "AQIC: GISA nowhere");
	check_value(rc(pqap(AQIC | Q, IR(6) | 2UL << 32 | 0x00300000, (u64)&nib)), 8,
		    "AQIC: GISA of format 2");
	check_value(pqap(TAPQ | Q, 0, 0).gr1, STATUS_EMPTY, "nothing is enabled");
	host("expect " QUEUE "irq none");

	r = pqap(AQIC | Q, IR(6), (u64)&nib);
	check_value(rc(r), 0, "AQIC: enable");
	check_value(r.cc, 0, "its condition code");
	check_value(pqap(TAPQ | Q, 0, 0).gr1, STATUS_EMPTY | STATUS_IRQ, "it is enabled");
	check_value(rc(pqap(AQIC | Q, IR(6), (u64)&nib)), 7, "AQIC: enabled as it is");
	check_value(rc(pqap(AQIC | Q, IR(3), (u64)&reply)), 7, "AQIC: nor can it be changed");

	nib = 0;
	nqap(LAST | Q, 1, request, sizeof(request));
	check_value(nib, 1, "the indicator is set");
	check_value(io_pending(), 1, "an interrupt is pending");
	check_value(LC_IO_WORD, 6 << 27 | 0x80000000, "an adapter interrupt of ISC 6");
	check_value(io_pending(), 0, "just one");
	nqap(LAST | Q, 1, request, sizeof(request));
	nqap(LAST | Q, 1, request, sizeof(request));
	check(io_pending() && !io_pending(), "two merge");
	for (i = 0; i < 3; i++)
		dqap(FIRST | Q, reply, sizeof(reply));

	host("set " QUEUE "irq-drop 1");
	nib = 0;
	nqap(LAST | Q, 1, request, sizeof(request));
	check(nib == 0 && !io_pending(), "a lost interrupt");
	nqap(LAST | Q, 1, request, sizeof(request));
	check(nib == 1 && io_pending(), "the next is there");
	host("expect " QUEUE "irqs-dropped 1");

	host("set " QUEUE "irq-delay-ms 50");
	nib = 0;
	t = tod();
	nqap(LAST | Q, 1, request, sizeof(request));
	check_value(rc(dqap(FIRST | Q, reply, sizeof(reply))), 0, "the reply is there");
	check_value(nib, 0, "the interrupt is not");
	check(wait_io() && nib == 1, "it comes by itself");
	t = tod() - t;
	check(t >= 49 * MS && t < 5000 * MS, "after 50 ms");
	host("set " QUEUE "irq-delay-ms 0");

	host("set " QUEUE "reply-delay-ms 50");
	pqap(RAPQ | Q, 0, 0);
	check_value(pqap(TAPQ | Q, 0, 0).gr1, STATUS_EMPTY, "a reset disables it");
	pqap(AQIC | Q, IR(6), (u64)&nib);
	nib = 0;
	nqap(LAST | Q, 1, request, sizeof(request));
	check(!nib && wait_io() && nib == 1, "a late reply is announced");
	host("set " QUEUE "reply-delay-ms 0");

	/* An enablement, and a disablement, that take a while */
	pqap(RAPQ | Q, 0, 0);
	drain_io();
	host("set " QUEUE "aqic-polls 2");
	check_value(rc(pqap(AQIC | Q, IR(6), (u64)&nib)), 0, "AQIC: enable slowly");
	check_value(rc(pqap(AQIC | Q, 0, 0)), 5, "AQIC: busy meanwhile");
	nib = 0;
	nqap(LAST | Q, 1, request, sizeof(request));
	check_value(nib, 0, "no interrupt yet");
	for (i = 0; !(pqap(TAPQ | Q, 0, 0).gr1 & STATUS_IRQ) && i < 10; i++)
		;
	check_value(i, 2, "it takes two polls");
	check(nib == 1 && io_pending(), "then the reply is announced");
	check_value(rc(pqap(AQIC | Q, 0, 0)), 0, "AQIC: disable slowly");
	nib = 0;
	nqap(LAST | Q, 1, request, sizeof(request));
	check(nib == 1 && io_pending(), "an interrupt that was not to be expected any more");
	for (i = 0; (pqap(TAPQ | Q, 0, 0).gr1 & STATUS_IRQ) && i < 10; i++)
		;
	check_value(i, 2, "it takes two polls");
	nib = 0;
	nqap(LAST | Q, 1, request, sizeof(request));
	check(nib == 0 && !io_pending(), "no interrupt when disabled");
	host("set " QUEUE "aqic-polls 0");
	pqap(RAPQ | Q, 0, 0);

	/* A reset that takes effect when it ends */
	host("set " QUEUE "reset-late true");
	host("set " QUEUE "reset-polls 2");
	host("set " QUEUE "reply-delay-ms 50");
	pqap(AQIC | Q, IR(6), (u64)&nib);
	nib = 0;
	nqap(LAST | Q, 1, request, sizeof(request));
	check_value(pqap(ZAPQ | Q, 0, 0).gr1, STATUS_IRQ, "a late reset");
	check_value(pqap(TAPQ | Q, 0, 0).gr1, STATUS_IRQ | 0x020000, "nothing is gone while it runs");
	check(!nib && wait_io() && nib == 1, "even an interrupt comes");
	check_value(tapq_rc(Q), 2, "it still runs");
	check_value(pqap(TAPQ | Q, 0, 0).gr1, STATUS_EMPTY, "all is gone when it ends");
	host("set " QUEUE "reset-late false");
	host("set " QUEUE "reset-polls 0");
	host("set " QUEUE "reply-delay-ms 0");

	/* Storage changes only where it is allowed to */
	pqap(AQIC | Q, IR(6), (u64)&nib);
	host("set /machine/peripheral/card05 configured false");
	host("set /machine/peripheral/card05 configured true");
	check_value(pqap(TAPQ | Q, 0, 0).gr1, STATUS_EMPTY, "deconfiguration disables the interrupt");
	drain_io();
}

/*
 * CHSC: one page, the request in front of the response
 */

static u8 chsc_page[4096] __attribute__((aligned(4096)));

static int chsc(u16 command, u16 len)
{
	int cc;

	*(u16 *)chsc_page = len;
	*(u16 *)(chsc_page + 2) = command;
	asm volatile(
		"	.insn	rre,0xb25f0000,%1,0\n"
		"	ipm	%0\n"
		"	srl	%0,28\n"
		: "=d" (cc) : "a" (chsc_page) : "cc", "memory");
	return cc ? -cc : *(u16 *)(chsc_page + len + 2);
}

static u32 store_crw(void)
{
	u32 crw = 0;

	asm volatile("stcrw %0" : "=Q" (crw) : : "cc", "memory");
	return crw;
}

static int event(void)
{
	u8 *res = chsc_page + 16;

	memset(chsc_page, 0, sizeof(chsc_page));
	return chsc(0x000e, 16) == 1 && *(u16 *)res == 16 && res[9] == 0 &&
	       res[10] == 5 && res[11] == 3;
}

static void drain_events(void)
{
	while (store_crw())
		;
	while (event())
		;
}

static void test_config(void)
{
	section("configuration changes");
	drain_events();
	host("set /machine/s390-ap config-change true");
	check_value(store_crw() & 0x0f3f0000, 0x0b000000, "a CRW for the channel subsystem");
	check(event(), "an AP configuration change");
	check(!event(), "just one");

	drain_events();
	host("add {\"driver\":\"s390-ap-card\",\"id\":\"card09\",\"apid\":9}");
	check(event(), "an event for a new card");
	check_value(tapq_rc(0x0904), 0, "a new card has queues");
	drain_events();
	host("add {\"driver\":\"s390-ap-domain\",\"id\":\"dom0005\",\"apqi\":5}");
	check(event(), "an event for a new domain");
	check_value(tapq_rc(0x0505), 0, "the old card has the new domain");
	check_value(tapq_rc(0x0905), 0, "so has the new card");
	pqap(AQIC | 0x0905, IR(6), (u64)&nib);
	make_request(1);
	nqap(LAST | 0x0905, 1, request, sizeof(request));
	drain_events();
	host("del dom0005");
	check(event(), "an event for a domain that is gone");
	check_value(tapq_rc(0x0905), 1, "its queue is gone");
	host("add {\"driver\":\"s390-ap-domain\",\"id\":\"dom0005\",\"apqi\":5}");
	check_value(pqap(TAPQ | 0x0905, 0, 0).gr1, STATUS_EMPTY,
		    "it comes back without messages and interrupt");
	drain_events();
	host("del card09");
	check(event(), "an event for a card that is gone");
	check_value(tapq_rc(0x0904), 1, "its queues are gone");
	host("del dom0005");
	host("set /machine/s390-ap config-events false");
	drain_events();
	host("add {\"driver\":\"s390-ap-card\",\"id\":\"card09\",\"apid\":9}");
	check(!event(), "config-events=false");
	host("del card09");
	host("set /machine/s390-ap config-events true");
	drain_events();
	drain_io();
}

static u64 gisa[4] __attribute__((aligned(4096)));
static u32 gib[8] __attribute__((aligned(4096)));

static void test_gisa(void)
{
	int sgib;

	section("GISA");
	io_mask(5);
	drain_io();
	memset(chsc_page, 0, sizeof(chsc_page));
	chsc_page[5] = 1;
	*(u32 *)(chsc_page + 20) = (u64)gib;
	sgib = chsc(0x0021, 0x0fe0);

	/* The alert mask allows GISC 3 only */
	gisa[0] = (u64)gisa << 32 | 0x10;
	make_request(1);
	check_value(rc(pqap(AQIC | Q, IR(5) | GISC(2) | (u64)gisa, (u64)&nib)), 0, "AQIC with a GISA");
	nib = 0;
	nqap(LAST | Q, 1, request, sizeof(request));
	check_value(nib, 1, "the indicator is set");
	check_value(gisa[0], (u64)gisa << 32 | 0x20000010,
		    "the guest's interrupt is pending, without alert");
	check_value(io_pending(), 0, "no interrupt for the host");
	pqap(RAPQ | Q, 0, 0);

	check_value(rc(pqap(AQIC | Q, IR(5) | GISC(3) | 1UL << 32 | (u64)gisa, (u64)&nib)), 0,
		    "AQIC with a GISA of format 1");
	nib = 0;
	nqap(LAST | Q, 1, request, sizeof(request));
	if (sgib == 1) {
		check_value(gisa[0], 0x30000000, "the guest's interrupt, with alert");
		check_value(gib[0], (u64)gisa, "the GISA is on the alert list");
		check(io_pending() && LC_IO_WORD == (5 << 27 | 0x80000000), "an alert for the host");
		gisa[0] |= 0x10;
		nqap(LAST | Q, 1, request, sizeof(request));
		check(!io_pending() && gisa[0] == 0x30000010, "no second alert while on the list");
		gib[0] = 1;
		gisa[0] = (u64)gisa << 32 | 0x10;
		nqap(LAST | Q, 1, request, sizeof(request));
		check(gib[0] == (u64)gisa && gisa[0] >> 32 == 1 && !io_pending(),
		      "no alert when the list is not quite empty");
		gib[0] = 0;
		chsc_page[5] = 0;
	} else {
		check_value(gisa[0], (u64)gisa << 32 | 0x30000010, "the guest's interrupt, no list for alerts");
		put("ok - alerts # SKIP the machine has no SGIB");
		flush();
	}
	pqap(ZAPQ | Q, 0, 0);
	io_mask(6);
}

static void test_oracles(void)
{
	section("oracles");
	host("expect /machine/s390-ap violations 0");
	pqap(ZAPQ | Q2, 0, 0);
	host("expect /machine/peripheral/card05/queue[71] zeroized-since true");
	make_request(1);
	nqap(LAST | Q2, 1, request, sizeof(request));
	host("expect /machine/peripheral/card05/queue[71] zeroized-since false");
	host("expect /machine/peripheral/card05/queue[71] last-user host");
	host("expect /machine/peripheral/card05/queue[71] messages 1");
	pqap(RAPQ | Q2, 0, 0);
	host("expect /machine/peripheral/card05/queue[71] reset-since true");
	host("expect /machine/peripheral/card05/queue[71] zeroized-since false");
	host("expect /machine/peripheral/card05/queue[71] messages 0");

	/* A reset that is reported but does not take place */
	nqap(LAST | Q2, 1, request, sizeof(request));
	host("set /machine/peripheral/card05/queue[71] force zapq:00");
	check_value(rc(pqap(ZAPQ | Q2, 0, 0)), 0, "ZAPQ lies");
	host("expect /machine/peripheral/card05/queue[71] reset-since false");
	host("expect /machine/peripheral/card05/queue[71] messages 1");
	pqap(RAPQ | Q2, 0, 0);
}

/*
 * Two CPUs at one queue: what one does must be whole for the other.
 */

static volatile int second_state;
static volatile u64 second_replies;
static u8 request2[sizeof(request)], reply2[256];

#define ROUNDS 3000

static u64 hammer(u64 psmid, u8 *req, u8 *rep, u64 *bad)
{
	u64 sent = 0, got = 0;
	struct result r;

	while (sent < ROUNDS || pqap(TAPQ | Q, 0, 0).gr1 & STATUS_REPLIES) {
		if (sent < ROUNDS && rc(nqap(LAST | Q, psmid | sent, req, sizeof(request))) == 0)
			sent++;
		r = dqap(FIRST | Q, rep, 256);
		if (rc(r) == 0) {
			got++;
			if (rep[1] != 0x80 || r.gr2 || r.r6 != (u64)rep + 144)
				++*bad;
		} else if (rc(r) != 0x10) {
			++*bad;
		}
		pqap(TAPQ | TBIT | Q, 0, 0);
	}
	return got;
}

static u64 second_bad;

void second_cpu(void)
{
	second_state = 1;
	second_replies = hammer(1UL << 32, request2, reply2, &second_bad);
	asm volatile("" ::: "memory");
	second_state = 2;
	for (;;)
		;
}

static int sigp_restart(u16 cpu)
{
	register u64 status asm("2") = 0;
	register u64 target asm("3") = cpu;
	int cc;

	asm volatile(
		"	sigp	2,3,6\n"
		"	ipm	%0\n"
		"	srl	%0,28\n"
		: "=d" (cc), "+d" (status) : "d" (target) : "cc", "memory");
	return cc;
}

static void test_cpus(void)
{
	u64 replies, bad = 0;
	struct result r;

	section("two CPUs");
	pqap(RAPQ | Q, 0, 0);
	make_request(1);
	memcpy(request2, request, sizeof(request));
	LC_RESTART_NEW[0] = PSW_64;
	LC_RESTART_NEW[1] = (u64)start_second;
	check_value(sigp_restart(1), 0, "the second CPU starts");
	while (!second_state)
		;
	replies = hammer(0, request, reply, &bad);
	while (second_state != 2)
		;
	/* What the other one put in after the last look */
	while (r = dqap(FIRST | Q, reply, 256), rc(r) == 0)
		replies++;
	check_value(replies + second_replies, 2 * ROUNDS, "as many replies as requests");
	check_value(bad + second_bad, 0, "all of them whole");
}

/*
 * What else it takes to run KVM in the machine
 */

/* The program is in the first 1 MiB of storage, and so is all it needs */
static u64 segments[2048] __attribute__((aligned(16384)));
static u64 pages[256] __attribute__((aligned(2048)));

/* Go on with another PSW mask; output to the console turns DAT off again */
static void load_mask(u64 mask)
{
	u64 psw[2] = { mask, 0 };

	asm volatile(
		"	larl	1,0f\n"
		"	stg	1,8(%0)\n"
		"	lpswe	0(%0)\n"
		"0:\n"
		: : "a" (psw) : "1", "cc", "memory");
}

static void test_other(void)
{
	u64 psw[2], cr1 = (u64)segments;
	int i, n, cc;

	section("PLO");
	for (i = n = 0; i < 256; i++) {
		register u64 gr0 asm("0") = i | 0x100;

		LC_CODE = 0;
		asm volatile(
			"	.insn	ss,0xee0000000000,0(2,1),0,0\n"
			"	ipm	%0\n"
			"	srl	%0,28\n"
			: "=d" (cc), "+d" (gr0) : : "1", "cc", "memory");
		n += cc == 3 && !LC_CODE;
	}
	check_value(n, 256, "no function code is installed");

	section("access registers");
	for (i = 0; i < 256; i++)
		pages[i] = i << 12;
	for (i = 0; i < 2048; i++)
		segments[i] = 0x20;
	/* Twice: at its real address, and further up */
	segments[0] = segments[63] = (u64)pages;
	cr1 |= 3;
	asm volatile("lctlg 1,1,%0" : : "Q" (cr1));
	psw[0] = PSW_64 | PSW_DAT | PSW_ACCREG;
	LC_CODE = 0;
	LC_ESCAPE_MASK = PSW_64;
	asm volatile(
		"	sar	2,%1\n"
		"	larl	1,1f\n"
		"	stg	1,0x310\n"
		"	larl	1,0f\n"
		"	stg	1,8(%0)\n"
		"	lpswe	0(%0)\n"
		"0:	lg	1,0x300\n"
		"1:	sar	2,%2\n"
		: : "a" (psw), "d" (2), "d" (0) : "1", "cc", "memory");
	check_value(LC_CODE, PGM_SPECIAL_OP, "the mode is refused, and we are still here");

	section("virtual addresses");
	make_request(5);
	pqap(RAPQ | Q, 0, 0);
	load_mask(PSW_64 | PSW_DAT);
	check_value(rc(nqap(LAST | Q, 1, (void *)((u64)request + 0x3f00000), sizeof(request))), 0, "NQAP");
	memset(reply, 0, 256);
	load_mask(PSW_64 | PSW_DAT);
	check_value(rc(dqap(FIRST | Q, (void *)((u64)reply + 0x3f00000), 256)), 0, "DQAP");
	check(reply_matches(5), "the reply");
	nqap(LAST | Q, 1, request, sizeof(request));
	load_mask(PSW_64 | PSW_DAT);
	LC_CODE = 0;
	asm volatile(
		"	larl	1,1f\n"
		"	stg	1,0x310\n"
		"	stg	%0,0x318\n"
		"	lgr	0,%1\n"
		"	llilh	6,0x7ff\n"
		"	lghi	7,200\n"
		"	.insn	rre,0xb2ae0000,4,6\n"
		"1:\n"
		: : "d" (PSW_64), "d" (FIRST | Q)
		: "0", "1", "2", "4", "5", "6", "7", "cc", "memory");
	check_value(LC_CODE, PGM_SEGMENT, "DQAP to a page that is not there");
	check_value(rc(dqap(FIRST | Q, reply, 256)), 0, "DQAP after that");
}

int main(void)
{
	LC_PGM_NEW[0] = PSW_64;
	LC_PGM_NEW[1] = (u64)pgm_handler;
	LC_ESCAPE = 0;
	console_init();
	read_facilities();

	if (tapq_rc(Q) == -PGM_OPERATION) {
		test_without_ap();
	} else if (!facility(12)) {
		test_without_facilities();
	} else {
		check(facility(15) && facility(65), "facilities 12, 15 and 65");
		mailbox_state = tapq_rc(MAILBOX);
		test_privilege();
		test_specification();
		test_qci();
		test_tapq();
		test_qact();
		test_messages();
		test_rsa();
		test_type6();
		test_queries();
		test_addressing();
		test_reset();
		test_responses();
		test_replies();
		test_interrupts();
		test_gisa();
		test_config();
		test_oracles();
		test_other();
		test_cpus();
		/* Something for the machine reset that follows */
		make_request(1);
		nqap(LAST | Q, 1, request, sizeof(request));
		pqap(AQIC | Q, IR(6), (u64)&nib);
	}
	put("@done");
	flush();
	for (;;)
		;
}
