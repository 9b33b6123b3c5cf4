// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything at once: processes that create and remove, assign, bind and unbind,
 * open and close, load and unload, each in a loop for some seconds.  What one
 * of them may see is limited to what the others can cause; at the end the driver
 * must be as good as new.  RACE_SECONDS says how long each test runs.
 */
#include <dirent.h>
#include <signal.h>

#include "../../../kselftest_harness.h"
#include "ap.h"
#include "vm.h"

#define SECONDS		5

/* A worker does one round of its work. */
typedef void worker(void);

static int seconds(void)
{
	const char *s = getenv("RACE_SECONDS");

	return s ? atoi(s) : SECONDS;
}

/* In the process of a worker: something happened that nobody can cause. */
static bool failed;

/* Returns @ret, which has to be 0 or one of @errnos, which end with 0. */
static int may(const char *what, int ret, const int *errnos)
{
	while (*errnos && ret != -*errnos)
		errnos++;
	if (ret && !*errnos) {
		fprintf(stderr, "# %s: %s\n", what, strerror(-ret));
		failed = true;
	}
	return ret;
}

#define MAY(ret, ...)	may(#ret, ret, (const int []){ __VA_ARGS__, 0 })

static int any_of(int nr, const int *ids)
{
	return ids[rand() % nr];
}

static int any_card(void)
{
	return any_of(ap.nr_cards, ap.cards);
}

static int any_dom(void)
{
	return any_of(ap.nr_given, ap.doms);
}

/* Any of the mdevs there are right now. */
static bool any_mdev(struct mdev *mdev)
{
	DIR *dir = opendir(MATRIX_DEV);
	struct dirent *entry;
	bool found = false;
	int n = 0;

	if (!dir)
		return false;
	while ((entry = readdir(dir))) {
		if (strlen(entry->d_name) != 36 || rand() % ++n)
			continue;
		snprintf(mdev->uuid, sizeof(mdev->uuid), "%.36s",
			 entry->d_name);
		snprintf(mdev->path, sizeof(mdev->path), MATRIX_DEV "/%s",
			 mdev->uuid);
		found = true;
	}
	closedir(dir);
	return found;
}

/* The workers */

static void create_and_remove(void)
{
	struct mdev mdev;

	if (MAY(mdev_create(&mdev), ENOENT, ENODEV))
		return;
	MAY(mdev_set(&mdev, "assign_adapter", "%d", any_card()),
	    ENOENT, ENODEV, EADDRINUSE, EADDRNOTAVAIL);
	MAY(mdev_set(&mdev, "assign_domain", "%d", any_dom()),
	    ENOENT, ENODEV, EADDRINUSE, EADDRNOTAVAIL);
	MAY(mdev_remove(&mdev), ENOENT, ENODEV);
}

static const char * const attrs[] = {
	"assign_adapter", "unassign_adapter", "assign_domain",
	"unassign_domain", "assign_control_domain", "unassign_control_domain",
};

static void assign_and_unassign(void)
{
	const char *attr = attrs[rand() % ARRAY_SIZE(attrs)];
	struct mdev mdev;

	if (!any_mdev(&mdev))
		return;
	MAY(mdev_set(&mdev, attr, "%d",
		     strstr(attr, "adapter") ? any_card() : any_dom()),
	    ENOENT, ENODEV, EADDRINUSE, EADDRNOTAVAIL);
}

static void configure(void)
{
	struct ap_mask apm = {}, aqm = {}, adm = {};
	struct mdev mdev;

	if (!any_mdev(&mdev))
		return;
	mask_set(&apm, any_card());
	mask_set(&aqm, any_dom());
	mask_set(&adm, any_dom());
	MAY(mdev_set(&mdev, "ap_config", "%s", ap_config_text(&apm, &aqm, &adm)),
	    ENOENT, ENODEV, EADDRINUSE, EADDRNOTAVAIL);
}

static void read_all(void)
{
	static const char * const shown[] = {
		"matrix", "guest_matrix", "control_domains", "ap_config",
	};
	struct mdev mdev;
	char *s;

	if (any_mdev(&mdev)) {
		const char *file = mdev_attr(&mdev, shown[rand() %
						    ARRAY_SIZE(shown)]);

		MAY(file_read(file, &s), ENOENT, ENODEV);
	}
	MAY(file_read(text("%s/status", queue_path(any_card(), any_dom())), &s),
	    ENOENT, ENODEV);
}

static void bind_and_unbind(void)
{
	int card = any_card(), dom = any_dom();

	MAY(queue_unbind(card, dom), ENOENT, ENODEV);
	MAY(queue_bind(card, dom, "vfio_ap"), ENOENT, ENODEV, EBUSY);
}

static void move_masks(void)
{
	int dom = any_dom();

	if (!MAY(file_write(AP_BUS "/aqmask", "+%d", dom), EBUSY))
		MAY(file_write(AP_BUS "/aqmask", "-%d", dom), EBUSY);
}

static void load_and_unload(void)
{
	MAY(module_unload(MODULE_NAME), EAGAIN, EBUSY, ENOENT);
	MAY(module_load(MODULE_NAME), EEXIST, EBUSY);
}

static void open_and_close(void)
{
	struct vdev vdev;
	struct mdev mdev;
	struct vm vm;

	if (!any_mdev(&mdev))
		return;
	if (MAY(vm_create(&vm), EBUSY))
		return;
	if (!MAY(vdev_open(&vdev, &mdev, rand() % 2, &vm), EBUSY, EINVAL,
		 ENOENT, ENODEV, ENXIO))
		vdev_close(&vdev);
	vm_destroy(&vm);
}

static pid_t start(worker *work, double end)
{
	static unsigned int seed;
	pid_t pid;

	seed++;
	pid = fork();
	if (!pid) {
		int status = 0;

		srand(seed);
		while (!status && now() < end) {
			/* What the rounds allocate goes with their process. */
			pid_t rounds = fork();

			if (!rounds) {
				for (int i = 0; !failed && i < 20; i++)
					work();
				_exit(failed);
			}
			srand(rand());
			waitpid(rounds, &status, 0);
		}
		_exit(status ? 1 : 0);
	}
	return pid;
}

/* Runs all of @workers at once; true if none of them failed. */
static bool run(worker * const *workers, int nr)
{
	double end = now() + seconds();
	bool ok = true;
	pid_t pids[16];
	int status;

	for (int i = 0; i < nr; i++)
		pids[i] = start(workers[i], end);
	for (int i = 0; i < nr; i++)
		ok &= pids[i] > 0 && waitpid(pids[i], &status, 0) == pids[i] &&
		      !status;
	return ok;
}

#define RUN(...) ({							\
	static worker * const __workers[] = { __VA_ARGS__ };		\
									\
	run(__workers, ARRAY_SIZE(__workers));				\
})

FIXTURE(race) {
	struct mdev mdevs[2];
};

FIXTURE_SETUP(race)
{
	int ret = 0;

	ASSERT_EQ(0, ap_restore());
	for (int i = 0; i < ARRAY_SIZE(self->mdevs); i++)
		ret = ret ?: mdev_create(&self->mdevs[i]);
	ASSERT_EQ(0, ret);
}

FIXTURE_TEARDOWN_PARENT(race)
{
	struct ap_mask apm = mask_of(ap.nr_cards, ap.cards);
	struct ap_mask aqm = mask_of(ap.nr_given, ap.doms);
	struct mdev mdev;

	EXPECT_EQ(0, ap_restore());
	/* As good as new: all queues for one mdev. */
	EXPECT_EQ(65536, mdev_available());
	EXPECT_EQ(0, mdev_create(&mdev));
	for (int i = 0; i < ap.nr_cards; i++) {
		EXPECT_EQ(0, mdev_set(&mdev, "assign_adapter", "%d",
				      ap.cards[i]));
	}
	for (int i = 0; i < ap.nr_given; i++) {
		EXPECT_EQ(0, mdev_set(&mdev, "assign_domain", "%d",
				      ap.doms[i]));
	}
	EXPECT_STREQ(matrix_text(&apm, &aqm), mdev_get(&mdev, "guest_matrix"));
	EXPECT_EQ(0, mdev_remove(&mdev));
}

#define RACE(_name)	TEST_F_TIMEOUT(race, _name, 60 + 4 * seconds())

RACE(create_remove_read)
{
	EXPECT_TRUE(RUN(create_and_remove, create_and_remove,
			create_and_remove, read_all, read_all));
}

RACE(assign_unassign_read)
{
	EXPECT_TRUE(RUN(assign_and_unassign, assign_and_unassign,
			create_and_remove, read_all));
}

RACE(assign_and_ap_config)
{
	EXPECT_TRUE(RUN(assign_and_unassign, configure, configure, read_all));
}

RACE(assign_and_bind)
{
	EXPECT_TRUE(RUN(assign_and_unassign, create_and_remove,
			bind_and_unbind, bind_and_unbind, read_all));
}

RACE(assign_and_masks)
{
	EXPECT_TRUE(RUN(assign_and_unassign, create_and_remove, move_masks,
			read_all));
}

RACE(open_and_assign)
{
	vm_need_modules();
	EXPECT_TRUE(RUN(open_and_close, open_and_close, assign_and_unassign,
			configure, read_all));
}

RACE(open_and_bind)
{
	vm_need_modules();
	EXPECT_TRUE(RUN(open_and_close, open_and_close, assign_and_unassign,
			bind_and_unbind, read_all));
}

RACE(open_and_remove)
{
	vm_need_modules();
	EXPECT_TRUE(RUN(open_and_close, open_and_close, create_and_remove,
			create_and_remove, read_all));
}

RACE(load_and_create)
{
	EXPECT_TRUE(RUN(load_and_unload, create_and_remove, create_and_remove,
			read_all));
}

RACE(load_and_assign)
{
	EXPECT_TRUE(RUN(load_and_unload, create_and_remove,
			assign_and_unassign, bind_and_unbind, read_all));
}

RACE(load_and_open)
{
	vm_need_modules();
	EXPECT_TRUE(RUN(load_and_unload, create_and_remove, open_and_close,
			read_all));
}

AP_MAIN(2)
