// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each allocation (and each copy from user space) of an operation fails once: the
 * first, the second, and so on until the operation needs no more.  Whoever fails
 * must leave everything as it was; the same operation must succeed afterwards.
 *
 * Needs CONFIG_FAILSLAB and CONFIG_FAULT_INJECTION_DEBUG_FS.  To be run last: the
 * C driver leaves something behind that only a reboot takes away (L1).
 */
#include <fcntl.h>
#include <sys/syscall.h>

#include "../../../kselftest_harness.h"
#include "ap.h"
#include "vm.h"

#define FAILSLAB	"/sys/kernel/debug/failslab"
#define DEBUG_FEATURE	"/sys/kernel/debug/s390dbf/vfio_ap"

/* More allocations than any of the operations makes. */
#define MAX_NTH		2000

struct attempts {
	int fail_nth;		/* file */
	int nth;
	bool hit;		/* the last one was not its last allocation */
	bool wrong;		/* failed for another reason */
};

FIXTURE(failslab) {
	struct mdev mdev;
	int card, dom;
	struct attempts all;
};

FIXTURE_SETUP(failslab)
{
	if (!path_exists(FAILSLAB))
		SKIP(return, "the kernel has no failslab");
	ASSERT_EQ(0, file_write(FAILSLAB "/ignore-gfp-wait", "N"));
	ASSERT_EQ(0, file_write(FAILSLAB "/verbose", "0"));
	ASSERT_EQ(0, ap_restore());
	ASSERT_EQ(0, mdev_create(&self->mdev));
	self->card = ap.cards[0];
	self->dom = ap.doms[0];
	self->all.hit = true;
	self->all.fail_nth = open(text("/proc/self/task/%d/fail-nth", getpid()),
				  O_RDWR);
	ASSERT_LE(0, self->all.fail_nth);
}

FIXTURE_TEARDOWN_PARENT(failslab)
{
	EXPECT_EQ(0, ap_restore());
}

static bool write_nth(const struct attempts *all, int nth)
{
	const char *s = text("%d", nth);

	return pwrite(all->fail_nth, s, strlen(s), 0) == (ssize_t)strlen(s);
}

/* One more allocation than last time succeeds; false if that is all of them. */
static bool next_attempt(struct attempts *all)
{
	return all->hit && all->nth < MAX_NTH && write_nth(all, ++all->nth);
}

/*
 * To be called with the result of the operation, at once.  True if it was
 * refused, which only an allocation can be the reason for.
 */
static bool was_refused(struct attempts *all, int ret)
{
	char left[16] = "";

	all->hit = pread(all->fail_nth, left, sizeof(left) - 1, 0) > 0 &&
		   !atoi(left);
	write_nth(all, 0);
	/* Where the kernel can have copies from user space fail, it does. */
	if (ret && (!all->hit || (ret != -ENOMEM && ret != -EFAULT))) {
		fprintf(stderr, "# allocation %d: %s\n", all->nth,
			strerror(-ret));
		all->wrong = true;
	}
	return ret;
}

/* All allocations have failed once, and there were any. */
static bool all_attempted(const struct attempts *all)
{
	return !all->hit && all->nth > 1 && !all->wrong;
}

/* The text of a write is made before, with memory of its own. */
static int write_to(int fd, const char *s)
{
	ssize_t n = write(fd, s, strlen(s));

	return n < 0 ? -errno : n == (ssize_t)strlen(s) ? 0 : -EIO;
}

static int open_attr(const struct mdev *mdev, const char *attr)
{
	return open(mdev_attr(mdev, attr), O_WRONLY | O_CLOEXEC);
}

static bool shows(const struct mdev *mdev, const char *attr, const char *what)
{
	return !strcmp(what, mdev_get(mdev, attr));
}

TEST_F_TIMEOUT(failslab, create, 600)
{
	int fd = open(MDEV_TYPE "/create", O_WRONLY | O_CLOEXEC);
	int available = mdev_available();
	struct mdev mdev;
	bool ok = true;

	ASSERT_LE(0, fd);
	mdev_name(&mdev);
	while (ok && next_attempt(&self->all)) {
		if (was_refused(&self->all, write_to(fd, mdev.uuid)))
			ok = !mdev_exists(&mdev);
		else
			ok = !mdev_remove(&mdev);
		ok &= mdev_available() == available;
	}
	EXPECT_TRUE(ok) TH_LOG("allocation %d", self->all.nth);
	EXPECT_TRUE(all_attempted(&self->all));
}

TEST_F_TIMEOUT(failslab, assign, 600)
{
	const struct mdev *mdev = &self->mdev;
	int fd = open_attr(mdev, "assign_adapter");
	const char *card = text("%d", self->card);
	const char *half = text(".%04x\n", self->dom);
	bool ok = true;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, mdev_set(mdev, "assign_domain", "%d", self->dom));
	while (ok && next_attempt(&self->all)) {
		if (!was_refused(&self->all, write_to(fd, card)))
			ok = !mdev_set(mdev, "unassign_adapter", "%s", card);
		ok &= shows(mdev, "matrix", half) &&
		      shows(mdev, "guest_matrix", half) &&
		      !strcmp("unassigned\n",
			      queue_status(self->card, self->dom));
	}
	EXPECT_TRUE(ok) TH_LOG("allocation %d", self->all.nth);
	EXPECT_FALSE(self->all.wrong);
}

TEST_F_TIMEOUT(failslab, unassign, 600)
{
	const struct mdev *mdev = &self->mdev;
	int fd = open_attr(mdev, "unassign_domain");
	const char *dom = text("%d", self->dom);
	bool ok = true;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, mdev_assign(mdev, self->card, self->dom));
	while (ok && next_attempt(&self->all)) {
		if (!was_refused(&self->all, write_to(fd, dom)))
			ok = !mdev_set(mdev, "assign_domain", "%s", dom);
		ok &= mdev_guest_has(mdev, 1, &self->card, 1, &self->dom);
	}
	EXPECT_TRUE(ok) TH_LOG("allocation %d", self->all.nth);
	EXPECT_FALSE(self->all.wrong);
}

TEST_F_TIMEOUT(failslab, ap_config, 600)
{
	struct ap_mask apm = mask_of(2, ap.cards), aqm = mask_of(2, ap.doms);
	const char *config = ap_config_text(&apm, &aqm, &aqm);
	const struct mdev *mdev = &self->mdev;
	int fd = open_attr(mdev, "ap_config");
	const char *before;
	bool ok = true;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, mdev_assign(mdev, self->card, self->dom));
	before = mdev_get(mdev, "ap_config");
	while (ok && next_attempt(&self->all)) {
		if (!was_refused(&self->all, write_to(fd, config)))
			ok = !mdev_set(mdev, "ap_config", "%s", before);
		ok &= shows(mdev, "ap_config", before) &&
		      mdev_guest_has(mdev, 1, &self->card, 1, &self->dom);
	}
	EXPECT_TRUE(ok) TH_LOG("allocation %d", self->all.nth);
	EXPECT_TRUE(all_attempted(&self->all));
}

/* The bus hides why a driver did not take a device. */
static int enomem(int ret)
{
	return ret ? -ENOMEM : 0;
}

TEST_F_TIMEOUT(failslab, bind, 600)
{
	int fd = open(AP_BUS "/drivers/vfio_ap/bind", O_WRONLY | O_CLOEXEC);
	const char *name = queue_name(self->card, self->dom);
	const char *queue = queue_path(self->card, self->dom);
	bool ok = true;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	while (ok && next_attempt(&self->all)) {
		if (!was_refused(&self->all, enomem(write_to(fd, name))))
			ok = !queue_unbind(self->card, self->dom);
		ok &= !*queue_driver(self->card, self->dom) &&
		      !path_exists("%s/status", queue);
	}
	EXPECT_TRUE(ok) TH_LOG("allocation %d", self->all.nth);
	EXPECT_TRUE(all_attempted(&self->all));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_TRUE(mdev_guest_has(&self->mdev, 1, &self->card, 1, &self->dom));
}

TEST_F_TIMEOUT(failslab, open_device, 600)
{
	struct vdev vdev;
	bool ok = true;
	struct vm vm;

	vm_need_modules();
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, vm_create(&vm));
	ASSERT_EQ(0, vdev_prepare(&vdev, &self->mdev, false, &vm));
	while (ok && next_attempt(&self->all)) {
		if (!was_refused(&self->all, vdev_start(&vdev)))
			ok = !close(vdev.device);
		ok &= !strcmp("assigned\n",
			      queue_status(self->card, self->dom));
	}
	EXPECT_TRUE(ok) TH_LOG("allocation %d", self->all.nth);
	EXPECT_TRUE(all_attempted(&self->all));
}

static bool nothing_is_left(void)
{
	return !path_exists("/sys/devices/vfio_ap") &&
	       !path_exists("/sys/bus/matrix") &&
	       !path_exists("/sys/class/mdev_bus/matrix") &&
	       !path_exists(AP_BUS "/drivers/vfio_ap") &&
	       !path_exists(MDEV_BUS "/drivers/vfio_ap_mdev") &&
	       !*queue_driver(ap.cards[0], ap.doms[0]);
}

/* finit_module() with a file that was opened before. */
static int load(int fd)
{
	return syscall(SYS_finit_module, fd, "", 0) ? -errno : 0;
}

TEST_F_TIMEOUT(failslab, load_module, 900)
{
	int fd = open(module_file(MODULE_NAME), O_RDONLY | O_CLOEXEC);
	bool ok = true, debug_feature = false;
	struct ap_mask all;

	ASSERT_LE(0, fd);
	/* One queue for vfio_ap: what binding a queue takes is the same for each. */
	memset(&all, 0xff, sizeof(all));
	ASSERT_EQ(0, ap_set_masks(&all, &all));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	ASSERT_EQ(0, file_write(text("%s/driver_override",
				     queue_path(self->card, self->dom)),
				MODULE_NAME));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, MODULE_NAME));
	ASSERT_EQ(0, module_unload(MODULE_NAME));
	while (ok && next_attempt(&self->all)) {
		if (!was_refused(&self->all, enomem(load(fd))))
			ok = !module_unload(MODULE_NAME);
		ok &= nothing_is_left();
		debug_feature |= path_exists(DEBUG_FEATURE);
	}
	EXPECT_TRUE(ok) TH_LOG("allocation %d", self->all.nth);
	EXPECT_TRUE(all_attempted(&self->all));
	TH_LOG("%d allocations", self->all.nth - 1);
	KNOWN_C_FAULT("L1", debug_feature);
}

AP_MAIN(2)
