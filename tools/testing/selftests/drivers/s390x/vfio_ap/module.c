// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module vfio_ap: what is there while it is loaded, in which order it
 * comes, and that nothing is left when it goes.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "../../../kselftest_harness.h"
#include "ap.h"

FIXTURE(module) {
	int uevents;
};

FIXTURE_SETUP(module)
{
	ASSERT_EQ(0, ap_restore());
	self->uevents = uevent_open();
	ASSERT_LE(0, self->uevents);
}

FIXTURE_TEARDOWN_PARENT(module)
{
	EXPECT_EQ(0, ap_restore());
}

#define DEBUG_FEATURE	"/sys/kernel/debug/s390dbf/vfio_ap"

/* All that there is if and only if the module is loaded. */
static const char * const tree[] = {
	"/sys/module/vfio_ap/initstate",
	"/sys/devices/vfio_ap",
	MATRIX_DEV,
	MATRIX_DEV "/features",
	MATRIX_DEV "/driver",
	MDEV_TYPE,
	MDEV_TYPE "/create",
	MDEV_TYPE "/devices",
	"/sys/bus/matrix",
	"/sys/bus/matrix/devices/matrix",
	"/sys/bus/matrix/drivers/vfio_ap",
	"/sys/class/mdev_bus/matrix",
	AP_BUS "/drivers/vfio_ap",
	MDEV_BUS "/drivers/vfio_ap_mdev",
	DEBUG_FEATURE,
};

TEST_F(module, tree_is_there_while_loaded)
{
	for (int i = 0; i < ARRAY_SIZE(tree); i++) {
		EXPECT_TRUE(path_exists("%s", tree[i]))
			TH_LOG("missing: %s", tree[i]);
	}
}

TEST_F(module, nothing_is_left_after_unload)
{
	ASSERT_EQ(0, module_unload(MODULE_NAME));
	for (int i = 0; i < ARRAY_SIZE(tree); i++) {
		EXPECT_FALSE(path_exists("%s", tree[i]))
			TH_LOG("left behind: %s", tree[i]);
	}
	for (int i = 0; i < ap.nr_cards; i++) {
		for (int j = 0; j < ap.nr_given; j++) {
			EXPECT_STREQ("", queue_driver(ap.cards[i], ap.doms[j]));
			EXPECT_FALSE(path_exists("%s/status",
						 queue_path(ap.cards[i],
							    ap.doms[j])));
		}
	}
}

TEST_F(module, unload_leaves_the_host_s_queues)
{
	const char *driver = queue_driver(ap.cards[0], ap.doms[ap.nr_doms - 1]);

	ASSERT_STRNE("", driver);
	ASSERT_EQ(0, module_unload(MODULE_NAME));
	EXPECT_STREQ(driver, queue_driver(ap.cards[0], ap.doms[ap.nr_doms - 1]));
	ASSERT_EQ(0, module_load(MODULE_NAME));
	EXPECT_STREQ(driver, queue_driver(ap.cards[0], ap.doms[ap.nr_doms - 1]));
}

TEST_F(module, load_binds_its_queues)
{
	ASSERT_EQ(0, module_unload(MODULE_NAME));
	ASSERT_EQ(0, module_load(MODULE_NAME));
	for (int i = 0; i < ap.nr_cards; i++) {
		for (int j = 0; j < ap.nr_given; j++) {
			EXPECT_STREQ("unassigned\n",
				     queue_status(ap.cards[i], ap.doms[j]));
		}
	}
}

TEST_F(module, features)
{
	EXPECT_STREQ("guest_matrix hotplug ap_config\n",
		     file_text(MATRIX_DEV "/features"));
	EXPECT_EQ(0444, path_mode(MATRIX_DEV "/features"));
}

TEST_F(module, matrix_device)
{
	EXPECT_STREQ(MATRIX_DEV, link_real("/sys/bus/matrix/devices/matrix"));
	EXPECT_STREQ(MATRIX_DEV, link_real("/sys/class/mdev_bus/matrix"));
	EXPECT_STREQ("matrix", link_base(MATRIX_DEV "/subsystem"));
	EXPECT_STREQ("/sys/bus/matrix/drivers/vfio_ap",
		     link_real(MATRIX_DEV "/driver"));
	EXPECT_STREQ(MATRIX_DEV,
		     link_real("/sys/bus/matrix/drivers/vfio_ap/matrix"));
}

TEST_F(module, matrix_driver_cannot_be_unbound)
{
	EXPECT_FALSE(path_exists("/sys/bus/matrix/drivers/vfio_ap/bind"));
	EXPECT_FALSE(path_exists("/sys/bus/matrix/drivers/vfio_ap/unbind"));
}

TEST_F(module, queue_driver_can_be_unbound)
{
	EXPECT_TRUE(path_exists(AP_BUS "/drivers/vfio_ap/bind"));
	EXPECT_TRUE(path_exists(AP_BUS "/drivers/vfio_ap/unbind"));
}

TEST_F(module, drivers_name_their_module)
{
	EXPECT_STREQ("/sys/module/vfio_ap",
		     link_real(AP_BUS "/drivers/vfio_ap/module"));
	EXPECT_STREQ("/sys/module/vfio_ap",
		     link_real(MDEV_BUS "/drivers/vfio_ap_mdev/module"));
}

TEST_F(module, one_type)
{
	DIR *dir = opendir(MATRIX_DEV "/mdev_supported_types");
	struct dirent *entry;

	ASSERT_NE(NULL, dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		EXPECT_STREQ("vfio_ap-passthrough", entry->d_name);
	}
	closedir(dir);
}

TEST_F(module, debug_feature)
{
	EXPECT_TRUE(path_exists(DEBUG_FEATURE "/sprintf"));
	EXPECT_STREQ("4\n", file_text(DEBUG_FEATURE "/level"));
}

TEST_F(module, no_parameters)
{
	EXPECT_FALSE(path_exists("/sys/module/vfio_ap/parameters"));
}

TEST_F(module, no_alias)
{
	const char *path = module_file(MODULE_NAME);
	int fd = open(path, O_RDONLY);
	struct stat st;
	char *image;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fstat(fd, &st));
	image = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	ASSERT_NE(MAP_FAILED, image);
	/* Its name must be there, or this is not the file of a module. */
	EXPECT_NE(NULL, memmem(image, st.st_size, "\0name=vfio_ap", 14));
	EXPECT_EQ(NULL, memmem(image, st.st_size, "\0alias=", 7));
}

TEST_F(module, load_twice)
{
	EXPECT_EQ(-EEXIST, module_load(MODULE_NAME));
	EXPECT_STREQ("live\n", file_text("/sys/module/vfio_ap/initstate"));
}

TEST_F(module, unload_takes_idle_mdevs)
{
	struct mdev mdevs[3];

	for (int i = 0; i < ARRAY_SIZE(mdevs); i++) {
		ASSERT_EQ(0, mdev_create(&mdevs[i]));
		ASSERT_EQ(0, mdev_set(&mdevs[i], "assign_adapter", "%d",
				      ap.cards[i]));
		ASSERT_EQ(0, mdev_set(&mdevs[i], "assign_domain", "%d",
				      ap.doms[0]));
	}
	ASSERT_EQ(0, module_unload(MODULE_NAME));
	for (int i = 0; i < ARRAY_SIZE(mdevs); i++) {
		EXPECT_FALSE(mdev_exists(&mdevs[i]));
		EXPECT_FALSE(path_exists(MATRIX_DEV "/%s", mdevs[i].uuid));
	}
	ASSERT_EQ(0, module_load(MODULE_NAME));
	EXPECT_EQ(0, mdev_count());
	EXPECT_EQ(65536, mdev_available());
	for (int i = 0; i < ARRAY_SIZE(mdevs); i++) {
		EXPECT_STREQ("unassigned\n",
			     queue_status(ap.cards[i], ap.doms[0]));
	}
}

TEST_F(module, open_file_does_not_pin)
{
	int fd = open(MATRIX_DEV "/features", O_RDONLY);
	char c;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, module_unload(MODULE_NAME));
	EXPECT_EQ(-1, read(fd, &c, 1));
	EXPECT_EQ(ENODEV, errno);
	close(fd);
}

/* Who is late with a UUID is told that there is nobody to make a device. */
TEST_F(module, create_after_unload)
{
	int fd = open(MDEV_TYPE "/create", O_WRONLY);
	struct mdev mdev;

	mdev_name(&mdev);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, module_unload(MODULE_NAME));
	EXPECT_EQ(-1, write(fd, mdev.uuid, strlen(mdev.uuid)));
	EXPECT_EQ(ENODEV, errno);
	close(fd);
	EXPECT_FALSE(mdev_exists(&mdev));
}

TEST_F(module, uevent_unregistered)
{
	struct uevent event;

	ASSERT_EQ(0, module_unload(MODULE_NAME));
	ASSERT_TRUE(uevent_wait(self->uevents, &event, "MDEV_STATE",
				"unregistered"));
	EXPECT_STREQ("change", uevent_get(&event, "ACTION"));
	EXPECT_STREQ("/devices/vfio_ap/matrix", uevent_get(&event, "DEVPATH"));
	EXPECT_STREQ("matrix", uevent_get(&event, "SUBSYSTEM"));
}

TEST_F(module, uevent_registered)
{
	struct uevent event;

	ASSERT_EQ(0, module_unload(MODULE_NAME));
	ASSERT_EQ(0, module_load(MODULE_NAME));
	ASSERT_TRUE(uevent_wait(self->uevents, &event, "MDEV_STATE",
				"registered"));
	EXPECT_STREQ("change", uevent_get(&event, "ACTION"));
	EXPECT_STREQ("/devices/vfio_ap/matrix", uevent_get(&event, "DEVPATH"));
	EXPECT_STREQ("matrix", uevent_get(&event, "SUBSYSTEM"));
	EXPECT_STREQ("vfio_ap", uevent_get(&event, "DRIVER"));
}

/* Who waits for the uevent `registered` finds all queues bound. */
TEST_F(module, queues_are_bound_before_registered)
{
	int bound = 0, wanted = ap.nr_cards * ap.nr_given;
	struct uevent event;
	bool registered = false;

	ASSERT_EQ(0, module_unload(MODULE_NAME));
	ASSERT_TRUE(uevent_wait(self->uevents, &event, "MDEV_STATE",
				"unregistered"));
	while (uevent_next(self->uevents, &event, 0))
		;
	ASSERT_EQ(0, module_load(MODULE_NAME));
	while (!registered && uevent_next(self->uevents, &event, 1000)) {
		if (!strcmp(uevent_get(&event, "ACTION"), "bind") &&
		    !strcmp(uevent_get(&event, "SUBSYSTEM"), "ap") &&
		    !strcmp(uevent_get(&event, "DRIVER"), "vfio_ap"))
			bound++;
		registered = !strcmp(uevent_get(&event, "MDEV_STATE"),
				     "registered");
	}
	EXPECT_TRUE(registered);
	EXPECT_EQ(wanted, bound);
}

TEST_F(module, matrix_device_comes_before_queues)
{
	struct uevent event;
	bool matrix = false, queue = false;

	ASSERT_EQ(0, module_unload(MODULE_NAME));
	while (uevent_next(self->uevents, &event, 0))
		;
	ASSERT_EQ(0, module_load(MODULE_NAME));
	while (!queue && uevent_next(self->uevents, &event, 1000)) {
		matrix |= !strcmp(uevent_get(&event, "DEVPATH"),
				  "/devices/vfio_ap/matrix") &&
			  !strcmp(uevent_get(&event, "ACTION"), "add");
		queue = !strcmp(uevent_get(&event, "DRIVER"), "vfio_ap") &&
			!strcmp(uevent_get(&event, "SUBSYSTEM"), "ap");
	}
	EXPECT_TRUE(queue);
	EXPECT_TRUE(matrix);
}

TEST_F(module, uevents_of_mdevs_at_unload)
{
	struct uevent event;
	struct mdev mdev;
	bool removed = false;

	ASSERT_EQ(0, mdev_create(&mdev));
	while (uevent_next(self->uevents, &event, 0))
		;
	ASSERT_EQ(0, module_unload(MODULE_NAME));
	/* The mdev has gone by the time its parent says that it goes. */
	while (uevent_next(self->uevents, &event, 1000) &&
	       strcmp(uevent_get(&event, "MDEV_STATE"), "unregistered"))
		removed |= !strcmp(uevent_get(&event, "ACTION"), "remove") &&
			   strstr(uevent_get(&event, "DEVPATH"), mdev.uuid);
	EXPECT_TRUE(removed);
	EXPECT_STREQ("unregistered", uevent_get(&event, "MDEV_STATE"));
}

TEST_F(module, without_mdev)
{
	ASSERT_EQ(0, module_unload(MODULE_NAME));
	ASSERT_EQ(0, module_unload("mdev"));
	EXPECT_EQ(-ENOENT, module_load(MODULE_NAME));
	/* Of the tree only what the AP bus and the debug feature would have. */
	for (int i = 0; i < ARRAY_SIZE(tree); i++) {
		EXPECT_FALSE(path_exists("%s", tree[i]))
			TH_LOG("left behind: %s", tree[i]);
	}
	ASSERT_EQ(0, module_load("mdev"));
	EXPECT_EQ(0, module_load(MODULE_NAME));
}

TEST_F_TIMEOUT(module, load_and_unload_many_times, 240)
{
	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, module_unload(MODULE_NAME));
		ASSERT_FALSE(path_exists(MATRIX_DEV));
		ASSERT_EQ(0, module_load(MODULE_NAME));
		ASSERT_TRUE(path_exists(MDEV_TYPE));
		ASSERT_STREQ("unassigned\n",
			     queue_status(ap.cards[0], ap.doms[0]));
	}
}

/* A different mdev, matrix and set of queues at each unload. */
TEST_F_TIMEOUT(module, unload_in_any_state, 240)
{
	struct mdev mdev;

	for (int state = 0; state < 16; state++) {
		if (state & 1) {
			ASSERT_EQ(0, queue_unbind(ap.cards[0], ap.doms[0]));
			ASSERT_STREQ("", queue_driver(ap.cards[0], ap.doms[0]));
		}
		ASSERT_EQ(0, mdev_create(&mdev));
		if (state & 2) {
			ASSERT_EQ(0, mdev_set(&mdev, "assign_adapter", "%d",
					      ap.cards[0]));
		}
		if (state & 4) {
			ASSERT_EQ(0, mdev_set(&mdev, "assign_domain", "%d",
					      ap.doms[0]));
		}
		if (state & 8) {
			ASSERT_EQ(0, mdev_set(&mdev, "assign_control_domain",
					      "%d", ap.doms[0]));
		}
		ASSERT_EQ(0, module_unload(MODULE_NAME));
		ASSERT_FALSE(mdev_exists(&mdev));
		ASSERT_EQ(0, module_load(MODULE_NAME));
	}
}

AP_MAIN(2)
