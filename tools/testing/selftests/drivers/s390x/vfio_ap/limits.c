// SPDX-License-Identifier: GPL-2.0-only
/*
 * Matrices of any size: what is shown is complete, and is read in pieces without
 * a gap.  That of all ids that there can be is in ap_config.c.
 */
#include <fcntl.h>

#include "../../../kselftest_harness.h"
#include "ap.h"

#define LINE		(sizeof("00.0000\n") - 1)

FIXTURE(limits) {
	struct mdev mdev;
	struct ap_mask apm, aqm;
};

FIXTURE_SETUP(limits)
{
	ASSERT_EQ(0, ap_restore());
	ASSERT_EQ(0, mdev_create(&self->mdev));
}

FIXTURE_TEARDOWN_PARENT(limits)
{
	EXPECT_EQ(0, ap_restore());
}

/* @nr ids, the highest first, of which the highest is @max. */
static int assign(const struct mdev *mdev, const char *attr, int nr, int max,
		  struct ap_mask *mask)
{
	int ret = 0;

	for (int id = max; !ret && id > max - nr; id--) {
		ret = mdev_set(mdev, attr, "%d", id);
		mask_set(mask, id);
	}
	return ret;
}

static int assign_matrix(const struct mdev *mdev, int nr_cards, int nr_doms,
			 struct ap_mask *apm, struct ap_mask *aqm)
{
	return assign(mdev, "assign_adapter", nr_cards, ap.max_adapter, apm) ?:
	       assign(mdev, "assign_domain", nr_doms, ap.max_domain, aqm);
}

/* 511 lines fit into a page less one byte, which is what C can show. */
TEST_F(limits, matrix_of_511_lines)
{
	ASSERT_LE(73 - 1, ap.max_adapter);
	ASSERT_EQ(0, assign_matrix(&self->mdev, 73, 7, &self->apm, &self->aqm));
	EXPECT_EQ(511 * LINE, strlen(mdev_get(&self->mdev, "matrix")));
	EXPECT_STREQ(matrix_text(&self->apm, &self->aqm),
		     mdev_get(&self->mdev, "matrix"));
}

TEST_F(limits, matrix_of_512_lines)
{
	const char *matrix;

	ASSERT_LE(64 - 1, ap.max_adapter);
	ASSERT_EQ(0, assign_matrix(&self->mdev, 64, 8, &self->apm, &self->aqm));
	matrix = mdev_get(&self->mdev, "matrix");
	KNOWN_C_FAULT("M4", strcmp(matrix_text(&self->apm, &self->aqm), matrix));
}

TEST_F(limits, matrix_of_all_adapters)
{
	const char *matrix;

	ASSERT_EQ(0, assign_matrix(&self->mdev, ap.max_adapter + 1, 16,
				   &self->apm, &self->aqm));
	matrix = mdev_get(&self->mdev, "matrix");
	KNOWN_C_FAULT("M4", strcmp(matrix_text(&self->apm, &self->aqm), matrix));
}

TEST_F(limits, large_matrix_in_pieces)
{
	static const size_t pieces[] = { 7, 4095, 4096, 4097, 65536 };
	const char *expected;
	bool wrong = false;

	ASSERT_EQ(0, assign_matrix(&self->mdev, 64, 16, &self->apm,
				   &self->aqm));
	expected = matrix_text(&self->apm, &self->aqm);
	for (int i = 0; i < ARRAY_SIZE(pieces); i++) {
		char *all = calloc(1, strlen(expected) + pieces[i] + 1);
		int fd = open(mdev_attr(&self->mdev, "matrix"), O_RDONLY);
		size_t len = 0;
		ssize_t n = 1;

		ASSERT_LE(0, fd);
		ASSERT_NE(NULL, all);
		while (n > 0 && len <= strlen(expected)) {
			n = read(fd, all + len, pieces[i]);
			ASSERT_LE(0, n);
			len += n;
		}
		wrong |= strcmp(expected, all);
		close(fd);
		free(all);
	}
	KNOWN_C_FAULT("M4", wrong);
}

TEST_F(limits, large_matrix_at_an_offset)
{
	const char *expected;
	char piece[LINE + 1] = "";
	int fd;

	ASSERT_EQ(0, assign_matrix(&self->mdev, 64, 16, &self->apm,
				   &self->aqm));
	expected = matrix_text(&self->apm, &self->aqm);
	fd = open(mdev_attr(&self->mdev, "matrix"), O_RDONLY);
	ASSERT_LE(0, fd);
	KNOWN_C_FAULT("M4", pread(fd, piece, LINE, 600 * LINE) != LINE ||
		      strncmp(piece, expected + 600 * LINE, LINE) ||
		      pread(fd, piece, LINE, strlen(expected)));
	close(fd);
}

TEST_F(limits, all_adapters_by_themselves)
{
	ASSERT_EQ(0, assign_matrix(&self->mdev, ap.max_adapter + 1, 0,
				   &self->apm, &self->aqm));
	EXPECT_STREQ(matrix_text(&self->apm, &self->aqm),
		     mdev_get(&self->mdev, "matrix"));
}

TEST_F(limits, all_domains_by_themselves)
{
	ASSERT_EQ(0, assign_matrix(&self->mdev, 0, ap.max_domain + 1,
				   &self->apm, &self->aqm));
	EXPECT_STREQ(matrix_text(&self->apm, &self->aqm),
		     mdev_get(&self->mdev, "matrix"));
}

TEST_F(limits, all_control_domains)
{
	const char *expected = "";

	for (int id = 0; id <= ap.max_domain; id++) {
		ASSERT_EQ(0, mdev_set(&self->mdev, "assign_control_domain",
				      "%d", id));
		expected = text("%s%04x\n", expected, id);
	}
	EXPECT_STREQ(expected, mdev_get(&self->mdev, "control_domains"));
}

TEST_F(limits, guest_gets_the_real_ones_of_all)
{
	ASSERT_EQ(0, assign_matrix(&self->mdev, ap.max_adapter + 1, 16,
				   &self->apm, &self->aqm));
	for (int i = 0; i < ap.nr_doms; i++) {
		ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
				      ap.doms[i]));
	}
	self->apm = mask_of(ap.nr_cards, ap.cards);
	self->aqm = mask_of(ap.nr_doms, ap.doms);
	EXPECT_STREQ(matrix_text(&self->apm, &self->aqm),
		     mdev_get(&self->mdev, "guest_matrix"));
}

/* No queue is the host's, so that all of them can be assigned. */
AP_MAIN(AP_IDS)
