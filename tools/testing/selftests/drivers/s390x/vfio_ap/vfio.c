// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VFIO device of a mediated device, as far as it goes without a running
 * guest: open, the ioctls, the eventfds, `in use`, and what close gives back;
 * by group and container as well as by character device and iommufd.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include "../../../kselftest_harness.h"
#include "ap.h"
#include "vm.h"

#define NO_VM	((struct vm *)NULL)

FIXTURE(vfio) {
	struct mdev mdev, other;
	struct vm vm;
	struct vdev vdev;
	int card, dom, other_dom;
	int kmsg;
};

FIXTURE_VARIANT(vfio) {
	bool cdev;
};

FIXTURE_VARIANT_ADD(vfio, group) {
	.cdev = false,
};

FIXTURE_VARIANT_ADD(vfio, cdev) {
	.cdev = true,
};

FIXTURE_SETUP(vfio)
{
	ASSERT_EQ(0, ap_restore());
	vm_need_modules();
	self->card = ap.cards[0];
	self->dom = ap.doms[0];
	self->other_dom = ap.doms[1];
	ASSERT_EQ(0, mdev_create(&self->mdev));
	ASSERT_EQ(0, mdev_create(&self->other));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_assign(&self->other, ap.cards[1], self->dom));
	ASSERT_EQ(0, vm_create(&self->vm));
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
}

FIXTURE_TEARDOWN_PARENT(vfio)
{
	/* The test's process has ended and with it all that it had open. */
	EXPECT_EQ(0, ap_restore());
}

#define OPEN(_vdev, _mdev, _vm) \
	vdev_open(_vdev, _mdev, variant->cdev, _vm)
#define ASSERT_OPEN() \
	ASSERT_EQ(0, OPEN(&self->vdev, &self->mdev, &self->vm))

TEST_F(vfio, open_without_vm)
{
	EXPECT_EQ(-EINVAL, OPEN(&self->vdev, &self->mdev, NO_VM));
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->dom));
}

TEST_F(vfio, open_with_vm)
{
	ASSERT_OPEN();
	EXPECT_STREQ("in use\n", queue_status(self->card, self->dom));
}

TEST_F(vfio, open_after_refusal)
{
	ASSERT_EQ(-EINVAL, OPEN(&self->vdev, &self->mdev, NO_VM));
	ASSERT_OPEN();
}

TEST_F(vfio, ioctls_before_bind)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };

	if (!variant->cdev) {
		/* The group hands out no device before it is open. */
		EXPECT_EQ(0, vdev_prepare(&self->vdev, &self->mdev, false,
					  NO_VM));
		EXPECT_EQ(-EINVAL, vdev_start(&self->vdev));
		return;
	}
	ASSERT_EQ(0, vdev_prepare(&self->vdev, &self->mdev, true, &self->vm));
	EXPECT_EQ(-EINVAL, vdev_ioctl(&self->vdev, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_EQ(-EINVAL, vdev_ioctl(&self->vdev, VFIO_DEVICE_RESET, NULL));
	ASSERT_EQ(0, vdev_start(&self->vdev));
	EXPECT_EQ(0, vdev_ioctl(&self->vdev, VFIO_DEVICE_GET_INFO, &info));
}

TEST_F(vfio, open_twice)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vdev again;

	ASSERT_OPEN();
	if (variant->cdev) {
		/* Neither the same file nor another one of the device. */
		EXPECT_EQ(-EINVAL, vdev_start(&self->vdev));
		EXPECT_EQ(-EINVAL, OPEN(&again, &self->mdev, &self->vm));
	} else {
		/* A group has any number of files, which are one open. */
		again = self->vdev;
		ASSERT_EQ(0, vdev_start(&again));
		ASSERT_EQ(0, close(self->vdev.device));
		EXPECT_EQ(0, vdev_ioctl(&again, VFIO_DEVICE_GET_INFO, &info));
		EXPECT_STREQ("in use\n", queue_status(self->card, self->dom));
		self->vdev = again;
	}
	EXPECT_STREQ("in use\n", queue_status(self->card, self->dom));
	vdev_close(&self->vdev);
	EXPECT_TRUE(wait_for(!strcmp(queue_status(self->card, self->dom),
				     "assigned\n")));
}

TEST_F(vfio, second_mdev_of_one_vm)
{
	struct vdev second;

	ASSERT_OPEN();
	EXPECT_EQ(-EPERM, OPEN(&second, &self->other, &self->vm));
	EXPECT_STREQ("assigned\n", queue_status(ap.cards[1], self->dom));
	EXPECT_STREQ("in use\n", queue_status(self->card, self->dom));
	vdev_close(&self->vdev);
	EXPECT_EQ(0, OPEN(&second, &self->other, &self->vm));
	EXPECT_STREQ("in use\n", queue_status(ap.cards[1], self->dom));
}

TEST_F(vfio, two_vms)
{
	struct vdev second;
	struct vm vm;

	ASSERT_EQ(0, vm_create(&vm));
	ASSERT_OPEN();
	EXPECT_EQ(0, OPEN(&second, &self->other, &vm));
	EXPECT_STREQ("in use\n", queue_status(self->card, self->dom));
	EXPECT_STREQ("in use\n", queue_status(ap.cards[1], self->dom));
	vdev_close(&self->vdev);
	EXPECT_STREQ("in use\n", queue_status(ap.cards[1], self->dom));
}

TEST_F(vfio, close_gives_back)
{
	ASSERT_OPEN();
	vdev_close(&self->vdev);
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->dom));
	EXPECT_EQ(0, mdev_remove(&self->mdev));
}

TEST_F(vfio, vm_goes_before_the_device)
{
	ASSERT_OPEN();
	vm_destroy(&self->vm);
	EXPECT_STREQ("in use\n", queue_status(self->card, self->dom));
	vdev_close(&self->vdev);
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->dom));
}

TEST_F(vfio, killed_owner_gives_back)
{
	int ready[2];
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (vm_create(&self->vm) ||
		    OPEN(&self->vdev, &self->mdev, &self->vm))
			_exit(1);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &c, 1));
	EXPECT_STREQ("in use\n", queue_status(self->card, self->dom));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_TRUE(wait_for(!strcmp(queue_status(self->card, self->dom),
				     "assigned\n")));
}

TEST_F(vfio, open_and_close_many_times)
{
	for (int i = 0; i < 10; i++) {
		ASSERT_OPEN();
		ASSERT_STREQ("in use\n", queue_status(self->card, self->dom));
		vdev_close(&self->vdev);
		ASSERT_STREQ("assigned\n", queue_status(self->card, self->dom));
	}
}

TEST_F(vfio, open_device_pins_the_module)
{
	ASSERT_OPEN();
	EXPECT_EQ(-EAGAIN, module_unload(MODULE_NAME));
	vdev_close(&self->vdev);
	EXPECT_EQ(0, module_unload(MODULE_NAME));
}

/* What the administrator changes while a guest has the device. */

TEST_F(vfio, in_use_follows_assignment)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_OPEN();
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->other_dom));
	ASSERT_EQ(0, mdev_set(mdev, "assign_domain", "%d", self->other_dom));
	EXPECT_STREQ("in use\n", queue_status(self->card, self->dom));
	EXPECT_STREQ("in use\n", queue_status(self->card, self->other_dom));
	ASSERT_EQ(0, mdev_set(mdev, "unassign_domain", "%d", self->dom));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->dom));
	EXPECT_STREQ("in use\n", queue_status(self->card, self->other_dom));
	ASSERT_EQ(0, mdev_set(mdev, "unassign_adapter", "%d", self->card));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->other_dom));
}

TEST_F(vfio, adapter_left_out_is_not_in_use)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, mdev_set(mdev, "assign_domain", "%d", self->other_dom));
	ASSERT_OPEN();
	EXPECT_STREQ("in use\n", queue_status(self->card, self->dom));
	ASSERT_EQ(0, queue_unbind(self->card, self->other_dom));
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->dom));
	ASSERT_EQ(0, queue_bind(self->card, self->other_dom, "vfio_ap"));
	EXPECT_STREQ("in use\n", queue_status(self->card, self->dom));
	EXPECT_STREQ("in use\n", queue_status(self->card, self->other_dom));
}

TEST_F(vfio, masks_are_refused)
{
	ASSERT_OPEN();
	EXPECT_EQ(-EBUSY, file_write(AP_BUS "/aqmask", "+%d", self->dom));
	EXPECT_STREQ("in use\n", queue_status(self->card, self->dom));
}

#define REQUEST_MESSAGE \
	"vfio_ap_mdev %s: Relaying device request to user (#0)"
#define UNREGISTERED_MESSAGE \
	"vfio_ap_mdev %s: No device request registered, blocked until released by user"

/* Writes 1 to `remove`, which waits until the device is closed. */
static pid_t start_remove(const struct mdev *mdev)
{
	pid_t pid = fork();

	if (!pid) {
		/* It would wait for itself. */
		close_range(STDERR_FILENO + 1, ~0U, 0);
		_exit(mdev_remove(mdev) ? 1 : 0);
	}
	return pid;
}

static bool has_ended(pid_t pid, int *status)
{
	return waitpid(pid, status, WNOHANG) == pid;
}

TEST_F(vfio, remove_waits_for_close)
{
	int status = -1, request = eventfd_new();
	pid_t pid;

	ASSERT_OPEN();
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_REQ_IRQ_INDEX,
				      request));
	pid = start_remove(&self->mdev);
	/* Asked for it, it is still there: the remove waits. */
	EXPECT_TRUE(wait_for(eventfd_count(request)));
	EXPECT_FALSE(has_ended(pid, &status));
	EXPECT_TRUE(path_exists(MATRIX_DEV "/%s", self->mdev.uuid));
	vdev_close(&self->vdev);
	EXPECT_TRUE(wait_for(has_ended(pid, &status)));
	EXPECT_EQ(0, status);
	EXPECT_FALSE(mdev_exists(&self->mdev));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->dom));
}

TEST_F(vfio, request_is_logged)
{
	const char *message =
		text(REQUEST_MESSAGE, self->mdev.uuid);
	int request = eventfd_new();

	ASSERT_OPEN();
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_REQ_IRQ_INDEX,
				      request));
	start_remove(&self->mdev);
	EXPECT_TRUE(wait_for(eventfd_count(request)));
	EXPECT_EQ(1, count_lines_with(kmsg_text(self->kmsg), message));
	vdev_close(&self->vdev);
	EXPECT_TRUE(wait_for(!mdev_exists(&self->mdev)));
}

/* The user is asked every ten seconds; one time in ten is worth a line. */
TEST_F(vfio, request_is_repeated)
{
	const char *message = text("vfio_ap_mdev %s: Relaying device request",
				   self->mdev.uuid);
	int request = eventfd_new();

	ASSERT_OPEN();
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_REQ_IRQ_INDEX,
				      request));
	start_remove(&self->mdev);
	EXPECT_TRUE(wait_for(eventfd_count(request)));
	EXPECT_TRUE(wait_for(eventfd_count(request)));
	EXPECT_EQ(1, count_lines_with(kmsg_text(self->kmsg), message));
	vdev_close(&self->vdev);
	EXPECT_TRUE(wait_for(!mdev_exists(&self->mdev)));
}

TEST_F(vfio, request_without_eventfd_is_logged)
{
	const char *message =
		text(UNREGISTERED_MESSAGE, self->mdev.uuid);
	const char *log = "";

	ASSERT_OPEN();
	start_remove(&self->mdev);
	EXPECT_TRUE(wait_for(count_lines_with(log = text("%s%s", log,
							 kmsg_text(self->kmsg)),
					      message)));
	vdev_close(&self->vdev);
	EXPECT_TRUE(wait_for(!mdev_exists(&self->mdev)));
}

TEST_F(vfio, request_signals_config_change)
{
	int change = eventfd_new();

	ASSERT_OPEN();
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_CFG_CHG_IRQ_INDEX,
				      change));
	start_remove(&self->mdev);
	EXPECT_TRUE(wait_for(eventfd_count(change)));
	vdev_close(&self->vdev);
	EXPECT_TRUE(wait_for(!mdev_exists(&self->mdev)));
}

TEST_F(vfio, request_takes_the_queues)
{
	int request = eventfd_new();

	ASSERT_OPEN();
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_REQ_IRQ_INDEX,
				      request));
	start_remove(&self->mdev);
	ASSERT_TRUE(wait_for(eventfd_count(request)));
	KNOWN_C_FAULT("L7", !strcmp(queue_status(self->card, self->dom),
				    "in use\n"));
	vdev_close(&self->vdev);
	EXPECT_TRUE(wait_for(!mdev_exists(&self->mdev)));
}

/* The config-change eventfd: once an operation, and only if there is a change. */

TEST_F(vfio, config_change_for_each_assignment)
{
	static const char * const attrs[] = {
		"assign_domain", "assign_control_domain",
		"unassign_control_domain", "unassign_domain",
	};
	int change = eventfd_new();

	ASSERT_OPEN();
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_CFG_CHG_IRQ_INDEX,
				      change));
	for (int i = 0; i < ARRAY_SIZE(attrs); i++) {
		ASSERT_EQ(0, mdev_set(&self->mdev, attrs[i], "%d",
				      self->other_dom));
		EXPECT_EQ(1, eventfd_count(change)) TH_LOG("%s", attrs[i]);
	}
}

TEST_F(vfio, no_config_change_without_a_change)
{
	static const char * const attrs[] = {
		"assign_domain", "unassign_domain",
		"assign_control_domain", "unassign_control_domain",
	};
	const int same[] = { self->dom, self->other_dom, self->dom,
			     self->other_dom };
	int change = eventfd_new();

	ASSERT_OPEN();
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_control_domain", "%d",
			      self->dom));
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_CFG_CHG_IRQ_INDEX,
				      change));
	for (int i = 0; i < ARRAY_SIZE(attrs); i++) {
		ASSERT_EQ(0, mdev_set(&self->mdev, attrs[i], "%d", same[i]));
		EXPECT_EQ(0, eventfd_count(change)) TH_LOG("%s", attrs[i]);
	}
	/* Refused, or not in the host's configuration. */
	ASSERT_EQ(-EADDRINUSE, mdev_set(&self->mdev, "assign_adapter", "%d",
					ap.cards[1]));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_adapter", "%d",
			      ap.no_cards[0]));
	EXPECT_EQ(0, eventfd_count(change));
}

TEST_F(vfio, one_config_change_for_one_ap_config)
{
	struct ap_mask apm = mask_of(1, ap.cards + 2);
	struct ap_mask aqm = mask_of(1, ap.doms + 1);
	struct ap_mask adm = mask_of(1, ap.doms + 2);
	int change = eventfd_new();
	unsigned long count;

	ASSERT_OPEN();
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_CFG_CHG_IRQ_INDEX,
				      change));
	ASSERT_EQ(0, mdev_set(&self->mdev, "ap_config", "%s",
			      ap_config_text(&apm, &aqm, &adm)));
	EXPECT_STREQ("in use\n", queue_status(ap.cards[2], ap.doms[1]));
	count = eventfd_count(change);
	EXPECT_NE(0, count);
	KNOWN_C_FAULT("N8", count > 1);
}

TEST_F(vfio, config_change_for_unbind_and_bind)
{
	int change = eventfd_new();

	ASSERT_OPEN();
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_CFG_CHG_IRQ_INDEX,
				      change));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	EXPECT_EQ(1, eventfd_count(change));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_EQ(1, eventfd_count(change));
}

/* M1: the eventfds belong to the session, and go with it. */

TEST_F(vfio, close_releases_eventfds)
{
	static const int indexes[] = {
		VFIO_AP_REQ_IRQ_INDEX, VFIO_AP_CFG_CHG_IRQ_INDEX,
	};
	bool leaked = false;

	for (int i = 0; i < ARRAY_SIZE(indexes); i++) {
		int fd = eventfd_new();
		int id = eventfd_id(fd);

		ASSERT_LE(0, id);
		ASSERT_OPEN();
		ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, indexes[i], fd));
		vdev_close(&self->vdev);
		close(fd);
		/* Ids are given out lowest first: the next has the same one. */
		fd = eventfd_new();
		leaked |= eventfd_id(fd) != id;
	}
	KNOWN_C_FAULT("M1", leaked);
}

TEST_F(vfio, eventfds_of_the_last_session_are_silent)
{
	int change = eventfd_new();

	ASSERT_OPEN();
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_CFG_CHG_IRQ_INDEX,
				      change));
	vdev_close(&self->vdev);
	eventfd_count(change);
	ASSERT_OPEN();
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	KNOWN_C_FAULT("M1", eventfd_count(change));
}

TEST_F(vfio, eventfd_can_be_replaced)
{
	int first = eventfd_new(), second = eventfd_new(), id;

	ASSERT_OPEN();
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_CFG_CHG_IRQ_INDEX,
				      first));
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_CFG_CHG_IRQ_INDEX,
				      second));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	EXPECT_EQ(0, eventfd_count(first));
	EXPECT_EQ(1, eventfd_count(second));
	/* The one that was replaced is free. */
	id = eventfd_id(first);
	close(first);
	EXPECT_EQ(id, eventfd_id(eventfd_new()));
}

TEST_F(vfio, eventfd_can_be_cleared)
{
	int change = eventfd_new(), id;

	ASSERT_OPEN();
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_CFG_CHG_IRQ_INDEX,
				      change));
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_CFG_CHG_IRQ_INDEX,
				      -1));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	EXPECT_EQ(0, eventfd_count(change));
	id = eventfd_id(change);
	close(change);
	EXPECT_EQ(id, eventfd_id(eventfd_new()));
}

/* The ioctls, one by one. */

TEST_F(vfio, get_info)
{
	struct vfio_device_info info = {
		.argsz = offsetof(struct vfio_device_info, num_irqs) +
			 sizeof(info.num_irqs),
		.cap_offset = 0x5a5a5a5a,
	};

	ASSERT_OPEN();
	ASSERT_EQ(0, vdev_ioctl(&self->vdev, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_EQ(VFIO_DEVICE_FLAGS_AP | VFIO_DEVICE_FLAGS_RESET, info.flags);
	EXPECT_EQ(0, info.num_regions);
	EXPECT_EQ(2, info.num_irqs);
	/* Nothing else is written. */
	EXPECT_EQ(offsetof(struct vfio_device_info, cap_offset), info.argsz);
	EXPECT_EQ(0x5a5a5a5a, info.cap_offset);
}

TEST_F(vfio, get_info_short)
{
	struct vfio_device_info info = {
		.argsz = offsetof(struct vfio_device_info, num_irqs) +
			 sizeof(info.num_irqs) - 1,
	};

	ASSERT_OPEN();
	EXPECT_EQ(-EINVAL, vdev_ioctl(&self->vdev, VFIO_DEVICE_GET_INFO, &info));
	info.argsz = 0;
	EXPECT_EQ(-EINVAL, vdev_ioctl(&self->vdev, VFIO_DEVICE_GET_INFO, &info));
}

TEST_F(vfio, get_info_bad_pointer)
{
	ASSERT_OPEN();
	EXPECT_EQ(-EFAULT, vdev_ioctl(&self->vdev, VFIO_DEVICE_GET_INFO, NULL));
}

TEST_F(vfio, get_info_read_only_memory)
{
	struct vfio_device_info *info =
		mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, info);
	info->argsz = sizeof(*info);
	ASSERT_EQ(0, mprotect(info, getpagesize(), PROT_READ));
	ASSERT_OPEN();
	EXPECT_EQ(-EFAULT, vdev_ioctl(&self->vdev, VFIO_DEVICE_GET_INFO, info));
}

TEST_F(vfio, get_irq_info)
{
	static const int indexes[] = {
		VFIO_AP_REQ_IRQ_INDEX, VFIO_AP_CFG_CHG_IRQ_INDEX,
	};

	ASSERT_OPEN();
	for (int i = 0; i < ARRAY_SIZE(indexes); i++) {
		struct vfio_irq_info info = {
			.argsz = sizeof(info), .index = indexes[i],
		};

		ASSERT_EQ(0, vdev_ioctl(&self->vdev, VFIO_DEVICE_GET_IRQ_INFO,
					&info));
		EXPECT_EQ(indexes[i], info.index);
		EXPECT_EQ(1, info.count);
		EXPECT_EQ(VFIO_IRQ_INFO_EVENTFD, info.flags);
	}
}

TEST_F(vfio, get_irq_info_bad_index)
{
	static const unsigned int indexes[] = { 2, 3, 1U << 31, ~0U };

	ASSERT_OPEN();
	for (int i = 0; i < ARRAY_SIZE(indexes); i++) {
		struct vfio_irq_info info = {
			.argsz = sizeof(info), .index = indexes[i],
		};

		EXPECT_EQ(-EINVAL, vdev_ioctl(&self->vdev,
					      VFIO_DEVICE_GET_IRQ_INFO, &info))
			TH_LOG("index %u", indexes[i]);
	}
}

TEST_F(vfio, get_irq_info_short)
{
	struct vfio_irq_info info = { .argsz = sizeof(info) - 1 };

	ASSERT_OPEN();
	EXPECT_EQ(-EINVAL, vdev_ioctl(&self->vdev, VFIO_DEVICE_GET_IRQ_INFO,
				      &info));
}

TEST_F(vfio, get_irq_info_bad_pointer)
{
	ASSERT_OPEN();
	EXPECT_EQ(-EFAULT, vdev_ioctl(&self->vdev, VFIO_DEVICE_GET_IRQ_INFO,
				      NULL));
}

TEST_F(vfio, reset)
{
	ASSERT_OPEN();
	EXPECT_EQ(0, vdev_ioctl(&self->vdev, VFIO_DEVICE_RESET, NULL));
	EXPECT_STREQ("in use\n", queue_status(self->card, self->dom));
}

TEST_F(vfio, reset_without_queues)
{
	ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_adapter", "%d",
			      self->card));
	ASSERT_OPEN();
	EXPECT_EQ(0, vdev_ioctl(&self->vdev, VFIO_DEVICE_RESET, NULL));
}

TEST_F(vfio, other_ioctls)
{
	struct vfio_region_info region = { .argsz = sizeof(region) };

	ASSERT_OPEN();
	EXPECT_EQ(-EOPNOTSUPP,
		  vdev_ioctl(&self->vdev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
			     NULL));
	EXPECT_EQ(-EOPNOTSUPP, vdev_ioctl(&self->vdev, VFIO_DEVICE_IOEVENTFD,
					  NULL));
	EXPECT_EQ(-EOPNOTSUPP, vdev_ioctl(&self->vdev, _IO(VFIO_TYPE, 99),
					  NULL));
	EXPECT_EQ(-EINVAL, vdev_ioctl(&self->vdev, VFIO_DEVICE_GET_REGION_INFO,
				      &region));
}

TEST_F(vfio, no_read_write_mmap)
{
	char c = 0;

	ASSERT_OPEN();
	EXPECT_EQ(-1, read(self->vdev.device, &c, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, write(self->vdev.device, &c, 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, getpagesize(), PROT_READ, MAP_SHARED,
				   self->vdev.device, 0));
	EXPECT_EQ(EINVAL, errno);
}

/* SET_IRQS: one good request, and what makes it bad. */
FIXTURE(set_irqs) {
	struct mdev mdev;
	struct vm vm;
	struct vdev vdev;
	int eventfd;
	/* At the very end of memory that can be read. */
	struct vfio_irq_set *set;
	int *fd;
};

FIXTURE_VARIANT(set_irqs) {
	unsigned int index;
};

FIXTURE_VARIANT_ADD(set_irqs, request) {
	.index = VFIO_AP_REQ_IRQ_INDEX,
};

FIXTURE_VARIANT_ADD(set_irqs, config_change) {
	.index = VFIO_AP_CFG_CHG_IRQ_INDEX,
};

#define EVENTFD_TRIGGER	(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER)

FIXTURE_SETUP(set_irqs)
{
	const size_t size = sizeof(*self->set) + sizeof(*self->fd);
	long page = getpagesize();
	char *memory;

	ASSERT_EQ(0, ap_restore());
	vm_need_modules();
	ASSERT_EQ(0, mdev_create(&self->mdev));
	ASSERT_EQ(0, vm_create(&self->vm));
	ASSERT_EQ(0, vdev_open(&self->vdev, &self->mdev, false, &self->vm));
	self->eventfd = eventfd_new();
	memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, munmap(memory + page, page));
	self->set = (struct vfio_irq_set *)(memory + page - size);
	self->fd = (int *)self->set->data;
	*self->set = (struct vfio_irq_set){
		.argsz = size,
		.flags = EVENTFD_TRIGGER,
		.index = variant->index,
		.start = 0,
		.count = 1,
	};
	*self->fd = self->eventfd;
}

FIXTURE_TEARDOWN_PARENT(set_irqs)
{
	EXPECT_EQ(0, ap_restore());
}

#define SET_IRQS() \
	vdev_ioctl(&self->vdev, VFIO_DEVICE_SET_IRQS, self->set)

TEST_F(set_irqs, good)
{
	EXPECT_EQ(0, SET_IRQS());
	/* Longer than needed is good as well. */
	self->set->argsz++;
	EXPECT_EQ(0, SET_IRQS());
}

TEST_F(set_irqs, bad_index)
{
	static const unsigned int indexes[] = { 2, 3, 1U << 31, ~0U };

	for (int i = 0; i < ARRAY_SIZE(indexes); i++) {
		self->set->index = indexes[i];
		EXPECT_EQ(-EINVAL, SET_IRQS()) TH_LOG("index %u", indexes[i]);
	}
}

TEST_F(set_irqs, bad_argsz)
{
	static const unsigned int sizes[] = {
		0, 1, sizeof(*self->set) - 1, sizeof(*self->set),
		sizeof(*self->set) + sizeof(*self->fd) - 1,
	};

	for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
		self->set->argsz = sizes[i];
		EXPECT_EQ(-EINVAL, SET_IRQS()) TH_LOG("argsz %u", sizes[i]);
	}
}

TEST_F(set_irqs, bad_range)
{
	static const unsigned int ranges[][2] = {
		{ 1, 1 }, { 0, 2 }, { 1, 0 }, { ~0U, 1 }, { 0, ~0U },
		{ ~0U, ~0U }, { 1, ~0U - 1 }, { 1U << 31, 1U << 31 },
	};

	self->set->argsz = 1 << 20;
	for (int i = 0; i < ARRAY_SIZE(ranges); i++) {
		self->set->start = ranges[i][0];
		self->set->count = ranges[i][1];
		EXPECT_EQ(-EINVAL, SET_IRQS())
			TH_LOG("start %u count %u", ranges[i][0], ranges[i][1]);
	}
}

TEST_F(set_irqs, bad_flags)
{
	static const unsigned int flags[] = {
		0,
		VFIO_IRQ_SET_ACTION_TRIGGER,
		VFIO_IRQ_SET_DATA_EVENTFD,
		VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
		VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER,
		VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_MASK,
		VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK,
		EVENTFD_TRIGGER | VFIO_IRQ_SET_DATA_NONE,
		EVENTFD_TRIGGER | VFIO_IRQ_SET_DATA_BOOL,
		EVENTFD_TRIGGER | 1U << 6,
		EVENTFD_TRIGGER | 1U << 31,
	};

	for (int i = 0; i < ARRAY_SIZE(flags); i++) {
		self->set->flags = flags[i];
		EXPECT_EQ(-EINVAL, SET_IRQS()) TH_LOG("flags 0x%x", flags[i]);
	}
}

TEST_F(set_irqs, bad_fd)
{
	static const int fds[] = { -2, -100, INT32_MIN };

	for (int i = 0; i < ARRAY_SIZE(fds); i++) {
		*self->fd = fds[i];
		EXPECT_EQ(-EINVAL, SET_IRQS()) TH_LOG("fd %d", fds[i]);
	}
}

TEST_F(set_irqs, closed_fd)
{
	close(self->eventfd);
	EXPECT_EQ(-EBADF, SET_IRQS());
	*self->fd = INT32_MAX;
	EXPECT_EQ(-EBADF, SET_IRQS());
}

TEST_F(set_irqs, foreign_fd)
{
	*self->fd = open("/dev/null", O_RDWR);
	ASSERT_LE(0, *self->fd);
	EXPECT_EQ(-EINVAL, SET_IRQS());
	*self->fd = self->vdev.device;
	EXPECT_EQ(-EINVAL, SET_IRQS());
}

TEST_F(set_irqs, refusal_keeps_the_eventfd)
{
	int id = eventfd_id(self->eventfd);

	ASSERT_EQ(0, SET_IRQS());
	*self->fd = -2;
	ASSERT_EQ(-EINVAL, SET_IRQS());
	*self->fd = self->vdev.device;
	ASSERT_EQ(-EINVAL, SET_IRQS());
	/* Its context lives on without its file. */
	close(self->eventfd);
	EXPECT_NE(id, eventfd_id(eventfd_new()));
}

TEST_F(set_irqs, clear_what_was_never_set)
{
	*self->fd = -1;
	EXPECT_EQ(0, SET_IRQS());
}

TEST_F(set_irqs, bad_pointer)
{
	EXPECT_EQ(-EFAULT, vdev_ioctl(&self->vdev, VFIO_DEVICE_SET_IRQS, NULL));
}

TEST_F(set_irqs, payload_beyond_memory)
{
	struct vfio_irq_set *set = (void *)self->set + sizeof(*self->fd);

	memmove(set, self->set, sizeof(*set));
	EXPECT_EQ(-EFAULT, vdev_ioctl(&self->vdev, VFIO_DEVICE_SET_IRQS, set));
}

TEST_F(set_irqs, count_zero_takes_no_fd)
{
	int id = eventfd_id(self->eventfd);
	bool taken;
	int ret;

	self->set->count = 0;
	self->set->argsz = sizeof(*self->set);
	ret = SET_IRQS();
	close(self->eventfd);
	taken = eventfd_id(eventfd_new()) != id;
	KNOWN_C_FAULT("M9", ret != -EINVAL || taken);
}

TEST_F(set_irqs, count_zero_reads_no_fd)
{
	struct vfio_irq_set *set = (void *)self->set + sizeof(*self->fd);

	memmove(set, self->set, sizeof(*set));
	set->count = 0;
	set->argsz = sizeof(*set);
	KNOWN_C_FAULT("M9", vdev_ioctl(&self->vdev, VFIO_DEVICE_SET_IRQS,
				       set) != -EINVAL);
}

AP_MAIN(2)
