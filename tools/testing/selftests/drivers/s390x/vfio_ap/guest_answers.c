// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every response code of hardware at every place where the driver executes an AP
 * instruction.  Whatever the answer is, the operation ends, no page stays pinned
 * when the guest has gone, nobody meets what it has left, the kernel does not warn
 * of it, and a queue that is bound anew can be used.
 */
#include <linux/vfio.h>

#include "../../../kselftest_harness.h"
#include "ap.h"
#include "guest.h"
#include "qmp.h"

#define ISC		3

/* The last one is none that an architecture knows. */
static const unsigned int codes[] = {
	RC_NOT_AVAILABLE, RC_RESET_IN_PROGRESS, RC_DECONFIGURED, RC_CHECKSTOPPED,
	RC_BUSY, RC_INVALID_ADDRESS, RC_OTHERWISE_CHANGED, RC_INVALID_GISA,
	RC_STATE_CHANGE, RC_NO_REPLY, 0x15, 0x35, 0x36, 0x42, 0x7e,
};

FIXTURE(answer) {
	struct mdev mdev;
	struct guest guest, next;
	int qmp, kmsg;
	int card, dom;
	const char *queue;
	long pinned;
};

/* The same as a type that functions can name. */
#define answer_data _test_data_answer

/* One operation each; what it returns is none of our business. */
static void op_reset(struct answer_data *self)
{
	vdev_ioctl(&self->guest.vdev, VFIO_DEVICE_RESET, NULL);
}

static void op_close(struct answer_data *self)
{
	guest_detach(&self->guest);
}

static void op_unassign(struct answer_data *self)
{
	mdev_set(&self->mdev, "unassign_adapter", "%d", self->card);
	mdev_set(&self->mdev, "assign_adapter", "%d", self->card);
}

static void op_unbind(struct answer_data *self)
{
	queue_unbind(self->card, self->dom);
	queue_bind(self->card, self->dom, "vfio_ap");
}

static void op_on(struct answer_data *self)
{
	guest_irq_on(&self->guest, self->card, self->dom, ISC, guest_nib(0));
}

static void op_off(struct answer_data *self)
{
	guest_irq_off(&self->guest, self->card, self->dom);
}

static void op_unmap(struct answer_data *self)
{
	guest_unmap(&self->guest, 0, GUEST_MEM);
}

FIXTURE_VARIANT(answer) {
	void (*op)(struct answer_data *self);
	const char *function;	/* the one that is answered so, once */
	const char *fault;	/* the worst that the C driver shows */
};

FIXTURE_VARIANT_ADD(answer, reset_zapq) { op_reset, "zapq", "M2" };
FIXTURE_VARIANT_ADD(answer, reset_tapq) { op_reset, "tapq", "M2" };
FIXTURE_VARIANT_ADD(answer, close_zapq) { op_close, "zapq", "C5" };
FIXTURE_VARIANT_ADD(answer, close_tapq) { op_close, "tapq", "C5" };
FIXTURE_VARIANT_ADD(answer, unassign_zapq) { op_unassign, "zapq", "M2" };
FIXTURE_VARIANT_ADD(answer, unassign_tapq) { op_unassign, "tapq", "M2" };
FIXTURE_VARIANT_ADD(answer, unbind_zapq) { op_unbind, "zapq", "C5" };
FIXTURE_VARIANT_ADD(answer, unbind_tapq) { op_unbind, "tapq", "C5" };
FIXTURE_VARIANT_ADD(answer, on_aqic) { op_on, "aqic", "C1" };
FIXTURE_VARIANT_ADD(answer, off_aqic) { op_off, "aqic", "M2" };
FIXTURE_VARIANT_ADD(answer, off_tapq) { op_off, "tapq", "M2" };
FIXTURE_VARIANT_ADD(answer, unmap_aqic) { op_unmap, "aqic", "M2" };
FIXTURE_VARIANT_ADD(answer, unmap_tapq) { op_unmap, "tapq", "M2" };

FIXTURE_SETUP(answer)
{
	ASSERT_EQ(0, ap_restore());
	expect_faults(GUEST_FAULTS);
	/* A warning that comes but once is to come in this test. */
	ASSERT_EQ(0, module_unload(MODULE_NAME));
	self->qmp = guests_begin();
	ASSERT_LE(0, self->qmp) TH_LOG("the machine, or the port to the emulator");
	self->card = ap.cards[0];
	self->dom = ap.doms[0];
	self->queue = guests_queue(self->qmp, &self->mdev, self->card, self->dom);
	ASSERT_STRNE("", self->queue);
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
}

FIXTURE_TEARDOWN_PARENT(answer)
{
	EXPECT_EQ(0, guests_end());
	expected_faults_end();
}

/* Hardware that says so has nothing in the queue, or will have when it is back. */
static bool means_empty(unsigned int rc)
{
	return rc == RC_DECONFIGURED || rc == RC_CHECKSTOPPED;
}

#define USE(_guest)	guest_use(_guest, self->card, self->dom)

TEST_F_TIMEOUT(answer, every_code, 300)
{
	bool any = false;

	for (int i = 0; i < ARRAY_SIZE(codes); i++) {
		bool pinned, warned, met;
		double took;

		ASSERT_EQ(0, guest_create(&self->guest));
		self->pinned = pinned_pages();
		ASSERT_EQ(0, guest_attach(&self->guest, &self->mdev, false));
		ASSERT_EQ(RC_NORMAL, USE(&self->guest)) TH_LOG("before code %#x", codes[i]);
		if (variant->op != op_on)
			ASSERT_EQ(RC_NORMAL, guest_irq_on(&self->guest, self->card, self->dom,
							  ISC, guest_nib(0)));
		ASSERT_TRUE(queue_force(self->qmp, self->queue,
					text("%s:%02x:1", variant->function, codes[i])));
		took = now();
		variant->op(self);
		took = now() - took;
		EXPECT_GT(AP_PATIENCE, took) TH_LOG("code %#x", codes[i]);
		queue_force(self->qmp, self->queue, "");
		guest_detach(&self->guest);
		pinned = pinned_pages() > self->pinned;
		guest_destroy(&self->guest);

		ASSERT_EQ(0, guest_create(&self->next));
		ASSERT_EQ(0, guest_attach(&self->next, &self->mdev, false));
		USE(&self->next);
		met = violations(self->qmp) && !means_empty(codes[i]);
		clear_violations(self->qmp);
		guest_destroy(&self->next);
		warned = strstr(kmsg_text(self->kmsg), "WARNING: ");
		if (pinned || warned || met) {
			TH_LOG("code %#04x:%s%s%s", codes[i], pinned ? " pages stay pinned" : "",
			       warned ? " a warning" : "", met ? " the next guest meets data" : "");
			any = true;
		}
		ASSERT_EQ(0, queue_unbind(self->card, self->dom));
		ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	}
	KNOWN_C_FAULT(variant->fault, any);
}

AP_MAIN(2)
