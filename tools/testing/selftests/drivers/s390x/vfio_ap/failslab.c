// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each allocation and each copy from or to user space of an operation fails once.
 * Whoever fails must leave everything as it was; the same operation must succeed
 * afterwards.
 *
 * FAILSLAB_SECONDS says how long each test may take, 0 for as long as it takes.  If
 * that is not enough for all, those that fail are spread evenly.
 *
 * Needs CONFIG_FAILSLAB, CONFIG_FAULT_INJECTION_USERCOPY and
 * CONFIG_FAULT_INJECTION_DEBUG_FS.  To be run last: the C driver leaves something
 * behind that only a reboot takes away (L1).
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/syscall.h>

#include "../../../kselftest_harness.h"
#include "ap.h"
#include "guest.h"
#include "vm.h"

#define FAILSLAB	"/sys/kernel/debug/failslab"
#define FAIL_USERCOPY	"/sys/kernel/debug/fail_usercopy"
#define DEBUG_FEATURE	"/sys/kernel/debug/s390dbf/vfio_ap"

/* More allocations than any of the operations makes. */
#define MAX_NTH		100000

#define SECONDS		20

/* "Allocation" stands for whatever the kernel can be told to let fail. */
struct attempts {
	int fail_nth;		/* file */
	int total;		/* how many there are; 0 until they are counted */
	int tried, refused;
	int nth;		/* the one that fails */
	double end;
	bool wrong;		/* failed for another reason */
};

FIXTURE(failslab) {
	struct mdev mdev;
	int card, dom;
	struct attempts all;
};

FIXTURE_SETUP(failslab)
{
	const char *seconds = getenv("FAILSLAB_SECONDS");

	if (!path_exists(FAILSLAB))
		SKIP(return, "the kernel has no failslab");
	ASSERT_TRUE(path_exists(FAIL_USERCOPY));
	ASSERT_EQ(0, file_write(FAILSLAB "/ignore-gfp-wait", "N"));
	ASSERT_EQ(0, file_write(FAILSLAB "/verbose", "0"));
	ASSERT_EQ(0, file_write(FAIL_USERCOPY "/verbose", "0"));
	/* What C3 has done to lockdep is said once more where memory is short. */
	expect_faults("lockdep is turned off");
	ASSERT_EQ(0, ap_restore());
	ASSERT_EQ(0, mdev_create(&self->mdev));
	self->card = ap.cards[0];
	self->dom = ap.doms[0];
	self->all.end = now() + (seconds ? atoi(seconds) : SECONDS);
	if (seconds && !atoi(seconds))
		self->all.end += 1e9;
	self->all.fail_nth = open(text("/proc/self/task/%d/fail-nth", getpid()),
				  O_RDWR);
	ASSERT_LE(0, self->all.fail_nth);
}

FIXTURE_TEARDOWN_PARENT(failslab)
{
	EXPECT_EQ(0, ap_restore());
	expected_faults_end();
}

static bool write_nth(const struct attempts *all, int nth)
{
	const char *s = text("%d", nth);

	return pwrite(all->fail_nth, s, strlen(s), 0) == (ssize_t)strlen(s);
}

static int common_divisor(int a, int b)
{
	return b ? common_divisor(b, a % b) : a;
}

/*
 * Once to count them, then each of them once: in steps of the golden section, so
 * that those for which there was time are everywhere.
 */
static bool next_attempt(struct attempts *all)
{
	int step = all->total * 0.618;

	if (!all->total)
		return !all->nth && write_nth(all, all->nth = MAX_NTH);
	if (all->tried == all->total || now() > all->end)
		return false;
	while (common_divisor(all->total, step) != 1)
		step++;
	all->nth = 1 + (long)all->tried++ * step % all->total;
	return write_nth(all, all->nth);
}

/*
 * To be called with the result of the operation, at once.  True if it was
 * refused, which only an allocation can be the reason for.
 */
static bool was_refused(struct attempts *all, int ret)
{
	char left[16] = "";
	bool hit;

	/* If looking is what fails, the operation did not come to that. */
	hit = pread(all->fail_nth, left, sizeof(left) - 1, 0) > 0 && !atoi(left);
	write_nth(all, 0);
	if (!all->total && atoi(left))
		all->total = MAX_NTH - atoi(left);
	if (ret && (!hit || (ret != -ENOMEM && ret != -EFAULT))) {
		fprintf(stderr, "# allocation %d: %s\n", all->nth,
			strerror(-ret));
		all->wrong = true;
	}
	all->refused += !!ret;
	return ret;
}

#define EXPECT_ALL_ATTEMPTED(_all) do {						\
	const struct attempts *__all = (_all);					\
										\
	TH_LOG("%d of %d allocations failed, %d times the operation did",	\
	       __all->tried, __all->total, __all->refused);			\
	EXPECT_FALSE(__all->wrong);						\
	EXPECT_LT(0, __all->tried);						\
	EXPECT_LT(0, __all->refused);						\
} while (0)

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
	EXPECT_ALL_ATTEMPTED(&self->all);
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
	EXPECT_ALL_ATTEMPTED(&self->all);
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
	EXPECT_ALL_ATTEMPTED(&self->all);
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
	EXPECT_ALL_ATTEMPTED(&self->all);
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
	EXPECT_ALL_ATTEMPTED(&self->all);
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_TRUE(mdev_guest_has(&self->mdev, 1, &self->card, 1, &self->dom));
}

TEST_F_TIMEOUT(failslab, unbind, 600)
{
	int fd = open(AP_BUS "/drivers/vfio_ap/unbind", O_WRONLY | O_CLOEXEC);
	const char *name = queue_name(self->card, self->dom);
	bool ok = true;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	while (ok && next_attempt(&self->all)) {
		if (!was_refused(&self->all, write_to(fd, name)))
			ok = !*queue_driver(self->card, self->dom) &&
			     !queue_bind(self->card, self->dom, "vfio_ap");
		ok &= mdev_guest_has(&self->mdev, 1, &self->card, 1, &self->dom);
	}
	EXPECT_TRUE(ok) TH_LOG("allocation %d", self->all.nth);
	EXPECT_ALL_ATTEMPTED(&self->all);
}

TEST_F_TIMEOUT(failslab, remove, 600)
{
	int available = mdev_available();
	bool ok = true;

	while (ok) {
		const struct mdev *mdev = &self->mdev;
		int fd = open_attr(mdev, "remove");

		ok = fd >= 0 && !mdev_assign(mdev, self->card, self->dom);
		if (!ok || !next_attempt(&self->all))
			break;
		if (was_refused(&self->all, write_to(fd, "1")))
			ok = mdev_exists(mdev) && !mdev_remove(mdev);
		close(fd);
		ok &= !mdev_exists(mdev) && mdev_available() == available + 1 &&
		      !strcmp("unassigned\n", queue_status(self->card, self->dom)) &&
		      !mdev_create(&self->mdev);
	}
	EXPECT_TRUE(ok) TH_LOG("allocation %d", self->all.nth);
	EXPECT_ALL_ATTEMPTED(&self->all);
}

/* A domain that nobody has assigned goes to the default drivers. */
TEST_F_TIMEOUT(failslab, masks, 600)
{
	int fd = open(AP_BUS "/aqmask", O_WRONLY | O_CLOEXEC);
	const char *free_dom = text("+%d\n", ap.doms[1]);
	const char *mask = file_text(AP_BUS "/aqmask");
	bool ok = true;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	while (ok && next_attempt(&self->all)) {
		bool same = was_refused(&self->all, write_to(fd, free_dom));

		ok = same == !strcmp(mask, file_text(AP_BUS "/aqmask")) &&
		     !ap_set_masks(&ap.apmask, &ap.aqmask);
		ok &= mdev_guest_has(&self->mdev, 1, &self->card, 1, &self->dom);
	}
	EXPECT_TRUE(ok) TH_LOG("allocation %d", self->all.nth);
	EXPECT_ALL_ATTEMPTED(&self->all);
}

/* All of a file, which is shorter than @size. */
static int read_from(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	buf[n < 0 ? 0 : n] = 0;
	n = n < 0 ? -errno : 0;
	close(fd);
	return n;
}

TEST_F_TIMEOUT(failslab, read, 600)
{
	const struct attempts all = self->all;
	const char * const paths[] = {
		mdev_attr(&self->mdev, "matrix"),
		mdev_attr(&self->mdev, "guest_matrix"),
		mdev_attr(&self->mdev, "control_domains"),
		mdev_attr(&self->mdev, "ap_config"),
		text("%s/status", queue_path(self->card, self->dom)),
	};
	static char buf[4096];

	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_control_domain", "%d", self->dom));
	for (int i = 0; i < ARRAY_SIZE(paths); i++) {
		const char *whole = file_text(paths[i]);

		self->all = all;
		while (next_attempt(&self->all)) {
			if (!was_refused(&self->all, read_from(paths[i], buf, sizeof(buf))))
				ASSERT_STREQ(whole, buf);
			ASSERT_STREQ(whole, file_text(paths[i]));
		}
		EXPECT_ALL_ATTEMPTED(&self->all);
	}
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
	EXPECT_ALL_ATTEMPTED(&self->all);
}

TEST_F_TIMEOUT(failslab, ioctls, 600)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_irq_info irq = { .argsz = sizeof(irq) };
	int former = eventfd_new(), new = eventfd_new();
	struct vdev_irq_set set = vdev_irq_set(VFIO_AP_CFG_CHG_IRQ_INDEX, new);
	const struct {
		unsigned long request;
		void *arg;
		int told;		/* of a change, once it has succeeded */
	} ioctls[] = {
		{ VFIO_DEVICE_GET_INFO, &info, former },
		{ VFIO_DEVICE_GET_IRQ_INFO, &irq, former },
		{ VFIO_DEVICE_SET_IRQS, &set, new },
	};
	const struct attempts all = self->all;
	struct vdev vdev;
	struct vm vm;

	vm_need_modules();
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_adapter", "%d", self->card));
	ASSERT_EQ(0, vm_create(&vm));
	ASSERT_EQ(0, vdev_open(&vdev, &self->mdev, false, &vm));
	ASSERT_EQ(0, vdev_set_eventfd(&vdev, VFIO_AP_CFG_CHG_IRQ_INDEX, former));
	for (int i = 0; i < ARRAY_SIZE(ioctls); i++) {
		self->all = all;
		while (next_attempt(&self->all)) {
			int ret = vdev_ioctl(&vdev, ioctls[i].request, ioctls[i].arg);
			int told = was_refused(&self->all, ret) ? former : ioctls[i].told;

			ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d", self->dom));
			ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_domain", "%d", self->dom));
			EXPECT_EQ(told == former, !!eventfd_count(former));
			EXPECT_EQ(told == new, !!eventfd_count(new));
			ASSERT_EQ(0, vdev_set_eventfd(&vdev, VFIO_AP_CFG_CHG_IRQ_INDEX, former));
		}
		EXPECT_ALL_ATTEMPTED(&self->all);
	}
}

/* A guest whose interrupts are off; *@pinned is what is pinned then. */
static int guest_start(struct guest *guest, const struct mdev *mdev, int card, int dom,
		       long *pinned)
{
	int ret;

	vm_need_modules();
	ret = mdev_assign(mdev, card, dom) ?: guest_create(guest) ?:
	      guest_attach(guest, mdev, false);
	if (ret)
		return ret;
	*pinned = pinned_pages();
	/* What the guest needs of storage is there from now on. */
	ret = guest_irq_on(guest, card, dom, 0, guest_nib(0)) ?:
	      guest_irq_off(guest, card, dom);
	if (!ret && !wait_for(pinned_pages() == *pinned))
		ret = -ETIME;
	return ret;
}

TEST_F_TIMEOUT(failslab, interrupt, 600)
{
	struct guest guest;
	bool ok = true;
	long pinned;

	ASSERT_EQ(0, guest_start(&guest, &self->mdev, self->card, self->dom, &pinned));
	while (ok && next_attempt(&self->all)) {
		int ret = guest_irq_on(&guest, self->card, self->dom, 0, guest_nib(0));

		/* What the guest is told if there is no memory. */
		if (ret == RC_INVALID_ADDRESS || ret == RC_BUSY)
			ret = -ENOMEM;
		/* Whether it came to that or not: the guest may turn it off. */
		if (!was_refused(&self->all, ret))
			ok = pinned_pages() == pinned + 1;
		ret = guest_irq_off(&guest, self->card, self->dom);
		ok &= (!ret || ret == RC_OTHERWISE_CHANGED) &&
		      wait_for(pinned_pages() == pinned);
	}
	EXPECT_TRUE(ok) TH_LOG("allocation %d", self->all.nth);
	EXPECT_ALL_ATTEMPTED(&self->all);
}

TEST_F_TIMEOUT(failslab, unmap, 600)
{
	struct guest guest;
	bool ok = true;
	long pinned;

	ASSERT_EQ(0, guest_start(&guest, &self->mdev, self->card, self->dom, &pinned));
	while (ok) {
		ok = !guest_irq_on(&guest, self->card, self->dom, 0, guest_nib(0));
		if (!ok || !next_attempt(&self->all))
			break;
		/* It may be what it has done that could not be told. */
		if (was_refused(&self->all, guest_unmap(&guest, 0, GUEST_MEM)))
			ok = !guest_unmap(&guest, 0, GUEST_MEM);
		ok &= pinned_pages() == pinned &&
		      !guest_map(&guest, 0, guest.mem, GUEST_MEM);
	}
	EXPECT_TRUE(ok) TH_LOG("allocation %d", self->all.nth);
	EXPECT_ALL_ATTEMPTED(&self->all);
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

TEST_F_TIMEOUT(failslab, load_module, 3000)
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
	EXPECT_ALL_ATTEMPTED(&self->all);
	KNOWN_C_FAULT("L1", debug_feature);
}

AP_MAIN(2)
