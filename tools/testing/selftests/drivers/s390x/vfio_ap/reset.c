// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues of an open device: when they are zeroized, what happens if they do not
 * come clean, are off, or come and go with their card.  The hardware is emulated,
 * and its emulator is told over the port "qmp".
 */
#include <linux/vfio.h>
#include <signal.h>
#include <sys/prctl.h>

#include "../../../kselftest_harness.h"
#include "ap.h"
#include "qmp.h"
#include "vm.h"

/* A reset that is not stuck takes milliseconds. */
#define NOT_STUCK	5

FIXTURE(reset) {
	struct mdev mdev, other;
	struct vm vm;
	struct vdev vdev;
	int qmp;
	int card, dom, other_dom;
	int new_card;
	const char *queue;		/* the emulator's object */
};

FIXTURE_SETUP(reset)
{
	ASSERT_EQ(0, ap_restore());
	vm_need_modules();
	self->qmp = qmp_open();
	ASSERT_LE(0, self->qmp) TH_LOG("the port to the emulator");
	self->card = ap.cards[0];
	self->dom = ap.doms[0];
	self->other_dom = ap.doms[1];
	self->new_card = ap.no_cards[0];
	self->queue = qmp_queue(self->qmp, self->card, self->dom);
	ASSERT_STRNE("", self->queue);
	ASSERT_EQ(0, mdev_create(&self->mdev));
	ASSERT_EQ(0, mdev_create(&self->other));
	ASSERT_EQ(0, vm_create(&self->vm));
}

FIXTURE_TEARDOWN_PARENT(reset)
{
	EXPECT_TRUE(qmp_restore());
	EXPECT_EQ(0, ap_restore());
	/* Whatever a test did to them: each queue is clean when bound anew. */
	for (int i = 0; i < ap.nr_given; i++) {
		EXPECT_EQ(0, queue_unbind(ap.cards[0], ap.doms[i]));
		EXPECT_EQ(0, queue_bind(ap.cards[0], ap.doms[i], "vfio_ap"));
	}
}

#define OPEN()	vdev_open(&self->vdev, &self->mdev, false, &self->vm)

/* Resets: who leaves is zeroized, who stays is not. */

static unsigned long zeroized(int qmp, const char *queue)
{
	return queue_counter(qmp, queue, "zapq-count");
}

TEST_F(reset, reset_zeroizes_each_queue)
{
	const char *second = qmp_queue(self->qmp, self->card, self->other_dom);
	unsigned long before, before_second;

	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	ASSERT_EQ(0, OPEN());
	before = zeroized(self->qmp, self->queue);
	before_second = zeroized(self->qmp, second);
	ASSERT_EQ(0, vdev_ioctl(&self->vdev, VFIO_DEVICE_RESET, NULL));
	EXPECT_EQ(before + 1, zeroized(self->qmp, self->queue));
	EXPECT_EQ(before_second + 1, zeroized(self->qmp, second));
}

/* Resets the device many times; returns how often that failed. */
static int resets_that_fail(const struct vdev *vdev)
{
	int failed = 0;

	for (int i = 0; i < 25; i++)
		failed += vdev_ioctl(vdev, VFIO_DEVICE_RESET, NULL) != 0;
	return failed;
}

/* Each may find the other one's reset under way, and neither a queue out of order. */
TEST_F(reset, two_resets_at_once)
{
	const char *ms = qmp_get(self->qmp, self->queue, "reset-ms");
	int status;
	pid_t pid;

	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, OPEN());
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "reset-ms", "5"));
	pid = fork();
	if (!pid)
		_exit(resets_that_fail(&self->vdev));
	EXPECT_EQ(0, resets_that_fail(&self->vdev));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "reset-ms", ms));
	EXPECT_TRUE(mdev_guest_has(&self->mdev, 1, &self->card, 1, &self->dom));
}

TEST_F(reset, close_zeroizes)
{
	unsigned long before;

	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, OPEN());
	before = zeroized(self->qmp, self->queue);
	vdev_close(&self->vdev);
	EXPECT_EQ(before + 1, zeroized(self->qmp, self->queue));
}

TEST_F(reset, unassign_zeroizes_what_leaves)
{
	const char *second = qmp_queue(self->qmp, self->card, self->other_dom);
	unsigned long before, before_second;

	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	ASSERT_EQ(0, OPEN());
	before = zeroized(self->qmp, self->queue);
	before_second = zeroized(self->qmp, second);
	ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_domain", "%d",
			      self->other_dom));
	EXPECT_EQ(before, zeroized(self->qmp, self->queue));
	EXPECT_EQ(before_second + 1, zeroized(self->qmp, second));
}

TEST_F(reset, adapter_left_out_is_zeroized)
{
	unsigned long before;

	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	ASSERT_EQ(0, OPEN());
	before = zeroized(self->qmp, self->queue);
	/* The one queue takes the other one out of the guest. */
	ASSERT_EQ(0, queue_unbind(self->card, self->other_dom));
	EXPECT_EQ(before + 1, zeroized(self->qmp, self->queue));
}

TEST_F(reset, assign_to_a_guest_disturbs_nobody)
{
	unsigned long before;

	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, OPEN());
	before = zeroized(self->qmp, self->queue);
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	EXPECT_EQ(before, zeroized(self->qmp, self->queue));
}

/* What is left out of the guest is none of its business. */
TEST_F(reset, reset_is_of_the_guest_s_queues)
{
	int ret;

	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	ASSERT_EQ(0, queue_unbind(self->card, self->other_dom));
	ASSERT_EQ(0, OPEN());
	ASSERT_STREQ("assigned\n", queue_status(self->card, self->dom));
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "force", "\"zapq:01:*\""));
	ret = vdev_ioctl(&self->vdev, VFIO_DEVICE_RESET, NULL);
	ASSERT_EQ(0, queue_bind(self->card, self->other_dom, "vfio_ap"));
	EXPECT_TRUE(!ret || ret == -EIO);
	KNOWN_C_FAULT("N12", ret);
}

/* A queue that does not come clean */

TEST_F(reset, reset_that_fails)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, OPEN());
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "force", "\"zapq:01:*\""));
	EXPECT_EQ(-EIO, vdev_ioctl(&self->vdev, VFIO_DEVICE_RESET, NULL));
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "force", "\"\""));
	EXPECT_EQ(0, vdev_ioctl(&self->vdev, VFIO_DEVICE_RESET, NULL));
	EXPECT_TRUE(wait_for(!strcmp("in use\n", queue_status(self->card,
							      self->dom))));
}

#define FAILED_MESSAGE \
	"vfio_ap: queue %s: reset failed with response 7e, no guest will get it\n"
#define UNBOUND_MESSAGE \
	"vfio_ap: queue %s: unbound without having been reset\n"

TEST_F(reset, reset_that_fails_is_logged)
{
	const char *name = queue_name(self->card, self->dom), *failed, *unbound;
	int kmsg = kmsg_open();

	ASSERT_LE(0, kmsg);
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, OPEN());
	expect_faults("WARNING: vfio_ap_ops\\.c");
	EXPECT_TRUE(qmp_set(self->qmp, self->queue, "force", "\"zapq:7e:*\""));
	vdev_close(&self->vdev);
	failed = kmsg_text(kmsg);
	EXPECT_EQ(0, queue_unbind(self->card, self->dom));
	unbound = kmsg_text(kmsg);
	EXPECT_TRUE(qmp_set(self->qmp, self->queue, "force", "\"\""));
	EXPECT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	expected_faults_end();
	KNOWN_C_FAULT("N7", !strstr(failed, text(FAILED_MESSAGE, name)) ||
		      !strstr(unbound, text(UNBOUND_MESSAGE, name)));
}

/* How long a reset takes here; by then the C driver has looked 15 times. */
#define SLOW_MS	"300"

TEST_F(reset, waiting_is_logged)
{
	const char *ms = qmp_get(self->qmp, self->queue, "reset-ms");
	const char *message = text("ms for reset of queue %s",
				   queue_name(self->card, self->dom));
	const char *log, *end;
	int kmsg = kmsg_open();

	ASSERT_LE(0, kmsg);
	/* Anew, for what came before may have used up the limit of messages. */
	ASSERT_EQ(0, module_unload(MODULE_NAME));
	ASSERT_EQ(0, ap_restore());
	ASSERT_EQ(0, mdev_create(&self->mdev));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, OPEN());
	EXPECT_TRUE(qmp_set(self->qmp, self->queue, "reset-ms", SLOW_MS));
	EXPECT_EQ(0, vdev_ioctl(&self->vdev, VFIO_DEVICE_RESET, NULL));
	EXPECT_TRUE(qmp_set(self->qmp, self->queue, "reset-ms", ms));
	log = kmsg_text(kmsg);
	EXPECT_LE(1, count_lines_with(log, message));
	EXPECT_NE(NULL, strstr(log, "Waited "));
	end = strstr(log, message);
	KNOWN_C_FAULT("N11", count_lines_with(log, message) != 1 || !end ||
		      end[strlen(message)] != '\n');
}

TEST_F(reset, queue_that_failed_to_reset_is_left_out)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, OPEN());
	/* "Not available", which no reset of the C driver retries. */
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "force", "\"zapq:01:*\""));
	vdev_close(&self->vdev);
	ASSERT_EQ(0, OPEN());
	KNOWN_C_FAULT("C5", !strcmp("in use\n",
				    queue_status(self->card, self->dom)));
}

TEST_F(reset, queue_that_failed_comes_back)
{
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, OPEN());
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "force", "\"zapq:01:*\""));
	vdev_close(&self->vdev);
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "force", "\"\""));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	EXPECT_TRUE(mdev_guest_has(&self->mdev, 1, &self->card, 1, &self->dom));
	ASSERT_EQ(0, OPEN());
	EXPECT_STREQ("in use\n", queue_status(self->card, self->dom));
}

/* Runs in a process of its own, which may hang; it must not hold the device. */
static pid_t start(int (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(fn(arg) ? 1 : 0);
	}
	return pid;
}

static bool ends_within(int seconds, pid_t pid)
{
	return wait_for_at_most(seconds, waitpid(pid, NULL, WNOHANG) == pid);
}

static int do_reset(void *arg)
{
	return vdev_ioctl(arg, VFIO_DEVICE_RESET, NULL);
}

static int read_matrix(void *arg)
{
	return *mdev_get(arg, "matrix") == '<';
}

TEST_F(reset, stuck_queue_does_not_stop_others)
{
	pid_t resetter, reader;
	bool stopped;

	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, OPEN());
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "reset-stuck", "true"));
	resetter = start(do_reset, &self->vdev);
	/* The reset is under way when it has been asked for. */
	ASSERT_TRUE(wait_for(strcmp("0", qmp_get(self->qmp, self->queue,
						 "zapq-count"))));
	reader = start(read_matrix, &self->other);
	stopped = !ends_within(NOT_STUCK, reader);
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "reset-stuck", "false"));
	EXPECT_TRUE(!stopped || ends_within(AP_PATIENCE, reader));
	EXPECT_TRUE(ends_within(AP_PATIENCE, resetter));
	KNOWN_C_FAULT("C7", stopped);
}

TEST_F_TIMEOUT(reset, stuck_queue_is_not_waited_for_without_end, 240)
{
	pid_t resetter;
	bool stuck;

	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
	ASSERT_EQ(0, OPEN());
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "reset-stuck", "true"));
	resetter = start(do_reset, &self->vdev);
	stuck = !ends_within(2 * AP_PATIENCE, resetter);
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "reset-stuck", "false"));
	EXPECT_TRUE(!stuck || ends_within(AP_PATIENCE, resetter));
	KNOWN_C_FAULT("C7", stuck);
}

TEST_F(reset, card_comes_and_goes_while_open)
{
	const struct mdev *mdev = &self->mdev;
	int change = eventfd_new();

	ASSERT_EQ(0, mdev_assign(mdev, self->new_card, self->dom));
	ASSERT_EQ(0, mdev_set(mdev, "assign_domain", "%d", self->other_dom));
	ASSERT_EQ(0, OPEN());
	ASSERT_EQ(0, vdev_set_eventfd(&self->vdev, VFIO_AP_CFG_CHG_IRQ_INDEX,
				      change));
	/* Once, however many queues there are. */
	ASSERT_TRUE(qmp_add_card(self->qmp, self->new_card, "cex8"));
	EXPECT_TRUE(wait_for(!strcmp("in use\n", queue_status(self->new_card,
							      self->dom))));
	EXPECT_STREQ("in use\n", queue_status(self->new_card, self->other_dom));
	EXPECT_EQ(1, eventfd_count(change));

	ASSERT_TRUE(qmp_remove_new(self->qmp));
	EXPECT_TRUE(wait_for(!path_exists("%s", queue_path(self->new_card,
							   self->dom))));
	EXPECT_EQ(1, eventfd_count(change));
}

/* A queue that is configured off or checkstopped */

FIXTURE(off) {
	struct mdev mdev;
	struct vm vm;
	struct vdev vdev;
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
	vm_need_modules();
	self->qmp = qmp_open();
	ASSERT_LE(0, self->qmp) TH_LOG("the port to the emulator");
	self->card = ap.cards[0];
	self->dom = ap.doms[0];
	self->object = qmp_card(self->qmp, self->card);
	ASSERT_EQ(0, mdev_create(&self->mdev));
	ASSERT_EQ(0, vm_create(&self->vm));
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));
}

FIXTURE_TEARDOWN_PARENT(off)
{
	EXPECT_TRUE(qmp_restore());
	EXPECT_EQ(0, ap_restore());
}

TEST_F(off, reset_is_no_error)
{
	ASSERT_EQ(0, OPEN());
	ASSERT_TRUE(qmp_set(self->qmp, self->object, variant->property,
			    variant->value));
	KNOWN_C_FAULT("L8", vdev_ioctl(&self->vdev, VFIO_DEVICE_RESET,
				       NULL) == -EIO);
}

TEST_F(off, can_be_closed_and_opened)
{
	ASSERT_EQ(0, OPEN());
	ASSERT_TRUE(qmp_set(self->qmp, self->object, variant->property,
			    variant->value));
	vdev_close(&self->vdev);
	EXPECT_STREQ("assigned\n", queue_status(self->card, self->dom));
	ASSERT_EQ(0, OPEN());
	EXPECT_STREQ("in use\n", queue_status(self->card, self->dom));
}

AP_MAIN(2)
