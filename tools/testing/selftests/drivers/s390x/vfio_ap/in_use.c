// SPDX-License-Identifier: GPL-2.0-only
/*
 * apmask and aqmask of the AP bus: the host does not get back what a mediated
 * device has, and a refused write changes nothing.
 */
#include "../../../kselftest_harness.h"
#include "ap.h"

FIXTURE(in_use) {
	struct mdev mdev;
	int card, dom, free_card, free_dom;
	int kmsg;
	const char *apmask, *aqmask;
};

FIXTURE_SETUP(in_use)
{
	struct ap_mask apmask = ap.apmask;

	ASSERT_EQ(0, ap_restore());
	self->card = ap.cards[0];
	self->free_card = ap.cards[1];
	self->dom = ap.doms[0];
	self->free_dom = ap.doms[1];
	/* Two adapters and two domains that could be given back. */
	mask_clear(&apmask, self->card);
	mask_clear(&apmask, self->free_card);
	ASSERT_EQ(0, ap_set_masks(&apmask, &ap.aqmask));
	ASSERT_EQ(0, mdev_create(&self->mdev));
	self->apmask = file_text(AP_BUS "/apmask");
	self->aqmask = file_text(AP_BUS "/aqmask");
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
}

FIXTURE_TEARDOWN_PARENT(in_use)
{
	EXPECT_EQ(0, ap_restore());
}

static int set_bit(const char *attr, int id)
{
	return file_write(text(AP_BUS "/%s", attr), "+%d", id);
}

static int clear_bit(const char *attr, int id)
{
	return file_write(text(AP_BUS "/%s", attr), "-%d", id);
}

TEST_F(in_use, apmask_is_refused)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	EXPECT_EQ(-EBUSY, set_bit("apmask", self->card));
	EXPECT_STREQ(self->apmask, file_text(AP_BUS "/apmask"));
}

TEST_F(in_use, aqmask_is_refused)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	EXPECT_EQ(-EBUSY, set_bit("aqmask", self->dom));
	EXPECT_STREQ(self->aqmask, file_text(AP_BUS "/aqmask"));
}

TEST_F(in_use, refusal_leaves_the_queue)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(-EBUSY, set_bit("apmask", self->card));
	ASSERT_EQ(-EBUSY, set_bit("aqmask", self->dom));
	EXPECT_STREQ("vfio_ap", queue_driver(self->card, self->dom));
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->dom));
	EXPECT_STREQ(text("%02x.%04x\n", self->card, self->dom),
		     mdev_get(&self->mdev, "guest_matrix"));
}

/* One bit that cannot be had keeps all others of the same write back. */
TEST_F(in_use, refusal_is_of_the_whole_write)
{
	struct ap_mask all;

	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	EXPECT_EQ(-EBUSY, file_write(AP_BUS "/apmask", "+%d,+%d",
				     self->free_card, self->card));
	EXPECT_STREQ(self->apmask, file_text(AP_BUS "/apmask"));
	memset(&all, 0xff, sizeof(all));
	EXPECT_EQ(-EBUSY, file_write(AP_BUS "/aqmask", "%s", mask_text(&all)));
	EXPECT_STREQ(self->aqmask, file_text(AP_BUS "/aqmask"));
}

TEST_F(in_use, refusal_names_queue_and_mdev)
{
	const char *message =
		text(IN_USE_MESSAGE, self->mdev.uuid,
		     queue_name(self->card, self->dom));

	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(-EBUSY, set_bit("apmask", self->card));
	EXPECT_EQ(1, count_lines_with(kmsg_text(self->kmsg), message));
	ASSERT_EQ(-EBUSY, set_bit("aqmask", self->dom));
	EXPECT_EQ(1, count_lines_with(kmsg_text(self->kmsg), message));
}

TEST_F(in_use, other_bits_are_free)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	EXPECT_EQ(0, set_bit("apmask", self->free_card));
	EXPECT_EQ(0, set_bit("aqmask", self->free_dom));
	EXPECT_EQ(0, count_lines_with(kmsg_text(self->kmsg), "Can not reserve"));
	EXPECT_TRUE(wait_for(strcmp(queue_driver(self->free_card,
						 self->free_dom), "vfio_ap")));
}

TEST_F(in_use, one_axis_uses_no_queue)
{
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_adapter", "%d", self->card));
	EXPECT_EQ(0, set_bit("apmask", self->card));
	EXPECT_EQ(0, mdev_set(&self->mdev, "unassign_adapter", "%d",
			      self->card));
	EXPECT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d", self->dom));
	EXPECT_EQ(0, set_bit("aqmask", self->dom));
}

TEST_F(in_use, control_domains_use_no_queue)
{
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_adapter", "%d", self->card));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_control_domain", "%d",
			      self->dom));
	EXPECT_EQ(0, set_bit("aqmask", self->dom));
}

TEST_F(in_use, clearing_bits_is_never_refused)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	EXPECT_EQ(0, clear_bit("apmask", ap.cards[2]));
	EXPECT_EQ(0, clear_bit("aqmask", ap.doms[ap.nr_doms - 1]));
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->dom));
}

TEST_F(in_use, unchanged_mask_is_not_refused)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	EXPECT_EQ(0, file_write(AP_BUS "/apmask", "%s", self->apmask));
	EXPECT_EQ(0, file_write(AP_BUS "/aqmask", "%s", self->aqmask));
}

TEST_F(in_use, unassigned_is_free)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(-EBUSY, set_bit("apmask", self->card));
	ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_domain", "%d", self->dom));
	EXPECT_EQ(0, set_bit("apmask", self->card));
}

TEST_F(in_use, removed_is_free)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(-EBUSY, set_bit("aqmask", self->dom));
	ASSERT_EQ(0, mdev_remove(&self->mdev));
	EXPECT_EQ(0, set_bit("aqmask", self->dom));
}

TEST_F(in_use, unbound_queue_is_in_use_too)
{
	const char *name = queue_name(self->card, self->dom);

	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	EXPECT_EQ(-EBUSY, set_bit("apmask", self->card));
	EXPECT_EQ(1, count_lines_with(kmsg_text(self->kmsg), name));
	EXPECT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
}

TEST_F(in_use, queue_that_does_not_exist_is_in_use_too)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, ap.no_cards[0], self->dom));
	EXPECT_EQ(-EBUSY, set_bit("apmask", ap.no_cards[0]));
	EXPECT_EQ(-EBUSY, set_bit("aqmask", self->dom));
	EXPECT_STREQ(self->apmask, file_text(AP_BUS "/apmask"));
	EXPECT_STREQ(self->aqmask, file_text(AP_BUS "/aqmask"));
}

TEST_F(in_use, each_mdev_is_asked)
{
	struct mdev other;

	ASSERT_EQ(0, mdev_create(&other));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_assign(&other, self->free_card, self->free_dom));
	EXPECT_EQ(-EBUSY, set_bit("apmask", self->card));
	EXPECT_EQ(-EBUSY, set_bit("apmask", self->free_card));
	EXPECT_EQ(-EBUSY, set_bit("aqmask", self->dom));
	EXPECT_EQ(-EBUSY, set_bit("aqmask", self->free_dom));
}

TEST_F(in_use, each_mdev_is_named)
{
	struct mdev other;
	struct ap_mask all;
	const char *log;
	int named;

	memset(&all, 0xff, sizeof(all));
	ASSERT_EQ(0, mdev_create(&other));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_assign(&other, self->free_card, self->dom));
	ASSERT_EQ(-EBUSY, file_write(AP_BUS "/apmask", "%s", mask_text(&all)));
	log = kmsg_text(self->kmsg);
	named = count_lines_with(log, text(IN_USE_MESSAGE, self->mdev.uuid,
					   queue_name(self->card, self->dom))) +
		count_lines_with(log, text(IN_USE_MESSAGE, other.uuid,
					   queue_name(self->free_card,
						      self->dom)));
	EXPECT_LE(1, named);
	KNOWN_C_FAULT("N6", named != 2);
}

/* Tools that keep the masks wait for this. */
TEST_F(in_use, changes_are_announced)
{
	struct uevent event;
	int fd = uevent_open();

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, clear_bit("apmask", ap.cards[2]));
	EXPECT_TRUE(uevent_wait(fd, &event, "APMASK",
				file_text(AP_BUS "/apmask")));
	ASSERT_EQ(0, clear_bit("aqmask", ap.doms[ap.nr_doms - 1]));
	EXPECT_TRUE(uevent_wait(fd, &event, "AQMASK",
				file_text(AP_BUS "/aqmask")));
	close(fd);
}

AP_MAIN(2)
