/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What all tests of vfio_ap share: the machine that was found, AP masks, sysfs
 * with errnos, mediated devices, the kernel log, uevents, and giving everything
 * back.
 *
 * Functions that can fail return 0 or a negative errno.  Strings that are
 * returned live until the process ends, and a process is one test.
 */
#ifndef VFIO_AP_SELFTEST_AP_H
#define VFIO_AP_SELFTEST_AP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "../../../kselftest.h"

/* Emulated and with all that a debug kernel checks, the machine is slow. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	120

#define AP_BUS		"/sys/bus/ap"
#define MATRIX_DEV	"/sys/devices/vfio_ap/matrix"
#define MDEV_TYPE	MATRIX_DEV "/mdev_supported_types/vfio_ap-passthrough"
#define MDEV_BUS	"/sys/bus/mdev"

#define AP_IDS		256

/* The least that the tests need: see ap_start(). */
#define AP_MIN_CARDS	4
#define AP_MIN_DOMAINS	6

/* What a bounded wait takes at most before it is a failure, in seconds. */
#define AP_PATIENCE	20

/* A set of adapters or domains as AP numbers them: id 0 is the leftmost bit. */
struct ap_mask {
	unsigned long word[AP_IDS / 64];
};

static inline void mask_set(struct ap_mask *mask, unsigned int id)
{
	mask->word[id / 64] |= 1UL << (63 - id % 64);
}

static inline void mask_clear(struct ap_mask *mask, unsigned int id)
{
	mask->word[id / 64] &= ~(1UL << (63 - id % 64));
}

static inline bool mask_test(const struct ap_mask *mask, unsigned int id)
{
	return mask->word[id / 64] & (1UL << (63 - id % 64));
}

struct ap_mask mask_of(int nr_ids, const int *ids);
const char *mask_text(const struct ap_mask *mask);
int mask_parse(struct ap_mask *mask, const char *text);

/*
 * The machine.  @cards and @doms are those whose every queue is there, in
 * ascending order; what is in no host configuration is in @no_cards, @no_doms.
 */
struct ap_machine {
	int nr_cards, cards[AP_IDS];
	int nr_doms, doms[AP_IDS];
	int nr_no_cards, no_cards[AP_IDS];
	int nr_no_doms, no_doms[AP_IDS];
	int accelerator;		/* adapter in accelerator mode, or -1 */
	int max_adapter, max_domain;	/* as vfio_ap has to see them */
	int nr_given;			/* doms[0 .. nr_given) are vfio_ap's */
	struct ap_mask apmask, aqmask;	/* what a test starts with */
};

extern struct ap_machine ap;

/*
 * To be called by main() before the tests: finds the machine and hands the
 * queues of the first @nr_doms common domains to vfio_ap (AP_IDS: of all), as
 * well as all that does not exist.  All is given back when the program ends.
 */
void ap_start(int nr_doms);

/*
 * Back to what ap_start() made: the module loaded, no mediated device, no
 * driver override, the masks, and each queue with the driver that is its own.
 * The AP bus scans only if something happens, for two minutes from here.
 * For setup and teardown of each fixture.
 */
int ap_restore(void);

/* Writes both masks; waits until all queues follow if vfio_ap is loaded. */
int ap_set_masks(const struct ap_mask *apmask, const struct ap_mask *aqmask);
int ap_rescan(void);
bool ap_bindings_settled(void);

#define AP_MAIN(nr_doms)					\
int main(int argc, char **argv)					\
{								\
	ap_start(nr_doms);					\
	exit(test_harness_run(argc, argv));			\
}

/* Queues */
const char *queue_name(int card, int dom);
const char *queue_path(int card, int dom);
const char *queue_driver(int card, int dom);	/* "" if unbound */
const char *queue_status(int card, int dom);
int queue_unbind(int card, int dom);
int queue_bind(int card, int dom, const char *driver);

/* Files: one write() or all of the file, nothing between. */
int file_write_n(const char *path, const void *data, size_t len);
int file_write(const char *path, const char *fmt, ...) __printf(2, 3);
int file_read(const char *path, char **text);
const char *file_text(const char *path);	/* an error reads "<name of errno>" */
bool path_exists(const char *fmt, ...) __printf(1, 2);
int path_mode(const char *path);		/* permission bits */
const char *link_base(const char *path);	/* "" if there is no link */
const char *link_real(const char *path);	/* "" if there is no such path */
char *text(const char *fmt, ...) __printf(1, 2);

/* Mediated devices */
struct mdev {
	char uuid[40];
	char path[96];
};

void mdev_name(struct mdev *mdev);		/* a fresh UUID */
int mdev_create(struct mdev *mdev);		/* with a fresh UUID */
int mdev_remove(const struct mdev *mdev);
bool mdev_exists(const struct mdev *mdev);
int mdev_count(void);
int mdev_available(void);
const char *mdev_attr(const struct mdev *mdev, const char *attr);
int mdev_set(const struct mdev *mdev, const char *attr, const char *fmt, ...) __printf(3, 4);
const char *mdev_get(const struct mdev *mdev, const char *attr);
int mdev_assign(const struct mdev *mdev, int card, int dom);
/* Is the guest's matrix the product of these? */
bool mdev_guest_has(const struct mdev *mdev, int nr_cards, const int *cards,
		    int nr_doms, const int *doms);

/* What the driver says in the kernel log: of an mdev, a queue, another mdev. */
#define SHARING_MESSAGE \
	"vfio_ap_mdev %s: Userspace may not assign queue %s to mdev: already assigned to %s"
#define IN_USE_MESSAGE \
	"vfio_ap_mdev %s: Can not reserve queue %s for host driver: in use by mdev"

/* What `matrix` has to show for adapters crossed with domains. */
const char *matrix_text(const struct ap_mask *apm, const struct ap_mask *aqm);
const char *ap_config_text(const struct ap_mask *apm, const struct ap_mask *aqm,
			   const struct ap_mask *adm);

/* Modules */
#define MODULE_NAME	"vfio_ap"

const char *module_file(const char *name);	/* ends the program if not found */
bool module_loaded(const char *name);
int module_load(const char *name);
int module_unload(const char *name);
void module_need(const char *name);		/* modprobe, or end the program */

/*
 * With the C driver, lines of the kernel log that match @regex are expected from
 * here until expected_faults_end(): whoever judges the log looks for this.
 */
void expect_faults(const char *regex);
void expected_faults_end(void);
/* Whether a use after free would be seen, and do no harm. */
bool kernel_has_kasan(void);

/* The kernel log from here on. */
int kmsg_open(void);
const char *kmsg_text(int fd);
int count_lines_with(const char *log, const char *what);

/* Uevents of the kernel from here on. */
struct uevent {
	char text[4096];
	size_t len;
};

int uevent_open(void);
bool uevent_next(int fd, struct uevent *event, int milliseconds);
const char *uevent_get(const struct uevent *event, const char *key);
bool uevent_wait(int fd, struct uevent *event, const char *key,
		 const char *value);

/* Waits for @condition, @seconds at most; true if it became true. */
#define wait_for_at_most(seconds, condition) ({				\
	double __end = now() + (seconds);				\
	bool __ok;							\
									\
	while (!(__ok = (condition)) && now() < __end)			\
		nap();							\
	__ok;								\
})
#define wait_for(condition)	wait_for_at_most(AP_PATIENCE, condition)

double now(void);
void nap(void);

/* Which driver is under test: the environment variable IMPL, c or rust. */
bool impl_is_c(void);

/*
 * The fault @id (see the differences between the drivers) shows in that @faulty
 * is true.  The C driver has the fault: there it must show, and is reported as
 * an expected failure; a C driver without it fails the test, for then the table
 * is wrong.  On any other driver the fault is a failure.
 */
#define KNOWN_C_FAULT(id, faulty) do {					\
	bool __faulty = (faulty);					\
	const char *__id = (id);					\
									\
	if (!impl_is_c()) {						\
		EXPECT_FALSE(__faulty)					\
			TH_LOG("fault %s: %s", __id, #faulty);		\
	} else if (!__faulty) {						\
		TH_LOG("the C driver does not show fault %s: %s",	\
		       __id, #faulty);					\
		_metadata->exit_code = KSFT_FAIL;			\
	} else if (_metadata->exit_code == KSFT_PASS) {			\
		snprintf(_metadata->results->reason,			\
			 sizeof(_metadata->results->reason),		\
			 "fault %s of the C driver: %s", __id, #faulty);\
		_metadata->exit_code = KSFT_XFAIL;			\
	}								\
} while (0)

#endif /* VFIO_AP_SELFTEST_AP_H */
