// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the driver in Rust has beyond the one in C: why an adapter is left out,
 * the guest's control domains, the owner of a queue, trying a configuration, and
 * waking up who polls a file.
 */
#include <fcntl.h>
#include <poll.h>

#include "../../../kselftest_harness.h"
#include "ap.h"
#include "qmp.h"
#include "vm.h"

FIXTURE(extras) {
	struct mdev mdev, other;
	int card, dom, other_dom;
};

FIXTURE_SETUP(extras)
{
	ASSERT_EQ(0, ap_restore());
	ASSERT_EQ(0, mdev_create(&self->mdev));
	ASSERT_EQ(0, mdev_create(&self->other));
	self->card = ap.cards[0];
	self->dom = ap.doms[0];
	self->other_dom = ap.doms[1];
	KNOWN_C_FAULT("N1",
		      !path_exists("%s/filtered", self->mdev.path));
}

FIXTURE_TEARDOWN_PARENT(extras)
{
	EXPECT_EQ(0, ap_restore());
}

/* filtered */

TEST_F(extras, filtered_is_read_only)
{
	EXPECT_EQ(0444, path_mode(mdev_attr(&self->mdev, "filtered")));
}

TEST_F(extras, nothing_is_filtered)
{
	EXPECT_STREQ("", mdev_get(&self->mdev, "filtered"));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	EXPECT_STREQ("", mdev_get(&self->mdev, "filtered"));
}

TEST_F(extras, filtered_not_bound)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	EXPECT_STREQ(text("%02x.%04x not bound\n", self->card, self->dom),
		     mdev_get(&self->mdev, "filtered"));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_STREQ("", mdev_get(&self->mdev, "filtered"));
}

TEST_F(extras, filtered_names_the_lowest_queue)
{
	ASSERT_EQ(0, queue_unbind(self->card, self->other_dom));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	EXPECT_STREQ(text("%02x.%04x not bound\n", self->card, self->dom),
		     mdev_get(&self->mdev, "filtered"));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_STREQ(text("%02x.%04x not bound\n", self->card, self->other_dom),
		     mdev_get(&self->mdev, "filtered"));
}

TEST_F(extras, filtered_not_in_the_host_s_configuration)
{
	const struct mdev *mdev = &self->mdev;

	ASSERT_EQ(0, mdev_assign(mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_assign(mdev, ap.no_cards[0], ap.no_doms[0]));
	EXPECT_STREQ(text("%02x. not in host configuration\n.%04x not in host configuration\n",
			  ap.no_cards[0], ap.no_doms[0]),
		     mdev_get(mdev, "filtered"));
}

/*
 * Assigns the queue and has a guest leave it that cannot be reset.  Hardware is in
 * order again afterwards, but the queue was not reset since.
 */
static int break_queue(const struct mdev *mdev, int card, int dom)
{
	struct vdev vdev;
	struct vm vm;
	int qmp, ret;

	vm_need_modules();
	qmp = qmp_open();
	if (qmp < 0)
		return qmp;
	ret = vm_create(&vm) ?: mdev_assign(mdev, card, dom) ?:
	      vdev_open(&vdev, mdev, false, &vm);
	if (!ret) {
		if (!qmp_set(qmp, qmp_queue(qmp, card, dom), "force",
			     "\"zapq:01:*\""))
			ret = -EIO;
		vdev_close(&vdev);
	}
	/* The port can be open once only. */
	close(qmp);
	return qmp_restore() ? ret : -EIO;
}

TEST_F(extras, filtered_reset_failed)
{
	ASSERT_EQ(0, break_queue(&self->mdev, self->card, self->dom));
	EXPECT_STREQ(text("%02x.%04x reset failed\n", self->card, self->dom),
		     mdev_get(&self->mdev, "filtered"));
	/* A new attempt is made when it is bound again. */
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_TRUE(wait_for(!*mdev_get(&self->mdev, "filtered")));
}

/* guest_control_domains */

TEST_F(extras, guest_control_domains)
{
	const char *host = file_text(AP_BUS "/ap_control_domain_mask");
	const struct mdev *mdev = &self->mdev;
	int with = -1, without = -1;
	struct ap_mask mask;

	ASSERT_EQ(0, mask_parse(&mask, host));
	for (int id = 0; id <= ap.max_domain; id++) {
		if (mask_test(&mask, id))
			with = id;
		else
			without = id;
	}
	ASSERT_LE(0, with);
	ASSERT_LE(0, without);
	EXPECT_EQ(0444, path_mode(mdev_attr(mdev, "guest_control_domains")));
	EXPECT_STREQ("", mdev_get(mdev, "guest_control_domains"));
	ASSERT_EQ(0, mdev_set(mdev, "assign_control_domain", "%d", without));
	EXPECT_STREQ("", mdev_get(mdev, "guest_control_domains"));
	ASSERT_EQ(0, mdev_set(mdev, "assign_control_domain", "%d", with));
	EXPECT_STREQ(text("%04x\n", with),
		     mdev_get(mdev, "guest_control_domains"));
}

/* owner */

static const char *owner_of(int card, int dom)
{
	return file_text(text("%s/owner", queue_path(card, dom)));
}

TEST_F(extras, owner_of_a_queue)
{
	const char *file = text("%s/owner", queue_path(self->card, self->dom));

	EXPECT_EQ(0444, path_mode(file));
	EXPECT_STREQ("\n", owner_of(self->card, self->dom));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	EXPECT_STREQ(text("%s\n", self->mdev.uuid),
		     owner_of(self->card, self->dom));
	EXPECT_STREQ("\n", owner_of(self->card, self->other_dom));
	ASSERT_EQ(0, mdev_remove(&self->mdev));
	EXPECT_STREQ("\n", owner_of(self->card, self->dom));
}

TEST_F(extras, owner_only_while_bound)
{
	const char *file = text("%s/owner", queue_path(self->card, self->dom));

	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	EXPECT_FALSE(path_exists("%s", file));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_STREQ(text("%s\n", self->mdev.uuid),
		     owner_of(self->card, self->dom));
}

/* try_ap_config */

/* The same answer as ap_config gives, and nothing changed. */
static bool try_is_like_store(const struct mdev *mdev, const char *config)
{
	const char *before = mdev_get(mdev, "ap_config");
	const char *guest = mdev_get(mdev, "guest_matrix");
	int tried = mdev_set(mdev, "try_ap_config", "%s", config);
	bool unchanged = !strcmp(before, mdev_get(mdev, "ap_config")) &&
			 !strcmp(guest, mdev_get(mdev, "guest_matrix"));

	return unchanged && tried == mdev_set(mdev, "ap_config", "%s", config);
}

TEST_F(extras, try_ap_config)
{
	struct ap_mask apm = mask_of(2, ap.cards), aqm = mask_of(2, ap.doms);
	struct ap_mask theirs = mask_of(ap.nr_doms, ap.doms);
	const struct mdev *mdev = &self->mdev;
	struct ap_mask all;

	memset(&all, 0xff, sizeof(all));
	EXPECT_EQ(0200, path_mode(mdev_attr(mdev, "try_ap_config")));
	EXPECT_TRUE(try_is_like_store(mdev, "rubbish"));
	EXPECT_TRUE(try_is_like_store(mdev, ap_config_text(&apm, &theirs,
							   &aqm)));
	EXPECT_STREQ("", mdev_get(mdev, "matrix"));
	EXPECT_TRUE(try_is_like_store(mdev, ap_config_text(&apm, &aqm, &all)));
	EXPECT_TRUE(try_is_like_store(mdev, ap_config_text(&apm, &aqm, &aqm)));
	EXPECT_TRUE(mdev_guest_has(mdev, 2, ap.cards, 2, ap.doms));
	/* Now these queues are somebody's. */
	EXPECT_TRUE(try_is_like_store(&self->other,
				      ap_config_text(&apm, &aqm, &aqm)));
	EXPECT_STREQ("", mdev_get(&self->other, "matrix"));
}

/* poll() */

struct poller {
	int fd;
};

/* Reads the file, so that from now on a change wakes up. */
static bool watch(struct poller *poller, const char *file)
{
	char c[4096];

	poller->fd = open(file, O_RDONLY);
	return poller->fd >= 0 && read(poller->fd, c, sizeof(c)) >= 0;
}

static bool woken_up(const struct poller *poller)
{
	struct pollfd pollfd = { .fd = poller->fd, .events = POLLPRI };

	return poll(&pollfd, 1, AP_PATIENCE * 1000) == 1 &&
	       pollfd.revents & POLLPRI;
}

TEST_F(extras, pollers_of_an_mdev_wake_up)
{
	static const char * const by_assign[] = {
		"matrix", "guest_matrix", "ap_config",
	};
	struct poller poller;

	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d", self->dom));
	for (int i = 0; i < ARRAY_SIZE(by_assign); i++) {
		ASSERT_TRUE(watch(&poller, mdev_attr(&self->mdev,
						     by_assign[i])));
		ASSERT_EQ(0, mdev_set(&self->mdev, "assign_adapter", "%d",
				      self->card));
		EXPECT_TRUE(woken_up(&poller)) TH_LOG("%s", by_assign[i]);
		ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_adapter", "%d",
				      self->card));
	}
}

TEST_F(extras, pollers_of_control_domains_wake_up)
{
	static const char * const files[] = {
		"control_domains", "guest_control_domains", "ap_config",
	};
	struct poller poller;

	for (int i = 0; i < ARRAY_SIZE(files); i++) {
		ASSERT_TRUE(watch(&poller, mdev_attr(&self->mdev, files[i])));
		ASSERT_EQ(0, mdev_set(&self->mdev, "assign_control_domain",
				      "%d", self->dom));
		EXPECT_TRUE(woken_up(&poller)) TH_LOG("%s", files[i]);
		ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_control_domain",
				      "%d", self->dom));
	}
}

TEST_F(extras, pollers_wake_up_when_a_queue_goes)
{
	struct poller guest_matrix, filtered;

	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_TRUE(watch(&guest_matrix, mdev_attr(&self->mdev,
						   "guest_matrix")));
	ASSERT_TRUE(watch(&filtered, mdev_attr(&self->mdev, "filtered")));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	EXPECT_TRUE(woken_up(&guest_matrix));
	EXPECT_TRUE(woken_up(&filtered));
}

/* The reason changes, and what is left out does not. */
TEST_F(extras, pollers_wake_up_when_a_queue_out_of_order_goes)
{
	struct poller filtered;

	ASSERT_EQ(0, break_queue(&self->mdev, self->card, self->dom));
	ASSERT_TRUE(watch(&filtered, mdev_attr(&self->mdev, "filtered")));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	EXPECT_TRUE(woken_up(&filtered));
	ASSERT_TRUE(watch(&filtered, mdev_attr(&self->mdev, "filtered")));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_TRUE(woken_up(&filtered));
	EXPECT_TRUE(wait_for(!*mdev_get(&self->mdev, "filtered")));
}

TEST_F(extras, pollers_of_a_queue_wake_up)
{
	const char *queue = queue_path(self->card, self->dom);
	struct poller status, who;

	ASSERT_TRUE(watch(&status, text("%s/status", queue)));
	ASSERT_TRUE(watch(&who, text("%s/owner", queue)));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	EXPECT_TRUE(woken_up(&status));
	EXPECT_TRUE(woken_up(&who));
}

TEST_F(extras, pollers_of_status_wake_up_at_open_and_close)
{
	const char *file = text("%s/status", queue_path(self->card, self->dom));
	struct poller poller;
	struct vdev vdev;
	struct vm vm;

	vm_need_modules();
	ASSERT_EQ(0, vm_create(&vm));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_TRUE(watch(&poller, file));
	ASSERT_EQ(0, vdev_open(&vdev, &self->mdev, false, &vm));
	EXPECT_TRUE(woken_up(&poller));
	ASSERT_TRUE(watch(&poller, file));
	vdev_close(&vdev);
	EXPECT_TRUE(woken_up(&poller));
}

AP_MAIN(2)
