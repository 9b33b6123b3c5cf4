// SPDX-License-Identifier: GPL-2.0-only
/*
 * A queue as the AP bus binds it to vfio_ap and takes it away: `status` is
 * there only in between, says who has the queue, and a mediated device follows.
 */
#include "../../../kselftest_harness.h"
#include "ap.h"

FIXTURE(queue) {
	struct mdev mdev;
	int card, dom, other_dom;
};

FIXTURE_SETUP(queue)
{
	ASSERT_EQ(0, ap_restore());
	ASSERT_EQ(0, mdev_create(&self->mdev));
	self->card = ap.cards[0];
	self->dom = ap.doms[0];
	self->other_dom = ap.doms[1];
}

FIXTURE_TEARDOWN_PARENT(queue)
{
	EXPECT_EQ(0, ap_restore());
}

static const char *line(int card, int dom)
{
	return text("%02x.%04x\n", card, dom);
}

TEST_F(queue, is_bound)
{
	EXPECT_STREQ("vfio_ap", queue_driver(self->card, self->dom));
	EXPECT_TRUE(path_exists(AP_BUS "/drivers/vfio_ap/%s",
				queue_name(self->card, self->dom)));
}

TEST_F(queue, status_unassigned)
{
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->dom));
}

TEST_F(queue, status_is_read_only)
{
	const char *status = text("%s/status",
				  queue_path(self->card, self->dom));

	EXPECT_EQ(0444, path_mode(status));
	EXPECT_EQ(-EACCES, file_write(status, "assigned"));
}

TEST_F(queue, status_only_while_bound)
{
	const char *queue = queue_path(self->card, self->dom);

	EXPECT_TRUE(path_exists("%s/status", queue));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	EXPECT_STREQ("", queue_driver(self->card, self->dom));
	EXPECT_FALSE(path_exists("%s/status", queue));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_STREQ("vfio_ap", queue_driver(self->card, self->dom));
	EXPECT_TRUE(path_exists("%s/status", queue));
}

TEST_F(queue, no_status_with_the_default_driver)
{
	int theirs = ap.doms[ap.nr_doms - 1];

	EXPECT_STRNE("", queue_driver(self->card, theirs));
	EXPECT_STRNE("vfio_ap", queue_driver(self->card, theirs));
	EXPECT_FALSE(path_exists("%s/status", queue_path(self->card, theirs)));
}

TEST_F(queue, queue_of_the_host_cannot_be_bound)
{
	int theirs = ap.doms[ap.nr_doms - 1];
	const char *driver = queue_driver(self->card, theirs);

	ASSERT_EQ(0, queue_unbind(self->card, theirs));
	EXPECT_EQ(-ENODEV, queue_bind(self->card, theirs, "vfio_ap"));
	EXPECT_STREQ("", queue_driver(self->card, theirs));
	EXPECT_EQ(0, queue_bind(self->card, theirs, driver));
}

TEST_F(queue, status_follows_assignment)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, mdev_set(mdev, "assign_adapter", "%d", self->card));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->dom));
	ASSERT_EQ(0, mdev_set(mdev, "assign_domain", "%d", self->dom));
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->dom));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->other_dom));
	EXPECT_STREQ("unassigned\n", queue_status(ap.cards[1], self->dom));
	ASSERT_EQ(0, mdev_set(mdev, "unassign_adapter", "%d", self->card));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->dom));
}

TEST_F(queue, status_after_unassign_of_domain)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_domain", "%d", self->dom));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->dom));
}

TEST_F(queue, status_after_remove_of_mdev)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_remove(&self->mdev));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->dom));
}

TEST_F(queue, control_domain_is_not_a_queue)
{
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_adapter", "%d", self->card));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_control_domain", "%d",
			      self->dom));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->dom));
}

TEST_F(queue, bound_after_assign)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	ASSERT_EQ(0, mdev_assign(mdev, self->card, self->dom));
	EXPECT_STREQ(text(".%04x\n", self->dom), mdev_get(mdev, "guest_matrix"));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->dom));
	EXPECT_STREQ(line(self->card, self->dom),
		     mdev_get(mdev, "guest_matrix"));
}

TEST_F(queue, unbound_while_assigned)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, mdev_assign(mdev, self->card, self->dom));
	EXPECT_STREQ(line(self->card, self->dom),
		     mdev_get(mdev, "guest_matrix"));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	EXPECT_STREQ(line(self->card, self->dom), mdev_get(mdev, "matrix"));
	EXPECT_STREQ(text(".%04x\n", self->dom), mdev_get(mdev, "guest_matrix"));
}

TEST_F(queue, bound_again_while_assigned)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, mdev_assign(mdev, self->card, self->dom));
	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(0, queue_unbind(self->card, self->dom));
		ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
		EXPECT_STREQ("assigned\n", queue_status(self->card, self->dom));
		EXPECT_STREQ(line(self->card, self->dom),
			     mdev_get(mdev, "guest_matrix"));
	}
}

TEST_F(queue, adapter_needs_all_its_queues)
{
	const struct mdev *mdev = &self->mdev;
	struct ap_mask apm = mask_of(1, &self->card);
	struct ap_mask aqm = mask_of(2, ap.doms);
	struct ap_mask none = {};

	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	ASSERT_EQ(0, queue_unbind(self->card, self->other_dom));
	ASSERT_EQ(0, mdev_assign(mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_set(mdev, "assign_domain", "%d", self->other_dom));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_STREQ(matrix_text(&none, &aqm), mdev_get(mdev, "guest_matrix"));
	ASSERT_EQ(0, queue_bind(self->card, self->other_dom, "vfio_ap"));
	EXPECT_STREQ(matrix_text(&apm, &aqm), mdev_get(mdev, "guest_matrix"));
}

TEST_F(queue, unassigned_while_unbound)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_adapter", "%d",
			      self->card));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->dom));
}

TEST_F(queue, mdev_removed_while_unbound)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	ASSERT_EQ(0, mdev_remove(&self->mdev));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->dom));
}

/* Another mdev must get the queue although it never saw it bound. */
TEST_F(queue, taken_by_another_mdev_while_unbound)
{
	struct mdev other;

	ASSERT_EQ(0, mdev_create(&other));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	EXPECT_EQ(-EADDRINUSE, mdev_assign(&other, self->card, self->dom));
	ASSERT_EQ(0, mdev_remove(&self->mdev));
	ASSERT_EQ(0, mdev_set(&other, "assign_domain", "%d", self->dom));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_STREQ(line(self->card, self->dom),
		     mdev_get(&other, "guest_matrix"));
}

/* The masks move a queue as well as bind and unbind do. */
TEST_F(queue, masks_move_queues)
{
	struct ap_mask aqmask = ap.aqmask;

	mask_set(&aqmask, self->dom);
	ASSERT_EQ(0, ap_set_masks(&ap.apmask, &aqmask));
	EXPECT_STRNE("vfio_ap", queue_driver(self->card, self->dom));
	EXPECT_FALSE(path_exists("%s/status",
				 queue_path(self->card, self->dom)));
	ASSERT_EQ(0, ap_set_masks(&ap.apmask, &ap.aqmask));
	EXPECT_STREQ("vfio_ap", queue_driver(self->card, self->dom));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->dom));
}

TEST_F(queue, masks_give_to_a_waiting_mdev)
{
	const struct mdev *mdev = &self->mdev;
	int theirs = ap.doms[ap.nr_doms - 1];
	struct ap_mask aqmask = ap.aqmask;

	/* The domain is assigned before its queues are vfio_ap's. */
	ASSERT_EQ(0, mdev_set(mdev, "assign_domain", "%d", theirs));
	mask_clear(&aqmask, theirs);
	ASSERT_EQ(0, ap_set_masks(&ap.apmask, &aqmask));
	ASSERT_EQ(0, mdev_set(mdev, "assign_adapter", "%d", self->card));
	EXPECT_STREQ(line(self->card, theirs), mdev_get(mdev, "guest_matrix"));
	EXPECT_STREQ("assigned\n", queue_status(self->card, theirs));
}

/*
 * driver_override works only while all queues are the host's by the masks, and
 * moves nothing by itself.
 */
FIXTURE(override) {
	struct mdev mdev;
	int card, dom, other_dom;
	const char *driver;
};

FIXTURE_SETUP(override)
{
	struct ap_mask all;

	ASSERT_EQ(0, ap_restore());
	memset(&all, 0xff, sizeof(all));
	ASSERT_EQ(0, ap_set_masks(&all, &all));
	ASSERT_EQ(0, mdev_create(&self->mdev));
	self->card = ap.cards[0];
	self->dom = ap.doms[0];
	self->other_dom = ap.doms[1];
	self->driver = queue_driver(self->card, self->dom);
}

FIXTURE_TEARDOWN_PARENT(override)
{
	EXPECT_EQ(0, ap_restore());
}

static int override(int card, int dom, const char *driver)
{
	return file_write(text("%s/driver_override", queue_path(card, dom)),
			  "%s\n", driver);
}

/* Gives one queue to vfio_ap. */
static int override_and_bind(int card, int dom)
{
	return override(card, dom, "vfio_ap") ?: queue_unbind(card, dom) ?:
	       queue_bind(card, dom, "vfio_ap");
}

TEST_F(override, queue_can_be_bound)
{
	ASSERT_EQ(0, override(self->card, self->dom, "vfio_ap"));
	EXPECT_STREQ(self->driver, queue_driver(self->card, self->dom));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->dom));
}

TEST_F(override, masks_are_locked)
{
	ASSERT_EQ(0, override(self->card, self->dom, "vfio_ap"));
	EXPECT_EQ(-EINVAL, file_write(AP_BUS "/apmask", "-%d", self->card));
	EXPECT_EQ(-EINVAL, file_write(AP_BUS "/aqmask", "-%d", self->dom));
	ASSERT_EQ(0, override(self->card, self->dom, ""));
	EXPECT_EQ(0, file_write(AP_BUS "/apmask", "-%d", self->card));
	/* And the other way round. */
	EXPECT_EQ(-EINVAL, override(self->card, self->dom, "vfio_ap"));
}

TEST_F(override, queue_can_be_assigned)
{
	ASSERT_EQ(0, override_and_bind(self->card, self->dom));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	EXPECT_EQ(-EADDRNOTAVAIL, mdev_set(&self->mdev, "assign_domain", "%d",
					   self->other_dom));
	EXPECT_STREQ(line(self->card, self->dom),
		     mdev_get(&self->mdev, "guest_matrix"));
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->dom));
}

TEST_F(override, queue_taken_away_does_not_block_others)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, override_and_bind(self->card, self->dom));
	ASSERT_EQ(0, override_and_bind(self->card, self->other_dom));
	ASSERT_EQ(0, mdev_assign(mdev, self->card, self->dom));
	ASSERT_EQ(0, override(self->card, self->dom, ""));
	KNOWN_C_FAULT("M8", mdev_set(mdev, "assign_domain", "%d",
				     self->other_dom));
}

AP_MAIN(2)
