// SPDX-License-Identifier: GPL-2.0-only
/*
 * assign_* and unassign_* of a mediated device: which numbers they take, which
 * errno the others get, who may have a queue, and that a refused write changes
 * nothing.
 */
#include "../../../kselftest_harness.h"
#include "ap.h"

/* Adapters, domains and control domains by themselves: nothing to check. */
FIXTURE(number) {
	struct mdev mdev;
	int max;
};

FIXTURE_VARIANT(number) {
	const char *assign, *unassign, *show, *format;
	bool is_adapter;
};

FIXTURE_VARIANT_ADD(number, adapter) {
	.assign = "assign_adapter",
	.unassign = "unassign_adapter",
	.show = "matrix",
	.format = "%02x.\n",
	.is_adapter = true,
};

FIXTURE_VARIANT_ADD(number, domain) {
	.assign = "assign_domain",
	.unassign = "unassign_domain",
	.show = "matrix",
	.format = ".%04x\n",
};

FIXTURE_VARIANT_ADD(number, control_domain) {
	.assign = "assign_control_domain",
	.unassign = "unassign_control_domain",
	.show = "control_domains",
	.format = "%04x\n",
};

FIXTURE_SETUP(number)
{
	ASSERT_EQ(0, ap_restore());
	ASSERT_EQ(0, mdev_create(&self->mdev));
	self->max = variant->is_adapter ? ap.max_adapter : ap.max_domain;
}

FIXTURE_TEARDOWN_PARENT(number)
{
	EXPECT_EQ(0, ap_restore());
}

static const char *shown(const char *format, int id)
{
	char *s;

	if (asprintf(&s, format, id) < 0)
		abort();
	return s;
}

TEST_F(number, every_base)
{
	static const struct {
		const char *text;
		int id;
	} forms[] = {
		{ "0", 0 }, { "0x0", 0 }, { "00", 0 },
		{ "7", 7 }, { "7\n", 7 }, { "+7", 7 }, { "007", 7 },
		{ "0x7", 7 }, { "0X7\n", 7 }, { "0x0007", 7 },
		{ "11", 11 }, { "0xb", 11 }, { "0xB", 11 }, { "013", 11 },
		{ "00000000000000000000000000000000000013", 11 },
		{ "0x00000000000000000000000000000000000b", 11 },
	};
	const struct mdev *mdev = &self->mdev;

	for (int i = 0; i < ARRAY_SIZE(forms); i++) {
		EXPECT_EQ(0, mdev_set(mdev, variant->assign, "%s",
				      forms[i].text))
			TH_LOG("assign '%s'", forms[i].text);
		EXPECT_STREQ(shown(variant->format, forms[i].id),
			     mdev_get(mdev, variant->show));
		EXPECT_EQ(0, mdev_set(mdev, variant->unassign, "%s",
				      forms[i].text))
			TH_LOG("unassign '%s'", forms[i].text);
		EXPECT_STREQ("", mdev_get(mdev, variant->show));
	}
}

/* Programs write the NUL, too, and more behind it. */
TEST_F(number, ends_at_a_nul)
{
	static const char five[] = "5\0x";

	EXPECT_EQ(0, file_write_n(mdev_attr(&self->mdev, variant->assign), five,
				  sizeof(five)));
	EXPECT_STREQ(shown(variant->format, 5),
		     mdev_get(&self->mdev, variant->show));
	EXPECT_EQ(-EINVAL, file_write_n(mdev_attr(&self->mdev, variant->assign),
					"\0005", 2));
}

static const char * const not_numbers[] = {
	"\n", " ", "x", "0x", "0xg", "-1", "-0", "--1", "+-1", "++1", "08", "1x",
	"1 ", " 1", "1,2", "1-2", "1.0", "1\n\n", "1\n2", "one", "1e1", "\t1",
};

TEST_F(number, assign_not_a_number)
{
	for (int i = 0; i < ARRAY_SIZE(not_numbers); i++) {
		EXPECT_EQ(-EINVAL, mdev_set(&self->mdev, variant->assign, "%s",
					    not_numbers[i]))
			TH_LOG("'%s'", not_numbers[i]);
	}
	EXPECT_STREQ("", mdev_get(&self->mdev, variant->show));
}

TEST_F(number, unassign_not_a_number)
{
	ASSERT_EQ(0, mdev_set(&self->mdev, variant->assign, "1"));
	for (int i = 0; i < ARRAY_SIZE(not_numbers); i++) {
		EXPECT_EQ(-EINVAL, mdev_set(&self->mdev, variant->unassign,
					    "%s", not_numbers[i]))
			TH_LOG("'%s'", not_numbers[i]);
	}
	EXPECT_STREQ(shown(variant->format, 1),
		     mdev_get(&self->mdev, variant->show));
}

TEST_F(number, too_large_for_a_number)
{
	static const char * const huge[] = {
		"18446744073709551616", "99999999999999999999\n",
		"0x10000000000000000", "02000000000000000000000",
	};

	ASSERT_EQ(0, mdev_set(&self->mdev, variant->assign, "1"));
	for (int i = 0; i < ARRAY_SIZE(huge); i++) {
		EXPECT_EQ(-ERANGE, mdev_set(&self->mdev, variant->assign, "%s",
					    huge[i]))
			TH_LOG("'%s'", huge[i]);
		EXPECT_EQ(-ERANGE, mdev_set(&self->mdev, variant->unassign,
					    "%s", huge[i]))
			TH_LOG("'%s'", huge[i]);
	}
	EXPECT_STREQ(shown(variant->format, 1),
		     mdev_get(&self->mdev, variant->show));
}

TEST_F(number, above_the_maximum)
{
	const unsigned long above[] = {
		self->max + 1, 256, 257, 65536, 65537, 1UL << 31,
		(1UL << 32) + 1, (1UL << 63) + 1, ~0UL,
	};

	ASSERT_EQ(0, mdev_set(&self->mdev, variant->assign, "1"));
	for (int i = 0; i < ARRAY_SIZE(above); i++) {
		EXPECT_EQ(-ENODEV, mdev_set(&self->mdev, variant->assign, "%lu",
					    above[i]))
			TH_LOG("%lu", above[i]);
		EXPECT_EQ(-ENODEV, mdev_set(&self->mdev, variant->unassign,
					    "0x%lx", above[i]))
			TH_LOG("%lu", above[i]);
	}
	EXPECT_STREQ(shown(variant->format, 1),
		     mdev_get(&self->mdev, variant->show));
}

TEST_F(number, maximum)
{
	EXPECT_EQ(0, mdev_set(&self->mdev, variant->assign, "%d", self->max));
	EXPECT_STREQ(shown(variant->format, self->max),
		     mdev_get(&self->mdev, variant->show));
	EXPECT_EQ(0, mdev_set(&self->mdev, variant->unassign, "%d", self->max));
	EXPECT_STREQ("", mdev_get(&self->mdev, variant->show));
}

TEST_F(number, all)
{
	const char *expected = "";

	/* Assigned downwards, shown upwards. */
	for (int id = self->max; id >= 0; id--) {
		ASSERT_EQ(0, mdev_set(&self->mdev, variant->assign, "%d", id))
			TH_LOG("%d", id);
		expected = text("%s%s", shown(variant->format, id), expected);
	}
	EXPECT_STREQ(expected, mdev_get(&self->mdev, variant->show));
	for (int id = 0; id <= self->max; id++) {
		ASSERT_EQ(0, mdev_set(&self->mdev, variant->unassign, "%d", id))
			TH_LOG("%d", id);
	}
	EXPECT_STREQ("", mdev_get(&self->mdev, variant->show));
}

TEST_F(number, assign_twice)
{
	EXPECT_EQ(0, mdev_set(&self->mdev, variant->assign, "3"));
	EXPECT_EQ(0, mdev_set(&self->mdev, variant->assign, "3"));
	EXPECT_STREQ(shown(variant->format, 3),
		     mdev_get(&self->mdev, variant->show));
	EXPECT_EQ(0, mdev_set(&self->mdev, variant->unassign, "3"));
	EXPECT_STREQ("", mdev_get(&self->mdev, variant->show));
}

TEST_F(number, unassign_what_is_not_assigned)
{
	EXPECT_EQ(0, mdev_set(&self->mdev, variant->assign, "3"));
	EXPECT_EQ(0, mdev_set(&self->mdev, variant->unassign, "2"));
	EXPECT_EQ(0, mdev_set(&self->mdev, variant->unassign, "%d", self->max));
	EXPECT_STREQ(shown(variant->format, 3),
		     mdev_get(&self->mdev, variant->show));
}

TEST_F(number, one_axis_of_the_host_is_not_checked)
{
	int id = variant->is_adapter ? ap.cards[0] : ap.doms[ap.nr_doms - 1];
	struct mdev other;

	ASSERT_EQ(0, mdev_create(&other));
	EXPECT_EQ(0, mdev_set(&self->mdev, variant->assign, "%d", id));
	EXPECT_EQ(0, mdev_set(&other, variant->assign, "%d", id));
	EXPECT_STREQ(shown(variant->format, id),
		     mdev_get(&self->mdev, variant->show));
	EXPECT_STREQ(shown(variant->format, id), mdev_get(&other, variant->show));
}

/*
 * Both axes: the variants differ in which one comes last, for it is the last
 * write that is checked.
 */
FIXTURE(product) {
	struct mdev a, b;
	int card, ours, theirs;		/* domains: vfio_ap's, the host's */
	int kmsg;
};

FIXTURE_VARIANT(product) {
	bool adapter_last;
};

FIXTURE_VARIANT_ADD(product, domain_last) {
	.adapter_last = false,
};

FIXTURE_VARIANT_ADD(product, adapter_last) {
	.adapter_last = true,
};

FIXTURE_SETUP(product)
{
	ASSERT_EQ(0, ap_restore());
	ASSERT_EQ(0, mdev_create(&self->a));
	ASSERT_EQ(0, mdev_create(&self->b));
	self->card = ap.cards[1];
	self->ours = ap.doms[0];
	self->theirs = ap.doms[ap.nr_doms - 1];
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
}

FIXTURE_TEARDOWN_PARENT(product)
{
	EXPECT_EQ(0, ap_restore());
}

/* Assigns both; the second write is the one whose result counts. */
static int assign(const struct mdev *mdev, bool adapter_last, int card, int dom)
{
	int ret;

	ret = adapter_last ? mdev_set(mdev, "assign_domain", "%d", dom) :
			     mdev_set(mdev, "assign_adapter", "%d", card);
	if (ret)
		return -EBADMSG;
	return adapter_last ? mdev_set(mdev, "assign_adapter", "%d", card) :
			      mdev_set(mdev, "assign_domain", "%d", dom);
}

/* What a refused assign() leaves: the first of the two. */
static const char *half(bool adapter_last, int card, int dom)
{
	return adapter_last ? text(".%04x\n", dom) : text("%02x.\n", card);
}

static const char *line(int card, int dom)
{
	return text("%02x.%04x\n", card, dom);
}

TEST_F(product, queue_of_vfio_ap)
{
	EXPECT_EQ(0, assign(&self->a, variant->adapter_last, self->card,
			    self->ours));
	EXPECT_STREQ(line(self->card, self->ours),
		     mdev_get(&self->a, "matrix"));
	EXPECT_EQ(0, count_lines_with(kmsg_text(self->kmsg), "vfio_ap_mdev"));
}

TEST_F(product, queue_that_does_not_exist)
{
	EXPECT_EQ(0, assign(&self->a, variant->adapter_last, ap.no_cards[0],
			    ap.no_doms[0]));
	EXPECT_STREQ(line(ap.no_cards[0], ap.no_doms[0]),
		     mdev_get(&self->a, "matrix"));
	EXPECT_STREQ("", mdev_get(&self->a, "guest_matrix"));
}

TEST_F(product, queue_of_the_host)
{
	EXPECT_EQ(-EADDRNOTAVAIL, assign(&self->a, variant->adapter_last,
					 self->card, self->theirs));
	EXPECT_STREQ(half(variant->adapter_last, self->card, self->theirs),
		     mdev_get(&self->a, "matrix"));
}

TEST_F(product, queue_of_the_host_is_named)
{
	const char *name = queue_name(self->card, self->theirs);
	const char *log;

	ASSERT_EQ(-EADDRNOTAVAIL, assign(&self->a, variant->adapter_last,
					 self->card, self->theirs));
	log = kmsg_text(self->kmsg);
	KNOWN_C_FAULT("N6",
		      !strstr(log, text("vfio_ap_mdev %s: ", self->a.uuid)) ||
		      !strstr(log, name));
}

TEST_F(product, one_queue_of_many_is_the_host_s)
{
	const struct mdev *a = &self->a;
	const char *before;

	for (int i = 0; i < ap.nr_given; i++) {
		ASSERT_EQ(0, assign(a, variant->adapter_last, self->card,
				    ap.doms[i]));
	}
	before = mdev_get(a, "matrix");
	if (variant->adapter_last) {
		/* The domain is free with the first adapter only. */
		struct ap_mask apmask = ap.apmask;

		mask_clear(&apmask, self->card);
		ASSERT_EQ(0, ap_set_masks(&apmask, &ap.aqmask));
		ASSERT_EQ(0, mdev_set(a, "assign_domain", "%d", self->theirs));
		before = mdev_get(a, "matrix");
		EXPECT_EQ(-EADDRNOTAVAIL,
			  mdev_set(a, "assign_adapter", "%d", ap.cards[2]));
	} else {
		EXPECT_EQ(-EADDRNOTAVAIL,
			  mdev_set(a, "assign_domain", "%d", self->theirs));
	}
	EXPECT_STREQ(before, mdev_get(a, "matrix"));
}

TEST_F(product, queue_of_another_mdev)
{
	ASSERT_EQ(0, assign(&self->a, variant->adapter_last, self->card,
			    self->ours));
	EXPECT_EQ(-EADDRINUSE, assign(&self->b, variant->adapter_last,
				      self->card, self->ours));
	EXPECT_STREQ(half(variant->adapter_last, self->card, self->ours),
		     mdev_get(&self->b, "matrix"));
	EXPECT_STREQ(line(self->card, self->ours),
		     mdev_get(&self->a, "matrix"));
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->ours));
}

TEST_F(product, queue_that_does_not_exist_of_another_mdev)
{
	ASSERT_EQ(0, assign(&self->a, variant->adapter_last, ap.no_cards[0],
			    ap.no_doms[0]));
	EXPECT_EQ(-EADDRINUSE, assign(&self->b, variant->adapter_last,
				      ap.no_cards[0], ap.no_doms[0]));
}

TEST_F(product, queue_of_another_mdev_is_named)
{
	const char *message =
		text(SHARING_MESSAGE, self->b.uuid,
		     queue_name(self->card, self->ours), self->a.uuid);

	ASSERT_EQ(0, assign(&self->a, variant->adapter_last, self->card,
			    self->ours));
	ASSERT_EQ(-EADDRINUSE, assign(&self->b, variant->adapter_last,
				      self->card, self->ours));
	EXPECT_EQ(1, count_lines_with(kmsg_text(self->kmsg), message));
}

TEST_F(product, the_host_comes_before_another_mdev)
{
	const struct mdev *b = &self->b;

	ASSERT_EQ(0, assign(&self->a, variant->adapter_last, self->card,
			    self->ours));
	if (variant->adapter_last) {
		ASSERT_EQ(0, mdev_set(b, "assign_domain", "%d", self->ours));
		ASSERT_EQ(0, mdev_set(b, "assign_domain", "%d", self->theirs));
		EXPECT_EQ(-EADDRNOTAVAIL,
			  mdev_set(b, "assign_adapter", "%d", self->card));
	} else {
		struct ap_mask apmask = ap.apmask, aqmask = ap.aqmask;

		/* Now this domain is vfio_ap's with no adapter but one. */
		ASSERT_EQ(0, mdev_set(b, "assign_adapter", "%d", self->card));
		ASSERT_EQ(0, mdev_set(b, "assign_adapter", "%d", ap.cards[2]));
		ASSERT_EQ(0, mdev_remove(&self->a));
		mask_set(&aqmask, self->ours);
		mask_clear(&apmask, self->card);
		ASSERT_EQ(0, ap_set_masks(&apmask, &aqmask));
		ASSERT_EQ(0, mdev_create(&self->a));
		ASSERT_EQ(0, assign(&self->a, false, self->card, self->ours));
		EXPECT_EQ(-EADDRNOTAVAIL,
			  mdev_set(b, "assign_domain", "%d", self->ours));
	}
	EXPECT_EQ(0, count_lines_with(kmsg_text(self->kmsg),
				      "already assigned to"));
}

TEST_F(product, same_adapter_other_domain)
{
	ASSERT_LE(2, ap.nr_given);
	EXPECT_EQ(0, assign(&self->a, variant->adapter_last, self->card,
			    ap.doms[0]));
	EXPECT_EQ(0, assign(&self->b, variant->adapter_last, self->card,
			    ap.doms[1]));
	EXPECT_STREQ(line(self->card, ap.doms[0]), mdev_get(&self->a, "matrix"));
	EXPECT_STREQ(line(self->card, ap.doms[1]), mdev_get(&self->b, "matrix"));
}

TEST_F(product, same_domain_other_adapter)
{
	EXPECT_EQ(0, assign(&self->a, variant->adapter_last, ap.cards[0],
			    self->ours));
	EXPECT_EQ(0, assign(&self->b, variant->adapter_last, ap.cards[1],
			    self->ours));
	EXPECT_STREQ(line(ap.cards[0], self->ours), mdev_get(&self->a, "matrix"));
	EXPECT_STREQ(line(ap.cards[1], self->ours), mdev_get(&self->b, "matrix"));
}

TEST_F(product, unassign_frees_the_queue)
{
	const char *unassign = variant->adapter_last ? "unassign_adapter" :
						       "unassign_domain";

	ASSERT_EQ(0, assign(&self->a, variant->adapter_last, self->card,
			    self->ours));
	ASSERT_EQ(0, mdev_set(&self->a, unassign, "%d",
			      variant->adapter_last ? self->card : self->ours));
	EXPECT_EQ(0, assign(&self->b, variant->adapter_last, self->card,
			    self->ours));
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->ours));
}

TEST_F(product, remove_frees_the_queue)
{
	ASSERT_EQ(0, assign(&self->a, variant->adapter_last, self->card,
			    self->ours));
	ASSERT_EQ(0, mdev_remove(&self->a));
	EXPECT_EQ(0, assign(&self->b, variant->adapter_last, self->card,
			    self->ours));
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->ours));
}

TEST_F(product, again_after_a_refusal)
{
	const char *assign_last = variant->adapter_last ? "assign_adapter" :
							  "assign_domain";

	ASSERT_EQ(0, assign(&self->a, variant->adapter_last, self->card,
			    self->ours));
	ASSERT_EQ(-EADDRINUSE, assign(&self->b, variant->adapter_last,
				      self->card, self->ours));
	ASSERT_EQ(0, mdev_remove(&self->a));
	EXPECT_EQ(0, mdev_set(&self->b, assign_last, "%d",
			      variant->adapter_last ? self->card : self->ours));
	EXPECT_STREQ(line(self->card, self->ours),
		     mdev_get(&self->b, "matrix"));
}

TEST_F(product, assigned_twice_is_not_checked_again)
{
	ASSERT_EQ(0, assign(&self->a, variant->adapter_last, self->card,
			    self->ours));
	EXPECT_EQ(0, assign(&self->a, variant->adapter_last, self->card,
			    self->ours));
	EXPECT_STREQ(line(self->card, self->ours),
		     mdev_get(&self->a, "matrix"));
	EXPECT_EQ(0, count_lines_with(kmsg_text(self->kmsg), "vfio_ap_mdev"));
}

/* What is refused again and again is not said each time, but to each who asks. */
TEST(messages_are_limited)
{
	const int card = ap.cards[0], dom = ap.doms[0];
	const char *message_b, *message_c, *log;
	struct mdev a, b, c;
	int kmsg;

	ASSERT_EQ(0, ap_restore());
	kmsg = kmsg_open();
	ASSERT_LE(0, kmsg);
	ASSERT_EQ(0, mdev_create(&a));
	ASSERT_EQ(0, mdev_create(&b));
	ASSERT_EQ(0, mdev_create(&c));
	ASSERT_EQ(0, mdev_assign(&a, card, dom));
	ASSERT_EQ(0, mdev_set(&b, "assign_domain", "%d", dom));
	ASSERT_EQ(0, mdev_set(&c, "assign_domain", "%d", dom));
	message_b = text(SHARING_MESSAGE, b.uuid, queue_name(card, dom), a.uuid);
	message_c = text(SHARING_MESSAGE, c.uuid, queue_name(card, dom), a.uuid);

	for (int i = 0; i < 200; i++)
		ASSERT_EQ(-EADDRINUSE, mdev_set(&b, "assign_adapter", "%d", card));
	ASSERT_EQ(-EADDRINUSE, mdev_set(&c, "assign_adapter", "%d", card));
	log = kmsg_text(kmsg);
	EXPECT_LE(1, count_lines_with(log, message_b));
	EXPECT_EQ(1, count_lines_with(log, message_c));
	KNOWN_C_FAULT("L9", count_lines_with(log, message_b) == 200);

	/* After a while, it is news again. */
	sleep(6);
	ASSERT_EQ(-EADDRINUSE, mdev_set(&b, "assign_adapter", "%d", card));
	EXPECT_EQ(1, count_lines_with(kmsg_text(kmsg), message_b));
	EXPECT_EQ(0, ap_restore());
}

AP_MAIN(2)
