// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens to the hardware while nobody has a device open: cards and domains
 * come and go, are configured off and checkstopped.  The hardware is emulated,
 * and its emulator is told over the port "qmp".
 */
#include "../../../kselftest_harness.h"
#include "ap.h"
#include "qmp.h"

FIXTURE(hotplug) {
	struct mdev mdev, other;
	int qmp;
	int card, dom, other_dom;
	int new_card, new_dom;
};

/*
 * A scan of the bus is over, and the next is far away (see ap_restore()).  An event
 * that comes during a scan may find nothing: that scan has looked already, and it is
 * the answer.
 */
static int end_of_scan(void)
{
	return ap_rescan();
}

FIXTURE_SETUP(hotplug)
{
	ASSERT_EQ(0, ap_restore());
	self->qmp = qmp_open();
	ASSERT_LE(0, self->qmp) TH_LOG("the port to the emulator");
	self->card = ap.cards[0];
	self->dom = ap.doms[0];
	self->other_dom = ap.doms[1];
	self->new_card = ap.no_cards[0];
	self->new_dom = ap.no_doms[0];
	ASSERT_EQ(0, mdev_create(&self->mdev));
	ASSERT_EQ(0, mdev_create(&self->other));
	/* What is seen below is seen by the events, and by no scan in between. */
	ASSERT_EQ(0, end_of_scan());
}

FIXTURE_TEARDOWN_PARENT(hotplug)
{
	EXPECT_TRUE(qmp_restore());
	EXPECT_EQ(0, ap_restore());
}

/* Adapters and domains of the host's configuration */

TEST_F(hotplug, card_comes_and_goes)
{
	const struct mdev *mdev = &self->mdev;
	const int cards[] = { self->card, self->new_card };
	const char *matrix;

	ASSERT_EQ(0, mdev_assign(mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_set(mdev, "assign_adapter", "%d", self->new_card));
	matrix = mdev_get(mdev, "matrix");
	EXPECT_TRUE(mdev_guest_has(mdev, 1, cards, 1, &self->dom));

	ASSERT_TRUE(qmp_add_card(self->qmp, self->new_card, "cex8"));
	EXPECT_TRUE(wait_for(mdev_guest_has(mdev, 2, cards, 1, &self->dom)));
	EXPECT_STREQ("assigned\n", queue_status(self->new_card, self->dom));
	ASSERT_EQ(0, end_of_scan());

	ASSERT_TRUE(qmp_remove_new(self->qmp));
	EXPECT_TRUE(wait_for(mdev_guest_has(mdev, 1, cards, 1, &self->dom)));
	EXPECT_TRUE(wait_for(!path_exists("%s", queue_path(self->new_card,
							   self->dom))));
	EXPECT_STREQ(matrix, mdev_get(mdev, "matrix"));
}

TEST_F(hotplug, domain_comes_and_goes)
{
	const struct mdev *mdev = &self->mdev;
	const int doms[] = { self->dom, self->new_dom };
	const char *matrix;

	ASSERT_EQ(0, mdev_assign(mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_set(mdev, "assign_domain", "%d", self->new_dom));
	matrix = mdev_get(mdev, "matrix");
	EXPECT_TRUE(mdev_guest_has(mdev, 1, &self->card, 1, doms));

	ASSERT_TRUE(qmp_add_domain(self->qmp, self->new_dom));
	EXPECT_TRUE(wait_for(mdev_guest_has(mdev, 1, &self->card, 2, doms)));
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->new_dom));
	ASSERT_EQ(0, end_of_scan());

	ASSERT_TRUE(qmp_remove_new(self->qmp));
	EXPECT_TRUE(wait_for(mdev_guest_has(mdev, 1, &self->card, 1, doms)));
	EXPECT_TRUE(wait_for(!path_exists("%s", queue_path(self->card,
							   self->new_dom))));
	EXPECT_STREQ(matrix, mdev_get(mdev, "matrix"));
}

TEST_F(hotplug, card_that_went_is_still_assigned)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->new_card, self->dom));
	ASSERT_TRUE(qmp_add_card(self->qmp, self->new_card, "cex8"));
	ASSERT_TRUE(wait_for(mdev_guest_has(&self->mdev, 1, &self->new_card, 1,
					    &self->dom)));
	ASSERT_EQ(0, end_of_scan());
	ASSERT_TRUE(qmp_remove_new(self->qmp));
	ASSERT_TRUE(wait_for(!path_exists("%s", queue_path(self->new_card,
							   self->dom))));
	EXPECT_EQ(-EADDRINUSE, mdev_assign(&self->other, self->new_card, self->dom));
	EXPECT_EQ(-EBUSY, file_write(AP_BUS "/apmask", "+%d", self->new_card));
}

TEST_F(hotplug, card_comes_unassigned)
{
	ASSERT_TRUE(qmp_add_card(self->qmp, self->new_card, "cex7"));
	ASSERT_TRUE(wait_for(!strcmp("unassigned\n",
				     queue_status(self->new_card,
						  self->other_dom))));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->new_card, self->other_dom));
	EXPECT_STREQ("assigned\n", queue_status(self->new_card,
						self->other_dom));
	/* A guest gets what is new when the scan that found it is complete. */
	EXPECT_TRUE(wait_for(mdev_guest_has(&self->mdev, 1, &self->new_card, 1,
					    &self->other_dom)));
}

/* The driver knows CEX4 and later; 9 is a CEX3. */
TEST_F(hotplug, old_card_is_left_out)
{
	const struct mdev *mdev = &self->mdev;
	const char *mask = file_text(AP_BUS "/ap_adapter_mask");

	ASSERT_EQ(0, mdev_assign(mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_set(mdev, "assign_adapter", "%d", self->new_card));
	ASSERT_TRUE(qmp_add_card(self->qmp, self->new_card, "9"));
	ASSERT_TRUE(wait_for(strcmp(mask, file_text(AP_BUS "/ap_adapter_mask"))));
	ASSERT_EQ(0, end_of_scan());
	EXPECT_STRNE("vfio_ap", queue_driver(self->new_card, self->dom));
	EXPECT_TRUE(mdev_guest_has(mdev, 1, &self->card, 1, &self->dom));
}

/*
 * A CEX3 comes with two domains, seen by one scan, which tests the first of its queues:
 * the card is too old for any driver, so there is no reason to test the second.  Returns
 * how often that was tested, or -1 for an error.
 */
static long tests_of_old_card(int qmp)
{
	int card = ap.no_cards[0], dom = ap.no_doms[0], second_dom = ap.no_doms[1];
	long tests;

	if (!qmp_config_events(qmp, false) || !qmp_add_domain(qmp, dom) ||
	    !qmp_add_domain(qmp, second_dom) || !qmp_add_card(qmp, card, "9") || end_of_scan())
		return -1;
	tests = queue_counter(qmp, qmp_queue(qmp, card, second_dom), "tapq-count");
	if (!qmp_remove_new(qmp) || end_of_scan() || !qmp_config_events(qmp, true))
		return -1;
	return tests;
}

TEST_F(hotplug, nothing_is_tested_in_vain)
{
	long tests;

	ASSERT_EQ(0, mdev_remove(&self->mdev));
	ASSERT_EQ(0, mdev_remove(&self->other));
	ASSERT_EQ(0, tests_of_old_card(self->qmp)) TH_LOG("tests by the AP bus");
	ASSERT_EQ(0, mdev_create(&self->mdev));
	tests = tests_of_old_card(self->qmp);
	ASSERT_LE(0, tests);
	KNOWN_C_FAULT("L3", tests != 0);
}

/* A queue that is configured off or checkstopped */

FIXTURE(off) {
	struct mdev mdev;
	int qmp, card, dom;
	const char *object;
};

FIXTURE_VARIANT(off) {
	const char *property, *value;
};

FIXTURE_VARIANT_ADD(off, deconfigured) {
	.property = "configured",
	.value = "false",
};

FIXTURE_VARIANT_ADD(off, checkstopped) {
	.property = "checkstopped",
	.value = "true",
};

FIXTURE_SETUP(off)
{
	ASSERT_EQ(0, ap_restore());
	self->qmp = qmp_open();
	ASSERT_LE(0, self->qmp) TH_LOG("the port to the emulator");
	self->card = ap.cards[0];
	self->dom = ap.doms[0];
	self->object = qmp_card(self->qmp, self->card);
	ASSERT_EQ(0, mdev_create(&self->mdev));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
}

FIXTURE_TEARDOWN_PARENT(off)
{
	EXPECT_TRUE(qmp_restore());
	EXPECT_EQ(0, ap_restore());
}

TEST_F(off, stays_assigned)
{
	ASSERT_TRUE(qmp_set(self->qmp, self->object, variant->property,
			    variant->value));
	ASSERT_EQ(0, ap_rescan());
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->dom));
	EXPECT_TRUE(mdev_guest_has(&self->mdev, 1, &self->card, 1, &self->dom));
}

TEST_F(off, can_be_assigned)
{
	ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_adapter", "%d",
			      self->card));
	ASSERT_TRUE(qmp_set(self->qmp, self->object, variant->property,
			    variant->value));
	ASSERT_EQ(0, ap_rescan());
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_adapter", "%d", self->card));
	EXPECT_TRUE(mdev_guest_has(&self->mdev, 1, &self->card, 1, &self->dom));
}

AP_MAIN(2)
