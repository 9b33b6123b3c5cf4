// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hostile input: bytes that nobody meant are written to the files of a mediated
 * device and given to its ioctls, and a guest executes AP instructions that nobody
 * meant.  Whatever is refused or taken, the files have to fit together afterwards,
 * no other guest may notice, and the kernel has nothing to complain about.
 *
 * FUZZ_SECONDS says how long each test runs, FUZZ_SEED where it begins.  Where the
 * kernel has KCOV, inputs that got to new places in it are what later ones are made
 * of.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kcov.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "../../../kselftest_harness.h"
#include "ap.h"
#include "guest.h"
#include "qmp.h"
#include "vm.h"

#define ZEROS		"0x0000000000000000000000000000000000000000000000000000000000000000"
#define SECONDS		10
#define ROUND		64	/* inputs between two looks */

static int number_of(const char *variable, int otherwise)
{
	const char *value = getenv(variable);

	return value ? atoi(value) : otherwise;
}

/* Where the kernel got to, and with what */

#define KCOV		"/sys/kernel/debug/kcov"
#define KCOV_WORDS	(64UL << 10)
#define MAX_PLACES	65536UL
#define MAX_KEPT	512

struct input {
	unsigned int where;	/* of the files, of the ioctls */
	size_t len;
	char bytes[512];
};

static struct {
	unsigned long *trace;	/* how many, then what; NULL without KCOV */
	unsigned long seen[MAX_PLACES];
	unsigned long places;
	struct input kept[MAX_KEPT];
	int nr_kept;
} cover;

static int cover_start(void)
{
	int fd = open(KCOV, O_RDWR | O_CLOEXEC);
	unsigned long *trace;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (ioctl(fd, KCOV_INIT_TRACE, KCOV_WORDS))
		return -errno;
	trace = mmap(NULL, KCOV_WORDS * sizeof(*trace), PROT_READ | PROT_WRITE,
		     MAP_SHARED, fd, 0);
	if (trace == MAP_FAILED || ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC))
		return -errno;
	cover.trace = trace;
	return 0;
}

/* True if the place is a new one. */
static bool cover_place(unsigned long pc)
{
	unsigned long i = pc * 0x9e3779b97f4a7c15UL % MAX_PLACES;

	while (cover.seen[i] && cover.seen[i] != pc)
		i = (i + 1) % MAX_PLACES;
	if (cover.seen[i] || cover.places > MAX_PLACES / 2)
		return false;
	cover.seen[i] = pc;
	cover.places++;
	return true;
}

static void cover_begin(void)
{
	if (cover.trace)
		__atomic_store_n(cover.trace, 0, __ATOMIC_RELAXED);
}

/* What was done since cover_begin() was due to this input. */
static void cover_end(unsigned int where, const void *bytes, size_t len)
{
	unsigned long n;
	bool new = false;

	if (!cover.trace)
		return;
	n = __atomic_load_n(cover.trace, __ATOMIC_RELAXED);
	for (unsigned long i = 1; i <= n; i++)
		new |= cover_place(cover.trace[i]);
	if (new && len <= sizeof(cover.kept->bytes) && cover.nr_kept < MAX_KEPT) {
		struct input *input = &cover.kept[cover.nr_kept++];

		input->where = where;
		input->len = len;
		memcpy(input->bytes, bytes, len);
	}
}

/* An input to begin with, every other time; NULL if there is none. */
static const struct input *cover_kept(void)
{
	return cover.nr_kept && rand() % 2 ? &cover.kept[rand() % cover.nr_kept] : NULL;
}

#define REPORT(_inputs, _taken) do {						\
	unsigned long __inputs = (_inputs), __taken = (_taken);			\
										\
	if (cover.trace) {							\
		TH_LOG("%lu inputs, %lu of them taken, %lu places by %d of them", \
		       __inputs, __taken, cover.places, cover.nr_kept);		\
		EXPECT_LT(0, cover.nr_kept);					\
	} else {								\
		TH_LOG("%lu inputs, %lu of them taken; no KCOV", __inputs,	\
		       __taken);						\
	}									\
	EXPECT_NE(0, __taken);							\
	EXPECT_NE(__inputs, __taken);						\
} while (0)

/* Files and ioctls */

FIXTURE(fuzz) {
	struct mdev mdev;
	struct vm vm;
	struct vdev vdev;
	double end;
};

FIXTURE_SETUP(fuzz)
{
	ASSERT_EQ(0, ap_restore());
	vm_need_modules();
	ASSERT_EQ(0, mdev_create(&self->mdev));
	ASSERT_EQ(0, vm_create(&self->vm));
	ASSERT_EQ(0, mdev_assign(&self->mdev, ap.cards[0], ap.doms[0]));
	ASSERT_EQ(0, vdev_open(&self->vdev, &self->mdev, false, &self->vm));
	srand(number_of("FUZZ_SEED", 1));
	ASSERT_EQ(0, cover_start());
	self->end = now() + number_of("FUZZ_SECONDS", SECONDS);
}

FIXTURE_TEARDOWN_PARENT(fuzz)
{
	EXPECT_EQ(0, ap_restore());
}

/* `matrix` is the product of the first two masks of `ap_config`. */
static bool files_fit(const struct mdev *mdev)
{
	const char *config = mdev_get(mdev, "ap_config");
	struct ap_mask apm, aqm, adm;

	if (strlen(config) != 201 || mask_parse(&apm, config) ||
	    mask_parse(&aqm, config + 67) || mask_parse(&adm, config + 134))
		return false;
	/* With more lines, the C driver shows but some (M4). */
	return strlen(matrix_text(&apm, &aqm)) > 4000 ||
	       !strcmp(matrix_text(&apm, &aqm), mdev_get(mdev, "matrix"));
}

static const char * const corpus[] = {
	"0x3", "13", "010", "0xffffffffffffffff", "-1", "+0x8\n", "",
	"0x0,0x0,0x0\n", "0x8,0x04,0x02\n", "0x1000,0x0002,0x0\n", ",,,", "0x,0x,0x",
	ZEROS "," ZEROS "," ZEROS "\n",
};

static size_t mutate(char *buf, size_t size, const struct input *kept)
{
	size_t len = snprintf(buf, size / 2, "%s", corpus[rand() % ARRAY_SIZE(corpus)]);

	if (kept)
		memcpy(buf, kept->bytes, len = kept->len);

	for (int n = rand() % 6; n > 0; n--) {
		size_t at = len ? rand() % len : 0;

		switch (rand() % 5) {
		case 0:		/* another byte */
			buf[at] = rand();
			break;
		case 1:		/* another digit */
			buf[at] = "0123456789abcdefx,\n"[rand() % 19];
			break;
		case 2:		/* shorter */
			len = at;
			break;
		case 3:		/* a part once more */
			if (2 * len - at < size) {
				memcpy(buf + len, buf + at, len - at);
				len += len - at;
			}
			break;
		case 4:		/* very long */
			if (!(rand() % 16)) {
				memset(buf + len, '0', size - len);
				len = size;
			}
			break;
		}
	}
	return len;
}

TEST_F_TIMEOUT(fuzz, sysfs, 600)
{
	static const char * const files[] = {
		"assign_adapter", "unassign_adapter", "assign_domain",
		"unassign_domain", "assign_control_domain",
		"unassign_control_domain", "ap_config", "ap_config", "try_ap_config",
	};
	static char buf[8192];
	unsigned long inputs = 0, taken = 0;

	while (now() < self->end) {
		for (int i = 0; i < ROUND; i++, inputs++) {
			const struct input *kept = cover_kept();
			unsigned int file = kept ? kept->where : rand() % ARRAY_SIZE(files);
			size_t len = mutate(buf, sizeof(buf), kept);
			char path[160];

			snprintf(path, sizeof(path), "%s/%s", self->mdev.path, files[file]);
			cover_begin();
			taken += !file_write_n(path, buf, len);
			cover_end(file, buf, len);
		}
		ASSERT_TRUE(files_fit(&self->mdev));
	}
	REPORT(inputs, taken);
}

TEST_F_TIMEOUT(fuzz, ioctl, 600)
{
	static const unsigned long commands[] = {
		VFIO_DEVICE_GET_INFO, VFIO_DEVICE_GET_REGION_INFO,
		VFIO_DEVICE_GET_IRQ_INFO, VFIO_DEVICE_RESET, VFIO_DEVICE_SET_IRQS,
	};
	const unsigned int set_irqs = ARRAY_SIZE(commands) - 1;
	long page = sysconf(_SC_PAGESIZE);
	char *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vfio_device_info info;
	unsigned long inputs = 0, taken = 0;
	int events[4];

	for (int i = 0; i < ARRAY_SIZE(events); i++) {
		events[i] = eventfd_new();
		ASSERT_LE(0, events[i]);
	}
	ASSERT_NE(MAP_FAILED, memory);
	/* Behind the first page there is nothing. */
	ASSERT_EQ(0, munmap(memory + page, page));
	while (now() < self->end) {
		for (int i = 0; i < ROUND; i++, inputs++) {
			const struct input *kept = cover_kept();
			unsigned int words[8], len = rand() % sizeof(words) + 1;
			unsigned int which = rand() % ARRAY_SIZE(commands);
			unsigned long command;
			char *at;

			/* Small numbers are what gets far. */
			for (int w = 0; w < ARRAY_SIZE(words); w++)
				words[w] = rand() % 4 ? rand() % 40 : rand() * 2654435761U;
			if (kept || rand() % 2) {
				/* What is good or was kept, with one word that is neither. */
				unsigned int other = words[0], w = rand() % ARRAY_SIZE(words);
				struct vdev_irq_set irq = vdev_irq_set(rand() % 2,
					events[rand() % ARRAY_SIZE(events)]);

				which = kept ? kept->where : set_irqs;
				len = kept ? kept->len : sizeof(irq);
				memcpy(words, kept ? (void *)kept->bytes : &irq, len);
				words[w] = other;
			}
			command = commands[which];
			at = memory + page - len;
			memcpy(at, words, len);
			if (!(rand() % 8))
				command += rand() % 64;
			if (!(rand() % 16))
				at = NULL + rand();
			cover_begin();
			taken += !vdev_ioctl(&self->vdev, command, at);
			cover_end(which, words, len);
		}
		info = (struct vfio_device_info){ .argsz = sizeof(info) };
		ASSERT_EQ(0, vdev_ioctl(&self->vdev, VFIO_DEVICE_GET_INFO, &info));
		ASSERT_TRUE(files_fit(&self->mdev));
	}
	REPORT(inputs, taken);
}

/* A guest, and another one beside it that only wants to work */

FIXTURE(hostile) {
	struct mdev mdev, other;
	struct guest guest, other_guest;
	int qmp;
	double end;
};

FIXTURE_SETUP(hostile)
{
	expect_faults(GUEST_FAULTS);
	self->qmp = guests_begin();
	ASSERT_LE(0, self->qmp) TH_LOG("the machine, or the port to the emulator");
	ASSERT_EQ(0, mdev_create(&self->mdev));
	ASSERT_EQ(0, mdev_create(&self->other));
	ASSERT_EQ(0, mdev_assign(&self->mdev, ap.cards[0], ap.doms[0]));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d", ap.doms[1]));
	ASSERT_EQ(0, mdev_assign(&self->other, ap.cards[1], ap.doms[0]));
	ASSERT_EQ(0, guest_create(&self->guest));
	ASSERT_EQ(0, guest_create(&self->other_guest));
	ASSERT_EQ(0, guest_attach(&self->guest, &self->mdev, false));
	ASSERT_EQ(0, guest_attach(&self->other_guest, &self->other, false));
	srand(number_of("FUZZ_SEED", 1));
	ASSERT_EQ(0, cover_start());
	self->end = now() + number_of("FUZZ_SECONDS", SECONDS);
}

FIXTURE_TEARDOWN_PARENT(hostile)
{
	EXPECT_EQ(0, guests_end());
	expected_faults_end();
}

static uint64_t any_bits(void)
{
	return (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ rand();
}

/* Nowhere near the guest's own code, but otherwise anywhere. */
static uint64_t any_address(void)
{
	switch (rand() % 6) {
	case 0:
		return GUEST_MEM - rand() % 64;
	case 1:
		return GUEST_MEM + rand() % (1 << 20);
	case 2:
		return any_bits() | 1UL << 40;
	default:
		return guest_nib(rand() % GUEST_NIB_PAGES) + rand() % 16;
	}
}

static uint64_t any_apqn(void)
{
	int card = rand() % 8 ? ap.cards[rand() % 8 == 0] : rand() % AP_IDS;
	int dom = rand() % 8 ? ap.doms[rand() % 2] : rand() % AP_IDS;

	return card << 8 | dom;
}

TEST_F_TIMEOUT(hostile, guest, 600)
{
	static const enum guest_instruction instructions[] = {
		GUEST_PQAP, GUEST_PQAP, GUEST_PQAP, GUEST_NQAP, GUEST_DQAP,
	};
	long pinned = pinned_pages(), left;
	unsigned long inputs = 0, taken = 0;

	while (now() < self->end) {
		for (int i = 0; i < ROUND; i++, inputs++) {
			unsigned int what = rand() % ARRAY_SIZE(instructions);
			unsigned long gr[6] = { any_apqn() };
			int ret;

			gr[0] |= (unsigned long)(rand() % 8 ? rand() % 9 : rand() % 256) << 24;
			if (!(rand() % 4))
				gr[0] |= any_bits() & 0xffc00000;
			if (!(rand() % 16))
				gr[0] |= any_bits();
			gr[1] = rand() % 8 ? 0x0000800000000000UL | rand() % 8 : any_bits();
			gr[2] = any_address();
			gr[3] = any_bits();
			gr[4] = any_address();
			gr[5] = rand() % 8 ? rand() % 16384 : any_bits();
			cover_begin();
			ret = guest_execute(&self->guest, instructions[what], gr);
			cover_end(0, gr, sizeof(gr));
			taken += !ret;
			/* A response code, or a program interruption. */
			ASSERT_TRUE(ret >= 0 || ret == -EPROTO) TH_LOG("%d", ret);
		}
		ASSERT_EQ(RC_NORMAL, guest_use(&self->other_guest, ap.cards[1], ap.doms[0]));
		switch (rand() % 8) {
		case 0:
			ASSERT_EQ(0, vdev_ioctl(&self->guest.vdev, VFIO_DEVICE_RESET, NULL));
			break;
		case 1:
			ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_domain", "%d", ap.doms[1]));
			ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d", ap.doms[1]));
			break;
		}
	}
	guest_detach(&self->guest);
	left = pinned_pages() - pinned;
	EXPECT_EQ(RC_NORMAL, guest_use(&self->other_guest, ap.cards[1], ap.doms[0]));
	REPORT(inputs, taken);
	/* The C driver leaves some (C1), if it happens to come to that. */
	EXPECT_TRUE(!left || impl_is_c());
}

AP_MAIN(2)
