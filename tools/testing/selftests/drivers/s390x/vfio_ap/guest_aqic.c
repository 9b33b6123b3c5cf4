// SPDX-License-Identifier: GPL-2.0-only
/*
 * What PQAP(AQIC) of a guest comes to when it is not simply carried out: asked
 * for wrongly, refused by the hardware, slow, during a reset, or for a queue that
 * the guest does not have.
 */
#include <linux/vfio.h>

#include "../../../kselftest_harness.h"
#include "ap.h"
#include "guest.h"
#include "qmp.h"

#define ISC		3
#define DEBUG_LOG	"/sys/kernel/debug/s390dbf/vfio_ap/sprintf"

FIXTURE(aqic) {
	struct mdev mdev;
	struct guest guest;
	int qmp, kmsg;
	int card, dom, other_dom;
	const char *queue, *other_queue;
	long pinned;		/* before the guest had anything */
};

FIXTURE_SETUP(aqic)
{
	expect_faults(GUEST_FAULTS);
	self->qmp = guests_begin();
	ASSERT_LE(0, self->qmp) TH_LOG("the machine, or the port to the emulator");
	self->card = ap.cards[0];
	self->dom = ap.doms[0];
	self->other_dom = ap.doms[1];
	self->queue = guests_queue(self->qmp, &self->mdev, self->card, self->dom);
	ASSERT_STRNE("", self->queue);
	self->other_queue = qmp_queue(self->qmp, self->card, self->other_dom);
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
	ASSERT_EQ(0, guest_create(&self->guest));
	self->pinned = pinned_pages();
}

FIXTURE_TEARDOWN_PARENT(aqic)
{
	EXPECT_EQ(0, guests_end());
	expected_faults_end();
}

#define ATTACH() \
	ASSERT_EQ(0, guest_attach(&self->guest, &self->mdev, false))
#define IRQ_ON(_nib) \
	guest_irq_on(&self->guest, self->card, self->dom, ISC, _nib)
#define IRQ_OFF() \
	guest_irq_off(&self->guest, self->card, self->dom)
#define ARMED() queue_irq_armed(self->qmp, self->queue)
/* How many pages are pinned for the guest. */
#define PINNED() (pinned_pages() - self->pinned)
#define FORCE(_what) \
	ASSERT_TRUE(queue_force(self->qmp, self->queue, _what))

TEST_F_TIMEOUT(aqic, every_subclass_is_delivered, 120)
{
	ATTACH();
	for (int isc = 0; isc < 8; isc++) {
		ASSERT_EQ(RC_NORMAL, guest_irq_on(&self->guest, self->card,
						  self->dom, isc,
						  guest_nib(0)));
		ASSERT_EQ(RC_NORMAL, guest_send(&self->guest, self->card,
						self->dom));
		EXPECT_EQ(isc, guest_wait_irq(&self->guest, 0xff, IRQ_MS));
		ASSERT_EQ(RC_NORMAL, guest_receive(&self->guest, self->card,
						   self->dom));
		ASSERT_EQ(RC_NORMAL, IRQ_OFF());
	}
}

TEST_F_TIMEOUT(aqic, off_is_silent, 120)
{
	ATTACH();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	ASSERT_EQ(RC_NORMAL, IRQ_OFF());
	ASSERT_EQ(RC_NORMAL, guest_use(&self->guest, self->card, self->dom));
	EXPECT_EQ(-ETIME, guest_wait_irq(&self->guest, 0xff, NO_IRQ_MS));
	EXPECT_EQ(0, guest_nib_take(&self->guest, guest_nib(0)));
}

/* Hardware takes its time, and may write as long as it does. */
TEST_F_TIMEOUT(aqic, slow_off_keeps_the_page_until_it_is_off, 120)
{
	const char *slow = "1000000";

	ATTACH();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "aqic-polls", slow));
	ASSERT_EQ(RC_NORMAL, IRQ_OFF());
	EXPECT_TRUE(ARMED());
	nap();
	KNOWN_C_FAULT("M2", ARMED() && PINNED() != 1);
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "aqic-polls", "0"));
	/* It is what the next AQIC is counted from: this one ends by a reset. */
	ASSERT_EQ(RC_NORMAL, guest_rapq(&self->guest, self->card, self->dom));
	EXPECT_TRUE(wait_for(!ARMED() && !PINNED()));
}

TEST_F_TIMEOUT(aqic, moderately_slow_on_and_off, 120)
{
	ATTACH();
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "aqic-polls", "3"));
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	ASSERT_TRUE(wait_for(!guest_tapq(&self->guest, self->card, self->dom) &&
			     ARMED()));
	ASSERT_EQ(RC_NORMAL, IRQ_OFF());
	EXPECT_TRUE(wait_for(!PINNED()));
	EXPECT_FALSE(ARMED());
}

TEST_F_TIMEOUT(aqic, queue_of_nobody, 120)
{
	ATTACH();
	EXPECT_EQ(RC_NOT_AVAILABLE,
		  guest_irq_on(&self->guest, self->card, self->other_dom, ISC,
			       guest_nib(0)));
	EXPECT_EQ(RC_NOT_AVAILABLE,
		  guest_irq_on(&self->guest, ap.no_cards[0], self->dom, ISC,
			       guest_nib(0)));
	EXPECT_EQ(RC_NOT_AVAILABLE,
		  guest_irq_off(&self->guest, self->card, self->other_dom));
	EXPECT_FALSE(queue_irq_armed(self->qmp, self->other_queue));
	EXPECT_EQ(0, PINNED());
}

TEST_F_TIMEOUT(aqic, off_twice, 120)
{
	ATTACH();
	EXPECT_EQ(RC_OTHERWISE_CHANGED, IRQ_OFF());
	EXPECT_EQ(0, PINNED());
}

TEST_F_TIMEOUT(aqic, on_twice_changes_nothing, 120)
{
	ATTACH();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	EXPECT_EQ(RC_OTHERWISE_CHANGED, IRQ_ON(guest_nib(1)));
	EXPECT_EQ(1, PINNED());
	ASSERT_EQ(RC_NORMAL, guest_send(&self->guest, self->card, self->dom));
	EXPECT_EQ(ISC, guest_wait_irq(&self->guest, 0xff, IRQ_MS));
	EXPECT_EQ(1, guest_nib_take(&self->guest, guest_nib(0)));
	EXPECT_EQ(0, guest_nib_take(&self->guest, guest_nib(1)));
}

/* C1 as a guest has it in its hand */
TEST_F_TIMEOUT(aqic, on_during_a_reset_many_times, 300)
{
	long leaked;

	ATTACH();
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "reset-stuck", "true"));
	ASSERT_EQ(RC_NORMAL, guest_rapq(&self->guest, self->card, self->dom));
	/* Each takes the C driver a tenth of a second. */
	for (int i = 0; i < (impl_is_c() ? 20 : 1000); i++)
		ASSERT_EQ(RC_RESET_IN_PROGRESS,
			  IRQ_ON(guest_nib(i % GUEST_NIB_PAGES)));
	leaked = PINNED();
	ASSERT_TRUE(qmp_set(self->qmp, self->queue, "reset-stuck", "false"));
	EXPECT_FALSE(ARMED());
	KNOWN_C_FAULT("C1", leaked);
}

/* C4: assigned, but left out because another queue of the adapter is missing */
TEST_F_TIMEOUT(aqic, queue_that_is_left_out, 120)
{
	int rc;

	ASSERT_EQ(0, queue_unbind(self->card, self->other_dom));
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	ATTACH();
	ASSERT_STREQ("assigned\n", queue_status(self->card, self->dom));
	ASSERT_EQ(RC_NOT_AVAILABLE, guest_tapq(&self->guest, self->card,
					       self->dom));
	rc = IRQ_ON(guest_nib(0));
	if (rc != RC_NORMAL) {
		EXPECT_EQ(RC_NOT_AVAILABLE, rc);
		EXPECT_EQ(RC_NOT_AVAILABLE, IRQ_OFF());
		EXPECT_EQ(0, PINNED());
	}
	KNOWN_C_FAULT("C4", rc == RC_NORMAL || ARMED());
}

/* M7: a queue without an interrupt is none of an unmap's business */
TEST_F_TIMEOUT(aqic, unmap_from_0_leaves_other_queues_alone, 120)
{
	unsigned long before, after;

	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	ATTACH();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	before = queue_counter(self->qmp, self->other_queue, "aqic-count");
	ASSERT_EQ(0, guest_unmap(&self->guest, 0, GUEST_MEM));
	after = queue_counter(self->qmp, self->other_queue, "aqic-count");
	EXPECT_FALSE(ARMED());
	KNOWN_C_FAULT("M7", after != before);
}

/* C1: an enable that hardware does not accept */

FIXTURE(refused) {
	struct mdev mdev;
	struct guest guest;
	int qmp;
	int card, dom;
	const char *queue;
	long pinned;
};

FIXTURE_VARIANT(refused) {
	uint8_t rc;
};

FIXTURE_VARIANT_ADD(refused, reset_in_progress) { .rc = RC_RESET_IN_PROGRESS };
FIXTURE_VARIANT_ADD(refused, deconfigured) { .rc = RC_DECONFIGURED };
FIXTURE_VARIANT_ADD(refused, busy) { .rc = RC_BUSY };
FIXTURE_VARIANT_ADD(refused, invalid_address) { .rc = RC_INVALID_ADDRESS };
FIXTURE_VARIANT_ADD(refused, otherwise_changed) { .rc = RC_OTHERWISE_CHANGED };
FIXTURE_VARIANT_ADD(refused, state_change) { .rc = RC_STATE_CHANGE };
FIXTURE_VARIANT_ADD(refused, unknown) { .rc = 0x7e };

FIXTURE_SETUP(refused)
{
	expect_faults(GUEST_FAULTS);
	self->qmp = guests_begin();
	ASSERT_LE(0, self->qmp) TH_LOG("the machine, or the port to the emulator");
	self->card = ap.cards[0];
	self->dom = ap.doms[0];
	self->queue = guests_queue(self->qmp, &self->mdev, self->card, self->dom);
	ASSERT_STRNE("", self->queue);
	ASSERT_EQ(0, guest_create(&self->guest));
	self->pinned = pinned_pages();
	ASSERT_EQ(0, guest_attach(&self->guest, &self->mdev, false));
}

FIXTURE_TEARDOWN_PARENT(refused)
{
	EXPECT_EQ(0, guests_end());
	expected_faults_end();
}

TEST_F_TIMEOUT(refused, enable_pins_nothing, 120)
{
	long leaked;

	for (int i = 0; i < 10; i++) {
		FORCE(text("aqic:%02x", variant->rc));
		ASSERT_EQ(variant->rc, IRQ_ON(guest_nib(i)));
	}
	leaked = PINNED();
	EXPECT_FALSE(ARMED());
	FORCE("");
	if (variant->rc == RC_OTHERWISE_CHANGED) {
		/* The one answer that the C driver knows. */
		EXPECT_EQ(0, leaked);
		return;
	}
	KNOWN_C_FAULT("C1", leaked);
}

TEST_F_TIMEOUT(refused, enable_leaves_the_old_interrupt, 120)
{
	bool changed;

	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	FORCE(text("aqic:%02x", variant->rc));
	ASSERT_EQ(variant->rc, IRQ_ON(guest_nib(1)));
	FORCE("");
	changed = !ARMED() || PINNED() != 1;
	if (!changed) {
		ASSERT_EQ(RC_NORMAL, guest_send(&self->guest, self->card,
						self->dom));
		EXPECT_EQ(ISC, guest_wait_irq(&self->guest, 0xff, IRQ_MS));
		EXPECT_EQ(1, guest_nib_take(&self->guest, guest_nib(0)));
		EXPECT_EQ(0, guest_nib_take(&self->guest, guest_nib(1)));
	}
	if (variant->rc == RC_OTHERWISE_CHANGED) {
		/* The one answer that the C driver knows. */
		EXPECT_FALSE(changed);
		return;
	}
	KNOWN_C_FAULT("C1", changed);
}

/* The answers of a queue that writes nothing any more. */
static bool is_off(uint8_t rc)
{
	return rc == RC_NOT_AVAILABLE || rc == RC_DECONFIGURED ||
	       rc == RC_CHECKSTOPPED || rc == RC_OTHERWISE_CHANGED;
}

/* M2: the answers to a disable that is not carried out */
TEST_F_TIMEOUT(refused, disable_keeps_what_is_armed, 120)
{
	bool unpinned;

	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	FORCE(text("aqic:%02x:*", variant->rc));
	ASSERT_EQ(variant->rc, IRQ_OFF());
	for (int i = 0; i < 10; i++)
		nap();
	ASSERT_TRUE(ARMED());
	unpinned = PINNED() != 1;
	FORCE("");
	ASSERT_EQ(RC_NORMAL, IRQ_OFF());
	EXPECT_TRUE(wait_for(!ARMED() && !PINNED()));
	if (!is_off(variant->rc))
		KNOWN_C_FAULT("M2", unpinned);
}

/* N14: the guest hears at once that the queue is busy, and asks again itself. */
TEST_F_TIMEOUT(aqic, off_of_a_busy_queue_is_not_waited_for, 120)
{
	int rc;

	ATTACH();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	FORCE("aqic:05:2");
	rc = IRQ_OFF();
	if (rc == RC_BUSY) {
		EXPECT_EQ(RC_BUSY, IRQ_OFF());
		EXPECT_EQ(RC_NORMAL, IRQ_OFF());
	}
	EXPECT_TRUE(wait_for(!ARMED() && !PINNED()));
	KNOWN_C_FAULT("N14", rc == RC_NORMAL);
}

/* M2: rather lost to the host than written to when it is somebody else's */
TEST_F_TIMEOUT(aqic, page_of_a_queue_that_stays_armed_is_lost, 120)
{
	const char *message = text("queue %s: interrupts cannot be turned off, a page",
				   queue_name(self->card, self->dom));
	const char *log;

	ATTACH();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	FORCE("aqic:05:*");
	kmsg_text(self->kmsg);
	/* This ends, and it is not the user who pays. */
	ASSERT_EQ(0, guest_unmap(&self->guest, 0, GUEST_MEM));
	EXPECT_EQ(0, PINNED());
	EXPECT_TRUE(ARMED());
	log = kmsg_text(self->kmsg);
	FORCE("");
	guest_detach(&self->guest);
	EXPECT_FALSE(ARMED());
	KNOWN_C_FAULT("M2", count_lines_with(log, message) != 1);
}

/* M2: nothing that a guest can ask for is worth a warning of the kernel */

static bool debug_warned(int kmsg)
{
	return strstr(kmsg_text(kmsg), "WARNING: ");
}

/* A warning that comes but once is to come in this test. */
static int again(const struct mdev *mdev)
{
	return mdev_remove(mdev) ?: module_unload(MODULE_NAME) ?: ap_restore();
}

#define AGAIN()								\
do {									\
	ASSERT_EQ(0, again(&self->mdev));				\
	ASSERT_EQ(0, mdev_create(&self->mdev));				\
	ASSERT_EQ(0, mdev_assign(&self->mdev, self->card, self->dom));	\
	ATTACH();							\
	kmsg_text(self->kmsg);						\
} while (0)

/* C6: what the debug feature says is what was true when it was said */
TEST_F_TIMEOUT(aqic, debug_feature_logs_by_value, 120)
{
	bool wrong;

	/* What the C driver said of calls that have ended must not be read. */
	AGAIN();
	ASSERT_EQ(RC_INVALID_ADDRESS, IRQ_ON(0x123456789000));
	ASSERT_EQ(RC_INVALID_ADDRESS, IRQ_ON(0xabcdef012000));
	ASSERT_TRUE(path_exists(DEBUG_LOG)) TH_LOG("no debug feature");
	wrong = !strstr(file_text(DEBUG_LOG), "123456789000") ||
		!strstr(file_text(DEBUG_LOG), "abcdef012000");
	guest_detach(&self->guest);
	ASSERT_EQ(0, again(&self->mdev));
	KNOWN_C_FAULT("C6", wrong);
}

TEST_F_TIMEOUT(aqic, off_of_a_deconfigured_queue_does_not_warn, 120)
{
	AGAIN();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	FORCE("aqic:03:2");
	ASSERT_EQ(RC_DECONFIGURED, IRQ_OFF());
	KNOWN_C_FAULT("M2", debug_warned(self->kmsg));
}

TEST_F_TIMEOUT(aqic, off_of_a_checkstopped_queue_does_not_warn, 120)
{
	AGAIN();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	FORCE("aqic:04:2");
	ASSERT_EQ(RC_CHECKSTOPPED, IRQ_OFF());
	KNOWN_C_FAULT("M2", debug_warned(self->kmsg));
}

TEST_F_TIMEOUT(aqic, off_of_a_busy_queue_does_not_warn, 120)
{
	AGAIN();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	FORCE("aqic:05:8");
	ASSERT_EQ(RC_BUSY, IRQ_OFF());
	KNOWN_C_FAULT("M2", debug_warned(self->kmsg));
}

TEST_F_TIMEOUT(aqic, queue_that_goes_after_off_does_not_warn, 120)
{
	AGAIN();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	FORCE("tapq:03:2");
	ASSERT_EQ(RC_NORMAL, IRQ_OFF());
	for (int i = 0; i < 10; i++)
		nap();
	KNOWN_C_FAULT("M2", debug_warned(self->kmsg));
}

AP_MAIN(2)
