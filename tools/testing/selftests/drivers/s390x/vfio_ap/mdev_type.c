// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mediated device type vfio_ap-passthrough: its attributes, what may be
 * written to `create` and `remove`, and what each of them leaves behind.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "../../../kselftest_harness.h"
#include "ap.h"

#define INSTANCES	65536

FIXTURE(mdev_type) {
	struct mdev mdev;
};

FIXTURE_SETUP(mdev_type)
{
	ASSERT_EQ(0, ap_restore());
	mdev_name(&self->mdev);
}

FIXTURE_TEARDOWN_PARENT(mdev_type)
{
	EXPECT_EQ(0, ap_restore());
}

static int make_mdev(const char *text)
{
	return file_write(MDEV_TYPE "/create", "%s", text);
}

TEST_F(mdev_type, device_api)
{
	EXPECT_STREQ("vfio-ap\n", file_text(MDEV_TYPE "/device_api"));
	EXPECT_EQ(0444, path_mode(MDEV_TYPE "/device_api"));
}

TEST_F(mdev_type, name)
{
	EXPECT_STREQ("VFIO AP Passthrough Device\n",
		     file_text(MDEV_TYPE "/name"));
	EXPECT_EQ(0444, path_mode(MDEV_TYPE "/name"));
}

TEST_F(mdev_type, no_description)
{
	EXPECT_FALSE(path_exists(MDEV_TYPE "/description"));
}

TEST_F(mdev_type, create_is_write_only)
{
	EXPECT_EQ(0200, path_mode(MDEV_TYPE "/create"));
}

TEST_F(mdev_type, available_instances)
{
	EXPECT_STREQ(text("%d\n", INSTANCES),
		     file_text(MDEV_TYPE "/available_instances"));
	EXPECT_EQ(0444, path_mode(MDEV_TYPE "/available_instances"));
}

TEST_F(mdev_type, available_instances_counts)
{
	struct mdev other;

	ASSERT_EQ(0, mdev_create(&self->mdev));
	EXPECT_EQ(INSTANCES - 1, mdev_available());
	ASSERT_EQ(0, mdev_create(&other));
	EXPECT_EQ(INSTANCES - 2, mdev_available());
	ASSERT_EQ(0, mdev_remove(&self->mdev));
	EXPECT_TRUE(wait_for(mdev_available() == INSTANCES - 1));
	ASSERT_EQ(0, mdev_remove(&other));
	EXPECT_TRUE(wait_for(mdev_available() == INSTANCES));
}

TEST_F(mdev_type, create_without_newline)
{
	ASSERT_EQ(0, make_mdev(self->mdev.uuid));
	EXPECT_TRUE(mdev_exists(&self->mdev));
}

TEST_F(mdev_type, create_with_newline)
{
	ASSERT_EQ(0, make_mdev(text("%s\n", self->mdev.uuid)));
	EXPECT_TRUE(mdev_exists(&self->mdev));
}

TEST_F(mdev_type, create_upper_case_is_shown_lower)
{
	char upper[40] = "";

	for (int i = 0; self->mdev.uuid[i]; i++)
		upper[i] = toupper(self->mdev.uuid[i]);
	ASSERT_EQ(0, make_mdev(upper));
	EXPECT_TRUE(mdev_exists(&self->mdev));
}

TEST_F(mdev_type, create_nil_uuid)
{
	struct mdev nil = {
		.uuid = "00000000-0000-0000-0000-000000000000",
		.path = MDEV_BUS "/devices/00000000-0000-0000-0000-000000000000",
	};

	ASSERT_EQ(0, make_mdev(nil.uuid));
	EXPECT_TRUE(mdev_exists(&nil));
	EXPECT_EQ(0, mdev_remove(&nil));
}

TEST_F(mdev_type, create_duplicate)
{
	ASSERT_EQ(0, make_mdev(self->mdev.uuid));
	EXPECT_EQ(-EEXIST, make_mdev(self->mdev.uuid));
	EXPECT_TRUE(mdev_exists(&self->mdev));
	EXPECT_EQ(INSTANCES - 1, mdev_available());
}

TEST_F(mdev_type, create_again_after_remove)
{
	ASSERT_EQ(0, make_mdev(self->mdev.uuid));
	ASSERT_EQ(0, mdev_remove(&self->mdev));
	EXPECT_FALSE(mdev_exists(&self->mdev));
	EXPECT_TRUE(wait_for(make_mdev(self->mdev.uuid) == 0));
	EXPECT_TRUE(mdev_exists(&self->mdev));
}

FIXTURE(bad_uuid) {
};

FIXTURE_VARIANT(bad_uuid) {
	const char *uuid;
};

FIXTURE_VARIANT_ADD(bad_uuid, newline_only) {
	.uuid = "\n",
};

FIXTURE_VARIANT_ADD(bad_uuid, one_short) {
	.uuid = "6f3fa5b2-1f1b-4a3c-9a55-3c02c4e0b1f",
};

FIXTURE_VARIANT_ADD(bad_uuid, one_short_and_newline) {
	.uuid = "6f3fa5b2-1f1b-4a3c-9a55-3c02c4e0b1f\n",
};

FIXTURE_VARIANT_ADD(bad_uuid, one_long_and_newline) {
	.uuid = "6f3fa5b2-1f1b-4a3c-9a55-3c02c4e0b1f00\n",
};

FIXTURE_VARIANT_ADD(bad_uuid, two_long) {
	.uuid = "6f3fa5b2-1f1b-4a3c-9a55-3c02c4e0b1f000",
};

FIXTURE_VARIANT_ADD(bad_uuid, no_dashes) {
	.uuid = "6f3fa5b21f1b4a3c9a553c02c4e0b1f0",
};

FIXTURE_VARIANT_ADD(bad_uuid, no_dashes_right_length) {
	.uuid = "6f3fa5b21f1b4a3c9a553c02c4e0b1f00000",
};

FIXTURE_VARIANT_ADD(bad_uuid, dash_moved) {
	.uuid = "6f3fa5b21-f1b-4a3c-9a55-3c02c4e0b1f0",
};

FIXTURE_VARIANT_ADD(bad_uuid, last_dash_missing) {
	.uuid = "6f3fa5b2-1f1b-4a3c-9a5503c02c4e0b1f0",
};

FIXTURE_VARIANT_ADD(bad_uuid, not_hex_first) {
	.uuid = "gf3fa5b2-1f1b-4a3c-9a55-3c02c4e0b1f0",
};

FIXTURE_VARIANT_ADD(bad_uuid, not_hex_last) {
	.uuid = "6f3fa5b2-1f1b-4a3c-9a55-3c02c4e0b1fg",
};

FIXTURE_VARIANT_ADD(bad_uuid, leading_blank) {
	.uuid = " f3fa5b2-1f1b-4a3c-9a55-3c02c4e0b1f0",
};

FIXTURE_VARIANT_ADD(bad_uuid, braces) {
	.uuid = "{6f3fa5b2-1f1b-4a3c-9a55-3c02c4e0b1f0}",
};

FIXTURE_VARIANT_ADD(bad_uuid, brace_right_length) {
	.uuid = "{6f3fa5b2-1f1b-4a3c-9a55-3c02c4e0b1f0",
};

FIXTURE_VARIANT_ADD(bad_uuid, underscores) {
	.uuid = "6f3fa5b2_1f1b_4a3c_9a55_3c02c4e0b1f0",
};

FIXTURE_SETUP(bad_uuid)
{
	ASSERT_EQ(0, ap_restore());
}

FIXTURE_TEARDOWN_PARENT(bad_uuid)
{
	EXPECT_EQ(0, ap_restore());
}

TEST_F(bad_uuid, create_is_refused)
{
	EXPECT_EQ(-EINVAL, make_mdev(variant->uuid));
	EXPECT_EQ(0, mdev_count());
	EXPECT_EQ(INSTANCES, mdev_available());
}

TEST_F(mdev_type, links)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, make_mdev(mdev->uuid));
	EXPECT_STREQ(text(MATRIX_DEV "/%s", mdev->uuid), link_real(mdev->path));
	EXPECT_STREQ("vfio_ap_mdev", link_base(mdev_attr(mdev, "driver")));
	EXPECT_STREQ("mdev", link_base(mdev_attr(mdev, "subsystem")));
	EXPECT_STREQ(MDEV_TYPE, link_real(mdev_attr(mdev, "mdev_type")));
	EXPECT_STREQ(text(MATRIX_DEV "/%s", mdev->uuid),
		     link_real(text(MDEV_TYPE "/devices/%s", mdev->uuid)));
	EXPECT_EQ(0, strncmp(link_real(mdev_attr(mdev, "iommu_group")),
			     "/sys/kernel/iommu_groups/", 25));
}

TEST_F(mdev_type, vfio_device_node)
{
	const struct mdev *mdev = &self->mdev;
	const char *group;

	ASSERT_EQ(0, make_mdev(mdev->uuid));
	group = link_base(mdev_attr(mdev, "iommu_group"));
	EXPECT_STRNE("", group);
	EXPECT_TRUE(path_exists("/sys/class/vfio/%s", group));
	EXPECT_TRUE(path_exists("%s/vfio-dev", mdev->path));
}

TEST_F(mdev_type, attributes_and_modes)
{
	static const struct {
		const char *name;
		int mode;
	} attrs[] = {
		{ "assign_adapter", 0200 }, { "unassign_adapter", 0200 },
		{ "assign_domain", 0200 }, { "unassign_domain", 0200 },
		{ "assign_control_domain", 0200 },
		{ "unassign_control_domain", 0200 },
		{ "control_domains", 0444 }, { "matrix", 0444 },
		{ "guest_matrix", 0444 }, { "remove", 0200 },
	};

	ASSERT_EQ(0, make_mdev(self->mdev.uuid));
	for (int i = 0; i < ARRAY_SIZE(attrs); i++) {
		EXPECT_EQ(attrs[i].mode,
			  path_mode(mdev_attr(&self->mdev, attrs[i].name)))
			TH_LOG("%s", attrs[i].name);
	}
}

TEST_F(mdev_type, starts_empty)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, make_mdev(mdev->uuid));
	EXPECT_STREQ("", mdev_get(mdev, "matrix"));
	EXPECT_STREQ("", mdev_get(mdev, "guest_matrix"));
	EXPECT_STREQ("", mdev_get(mdev, "control_domains"));
}

/* By these numbers a VMM finds the character device. */
TEST_F(mdev_type, character_device)
{
	const struct mdev *mdev = &self->mdev;
	unsigned int device[2] = {};
	struct dirent *entry;
	struct stat st;
	DIR *dir;
	int n;

	ASSERT_EQ(0, make_mdev(mdev->uuid));
	dir = opendir(mdev_attr(mdev, "vfio-dev"));
	ASSERT_NE(NULL, dir);
	do {
		entry = readdir(dir);
	} while (entry && strncmp(entry->d_name, "vfio", 4));
	ASSERT_NE(NULL, entry);
	n = sscanf(mdev_get(mdev, text("vfio-dev/%s/dev", entry->d_name)),
		   "%u:%u\n", device, device + 1);
	EXPECT_EQ(2, n);
	ASSERT_EQ(0, stat(text("/dev/vfio/devices/%s", entry->d_name), &st));
	EXPECT_EQ(makedev(device[0], device[1]), st.st_rdev);
	closedir(dir);
}

TEST_F(mdev_type, open_files_after_remove)
{
	const struct mdev *mdev = &self->mdev;
	int reader, writer;
	char c;

	ASSERT_EQ(0, make_mdev(mdev->uuid));
	reader = open(mdev_attr(mdev, "matrix"), O_RDONLY);
	writer = open(mdev_attr(mdev, "assign_adapter"), O_WRONLY);
	ASSERT_LE(0, reader);
	ASSERT_LE(0, writer);
	ASSERT_EQ(0, mdev_remove(mdev));
	EXPECT_EQ(-1, read(reader, &c, 1));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(-1, write(writer, "1", 1));
	EXPECT_EQ(ENODEV, errno);
	close(reader);
	close(writer);
}

TEST_F(mdev_type, remove_leaves_nothing)
{
	const struct mdev *mdev = &self->mdev;
	const char *group;

	ASSERT_EQ(0, make_mdev(mdev->uuid));
	group = link_real(mdev_attr(mdev, "iommu_group"));
	ASSERT_EQ(0, mdev_remove(mdev));
	EXPECT_FALSE(mdev_exists(mdev));
	EXPECT_FALSE(path_exists(MATRIX_DEV "/%s", mdev->uuid));
	EXPECT_FALSE(path_exists(MDEV_TYPE "/devices/%s", mdev->uuid));
	EXPECT_FALSE(path_exists("%s", group));
	EXPECT_EQ(0, mdev_count());
}

TEST_F(mdev_type, remove_not_a_number)
{
	static const char * const bad[] = {
		"x", "yes", "1x", "-1", "\n", "0x", "1 2",
		"18446744073709551616",
	};

	ASSERT_EQ(0, make_mdev(self->mdev.uuid));
	for (int i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, mdev_set(&self->mdev, "remove", "%s", bad[i]))
			TH_LOG("'%s'", bad[i]);
		EXPECT_TRUE(mdev_exists(&self->mdev));
	}
}

TEST_F(mdev_type, remove_zero_does_nothing)
{
	ASSERT_EQ(0, make_mdev(self->mdev.uuid));
	EXPECT_EQ(0, mdev_set(&self->mdev, "remove", "0"));
	EXPECT_EQ(0, mdev_set(&self->mdev, "remove", "0x0\n"));
	EXPECT_TRUE(mdev_exists(&self->mdev));
	EXPECT_STREQ("", mdev_get(&self->mdev, "matrix"));
}

TEST_F(mdev_type, remove_any_other_number)
{
	static const char * const numbers[] = { "1\n", "2", "0x10", "+7" };

	for (int i = 0; i < ARRAY_SIZE(numbers); i++) {
		ASSERT_EQ(0, mdev_create(&self->mdev));
		EXPECT_EQ(0, mdev_set(&self->mdev, "remove", "%s", numbers[i]))
			TH_LOG("'%s'", numbers[i]);
		EXPECT_FALSE(mdev_exists(&self->mdev));
	}
}

TEST_F(mdev_type, remove_with_everything_assigned)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, make_mdev(mdev->uuid));
	for (int i = 0; i < ap.nr_cards; i++) {
		ASSERT_EQ(0, mdev_set(mdev, "assign_adapter", "%d",
				      ap.cards[i]));
	}
	for (int i = 0; i < ap.nr_given; i++) {
		ASSERT_EQ(0, mdev_set(mdev, "assign_domain", "%d", ap.doms[i]));
		ASSERT_EQ(0, mdev_set(mdev, "assign_control_domain", "%d",
				      ap.doms[i]));
	}
	ASSERT_EQ(0, mdev_remove(mdev));
	EXPECT_FALSE(mdev_exists(mdev));
	for (int i = 0; i < ap.nr_cards; i++) {
		for (int j = 0; j < ap.nr_given; j++) {
			EXPECT_STREQ("unassigned\n",
				     queue_status(ap.cards[i], ap.doms[j]));
		}
	}
}

TEST_F(mdev_type, uevents)
{
	const struct mdev *mdev = &self->mdev;
	struct uevent event;
	int fd = uevent_open();

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, make_mdev(mdev->uuid));
	ASSERT_TRUE(uevent_wait(fd, &event, "DEVPATH",
				text("/devices/vfio_ap/matrix/%s", mdev->uuid)));
	EXPECT_STREQ("add", uevent_get(&event, "ACTION"));
	EXPECT_STREQ("mdev", uevent_get(&event, "SUBSYSTEM"));
	ASSERT_TRUE(uevent_wait(fd, &event, "ACTION", "bind"));
	EXPECT_STREQ("vfio_ap_mdev", uevent_get(&event, "DRIVER"));
	EXPECT_STREQ(text("/devices/vfio_ap/matrix/%s", mdev->uuid),
		     uevent_get(&event, "DEVPATH"));

	ASSERT_EQ(0, mdev_remove(mdev));
	ASSERT_TRUE(uevent_wait(fd, &event, "DEVPATH",
				text("/devices/vfio_ap/matrix/%s", mdev->uuid)));
	EXPECT_STREQ("unbind", uevent_get(&event, "ACTION"));
	ASSERT_TRUE(uevent_wait(fd, &event, "DEVPATH",
				text("/devices/vfio_ap/matrix/%s", mdev->uuid)));
	EXPECT_STREQ("remove", uevent_get(&event, "ACTION"));
}

TEST_F(mdev_type, many)
{
	struct mdev mdevs[20];

	for (int i = 0; i < ARRAY_SIZE(mdevs); i++) {
		ASSERT_EQ(0, mdev_create(&mdevs[i]));
		ASSERT_EQ(INSTANCES - 1 - i, mdev_available());
	}
	EXPECT_EQ(ARRAY_SIZE(mdevs), mdev_count());
	for (int i = 0; i < ARRAY_SIZE(mdevs); i++) {
		EXPECT_EQ(0, mdev_remove(&mdevs[i]));
		EXPECT_FALSE(mdev_exists(&mdevs[i]));
	}
	EXPECT_TRUE(wait_for(mdev_available() == INSTANCES));
}

AP_MAIN(2)
