// SPDX-License-Identifier: GPL-2.0-only
/*
 * ap_config: the three masks of a mediated device at once, all or nothing.
 */
#include <fcntl.h>
#include <pthread.h>

#include "../../../kselftest_harness.h"
#include "ap.h"

#define ZEROS	"0000000000000000000000000000000000000000000000000000000000000000"
#define MASK	"0x" ZEROS

FIXTURE(ap_config) {
	struct mdev mdev;
	struct ap_mask apm, aqm, adm, none;
};

FIXTURE_SETUP(ap_config)
{
	ASSERT_EQ(0, ap_restore());
	ASSERT_EQ(0, mdev_create(&self->mdev));
	self->apm = mask_of(2, ap.cards);
	self->aqm = mask_of(2, ap.doms);
	self->adm = mask_of(1, ap.doms + 2);
}

FIXTURE_TEARDOWN_PARENT(ap_config)
{
	EXPECT_EQ(0, ap_restore());
}

static int store(const struct mdev *mdev, const struct ap_mask *apm,
		 const struct ap_mask *aqm, const struct ap_mask *adm)
{
	return mdev_set(mdev, "ap_config", "%s", ap_config_text(apm, aqm, adm));
}

TEST_F(ap_config, starts_empty)
{
	EXPECT_STREQ(MASK "," MASK "," MASK "\n",
		     mdev_get(&self->mdev, "ap_config"));
}

TEST_F(ap_config, mode)
{
	EXPECT_EQ(0644, path_mode(mdev_attr(&self->mdev, "ap_config")));
}

TEST_F(ap_config, shows_assignments)
{
	const struct mdev *mdev = &self->mdev;
	struct ap_mask apm = {}, aqm = {}, adm = {};

	mask_set(&apm, ap.no_cards[0]);
	mask_set(&apm, ap.max_adapter);
	mask_set(&adm, 0);
	mask_set(&adm, ap.max_domain);
	ASSERT_EQ(0, mdev_set(mdev, "assign_adapter", "%d", ap.no_cards[0]));
	ASSERT_EQ(0, mdev_set(mdev, "assign_adapter", "%d", ap.max_adapter));
	ASSERT_EQ(0, mdev_set(mdev, "assign_control_domain", "0"));
	ASSERT_EQ(0, mdev_set(mdev, "assign_control_domain", "%d",
			      ap.max_domain));
	EXPECT_STREQ(ap_config_text(&apm, &aqm, &adm),
		     mdev_get(mdev, "ap_config"));
	mask_set(&aqm, ap.no_doms[0]);
	ASSERT_EQ(0, mdev_set(mdev, "assign_domain", "%d", ap.no_doms[0]));
	EXPECT_STREQ(ap_config_text(&apm, &aqm, &adm),
		     mdev_get(mdev, "ap_config"));
}

TEST_F(ap_config, sets_all_three)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, store(mdev, &self->apm, &self->aqm, &self->adm));
	EXPECT_STREQ(ap_config_text(&self->apm, &self->aqm, &self->adm),
		     mdev_get(mdev, "ap_config"));
	EXPECT_STREQ(matrix_text(&self->apm, &self->aqm),
		     mdev_get(mdev, "matrix"));
	EXPECT_STREQ(matrix_text(&self->apm, &self->aqm),
		     mdev_get(mdev, "guest_matrix"));
	EXPECT_STREQ(text("%04x\n", ap.doms[2]),
		     mdev_get(mdev, "control_domains"));
	EXPECT_STREQ("assigned\n", queue_status(ap.cards[1], ap.doms[1]));
}

TEST_F(ap_config, replaces_all_three)
{
	const struct mdev *mdev = &self->mdev;
	struct ap_mask apm = mask_of(1, ap.cards + 2);
	struct ap_mask aqm = mask_of(1, ap.doms + 1);
	struct ap_mask adm = mask_of(1, ap.doms + 3);

	ASSERT_EQ(0, store(mdev, &self->apm, &self->aqm, &self->adm));
	ASSERT_EQ(0, store(mdev, &apm, &aqm, &adm));
	EXPECT_STREQ(ap_config_text(&apm, &aqm, &adm),
		     mdev_get(mdev, "ap_config"));
	EXPECT_STREQ(matrix_text(&apm, &aqm), mdev_get(mdev, "guest_matrix"));
	EXPECT_STREQ("unassigned\n", queue_status(ap.cards[0], ap.doms[0]));
	EXPECT_STREQ("unassigned\n", queue_status(ap.cards[0], ap.doms[1]));
	EXPECT_STREQ("unassigned\n", queue_status(ap.cards[2], ap.doms[0]));
	EXPECT_STREQ("assigned\n", queue_status(ap.cards[2], ap.doms[1]));
}

TEST_F(ap_config, clears_all_three)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, store(mdev, &self->apm, &self->aqm, &self->adm));
	ASSERT_EQ(0, store(mdev, &self->none, &self->none, &self->none));
	EXPECT_STREQ("", mdev_get(mdev, "matrix"));
	EXPECT_STREQ("", mdev_get(mdev, "guest_matrix"));
	EXPECT_STREQ("", mdev_get(mdev, "control_domains"));
	EXPECT_STREQ("unassigned\n", queue_status(ap.cards[0], ap.doms[0]));
}

TEST_F(ap_config, what_is_shown_can_be_stored)
{
	const struct mdev *mdev = &self->mdev;
	const char *shown;

	ASSERT_EQ(0, store(mdev, &self->apm, &self->aqm, &self->adm));
	shown = mdev_get(mdev, "ap_config");
	/* 201 bytes: what the tools of s390-tools write. */
	EXPECT_EQ(201, strlen(shown));
	EXPECT_EQ(0, mdev_set(mdev, "ap_config", "%s", shown));
	EXPECT_STREQ(shown, mdev_get(mdev, "ap_config"));
}

TEST_F(ap_config, without_newline)
{
	const char *config = ap_config_text(&self->apm, &self->aqm, &self->adm);

	ASSERT_EQ(0, mdev_set(&self->mdev, "ap_config", "%.200s", config));
	EXPECT_STREQ(config, mdev_get(&self->mdev, "ap_config"));
}

TEST_F(ap_config, upper_case)
{
	const char *config = ap_config_text(&self->apm, &self->aqm, &self->adm);
	char *upper = text("%s", config);

	for (int i = 0; upper[i]; i++)
		if (upper[i] != 'x')
			upper[i] = toupper(upper[i]);
	ASSERT_EQ(0, mdev_set(&self->mdev, "ap_config", "%s", upper));
	EXPECT_STREQ(config, mdev_get(&self->mdev, "ap_config"));
}

FIXTURE(bad_config) {
	struct mdev mdev;
	const char *before;
};

FIXTURE_VARIANT(bad_config) {
	const char *text;
	bool taken_by_c;		/* L4: the C driver accepts it */
};

FIXTURE_VARIANT_ADD(bad_config, newline) {
	.text = "\n",
};

FIXTURE_VARIANT_ADD(bad_config, one_mask) {
	.text = MASK "\n",
};

FIXTURE_VARIANT_ADD(bad_config, two_masks) {
	.text = MASK "," MASK,
};

FIXTURE_VARIANT_ADD(bad_config, not_hex) {
	.text = MASK "," MASK ",0xg" ZEROS "\n",
};

FIXTURE_VARIANT_ADD(bad_config, words) {
	.text = "none,none,none\n",
};

FIXTURE_VARIANT_ADD(bad_config, blank_before) {
	.text = " " MASK "," MASK "," MASK "\n",
};

FIXTURE_VARIANT_ADD(bad_config, blank_between) {
	.text = MASK ", " MASK "," MASK "\n",
};

FIXTURE_VARIANT_ADD(bad_config, semicolons) {
	.text = MASK ";" MASK ";" MASK "\n",
};

FIXTURE_VARIANT_ADD(bad_config, first_too_long) {
	.text = MASK "0," MASK "," MASK "\n",
};

FIXTURE_VARIANT_ADD(bad_config, signs) {
	.text = "+1,+1,+1\n",
};

FIXTURE_VARIANT_ADD(bad_config, two_commas) {
	.text = ",,\n",
	.taken_by_c = true,
};

FIXTURE_VARIANT_ADD(bad_config, empty_first) {
	.text = "," MASK "," MASK "\n",
	.taken_by_c = true,
};

FIXTURE_VARIANT_ADD(bad_config, empty_second) {
	.text = MASK ",," MASK "\n",
	.taken_by_c = true,
};

FIXTURE_VARIANT_ADD(bad_config, empty_third) {
	.text = MASK "," MASK ",\n",
	.taken_by_c = true,
};

FIXTURE_VARIANT_ADD(bad_config, two_masks_and_newline) {
	.text = MASK "," MASK "\n",
	.taken_by_c = true,
};

FIXTURE_VARIANT_ADD(bad_config, prefix_only) {
	.text = "0x,0x,0x\n",
	.taken_by_c = true,
};

FIXTURE_VARIANT_ADD(bad_config, fourth_mask) {
	.text = "0x0,0x0,0x0,0x0\n",
	.taken_by_c = true,
};

FIXTURE_VARIANT_ADD(bad_config, fourth_long_mask) {
	.text = MASK "," MASK "," MASK "," MASK "\n",
	.taken_by_c = true,
};

FIXTURE_VARIANT_ADD(bad_config, text_behind_byte_201) {
	.text = MASK "," MASK "," MASK "\nrubbish\n",
	.taken_by_c = true,
};

FIXTURE_VARIANT_ADD(bad_config, second_line) {
	.text = "0x0,0x0,0x0\nrubbish\n",
	.taken_by_c = true,
};

FIXTURE_VARIANT_ADD(bad_config, newlines_for_commas) {
	.text = "0x0\n0x0\n0x0\n",
	.taken_by_c = true,
};

FIXTURE_SETUP(bad_config)
{
	struct ap_mask apm = mask_of(1, ap.cards);
	struct ap_mask aqm = mask_of(1, ap.doms);
	struct ap_mask adm = mask_of(1, ap.doms + 1);

	ASSERT_EQ(0, ap_restore());
	ASSERT_EQ(0, mdev_create(&self->mdev));
	ASSERT_EQ(0, store(&self->mdev, &apm, &aqm, &adm));
	self->before = ap_config_text(&apm, &aqm, &adm);
	ASSERT_STREQ(self->before, mdev_get(&self->mdev, "ap_config"));
}

FIXTURE_TEARDOWN_PARENT(bad_config)
{
	EXPECT_EQ(0, ap_restore());
}

TEST_F(bad_config, is_refused)
{
	const struct mdev *mdev = &self->mdev;
	int ret = mdev_set(mdev, "ap_config", "%s", variant->text);
	bool refused = ret == -EINVAL &&
		       !strcmp(self->before, mdev_get(mdev, "ap_config"));

	if (variant->taken_by_c)
		KNOWN_C_FAULT("L4", !refused);
	else
		EXPECT_TRUE(refused) TH_LOG("%s", strerror(-ret));
}

/* Short masks are numbers from the left: 0x8 is id 0. */
TEST_F(ap_config, short_masks)
{
	struct ap_mask apm = {}, aqm = {}, adm = {};

	mask_set(&adm, 0);
	ASSERT_EQ(0, mdev_set(&self->mdev, "ap_config", "0x0,0x00,0x8\n"));
	EXPECT_STREQ(ap_config_text(&apm, &aqm, &adm),
		     mdev_get(&self->mdev, "ap_config"));
}

TEST_F(ap_config, queue_of_the_host)
{
	const struct mdev *mdev = &self->mdev;
	struct ap_mask aqm = self->aqm;
	const char *before;

	ASSERT_EQ(0, store(mdev, &self->apm, &self->aqm, &self->adm));
	before = mdev_get(mdev, "ap_config");
	mask_set(&aqm, ap.doms[ap.nr_doms - 1]);
	EXPECT_EQ(-EADDRNOTAVAIL, store(mdev, &self->apm, &aqm, &self->none));
	EXPECT_STREQ(before, mdev_get(mdev, "ap_config"));
	EXPECT_STREQ(matrix_text(&self->apm, &self->aqm),
		     mdev_get(mdev, "guest_matrix"));
	EXPECT_STREQ("assigned\n", queue_status(ap.cards[0], ap.doms[0]));
}

TEST_F(ap_config, queue_of_another_mdev)
{
	const char *before, *log;
	struct mdev other;
	int kmsg;

	ASSERT_EQ(0, mdev_create(&other));
	ASSERT_EQ(0, mdev_set(&other, "assign_adapter", "%d", ap.cards[0]));
	ASSERT_EQ(0, mdev_set(&other, "assign_domain", "%d", ap.doms[1]));
	before = mdev_get(&self->mdev, "ap_config");
	kmsg = kmsg_open();
	EXPECT_EQ(-EADDRINUSE, store(&self->mdev, &self->apm, &self->aqm,
				     &self->adm));
	EXPECT_STREQ(before, mdev_get(&self->mdev, "ap_config"));
	EXPECT_STREQ("", mdev_get(&self->mdev, "control_domains"));
	log = text(SHARING_MESSAGE, self->mdev.uuid,
		   queue_name(ap.cards[0], ap.doms[1]), other.uuid);
	EXPECT_EQ(1, count_lines_with(kmsg_text(kmsg), log));
}

/* The first two adjacent ids of @nr; with those that do not exist there are some. */
static struct ap_mask neighbours(int nr, const int *ids)
{
	int i = 0;

	while (i < nr - 2 && ids[i + 1] != ids[i] + 1)
		i++;
	return mask_of(2, ids + i);
}

static int first_of(const struct ap_mask *mask)
{
	int id = 0;

	while (!mask_test(mask, id))
		id++;
	return id;
}

TEST_F(ap_config, neighbours_are_named_as_a_range)
{
	struct ap_mask apm = neighbours(ap.nr_no_cards, ap.no_cards);
	struct ap_mask aqm = neighbours(ap.nr_no_doms, ap.no_doms);
	int card = first_of(&apm), dom = first_of(&aqm);
	const char *log, *range;
	struct mdev other;
	int kmsg;

	ASSERT_EQ(0, mdev_create(&other));
	ASSERT_EQ(0, store(&other, &apm, &aqm, &self->none));
	kmsg = kmsg_open();
	ASSERT_LE(0, kmsg);
	ASSERT_EQ(-EADDRINUSE, store(&self->mdev, &apm, &aqm, &self->none));
	log = kmsg_text(kmsg);
	range = text("assign queues %02x-%02x.%04x-%04x to mdev: already assigned to %s\n",
		     card, card + 1, dom, dom + 1, other.uuid);
	KNOWN_C_FAULT("L9", count_lines_with(log, "Userspace may not") != 1 ||
		      count_lines_with(log, range) != 1);
}

TEST_F(ap_config, each_other_mdev_is_named)
{
	struct mdev others[2];
	const char *log;
	int kmsg, named = 0;

	for (int i = 0; i < ARRAY_SIZE(others); i++) {
		ASSERT_EQ(0, mdev_create(&others[i]));
		ASSERT_EQ(0, mdev_assign(&others[i], ap.cards[i], ap.doms[0]));
	}
	kmsg = kmsg_open();
	ASSERT_LE(0, kmsg);
	ASSERT_EQ(-EADDRINUSE, store(&self->mdev, &self->apm, &self->aqm,
				     &self->none));
	log = kmsg_text(kmsg);
	for (int i = 0; i < ARRAY_SIZE(others); i++)
		named += count_lines_with(log, text(SHARING_MESSAGE,
						    self->mdev.uuid,
						    queue_name(ap.cards[i],
							       ap.doms[0]),
						    others[i].uuid));
	EXPECT_LE(1, named);
	KNOWN_C_FAULT("N6", named != ARRAY_SIZE(others));
}

TEST_F(ap_config, the_host_comes_before_another_mdev)
{
	struct ap_mask aqm = self->aqm;
	struct mdev other;

	ASSERT_EQ(0, mdev_create(&other));
	ASSERT_EQ(0, store(&other, &self->apm, &self->aqm, &self->adm));
	mask_set(&aqm, ap.doms[ap.nr_doms - 1]);
	EXPECT_EQ(-EADDRNOTAVAIL, store(&self->mdev, &self->apm, &aqm,
					&self->adm));
}

/* These need ids that the masks can say and the machine cannot have. */
static bool ids_above_the_maximum(void)
{
	return ap.max_adapter < AP_IDS - 1 && ap.max_domain < AP_IDS - 1;
}

TEST_F(ap_config, above_the_maximum)
{
	const struct mdev *mdev = &self->mdev;
	struct ap_mask apm = {}, aqm = {}, adm = {};
	const char *before;

	if (!ids_above_the_maximum())
		SKIP(return, "the machine can have all ids");
	ASSERT_EQ(0, store(mdev, &self->apm, &self->aqm, &self->adm));
	before = mdev_get(mdev, "ap_config");
	mask_set(&apm, ap.max_adapter + 1);
	mask_set(&aqm, ap.max_domain + 1);
	mask_set(&adm, ap.max_domain + 1);
	EXPECT_EQ(-ENODEV, store(mdev, &apm, &self->none, &self->none));
	EXPECT_EQ(-ENODEV, store(mdev, &self->none, &aqm, &self->none));
	EXPECT_EQ(-ENODEV, store(mdev, &self->none, &self->none, &adm));
	EXPECT_STREQ(before, mdev_get(mdev, "ap_config"));
}

TEST_F(ap_config, the_maximum)
{
	struct ap_mask apm = {}, adm = {};

	mask_set(&apm, ap.max_adapter);
	mask_set(&adm, ap.max_domain);
	EXPECT_EQ(0, store(&self->mdev, &apm, &self->none, &adm));
	EXPECT_STREQ(ap_config_text(&apm, &self->none, &adm),
		     mdev_get(&self->mdev, "ap_config"));
}

TEST_F(ap_config, owners_come_before_the_maximum)
{
	struct ap_mask apm = self->apm;
	struct mdev other;

	if (!ids_above_the_maximum())
		SKIP(return, "the machine can have all ids");
	ASSERT_EQ(0, mdev_create(&other));
	ASSERT_EQ(0, store(&other, &self->apm, &self->aqm, &self->adm));
	mask_set(&apm, ap.max_adapter + 1);
	EXPECT_EQ(-EADDRINUSE, store(&self->mdev, &apm, &self->aqm,
				     &self->none));
	mask_set(&self->aqm, ap.doms[ap.nr_doms - 1]);
	EXPECT_EQ(-EADDRNOTAVAIL, store(&self->mdev, &apm, &self->aqm,
					&self->none));
}

TEST_F(ap_config, mixes_with_assign)
{
	const struct mdev *mdev = &self->mdev;
	struct ap_mask apm = mask_of(3, ap.cards);

	ASSERT_EQ(0, store(mdev, &self->apm, &self->aqm, &self->adm));
	ASSERT_EQ(0, mdev_set(mdev, "assign_adapter", "%d", ap.cards[2]));
	EXPECT_STREQ(ap_config_text(&apm, &self->aqm, &self->adm),
		     mdev_get(mdev, "ap_config"));
	ASSERT_EQ(0, mdev_set(mdev, "unassign_adapter", "%d", ap.cards[2]));
	EXPECT_STREQ(ap_config_text(&self->apm, &self->aqm, &self->adm),
		     mdev_get(mdev, "ap_config"));
}

TEST_F(ap_config, unbound_queue_leaves_its_adapter_out)
{
	const struct mdev *mdev = &self->mdev;
	struct ap_mask guest_apm = mask_of(1, ap.cards);

	ASSERT_EQ(0, queue_unbind(ap.cards[1], ap.doms[0]));
	ASSERT_EQ(0, store(mdev, &self->apm, &self->aqm, &self->adm));
	EXPECT_STREQ(matrix_text(&self->apm, &self->aqm),
		     mdev_get(mdev, "matrix"));
	EXPECT_STREQ(matrix_text(&guest_apm, &self->aqm),
		     mdev_get(mdev, "guest_matrix"));
}

TEST_F(ap_config, swap_between_mdevs)
{
	const struct mdev *a = &self->mdev;
	struct ap_mask first = mask_of(1, ap.cards);
	struct ap_mask second = mask_of(1, ap.cards + 1);
	struct mdev b;

	ASSERT_EQ(0, mdev_create(&b));
	ASSERT_EQ(0, store(a, &first, &self->aqm, &self->none));
	ASSERT_EQ(0, store(&b, &second, &self->aqm, &self->none));
	EXPECT_EQ(-EADDRINUSE, store(a, &second, &self->aqm, &self->none));
	ASSERT_EQ(0, store(a, &self->none, &self->aqm, &self->none));
	EXPECT_EQ(0, store(&b, &first, &self->aqm, &self->none));
	EXPECT_EQ(0, store(a, &second, &self->aqm, &self->none));
	EXPECT_STREQ(matrix_text(&second, &self->aqm),
		     mdev_get(a, "guest_matrix"));
	EXPECT_STREQ(matrix_text(&first, &self->aqm),
		     mdev_get(&b, "guest_matrix"));
}

/* The largest matrix that there is: 65536 lines if there are all ids. */
TEST_F(ap_config, all_ids)
{
	const struct mdev *mdev = &self->mdev;
	struct ap_mask apm = {}, aqm = {};
	const char *matrix;

	ASSERT_EQ(0, ap_set_masks(&ap.apmask, &self->none));
	for (int id = 0; id <= ap.max_adapter; id++)
		mask_set(&apm, id);
	for (int id = 0; id <= ap.max_domain; id++)
		mask_set(&aqm, id);
	ASSERT_EQ(0, store(mdev, &apm, &aqm, &aqm));
	EXPECT_STREQ(ap_config_text(&apm, &aqm, &aqm),
		     mdev_get(mdev, "ap_config"));
	EXPECT_TRUE(mdev_guest_has(mdev, ap.nr_cards, ap.cards, ap.nr_doms,
				   ap.doms));
	matrix = mdev_get(mdev, "matrix");
	KNOWN_C_FAULT("M4", strcmp(matrix_text(&apm, &aqm), matrix));
}

/*
 * Readers see the old or the new configuration, never one that is refused.  A
 * refused one is in place for microseconds in the C driver: many are written
 * while another thread reads.
 */
struct draft {
	const char *file, *valid;
	bool stop, seen;
};

static void *read_config(void *arg)
{
	struct draft *draft = arg;
	char config[4096];
	int fd = open(draft->file, O_RDONLY);

	while (!__atomic_load_n(&draft->stop, __ATOMIC_RELAXED)) {
		ssize_t n = pread(fd, config, sizeof(config) - 1, 0);

		if (n <= 0)
			break;
		config[n] = 0;
		if (strcmp(config, draft->valid))
			__atomic_store_n(&draft->seen, true, __ATOMIC_RELAXED);
	}
	close(fd);
	return NULL;
}

#define DRAFT_SECONDS	(impl_is_c() ? 60 : 5)

TEST_F(ap_config, no_draft_is_read)
{
	const struct mdev *mdev = &self->mdev;
	int last = ap.cards[ap.nr_cards - 1];
	struct ap_mask apmask = {}, apm = {}, aqm = {};
	struct draft draft = {};
	double end = now() + DRAFT_SECONDS;
	pthread_t reader;
	int ret;

	/*
	 * A refused configuration whose check is long: all that is possible,
	 * and the host has just one domain of the highest adapter.
	 */
	mask_set(&apmask, last);
	ASSERT_EQ(0, ap_set_masks(&apmask, &ap.aqmask));
	for (int id = 0; id <= last; id++)
		mask_set(&apm, id);
	for (int id = 0; id <= ap.max_domain; id++)
		mask_set(&aqm, id);

	ASSERT_EQ(0, store(mdev, &self->apm, &self->aqm, &self->adm));
	draft.file = mdev_attr(mdev, "ap_config");
	draft.valid = mdev_get(mdev, "ap_config");
	ASSERT_EQ(0, pthread_create(&reader, NULL, read_config, &draft));
	do {
		ret = store(mdev, &apm, &aqm, &self->adm);
	} while (ret == -EADDRNOTAVAIL && now() < end &&
		 !__atomic_load_n(&draft.seen, __ATOMIC_RELAXED));
	__atomic_store_n(&draft.stop, true, __ATOMIC_RELAXED);
	pthread_join(reader, NULL);
	EXPECT_EQ(-EADDRNOTAVAIL, ret);
	KNOWN_C_FAULT("M5", draft.seen);
}

AP_MAIN(2)
