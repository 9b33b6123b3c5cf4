// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a mediated device shows: matrix, guest_matrix and control_domains, and
 * which adapters are left out of the guest's matrix.
 */
#include <fcntl.h>

#include "../../../kselftest_harness.h"
#include "ap.h"

FIXTURE(show) {
	struct mdev mdev;
};

FIXTURE_SETUP(show)
{
	ASSERT_EQ(0, ap_restore());
	ASSERT_EQ(0, mdev_create(&self->mdev));
}

FIXTURE_TEARDOWN_PARENT(show)
{
	EXPECT_EQ(0, ap_restore());
}

static const char *matrix(int nr_cards, const int *cards, int nr_doms,
			  const int *doms)
{
	struct ap_mask apm = mask_of(nr_cards, cards);
	struct ap_mask aqm = mask_of(nr_doms, doms);

	return matrix_text(&apm, &aqm);
}

/* Highest first, so that the order shown is not the order of the writes. */
static int assign_all(const struct mdev *mdev, const char *attr, int nr,
		      const int *ids)
{
	int ret = 0;

	while (!ret && nr--)
		ret = mdev_set(mdev, attr, "%d", ids[nr]);
	return ret;
}

TEST_F(show, adapters_are_outermost)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, assign_all(mdev, "assign_domain", 2, ap.doms));
	ASSERT_EQ(0, assign_all(mdev, "assign_adapter", 3, ap.cards));
	EXPECT_STREQ(text("%02x.%04x\n%02x.%04x\n%02x.%04x\n%02x.%04x\n%02x.%04x\n%02x.%04x\n",
			  ap.cards[0], ap.doms[0], ap.cards[0], ap.doms[1],
			  ap.cards[1], ap.doms[0], ap.cards[1], ap.doms[1],
			  ap.cards[2], ap.doms[0], ap.cards[2], ap.doms[1]),
		     mdev_get(mdev, "matrix"));
}

TEST_F(show, order_of_writes_does_not_matter)
{
	struct mdev other;

	ASSERT_EQ(0, assign_all(&self->mdev, "assign_domain", 2, ap.doms));
	ASSERT_EQ(0, assign_all(&self->mdev, "assign_adapter", 2, ap.cards));
	EXPECT_STREQ(matrix(2, ap.cards, 2, ap.doms),
		     mdev_get(&self->mdev, "matrix"));
	ASSERT_EQ(0, mdev_remove(&self->mdev));

	ASSERT_EQ(0, mdev_create(&other));
	ASSERT_EQ(0, mdev_set(&other, "assign_adapter", "%d", ap.cards[0]));
	ASSERT_EQ(0, mdev_set(&other, "assign_domain", "%d", ap.doms[1]));
	ASSERT_EQ(0, mdev_set(&other, "assign_adapter", "%d", ap.cards[1]));
	ASSERT_EQ(0, mdev_set(&other, "assign_domain", "%d", ap.doms[0]));
	EXPECT_STREQ(matrix(2, ap.cards, 2, ap.doms),
		     mdev_get(&other, "matrix"));
	EXPECT_STREQ(matrix(2, ap.cards, 2, ap.doms),
		     mdev_get(&other, "guest_matrix"));
}

TEST_F(show, adapters_only)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, assign_all(mdev, "assign_adapter", 2, ap.cards));
	EXPECT_STREQ(text("%02x.\n%02x.\n", ap.cards[0], ap.cards[1]),
		     mdev_get(mdev, "matrix"));
	EXPECT_STREQ(text("%02x.\n%02x.\n", ap.cards[0], ap.cards[1]),
		     mdev_get(mdev, "guest_matrix"));
}

TEST_F(show, domains_only)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, assign_all(mdev, "assign_domain", 2, ap.doms));
	EXPECT_STREQ(text(".%04x\n.%04x\n", ap.doms[0], ap.doms[1]),
		     mdev_get(mdev, "matrix"));
	EXPECT_STREQ(text(".%04x\n.%04x\n", ap.doms[0], ap.doms[1]),
		     mdev_get(mdev, "guest_matrix"));
}

TEST_F(show, control_domains_are_no_part_of_the_matrix)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, assign_all(mdev, "assign_control_domain", 2, ap.doms));
	EXPECT_STREQ(text("%04x\n%04x\n", ap.doms[0], ap.doms[1]),
		     mdev_get(mdev, "control_domains"));
	EXPECT_STREQ("", mdev_get(mdev, "matrix"));
	EXPECT_STREQ("", mdev_get(mdev, "guest_matrix"));
}

TEST_F(show, usage_domains_are_not_control_domains)
{
	ASSERT_EQ(0, assign_all(&self->mdev, "assign_domain", 2, ap.doms));
	EXPECT_STREQ("", mdev_get(&self->mdev, "control_domains"));
}

TEST_F(show, last_adapter_leaves_domains)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, assign_all(mdev, "assign_adapter", 1, ap.cards));
	ASSERT_EQ(0, assign_all(mdev, "assign_domain", 2, ap.doms));
	ASSERT_EQ(0, mdev_set(mdev, "unassign_adapter", "%d", ap.cards[0]));
	EXPECT_STREQ(matrix(0, NULL, 2, ap.doms), mdev_get(mdev, "matrix"));
	ASSERT_EQ(0, assign_all(mdev, "unassign_domain", 2, ap.doms));
	EXPECT_STREQ("", mdev_get(mdev, "matrix"));
	EXPECT_STREQ("", mdev_get(mdev, "guest_matrix"));
}

TEST_F(show, mdevs_are_apart)
{
	struct mdev other;

	ASSERT_EQ(0, mdev_create(&other));
	ASSERT_EQ(0, assign_all(&self->mdev, "assign_adapter", 1, ap.cards));
	ASSERT_EQ(0, assign_all(&self->mdev, "assign_domain", 1, ap.doms));
	ASSERT_EQ(0, assign_all(&other, "assign_adapter", 1, ap.cards + 1));
	ASSERT_EQ(0, assign_all(&other, "assign_domain", 2, ap.doms));
	EXPECT_STREQ(matrix(1, ap.cards, 1, ap.doms),
		     mdev_get(&self->mdev, "matrix"));
	EXPECT_STREQ(matrix(1, ap.cards + 1, 2, ap.doms),
		     mdev_get(&other, "matrix"));
}

TEST_F(show, guest_gets_what_is_bound)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, assign_all(mdev, "assign_adapter", ap.nr_cards, ap.cards));
	ASSERT_EQ(0, assign_all(mdev, "assign_domain", ap.nr_given, ap.doms));
	EXPECT_STREQ(matrix(ap.nr_cards, ap.cards, ap.nr_given, ap.doms),
		     mdev_get(mdev, "guest_matrix"));
}

TEST_F(show, accelerator_can_be_passed_through)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_LE(0, ap.accelerator);
	ASSERT_EQ(0, assign_all(mdev, "assign_adapter", 1, &ap.accelerator));
	ASSERT_EQ(0, assign_all(mdev, "assign_domain", ap.nr_given, ap.doms));
	EXPECT_STREQ(matrix(1, &ap.accelerator, ap.nr_given, ap.doms),
		     mdev_get(mdev, "guest_matrix"));
}

TEST_F(show, adapter_that_does_not_exist_is_left_out)
{
	const struct mdev *mdev = &self->mdev;
	const int cards[] = { ap.cards[0], ap.no_cards[0] };
	struct ap_mask apm = mask_of(2, cards);
	struct ap_mask aqm = mask_of(1, ap.doms);

	ASSERT_EQ(0, assign_all(mdev, "assign_adapter", 2, cards));
	ASSERT_EQ(0, assign_all(mdev, "assign_domain", 1, ap.doms));
	EXPECT_STREQ(matrix_text(&apm, &aqm), mdev_get(mdev, "matrix"));
	EXPECT_STREQ(matrix(1, ap.cards, 1, ap.doms),
		     mdev_get(mdev, "guest_matrix"));
}

TEST_F(show, domain_that_does_not_exist_is_left_out)
{
	const struct mdev *mdev = &self->mdev;
	const int doms[] = { ap.doms[0], ap.no_doms[0] };
	struct ap_mask apm = mask_of(1, ap.cards);
	struct ap_mask aqm = mask_of(2, doms);

	ASSERT_EQ(0, assign_all(mdev, "assign_adapter", 1, ap.cards));
	ASSERT_EQ(0, assign_all(mdev, "assign_domain", 2, doms));
	EXPECT_STREQ(matrix_text(&apm, &aqm), mdev_get(mdev, "matrix"));
	EXPECT_STREQ(matrix(1, ap.cards, 1, ap.doms),
		     mdev_get(mdev, "guest_matrix"));
}

/* One queue that is not bound takes its whole adapter out, and no other. */
TEST_F(show, adapter_with_an_unbound_queue_is_left_out)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, queue_unbind(ap.cards[1], ap.doms[1]));
	ASSERT_EQ(0, assign_all(mdev, "assign_adapter", 2, ap.cards));
	ASSERT_EQ(0, assign_all(mdev, "assign_domain", 2, ap.doms));
	EXPECT_STREQ(matrix(2, ap.cards, 2, ap.doms), mdev_get(mdev, "matrix"));
	EXPECT_STREQ(matrix(1, ap.cards, 2, ap.doms),
		     mdev_get(mdev, "guest_matrix"));
}

TEST_F(show, adapter_comes_back_without_the_unbound_queue)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, queue_unbind(ap.cards[1], ap.doms[1]));
	ASSERT_EQ(0, assign_all(mdev, "assign_adapter", 2, ap.cards));
	ASSERT_EQ(0, assign_all(mdev, "assign_domain", 2, ap.doms));
	ASSERT_EQ(0, mdev_set(mdev, "unassign_domain", "%d", ap.doms[1]));
	EXPECT_STREQ(matrix(2, ap.cards, 1, ap.doms), mdev_get(mdev, "matrix"));
	/* The C driver looks at what is left only at the next assignment. */
	ASSERT_EQ(0, mdev_set(mdev, "assign_domain", "%d", ap.no_doms[0]));
	EXPECT_STREQ(matrix(2, ap.cards, 1, ap.doms),
		     mdev_get(mdev, "guest_matrix"));
}

TEST_F(show, guest_matrix_depends_on_the_state_alone)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, queue_unbind(ap.cards[1], ap.doms[1]));
	ASSERT_EQ(0, assign_all(mdev, "assign_adapter", 2, ap.cards));
	ASSERT_EQ(0, assign_all(mdev, "assign_domain", 2, ap.doms));
	ASSERT_EQ(0, mdev_set(mdev, "unassign_domain", "%d", ap.doms[1]));
	KNOWN_C_FAULT("L10",
		      strcmp(matrix(2, ap.cards, 1, ap.doms),
			     mdev_get(mdev, "guest_matrix")));
}

TEST_F(show, no_adapter_left)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, queue_unbind(ap.cards[0], ap.doms[0]));
	ASSERT_EQ(0, assign_all(mdev, "assign_adapter", 1, ap.cards));
	ASSERT_EQ(0, assign_all(mdev, "assign_domain", 1, ap.doms));
	EXPECT_STREQ(matrix(1, ap.cards, 1, ap.doms), mdev_get(mdev, "matrix"));
	EXPECT_STREQ(matrix(0, NULL, 1, ap.doms),
		     mdev_get(mdev, "guest_matrix"));
}

TEST_F(show, no_domain_left)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, assign_all(mdev, "assign_adapter", 1, ap.cards));
	ASSERT_EQ(0, assign_all(mdev, "assign_domain", 1, ap.no_doms));
	EXPECT_STREQ(matrix(1, ap.cards, 1, ap.no_doms),
		     mdev_get(mdev, "matrix"));
	EXPECT_STREQ(matrix(1, ap.cards, 0, NULL),
		     mdev_get(mdev, "guest_matrix"));
}

TEST_F(show, read_in_pieces)
{
	const struct mdev *mdev = &self->mdev;
	const char *expected = matrix(ap.nr_cards, ap.cards, ap.nr_given,
				      ap.doms);
	char all[AP_IDS * 16] = "";
	int fd, len = 0;

	ASSERT_EQ(0, assign_all(mdev, "assign_adapter", ap.nr_cards, ap.cards));
	ASSERT_EQ(0, assign_all(mdev, "assign_domain", ap.nr_given, ap.doms));
	fd = open(mdev_attr(mdev, "matrix"), O_RDONLY);
	ASSERT_LE(0, fd);
	while (len < sizeof(all) - 1 && read(fd, all + len, 1) == 1)
		len++;
	EXPECT_STREQ(expected, all);
	memset(all, 0, sizeof(all));
	EXPECT_EQ(7, pread(fd, all, 7, 8));
	EXPECT_EQ(0, strncmp(expected + 8, all, 7));
	EXPECT_EQ(0, pread(fd, all, 7, strlen(expected)));
	EXPECT_EQ(0, pread(fd, all, 7, strlen(expected) + 1000));
	close(fd);
}

TEST_F(show, read_only)
{
	const struct mdev *mdev = &self->mdev;

	/* Not for root either: there is nothing that would take the data. */
	EXPECT_EQ(-EACCES, mdev_set(mdev, "matrix", "0"));
	EXPECT_EQ(-EACCES, mdev_set(mdev, "guest_matrix", "0"));
	EXPECT_EQ(-EACCES, mdev_set(mdev, "control_domains", "0"));
}

AP_MAIN(2)
