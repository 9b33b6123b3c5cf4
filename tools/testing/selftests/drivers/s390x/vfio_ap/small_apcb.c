// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest with the small APCB has room for the adapters up to 63 and the domains up
 * to 15: what is shown of it is what it can use.  This is for a machine without
 * facility 76, where KVM makes no other guests.
 */
#include <linux/vfio.h>

#include "../../../kselftest_harness.h"
#include "ap.h"
#include "vm.h"

#define SMALL_MAX_DOMAIN	15

FIXTURE(small) {
	struct mdev mdev;
	struct vm vm;
	struct vdev vdev;
	int card, doms[2];		/* one with room, one without */
};

FIXTURE_SETUP(small)
{
	const char *facilities = strstr(file_text("/proc/cpuinfo"), "facilities");

	ASSERT_NE(NULL, facilities);
	facilities = text("%.*s ", (int)strcspn(facilities, "\n"), facilities);
	ASSERT_EQ(NULL, strstr(facilities, " 76 ")) TH_LOG("the guests' APCB is large here");
	ASSERT_EQ(0, ap_restore());
	vm_need_modules();
	self->card = ap.cards[0];
	self->doms[0] = ap.doms[0];
	self->doms[1] = ap.doms[ap.nr_doms - 1];
	ASSERT_GE(SMALL_MAX_DOMAIN, self->doms[0]);
	ASSERT_LT(SMALL_MAX_DOMAIN, self->doms[1]);
	ASSERT_EQ(0, mdev_create(&self->mdev));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->doms[0]));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d", self->doms[1]));
	ASSERT_TRUE(mdev_guest_has(&self->mdev, 1, &self->card, 2, self->doms));
	ASSERT_EQ(0, vm_create(&self->vm));
	ASSERT_EQ(0, vdev_open(&self->vdev, &self->mdev, false, &self->vm));
}

FIXTURE_TEARDOWN_PARENT(small)
{
	EXPECT_EQ(0, ap_restore());
}

TEST_F(small, guest_matrix)
{
	KNOWN_C_FAULT("L6", !mdev_guest_has(&self->mdev, 1, &self->card, 1, self->doms));
}

TEST_F(small, status)
{
	EXPECT_STREQ("in use\n", queue_status(self->card, self->doms[0]));
	KNOWN_C_FAULT("L6", strcmp("assigned\n", queue_status(self->card, self->doms[1])));
}

TEST_F(small, domain_without_room_is_no_change)
{
	int change = eventfd_new();

	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_CFG_CHG_IRQ_INDEX, change));
	ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_domain", "%d", self->doms[1]));
	EXPECT_TRUE(mdev_guest_has(&self->mdev, 1, &self->card, 1, self->doms));
	KNOWN_C_FAULT("L6", eventfd_count(change));
}

TEST_F(small, after_close_there_is_room)
{
	vdev_close(&self->vdev);
	EXPECT_TRUE(mdev_guest_has(&self->mdev, 1, &self->card, 2, self->doms));
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->doms[0]));
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->doms[1]));
}

/* No queue is the host's, so that all of them can be assigned. */
AP_MAIN(AP_IDS)
