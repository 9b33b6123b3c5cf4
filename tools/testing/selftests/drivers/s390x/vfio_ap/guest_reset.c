// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues that guests leave: reset before the next guest has them, whatever the
 * hardware answers and however the guest ends; and nobody waits for the queue of
 * another guest.  The emulated cards say whether one guest met another's data.
 */
#include <linux/userfaultfd.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "../../../kselftest_harness.h"
#include "ap.h"
#include "guest.h"
#include "qmp.h"

#define ISC		3

/* What is not stuck takes milliseconds, but the machine may be a slow one. */
#define PATIENCE	(impl_is_c() ? 5 : AP_PATIENCE)

/* How late things are that something else has to come before. */
#define LATE_MS		"2000"
#define VERY_LATE_US	2200000

/* Two guests with an adapter each, and a domain that both do not use. */
FIXTURE(pair) {
	struct mdev mdev, other;
	struct guest guest, other_guest;
	int qmp, kmsg;
	int card, other_card, dom, other_dom;
	const char *queue, *other_queue;
	long pinned;
};

/* The same as a type that functions can name. */
#define pair_data _test_data_pair

FIXTURE_SETUP(pair)
{
	expect_faults(GUEST_FAULTS);
	self->qmp = guests_begin();
	ASSERT_LE(0, self->qmp) TH_LOG("the machine, or the port to the emulator");
	self->card = ap.cards[0];
	self->other_card = ap.cards[1];
	self->dom = ap.doms[0];
	self->other_dom = ap.doms[1];
	self->queue = guests_queue(self->qmp, &self->mdev, self->card, self->dom);
	ASSERT_STRNE("", self->queue);
	self->other_queue = guests_queue(self->qmp, &self->other, self->other_card, self->dom);
	ASSERT_STRNE("", self->other_queue);
	ASSERT_EQ(0, guest_create(&self->guest));
	ASSERT_EQ(0, guest_create(&self->other_guest));
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
	self->pinned = pinned_pages();
}

FIXTURE_TEARDOWN_PARENT(pair)
{
	EXPECT_LE(0, guests_end());
	/* Whatever a test did to them: each queue is clean when bound anew. */
	for (int i = 0; i < ap.nr_given; i++) {
		EXPECT_EQ(0, queue_unbind(ap.cards[0], ap.doms[i]));
		EXPECT_EQ(0, queue_bind(ap.cards[0], ap.doms[i], "vfio_ap"));
	}
	expected_faults_end();
}

#define ATTACH(_guest, _mdev) \
	ASSERT_EQ(0, guest_attach(_guest, _mdev, false))
#define USE(_guest) \
	guest_use(_guest, self->card, self->dom)
#define FORCE(_what) \
	ASSERT_TRUE(queue_force(self->qmp, self->queue, _what))
#define PINNED() (pinned_pages() - self->pinned)
#define ARMED() queue_irq_armed(self->qmp, self->queue)

/* From guest to guest */

TEST_F_TIMEOUT(pair, next_guest_of_the_device, 120)
{
	ATTACH(&self->guest, &self->mdev);
	ASSERT_EQ(RC_NORMAL, USE(&self->guest));
	guest_detach(&self->guest);
	ATTACH(&self->other_guest, &self->mdev);
	EXPECT_EQ(RC_NORMAL, USE(&self->other_guest));
	EXPECT_EQ(0, violations(self->qmp));
}

TEST_F_TIMEOUT(pair, queue_moves_between_running_guests, 120)
{
	ASSERT_EQ(0, mdev_set(&self->other, "unassign_adapter", "%d",
			      self->other_card));
	ATTACH(&self->guest, &self->mdev);
	ATTACH(&self->other_guest, &self->other);
	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(RC_NORMAL, USE(&self->guest));
		ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_adapter", "%d",
				      self->card));
		EXPECT_EQ(RC_NOT_AVAILABLE, guest_tapq(&self->guest, self->card,
						       self->dom));
		ASSERT_EQ(0, mdev_set(&self->other, "assign_adapter", "%d",
				      self->card));
		EXPECT_EQ(RC_NORMAL, USE(&self->other_guest));
		ASSERT_EQ(0, mdev_set(&self->other, "unassign_adapter", "%d",
				      self->card));
		ASSERT_EQ(0, mdev_set(&self->mdev, "assign_adapter", "%d",
				      self->card));
	}
	EXPECT_EQ(0, violations(self->qmp));
}

/* A request is under way and its interrupt is late. */
TEST_F_TIMEOUT(pair, late_interrupt_reaches_nobody, 120)
{
	struct guest *guest = &self->guest;

	ATTACH(&self->guest, &self->mdev);
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "irq-delay-ms", LATE_MS));
	ASSERT_EQ(RC_NORMAL, guest_irq_on(guest, self->card, self->dom, ISC,
					  guest_nib(0)));
	ASSERT_EQ(RC_NORMAL, guest_send(guest, self->card, self->dom));
	guest_detach(guest);
	EXPECT_FALSE(ARMED());
	ATTACH(&self->other_guest, &self->mdev);
	usleep(VERY_LATE_US);
	EXPECT_EQ(RC_NO_REPLY, guest_receive(&self->other_guest, self->card,
					     self->dom));
	EXPECT_EQ(0, guest_nib_take(guest, guest_nib(0)));
	EXPECT_EQ(0, violations(self->qmp));
}

TEST_F_TIMEOUT(pair, reset_ends_what_is_under_way, 120)
{
	struct guest *guest = &self->guest;

	ATTACH(&self->guest, &self->mdev);
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "reply-delay-ms", LATE_MS));
	ASSERT_EQ(RC_NORMAL, guest_irq_on(guest, self->card, self->dom, ISC,
					  guest_nib(0)));
	ASSERT_EQ(RC_NORMAL, guest_send(guest, self->card, self->dom));
	ASSERT_EQ(0, vdev_ioctl(&guest->vdev, VFIO_DEVICE_RESET, NULL));
	usleep(VERY_LATE_US);
	EXPECT_EQ(RC_NO_REPLY, guest_receive(guest, self->card, self->dom));
	EXPECT_EQ(0, guest_nib_take(guest, guest_nib(0)));
	EXPECT_EQ(RC_NORMAL, USE(&self->guest));
}

/* The guest's device is reset while the guest goes on to use the queue. */
static bool stop;

static void *keep_using(void *arg)
{
	struct pair_data *self = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		guest_irq_on(&self->guest, self->card, self->dom, ISC,
			     guest_nib(0));
		guest_send(&self->guest, self->card, self->dom);
		guest_receive(&self->guest, self->card, self->dom);
	}
	return NULL;
}

TEST_F_TIMEOUT(pair, reset_while_the_guest_runs, 120)
{
	pthread_t thread;

	ATTACH(&self->guest, &self->mdev);
	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_using, self));
	for (int i = 0; i < 50; i++) {
		EXPECT_EQ(0, vdev_ioctl(&self->guest.vdev, VFIO_DEVICE_RESET,
					NULL));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	guest_detach(&self->guest);
	EXPECT_EQ(0, PINNED());
	ATTACH(&self->other_guest, &self->mdev);
	EXPECT_EQ(RC_NORMAL, USE(&self->other_guest));
	EXPECT_EQ(0, violations(self->qmp));
}

/* C5: a reset that failed keeps the queue from the next guest */

TEST_F_TIMEOUT(pair, failed_reset_keeps_the_queue_from_the_next_guest, 120)
{
	bool met;
	int rc;

	ATTACH(&self->guest, &self->mdev);
	ASSERT_EQ(RC_NORMAL, USE(&self->guest));
	FORCE("zapq:01:*+rapq:01:*");
	guest_detach(&self->guest);
	ATTACH(&self->other_guest, &self->mdev);
	FORCE("");
	rc = USE(&self->other_guest);
	met = violations(self->qmp);
	EXPECT_TRUE(met || rc == RC_NOT_AVAILABLE);
	KNOWN_C_FAULT("C5", met);
}

TEST_F_TIMEOUT(pair, failed_reset_keeps_the_queue_from_another_mdev, 120)
{
	ASSERT_EQ(0, mdev_set(&self->other, "unassign_adapter", "%d",
			      self->other_card));
	ATTACH(&self->guest, &self->mdev);
	ATTACH(&self->other_guest, &self->other);
	ASSERT_EQ(RC_NORMAL, USE(&self->guest));
	FORCE("zapq:01:*+rapq:01:*");
	ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_adapter", "%d",
			      self->card));
	ASSERT_EQ(0, mdev_set(&self->other, "assign_adapter", "%d",
			      self->card));
	FORCE("");
	EXPECT_EQ(RC_NOT_AVAILABLE, USE(&self->other_guest));
	EXPECT_EQ(0, violations(self->qmp));
}

/* The AP bus resets it in between, but that leaves the guest's keys in it. */
TEST_F_TIMEOUT(pair, failed_reset_is_not_forgotten_by_unbind_and_bind, 120)
{
	bool met;
	int rc;

	ATTACH(&self->guest, &self->mdev);
	ASSERT_EQ(RC_NORMAL, USE(&self->guest));
	FORCE("zapq:01:*");
	guest_detach(&self->guest);
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	ATTACH(&self->other_guest, &self->mdev);
	FORCE("");
	rc = USE(&self->other_guest);
	met = violations(self->qmp);
	EXPECT_TRUE(met || rc == RC_NOT_AVAILABLE);
	KNOWN_C_FAULT("C5", met);
}

TEST_F_TIMEOUT(pair, reset_that_cannot_be_verified_has_failed, 120)
{
	bool in_use;

	ATTACH(&self->guest, &self->mdev);
	ASSERT_EQ(RC_NORMAL, USE(&self->guest));
	FORCE("tapq:7e:*");
	guest_detach(&self->guest);
	ATTACH(&self->other_guest, &self->mdev);
	in_use = !strcmp("in use\n", queue_status(self->card, self->dom));
	KNOWN_C_FAULT("C5", in_use);
}

/* Hardware must not write where somebody else is soon. */
TEST_F_TIMEOUT(pair, failed_reset_disarms_all_the_same, 120)
{
	ATTACH(&self->guest, &self->mdev);
	ASSERT_EQ(RC_NORMAL, guest_irq_on(&self->guest, self->card, self->dom,
					  ISC, guest_nib(0)));
	FORCE("zapq:7e:*");
	guest_detach(&self->guest);
	KNOWN_C_FAULT("C5", ARMED() || PINNED());
}

TEST_F_TIMEOUT(pair, queue_comes_back_after_a_good_reset, 120)
{
	ATTACH(&self->guest, &self->mdev);
	ASSERT_EQ(RC_NORMAL, USE(&self->guest));
	FORCE("zapq:01:*");
	guest_detach(&self->guest);
	FORCE("");
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	ATTACH(&self->other_guest, &self->mdev);
	EXPECT_TRUE(wait_for(!strcmp("in use\n", queue_status(self->card,
							      self->dom))));
	EXPECT_EQ(RC_NORMAL, USE(&self->other_guest));
	EXPECT_EQ(0, violations(self->qmp));
}

/* Answers that only mean "not yet" */

FIXTURE(slow) {
	struct mdev mdev;
	struct guest guest;
	int qmp, kmsg;
	int card, dom;
	const char *queue;
	long pinned;
};

FIXTURE_VARIANT(slow) {
	const char *force;
	const char *fault;
};

FIXTURE_VARIANT_ADD(slow, zapq_reset_in_progress) { "zapq:02:3", NULL };
FIXTURE_VARIANT_ADD(slow, zapq_busy) { "zapq:05:3", NULL };
FIXTURE_VARIANT_ADD(slow, zapq_state_change) { "zapq:0a:3", NULL };
FIXTURE_VARIANT_ADD(slow, tapq_reset_in_progress) { "tapq:02:3", NULL };
FIXTURE_VARIANT_ADD(slow, tapq_busy) { "tapq:05:3", NULL };
FIXTURE_VARIANT_ADD(slow, tapq_state_change) { "tapq:0a:3", "M3" };

FIXTURE_SETUP(slow)
{
	expect_faults(GUEST_FAULTS);
	self->qmp = guests_begin();
	ASSERT_LE(0, self->qmp) TH_LOG("the machine, or the port to the emulator");
	self->card = ap.cards[0];
	self->dom = ap.doms[0];
	self->queue = guests_queue(self->qmp, &self->mdev, self->card, self->dom);
	ASSERT_STRNE("", self->queue);
	ASSERT_EQ(0, guest_create(&self->guest));
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
	self->pinned = pinned_pages();
	ATTACH(&self->guest, &self->mdev);
	ASSERT_EQ(RC_NORMAL, guest_irq_on(&self->guest, self->card, self->dom,
					  ISC, guest_nib(0)));
	kmsg_text(self->kmsg);
}

FIXTURE_TEARDOWN_PARENT(slow)
{
	int qmp = qmp_open();

	EXPECT_TRUE(card_behaves(qmp, ap.cards[0]));
	EXPECT_EQ(0, violations(qmp));
	EXPECT_EQ(0, ap_restore());
	expected_faults_end();
	close(qmp);
}

TEST_F_TIMEOUT(slow, reset, 120)
{
	bool wrong;

	FORCE(variant->force);
	ASSERT_EQ(0, vdev_ioctl(&self->guest.vdev, VFIO_DEVICE_RESET, NULL));
	EXPECT_FALSE(ARMED());
	wrong = !wait_for_at_most(PATIENCE, !PINNED()) ||
		strstr(kmsg_text(self->kmsg), "WARNING: ");
	FORCE("");
	EXPECT_EQ(RC_NORMAL, guest_tapq(&self->guest, self->card, self->dom));
	if (!variant->fault) {
		/* The C driver knows these. */
		EXPECT_FALSE(wrong);
		return;
	}
	KNOWN_C_FAULT(variant->fault, wrong);
}

TEST_F_TIMEOUT(slow, close, 120)
{
	bool wrong;

	FORCE(variant->force);
	guest_detach(&self->guest);
	wrong = ARMED() || PINNED() ||
		strstr(kmsg_text(self->kmsg), "WARNING: ");
	FORCE("");
	if (!variant->fault) {
		/* The C driver knows these. */
		EXPECT_FALSE(wrong);
		return;
	}
	KNOWN_C_FAULT(variant->fault, wrong);
}

/* C7: nobody waits for what another guest has: a stuck queue, or a page that is not there */

struct call {
	int (*fn)(struct pair_data *self);
	struct pair_data *self;
	pthread_t thread;
	int ret;
	bool done;
};

static void *do_call(void *arg)
{
	struct call *call = arg;

	call->ret = call->fn(call->self);
	__atomic_store_n(&call->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool is_done(const struct call *call)
{
	return __atomic_load_n(&call->done, __ATOMIC_ACQUIRE);
}

static void start_call(struct call *call, struct pair_data *self,
		       int (*fn)(struct pair_data *self))
{
	*call = (struct call){ .fn = fn, .self = self };
	if (pthread_create(&call->thread, NULL, do_call, call))
		abort();
}

static int reset_first(struct pair_data *self)
{
	return vdev_ioctl(&self->guest.vdev, VFIO_DEVICE_RESET, NULL);
}

static int close_first(struct pair_data *self)
{
	guest_detach(&self->guest);
	return 0;
}

/* With the page withheld, by a guest that has just turned off its interrupt. */
static int pin_first(struct pair_data *self)
{
	int ret = guest_irq_on(&self->guest, self->card, self->dom, ISC, guest_nib(0)) ?:
		  guest_irq_off(&self->guest, self->card, self->dom);

	return ret ?: guest_irq_on(&self->guest, self->card, self->dom, ISC, guest_nib(1));
}

static int other_irq_on(struct pair_data *self)
{
	return guest_irq_on(&self->other_guest, self->other_card, self->dom,
			    ISC, guest_nib(0));
}

static int other_attach(struct pair_data *self)
{
	return guest_attach(&self->other_guest, &self->other, false);
}

static int other_detach(struct pair_data *self)
{
	guest_detach(&self->other_guest);
	return 0;
}

static int other_assign(struct pair_data *self)
{
	return mdev_set(&self->other, "assign_domain", "%d", self->other_dom);
}

/* What the first one has: a refusal has nothing to wait for. */
static int other_take(struct pair_data *self)
{
	int ret = mdev_set(&self->other, "assign_adapter", "%d", self->card);

	return ret == -EADDRINUSE ? 0 : ret ?: -EBADMSG;
}

static int other_read(struct pair_data *self)
{
	return *mdev_get(&self->other, "guest_matrix") == '<';
}

static int other_reset(struct pair_data *self)
{
	return vdev_ioctl(&self->other_guest.vdev, VFIO_DEVICE_RESET, NULL);
}

/* The guest has it again when a reset is over that nobody waits for. */
static int other_rebind(struct pair_data *self)
{
	int ret;

	if (!qmp_set(self->qmp, self->other_queue, "reset-ms", "50"))
		return -EIO;
	ret = queue_unbind(self->other_card, self->dom) ?:
	      queue_bind(self->other_card, self->dom, "vfio_ap");
	if (!ret && !wait_for(!strcmp("in use\n", queue_status(self->other_card, self->dom))))
		ret = -ETIME;
	return qmp_set(self->qmp, self->other_queue, "reset-ms", "0") ? ret : -EIO;
}

static int first_unassign(struct pair_data *self)
{
	return mdev_set(&self->mdev, "unassign_domain", "%d", self->dom);
}

static int any_create(struct pair_data *self)
{
	struct mdev mdev;

	return mdev_create(&mdev);
}

FIXTURE(stuck) {
	struct pair_data pair;
};

FIXTURE_VARIANT(stuck) {
	int (*first)(struct pair_data *self);
	int (*other)(struct pair_data *self);
	bool attached;		/* the other guest, beforehand */
};

FIXTURE_VARIANT_ADD(stuck, reset_and_interrupt) {
	reset_first, other_irq_on, true
};

FIXTURE_VARIANT_ADD(stuck, reset_and_open) {
	reset_first, other_attach, false
};

FIXTURE_VARIANT_ADD(stuck, reset_and_close) {
	reset_first, other_detach, true
};

FIXTURE_VARIANT_ADD(stuck, reset_and_assign) {
	reset_first, other_assign, true
};

FIXTURE_VARIANT_ADD(stuck, reset_and_take) {
	reset_first, other_take, true
};

FIXTURE_VARIANT_ADD(stuck, reset_and_read) {
	reset_first, other_read, true
};

FIXTURE_VARIANT_ADD(stuck, reset_and_create) {
	reset_first, any_create, true
};

FIXTURE_VARIANT_ADD(stuck, close_and_interrupt) {
	close_first, other_irq_on, true
};

FIXTURE_VARIANT_ADD(stuck, close_and_open) {
	close_first, other_attach, false
};

FIXTURE_VARIANT_ADD(stuck, close_and_close) {
	close_first, other_detach, true
};

FIXTURE_VARIANT_ADD(stuck, close_and_assign) {
	close_first, other_assign, true
};

FIXTURE_VARIANT_ADD(stuck, close_and_read) {
	close_first, other_read, true
};

FIXTURE_VARIANT_ADD(stuck, close_and_create) {
	close_first, any_create, true
};

FIXTURE_VARIANT_ADD(stuck, pin_and_interrupt) {
	pin_first, other_irq_on, true
};

FIXTURE_VARIANT_ADD(stuck, pin_and_open) {
	pin_first, other_attach, false
};

FIXTURE_VARIANT_ADD(stuck, pin_and_close) {
	pin_first, other_detach, true
};

FIXTURE_VARIANT_ADD(stuck, pin_and_assign) {
	pin_first, other_assign, true
};

FIXTURE_VARIANT_ADD(stuck, pin_and_unassign) {
	pin_first, first_unassign, true
};

FIXTURE_VARIANT_ADD(stuck, pin_and_reset) {
	pin_first, other_reset, true
};

FIXTURE_VARIANT_ADD(stuck, pin_and_rebind) {
	pin_first, other_rebind, true
};

FIXTURE_SETUP(stuck)
{
	pair_setup(_metadata, &self->pair, NULL);
}

FIXTURE_TEARDOWN_PARENT(stuck)
{
	pair_teardown(_metadata, &self->pair, NULL);
}

/* Withholds the page of guest_nib(1); returns a descriptor, or -1. */
static int withhold_page(uint8_t *page)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register missing = {
		.range = { (uintptr_t)page, GUEST_PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) ||
	    madvise(page, GUEST_PAGE, MADV_DONTNEED) ||
	    ioctl(fd, UFFDIO_REGISTER, &missing))
		return -1;
	return fd;
}

static bool give_page(int fd, uint8_t *page)
{
	struct uffdio_zeropage zero = { .range = { (uintptr_t)page, GUEST_PAGE } };

	return !ioctl(fd, UFFDIO_ZEROPAGE, &zero);
}

TEST_F_TIMEOUT(stuck, others_go_on, 120)
{
	struct pair_data *pair = &self->pair;
	uint8_t *page = pair->guest.mem + (guest_nib(1) & -GUEST_PAGE);
	struct pollfd withheld = { .events = POLLIN };
	bool memory = variant->first == pin_first;
	bool stopped, endless = false;
	struct call first, other;
	unsigned long before;

	/* A container would not wait for the page. */
	ASSERT_EQ(0, guest_attach(&pair->guest, &pair->mdev, memory));
	if (variant->attached)
		ASSERT_EQ(0, other_attach(pair));
	ASSERT_EQ(RC_NORMAL, guest_use(&pair->guest, pair->card, pair->dom));
	if (memory) {
		withheld.fd = withhold_page(page);
		ASSERT_LE(0, withheld.fd);
	} else {
		ASSERT_TRUE(qmp_set(pair->qmp, pair->queue, "reset-stuck", "true"));
	}
	before = queue_counter(pair->qmp, pair->queue, "zapq-count");
	start_call(&first, pair, variant->first);
	/* Whoever waits for the page has told its keeper. */
	ASSERT_TRUE(wait_for(memory ? poll(&withheld, 1, 0) :
			     queue_counter(pair->qmp, pair->queue, "zapq-count") != before));
	start_call(&other, pair, variant->other);
	/*
	 * The reset takes seconds, even if it does end: first is who waits not.  The page
	 * comes when it is given.
	 */
	wait_for_at_most(PATIENCE, is_done(&other) || is_done(&first));
	stopped = !is_done(&other);
	if (memory) {
		ASSERT_FALSE(is_done(&first));
		ASSERT_TRUE(give_page(withheld.fd, page));
	} else {
		endless = !wait_for_at_most(AP_PATIENCE, is_done(&first) || stopped);
		ASSERT_TRUE(qmp_set(pair->qmp, pair->queue, "reset-stuck", "false"));
	}
	EXPECT_TRUE(wait_for(is_done(&first) && is_done(&other)));
	EXPECT_EQ(0, other.ret);
	KNOWN_C_FAULT("C7", stopped || endless);
}

/* C3, C4: queues that are left out of their guest */

/*
 * The C driver uses the mediated device after it was freed.  Only where that is
 * seen, and does no harm, it may.
 */
TEST_F_TIMEOUT(pair, queue_left_out_is_unlinked_by_unassign, 120)
{
	if (impl_is_c() && !kernel_has_kasan())
		SKIP(return, "fault C3 of the C driver: needs KASAN to be seen");
	kmsg_text(self->kmsg);
	ASSERT_EQ(0, queue_unbind(self->card, self->other_dom));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_adapter", "%d",
			      self->card));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->dom));
	ASSERT_EQ(0, mdev_remove(&self->mdev));
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	ASSERT_EQ(0, queue_bind(self->card, self->other_dom, "vfio_ap"));
	EXPECT_STREQ("unassigned\n", queue_status(self->card, self->dom));
	KNOWN_C_FAULT("C3", strstr(kmsg_text(self->kmsg), "use-after-free"));
}

/*
 * C4 and C3 together: a guest arms the interrupt of a queue that it does not
 * have, and the next guest's replies are announced to it.
 */
TEST_F_TIMEOUT(pair, queue_left_out_reaches_the_next_guest_disarmed, 120)
{
	bool met;

	ATTACH(&self->guest, &self->mdev);
	ASSERT_EQ(RC_NORMAL, USE(&self->guest));
	ASSERT_EQ(0, queue_unbind(self->card, self->other_dom));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	ASSERT_EQ(RC_NOT_AVAILABLE, guest_tapq(&self->guest, self->card,
					       self->dom));
	guest_irq_on(&self->guest, self->card, self->dom, ISC, guest_nib(0));
	ASSERT_EQ(0, mdev_set(&self->mdev, "unassign_adapter", "%d",
			      self->card));
	ASSERT_EQ(0, mdev_set(&self->other, "unassign_adapter", "%d",
			      self->other_card));
	ASSERT_EQ(0, mdev_set(&self->other, "assign_adapter", "%d",
			      self->card));
	ATTACH(&self->other_guest, &self->other);
	ASSERT_EQ(RC_NORMAL, USE(&self->other_guest));
	met = violations(self->qmp) ||
	      guest_nib_take(&self->guest, guest_nib(0));
	/* Else the C driver's next bind finds a guest that is gone. */
	guest_detach(&self->other_guest);
	KNOWN_C_FAULT("C4", met);
}

/* The VMM ends without a word */

#define CGROUPS		"/tmp"

/* What a hungry VMM takes after each round. */
#define MEAL		(256UL << 10)

struct victim {
	const struct mdev *mdev;
	bool cdev;
	const char *cgroup;	/* a small one, to fill; or NULL */
	int card, dom;
	int ready;
};

static int run_until_killed(void *arg)
{
	struct victim *victim = arg;
	struct guest guest;

	if (victim->cgroup && file_write(text("%s/cgroup.procs", victim->cgroup), "0"))
		return 1;
	if (guest_create(&guest) ||
	    guest_attach(&guest, victim->mdev, victim->cdev) ||
	    write(victim->ready, "", 1) != 1)
		return 1;
	for (int i = 0; ; i++) {
		uint64_t nib = guest_nib(i % GUEST_NIB_PAGES);

		guest_irq_on(&guest, victim->card, victim->dom, i % 8, nib);
		guest_send(&guest, victim->card, victim->dom);
		if (i % 3)
			guest_receive(&guest, victim->card, victim->dom);
		if (i % 5 == 4)
			guest_rapq(&guest, victim->card, victim->dom);
		else if (i % 5 == 3)
			guest_irq_off(&guest, victim->card, victim->dom);
		if (victim->cgroup)
			mmap(NULL, MEAL, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	}
}

#define KILLS	10

static void kill_guests(struct __test_metadata *_metadata,
			struct pair_data *self, bool cdev, const char *cgroup)
{
	struct victim victim = {
		.mdev = &self->mdev,
		.cdev = cdev,
		.cgroup = cgroup,
		.card = self->card,
		.dom = self->dom,
	};
	int ready[2];
	pid_t pid;
	char c;

	srand(getpid());
	ASSERT_EQ(0, pipe(ready));
	victim.ready = ready[1];
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "irq-delay-ms", "5"));
	for (int i = 0; i < KILLS; i++) {
		unsigned long id;

		pid = start_process(run_until_killed, &victim);
		ASSERT_EQ(1, read(ready[0], &c, 1));
		if (!cgroup) {
			usleep(rand() % 100000);
			kill(pid, SIGKILL);
		}
		ASSERT_TRUE(process_ends_within(AP_PATIENCE, pid));
		ASSERT_TRUE(wait_for(!strcmp("assigned\n",
					     queue_status(self->card,
							  self->dom))));
		EXPECT_FALSE(ARMED());
		EXPECT_STREQ("true", qmp_get(self->qmp, self->queue,
					     "zeroized-since"));
		/* From here on, an interrupt to it is a violation. */
		id = queue_counter(self->qmp, self->queue, "last-user-id");
		qmp_set(self->qmp, "/machine/s390-ap", "guest-gone",
			text("%lu", id));
	}
	usleep(50000);
	EXPECT_EQ(0, violations(self->qmp));
	ATTACH(&self->other_guest, &self->mdev);
	EXPECT_EQ(RC_NORMAL, USE(&self->other_guest));
}

TEST_F_TIMEOUT(pair, killed_by_group, 240)
{
	kill_guests(_metadata, self, false, NULL);
}

TEST_F_TIMEOUT(pair, killed_by_cdev, 240)
{
	kill_guests(_metadata, self, true, NULL);
}

static void starve_guests(struct __test_metadata *_metadata,
			  struct pair_data *self, bool cdev)
{
	const char *cgroup = text(CGROUPS "/%d", getpid());

	/* For this process alone, and by its number: a failure is in nobody's way. */
	ASSERT_EQ(0, unshare(CLONE_NEWNS));
	ASSERT_EQ(0, mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	ASSERT_EQ(0, mount("none", CGROUPS, "cgroup2", 0, NULL));
	ASSERT_EQ(0, file_write(CGROUPS "/cgroup.subtree_control", "+memory"));
	ASSERT_EQ(0, mkdir(cgroup, 0700));
	ASSERT_EQ(0, file_write(text("%s/memory.max", cgroup), "6M"));
	kill_guests(_metadata, self, cdev, cgroup);
	/* They ended for that reason and no other. */
	EXPECT_NE(NULL, strstr(file_text(text("%s/memory.events", cgroup)),
			       text("oom_kill %d\n", KILLS)));
	EXPECT_EQ(0, rmdir(cgroup));
}

TEST_F_TIMEOUT(pair, out_of_memory_by_group, 240)
{
	starve_guests(_metadata, self, false);
}

TEST_F_TIMEOUT(pair, out_of_memory_by_cdev, 240)
{
	starve_guests(_metadata, self, true);
}

AP_MAIN(2)
