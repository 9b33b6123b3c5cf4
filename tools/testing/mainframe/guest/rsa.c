// SPDX-License-Identifier: GPL-2.0
/*
 * RSA on every AP queue that this system has, without end, for tests: each result
 * is compared with what the arithmetic says.  A line a queue goes to standard
 * output every second:
 *
 *	rsa 03.000e right 120 wrong 0 refused 4 interrupts
 *
 * "refused" are requests that got no result, as when the card has gone; the last
 * word is "polling" for a queue without interrupts.  A line "rsa irq N" says how
 * many AP interrupts /proc/interrupts has counted, "rsa end" ends the report.
 */
#include <asm/zcrypt.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#define AP_DEVICES	"/sys/bus/ap/devices"
#define NODES		"/sys/class/zcrypt"

#define BITS		2048
#define BYTES		(BITS / 8)
#define HALF		(BYTES / 2)
#define WORDS		(BITS / 64)
#define PAD		8	/* bytes that the interface has before some numbers */

#define MAX_QUEUES	256
#define REPORT_SECONDS	1
#define PAUSE_US	200000	/* between requests of a queue: others want the CPU too */

/* A key for this purpose alone. */
static const char modulus[] =
	"ceb488061b1c7b31da18121d8a7124d9a3f9692ea4719dca78f074f485e9a6b7"
	"39bb5187cffb54c8f45489021d1c4a5614014f6bde08354bea23dd9bc42fb823"
	"47b05eb476c4e837e1a594ac7292b11e96f0edde3dfccea18145a79bf80ca398"
	"c2e5b47a4cd4738d7657e7f69e8fa0e22ab6b232e194d453819b7d1afc044e6d"
	"9a09a9a44a20698a2e9ddcaa622d4248e1e0f4bf8c22c8d020b63a0fcfd4c6d3"
	"2c860af4ea65d6b8edef4e3186598ec43ebc9013489d11389c2fc45447aba3e0"
	"e4da4b31d04a7037010fe1b395e8d6423c2296f7d296d027b79024c5660ee71c"
	"3bcaf990141cfda0e0d3feb88f19324da7d30de8e1ce3d1c8952831c42082c85";
static const char prime1[] =
	"f578e68266c2e593794a1913f4110f688e06ccce7a832550ac0378fcc9cfab36"
	"4104cc6937c7e0c602ce3e93a3fdad9f26ff061ccf60385a479317bd386a00ff"
	"499464e01a78e9e43e5dabcc3d9499d33cd311fea7aeacc174738058811cba52"
	"3751884339fb3046cf216bb27d87a288ce10a2948178d6c85448b8598cdb1b95";
static const char prime2[] =
	"d791ff756d9716814dbdcd7a6ac0e5d9d4c982a05d3905c59e0471665b33318d"
	"22c63c77784f100487682ba4fb0af48c595d908db9f7c1fb2d02478400869842"
	"a0ebbed09696b12e8e4052e082034ab7e5e169e9dc1154ad1561483b24a5d971"
	"ffdef1cfa6654019340c442c212e066077f51a1712acfdddc9677430f9771131";
static const char exponent1[] =
	"a941fd076b5df5b8b34841747db509bfd9369d1fbe601169c7c1f939acd9f1bf"
	"4e23c5e2c320a23f468df99e09d490540e2a8887730270b8e763685a03bd2c04"
	"db3264401660cb3da337298f81e2a6127e7d378a350aff79c11727275f97746d"
	"de50ecb91610baa008908dd71c315b0423ba5ab0357a21f72e0e9a76bce613e5";
static const char exponent2[] =
	"2f0f55486a63386b83f032824df9cc73d06b29541ee5cae7c8464a0741539cb6"
	"a5e7c6dd81eb28a1047a6e44b6f53e4bc15a96ab09f51768e0fb856740c2214d"
	"325a24aedea1090f13c8e10ed7f326059d6ea73381725b1ce9f4f1d2cf7e5148"
	"fcc5cbde3c02108b2ffc998954b8fa7566daa0167762428d7f6151513bb48d91";
static const char coefficient[] =
	"eb241f7ead7c335efa378bc9033cefa3f710789fb4f491fe4243b484e027bdcb"
	"441a4ea9a58f058df47611eb1f8a36a3af20fbea13447fbf16cc81125883a784"
	"53bbb18caf0af0a36cd0bb2b7e5df4d33dc551f4fa768bb7f37a46fd3c9750e6"
	"7db581602290ebac715f5aa517cec89ff107301b8dc344cb15d1d313b95ec107";

struct queue {
	char name[16];
	unsigned int card, dom;
	pthread_t thread;
	unsigned long right, wrong, refused;
};

static struct queue queues[MAX_QUEUES];
static int nr_queues;

static uint8_t n[BYTES], e[BYTES];
static uint8_t p[HALF + PAD], q[HALF], dp[HALF + PAD], dq[HALF], u[HALF + PAD];

static void number(uint8_t *to, size_t size, const char *hex)
{
	size_t digits = strlen(hex);

	memset(to, 0, size);
	for (size_t i = 0; i < digits / 2; i++)
		sscanf(hex + 2 * i, "%2hhx", to + size - digits / 2 + i);
}

/* Arithmetic modulo n, in little endian words. */

typedef unsigned __int128 wide;

static uint64_t n_words[WORDS], r_square[WORDS];
static uint64_t n_inverse;	/* of -n modulo 2^64 */

static void to_words(uint64_t *to, const uint8_t *from)
{
	for (int i = 0; i < WORDS; i++) {
		to[i] = 0;
		for (int byte = 8; byte; byte--)
			to[i] = to[i] << 8 | from[BYTES - 8 * i - byte];
	}
}

static bool below_n(const uint64_t *a)
{
	for (int i = WORDS - 1; i >= 0; i--)
		if (a[i] != n_words[i])
			return a[i] < n_words[i];
	return false;
}

static void subtract_n(uint64_t *a)
{
	wide carry = 1;

	for (int i = 0; i < WORDS; i++) {
		carry += (wide)a[i] + ~n_words[i];
		a[i] = carry;
		carry >>= 64;
	}
}

static void twice(uint64_t *a)
{
	uint64_t out = 0, next;

	for (int i = 0; i < WORDS; i++) {
		next = a[i] >> 63;
		a[i] = a[i] << 1 | out;
		out = next;
	}
	if (out || !below_n(a))
		subtract_n(a);
}

/*
 * to = a * b / 2^BITS modulo n (Montgomery): no division, and a guest on an emulated
 * CPU has the time for it.
 */
static void multiply(uint64_t *to, const uint64_t *a, const uint64_t *b)
{
	uint64_t sum[WORDS + 2] = {}, factor;
	wide carry;

	for (int i = 0; i < WORDS; i++) {
		carry = 0;
		for (int j = 0; j < WORDS; j++) {
			carry += (wide)a[j] * b[i] + sum[j];
			sum[j] = carry;
			carry >>= 64;
		}
		carry += sum[WORDS];
		sum[WORDS] = carry;
		sum[WORDS + 1] = carry >> 64;

		/* A multiple of n makes the last word 0, which is shifted out. */
		factor = sum[0] * n_inverse;
		carry = ((wide)factor * n_words[0] + sum[0]) >> 64;
		for (int j = 1; j < WORDS; j++) {
			carry += (wide)factor * n_words[j] + sum[j];
			sum[j - 1] = carry;
			carry >>= 64;
		}
		carry += sum[WORDS];
		sum[WORDS - 1] = carry;
		sum[WORDS] = sum[WORDS + 1] + (uint64_t)(carry >> 64);
	}
	if (sum[WORDS] || !below_n(sum))
		subtract_n(sum);
	memcpy(to, sum, sizeof(n_words));
}

static void prepare(void)
{
	uint64_t inverse = 1;

	to_words(n_words, n);
	/* Each step doubles the number of bits that are right. */
	for (int i = 0; i < 6; i++)
		inverse *= 2 - n_words[0] * inverse;
	n_inverse = -inverse;
	/* 1 doubled so often is 2^(2 * BITS). */
	r_square[0] = 1;
	for (int i = 0; i < 2 * BITS; i++)
		twice(r_square);
}

/* Whether y is x to the power of the public exponent. */
static bool is_public(const uint8_t *x, const uint8_t *y)
{
	static const uint64_t one[WORDS] = { 1 };
	uint64_t base[WORDS], power[WORDS], expected[WORDS];

	to_words(base, x);
	to_words(expected, y);
	multiply(base, base, r_square);
	memcpy(power, base, sizeof(power));
	/* 65537 is 2 to the 16th, and 1. */
	for (int i = 0; i < 16; i++)
		multiply(power, power, power);
	multiply(power, power, base);
	multiply(power, power, one);
	return !memcmp(power, expected, sizeof(power));
}

static void put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, value, strlen(value)) < 0) {
		fprintf(stderr, "rsa: %s: %s: %s\n", path, value, strerror(errno));
		exit(1);
	}
	close(fd);
}

/* A node of zcrypt that leads to this queue alone. */
static int open_node(const struct queue *queue)
{
	char path[128], value[16];
	int fd;

	snprintf(path, sizeof(path), NODES "/%s", queue->name);
	if (access(path, F_OK)) {
		put(NODES "/create", queue->name);
		snprintf(path, sizeof(path), NODES "/%s/ioctlmask", queue->name);
		put(path, "+5,+6");	/* ICARSAMODEXPO, ICARSACRT */
		snprintf(path, sizeof(path), NODES "/%s/apmask", queue->name);
		snprintf(value, sizeof(value), "+%u", queue->card);
		put(path, value);
		snprintf(path, sizeof(path), NODES "/%s/aqmask", queue->name);
		snprintf(value, sizeof(value), "+%u", queue->dom);
		put(path, value);
	}
	snprintf(path, sizeof(path), "/dev/%s", queue->name);
	fd = open(path, O_RDWR);
	if (fd < 0) {
		fprintf(stderr, "rsa: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	return fd;
}

static void request(int fd, struct queue *queue, bool private_key)
{
	uint8_t in[BYTES], out[BYTES] = {};
	struct ica_rsa_modexpo me = {
		.inputdata = in, .inputdatalength = BYTES,
		.outputdata = out, .outputdatalength = BYTES,
		.b_key = e, .n_modulus = n,
	};
	struct ica_rsa_modexpo_crt crt = {
		.inputdata = in, .inputdatalength = BYTES,
		.outputdata = out, .outputdatalength = BYTES,
		.bp_key = dp, .bq_key = dq, .np_prime = p, .nq_prime = q, .u_mult_inv = u,
	};

	if (getrandom(in, sizeof(in), 0) != sizeof(in))
		return;
	in[0] = 0;	/* less than the modulus */
	if (private_key ? ioctl(fd, ICARSACRT, &crt) : ioctl(fd, ICARSAMODEXPO, &me)) {
		queue->refused++;
		usleep(2 * PAUSE_US);
	} else if (private_key ? is_public(out, in) : is_public(in, out)) {
		queue->right++;
	} else {
		queue->wrong++;
	}
	usleep(PAUSE_US);
}

static void *work(void *arg)
{
	struct queue *queue = arg;
	int fd = open_node(queue);

	for (;;) {
		request(fd, queue, false);
		request(fd, queue, true);
	}
	return NULL;
}

static bool starts_with(const char *path, const char *word)
{
	char text[64] = "";
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) < 0)
		*text = 0;
	close(fd);
	return !strncmp(text, word, strlen(word));
}

/* The path: overwritten by the next call. */
static const char *attribute(const char *queue, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), AP_DEVICES "/%.15s/%s", queue, name);
	return path;
}

/* EP11 coprocessors have no clear keys. */
static bool does_rsa(const char *queue)
{
	unsigned int card, dom;
	char path[128], type[16] = "";
	FILE *f;

	if (sscanf(queue, "%2x.%4x", &card, &dom) != 2 ||
	    !starts_with(attribute(queue, "online"), "1"))
		return false;
	snprintf(path, sizeof(path), AP_DEVICES "/card%02x/type", card);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (!fgets(type, sizeof(type), f))
		*type = 0;
	fclose(f);
	return *type && !strchr(type, 'P');
}

/* Starts to work with queues that are new. */
static void look_for_queues(void)
{
	DIR *dir = opendir(AP_DEVICES);
	struct dirent *entry;
	struct queue *queue;
	int i;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (!does_rsa(entry->d_name) || nr_queues == MAX_QUEUES)
			continue;
		for (i = 0; i < nr_queues; i++)
			if (!strcmp(queues[i].name, entry->d_name))
				break;
		if (i < nr_queues)
			continue;
		queue = &queues[nr_queues++];
		snprintf(queue->name, sizeof(queue->name), "%.15s", entry->d_name);
		sscanf(queue->name, "%2x.%4x", &queue->card, &queue->dom);
		if (pthread_create(&queue->thread, NULL, work, queue))
			exit(1);
	}
	closedir(dir);
}

static unsigned long interrupts(void)
{
	FILE *f = fopen("/proc/interrupts", "r");
	unsigned long sum = 0, count;
	char line[256], *s;
	int used;

	while (f && fgets(line, sizeof(line), f)) {
		s = strstr(line, "APB:");
		if (!s)
			continue;
		for (s += 4; sscanf(s, "%lu%n", &count, &used) == 1; s += used)
			sum += count;
	}
	if (f)
		fclose(f);
	return sum;
}

static void report(void)
{
	for (int i = 0; i < nr_queues; i++) {
		struct queue *queue = &queues[i];
		const char *how = "gone";

		if (!access(attribute(queue->name, ""), F_OK))
			how = starts_with(attribute(queue->name, "interrupt"), "Interrupts enabled") ?
			      "interrupts" : "polling";
		printf("rsa %s right %lu wrong %lu refused %lu %s\n", queue->name, queue->right,
		       queue->wrong, queue->refused, how);
	}
	printf("rsa irq %lu\nrsa end\n", interrupts());
	fflush(stdout);
}

int main(void)
{
	number(n, sizeof(n), modulus);
	number(e, sizeof(e), "010001");
	number(p, sizeof(p), prime1);
	number(q, sizeof(q), prime2);
	number(dp, sizeof(dp), exponent1);
	number(dq, sizeof(dq), exponent2);
	number(u, sizeof(u), coefficient);
	prepare();
	for (;;) {
		look_for_queues();
		sleep(REPORT_SECONDS);
		report();
	}
}
