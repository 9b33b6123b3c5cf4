// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues that come to a running guest and leave it: by assignment, by bind and
 * unbind, with the hardware, on request; what the guest sees, what its VMM is
 * told, and that nothing of it stays behind.
 */
#include <linux/vfio.h>
#include <pthread.h>

#include "../../../kselftest_harness.h"
#include "ap.h"
#include "guest.h"
#include "qmp.h"

#define ISC	3

#define FUNCTION_QCI	4
#define QCI_APM		16
#define QCI_AQM		48
#define QCI_ADM		80

FIXTURE(plug) {
	struct mdev mdev;
	struct guest guest;
	int qmp, kmsg, change;
	int card, other_card, dom, other_dom;
	const char *queue;
	long pinned;
};

/* The same as a type that functions can name. */
#define plug_data _test_data_plug

FIXTURE_VARIANT(plug) {
	bool cdev;
};

FIXTURE_VARIANT_ADD(plug, group) {
	.cdev = false,
};

FIXTURE_VARIANT_ADD(plug, cdev) {
	.cdev = true,
};

static int attach(struct plug_data *self, bool cdev)
{
	return mdev_create(&self->mdev) ?:
	       mdev_assign(&self->mdev, self->card, self->dom) ?:
	       guest_attach(&self->guest, &self->mdev, cdev);
}

/* A warning that comes but once is to come in this test. */
static int attach_again(struct plug_data *self, bool cdev)
{
	guest_detach(&self->guest);
	return mdev_remove(&self->mdev) ?: module_unload(MODULE_NAME) ?:
	       ap_restore() ?: attach(self, cdev);
}

FIXTURE_SETUP(plug)
{
	expect_faults(GUEST_FAULTS);
	self->qmp = guests_begin();
	ASSERT_LE(0, self->qmp) TH_LOG("the machine, or the port to the emulator");
	self->card = ap.cards[0];
	self->other_card = ap.cards[1];
	self->dom = ap.doms[0];
	self->other_dom = ap.doms[1];
	self->queue = qmp_queue(self->qmp, self->card, self->dom);
	ASSERT_STRNE("", self->queue);
	ASSERT_EQ(0, guest_create(&self->guest));
	self->pinned = pinned_pages();
	ASSERT_EQ(0, attach(self, variant->cdev));
	self->change = eventfd_new();
	ASSERT_EQ(0, vdev_set_eventfd(&self->guest.vdev,
				      VFIO_AP_CFG_CHG_IRQ_INDEX, self->change));
	self->kmsg = kmsg_open();
	ASSERT_LE(0, self->kmsg);
}

FIXTURE_TEARDOWN_PARENT(plug)
{
	EXPECT_EQ(0, guests_end());
	EXPECT_TRUE(wait_for(!ap_rescan() && ap_bindings_settled() &&
			     path_exists("%s", queue_path(ap.cards[0],
							  ap.doms[0]))));
	EXPECT_EQ(0, ap_restore());
	expected_faults_end();
}

#define SET(_attr, _id) \
	ASSERT_EQ(0, mdev_set(&self->mdev, _attr, "%d", _id))
#define TAPQ(_card, _dom)	guest_tapq(&self->guest, _card, _dom)
#define SIGNALS()		eventfd_count(self->change)
#define ARMED()			queue_irq_armed(self->qmp, self->queue)
#define PINNED()		(pinned_pages() - self->pinned)
#define IRQ_ON() \
	guest_irq_on(&self->guest, self->card, self->dom, ISC, guest_nib(0))

/* What the guest's PQAP(QCI) says. */
static int qci(struct guest *guest, struct ap_mask *apm, struct ap_mask *aqm,
	       struct ap_mask *adm)
{
	uint8_t *info = guest->mem + guest_nib(0);
	int ret;

	ret = guest_pqap(guest, FUNCTION_QCI, 0, 0, 0, guest_nib(0));
	/* There is no response code. */
	if (ret < 0)
		return ret;
	memcpy(apm, info + QCI_APM, sizeof(*apm));
	memcpy(aqm, info + QCI_AQM, sizeof(*aqm));
	memcpy(adm, info + QCI_ADM, sizeof(*adm));
	return 0;
}

static bool guest_sees(struct guest *guest, int nr_cards, const int *cards,
		       int nr_doms, const int *doms, int nr_cdoms,
		       const int *cdoms)
{
	struct ap_mask has[3], sees[3];

	has[0] = mask_of(nr_cards, cards);
	has[1] = mask_of(nr_doms, doms);
	has[2] = mask_of(nr_cdoms, cdoms);
	return !qci(guest, &sees[0], &sees[1], &sees[2]) &&
	       !memcmp(has, sees, sizeof(has));
}

/* By assignment */

TEST_F_TIMEOUT(plug, assign_and_unassign, 120)
{
	const int cards[] = { self->card, self->other_card };
	const int doms[] = { self->dom, self->other_dom };
	struct guest *guest = &self->guest;

	EXPECT_EQ(RC_NORMAL, TAPQ(self->card, self->dom));
	EXPECT_TRUE(guest_sees(guest, 1, cards, 1, doms, 0, NULL));
	EXPECT_EQ(0, SIGNALS());

	EXPECT_EQ(RC_NOT_AVAILABLE, TAPQ(self->card, self->other_dom));
	SET("assign_domain", self->other_dom);
	EXPECT_EQ(RC_NORMAL, TAPQ(self->card, self->other_dom));
	EXPECT_TRUE(guest_sees(guest, 1, cards, 2, doms, 0, NULL));
	EXPECT_EQ(1, SIGNALS());

	SET("assign_adapter", self->other_card);
	EXPECT_EQ(RC_NORMAL, TAPQ(self->other_card, self->other_dom));
	EXPECT_TRUE(guest_sees(guest, 2, cards, 2, doms, 0, NULL));
	EXPECT_EQ(1, SIGNALS());

	SET("assign_control_domain", self->dom);
	EXPECT_TRUE(guest_sees(guest, 2, cards, 2, doms, 1, doms));
	EXPECT_EQ(1, SIGNALS());

	SET("unassign_control_domain", self->dom);
	EXPECT_TRUE(guest_sees(guest, 2, cards, 2, doms, 0, NULL));
	EXPECT_EQ(1, SIGNALS());

	SET("unassign_domain", self->dom);
	EXPECT_EQ(RC_NOT_AVAILABLE, TAPQ(self->card, self->dom));
	EXPECT_TRUE(guest_sees(guest, 2, cards, 1, doms + 1, 0, NULL));
	EXPECT_EQ(1, SIGNALS());

	SET("unassign_adapter", self->card);
	EXPECT_EQ(RC_NOT_AVAILABLE, TAPQ(self->card, self->other_dom));
	EXPECT_EQ(RC_NORMAL, TAPQ(self->other_card, self->other_dom));
	EXPECT_TRUE(guest_sees(guest, 1, cards + 1, 1, doms + 1, 0, NULL));
	EXPECT_EQ(1, SIGNALS());
}

TEST_F_TIMEOUT(plug, what_changes_nothing_is_not_signalled, 120)
{
	SET("assign_adapter", self->card);
	SET("assign_domain", self->dom);
	SET("unassign_domain", self->other_dom);
	EXPECT_EQ(-EADDRNOTAVAIL, mdev_set(&self->mdev, "assign_domain", "%d",
					   ap.doms[ap.nr_doms - 1]));
	/* Of the host's queues, none is the guest's. */
	SET("assign_adapter", ap.no_cards[0]);
	EXPECT_EQ(RC_NORMAL, TAPQ(self->card, self->dom));
	EXPECT_EQ(0, SIGNALS());
}

TEST_F_TIMEOUT(plug, all_at_once_by_ap_config, 120)
{
	struct ap_mask apm = mask_of(1, &self->other_card);
	struct ap_mask aqm = mask_of(1, &self->other_dom);
	const char *config = ap_config_text(&apm, &aqm, &aqm);
	unsigned long signals;

	/* All that the guest has goes, and all comes anew. */
	ASSERT_EQ(0, mdev_set(&self->mdev, "ap_config", "%s", config));
	EXPECT_TRUE(guest_sees(&self->guest, 1, &self->other_card, 1,
			       &self->other_dom, 1, &self->other_dom));
	EXPECT_EQ(RC_NOT_AVAILABLE, TAPQ(self->card, self->dom));
	EXPECT_EQ(RC_NORMAL, TAPQ(self->other_card, self->other_dom));
	signals = SIGNALS();
	EXPECT_LE(1, signals);
	/* The same again is no change. */
	ASSERT_EQ(0, mdev_set(&self->mdev, "ap_config", "%s", config));
	EXPECT_EQ(RC_NORMAL, TAPQ(self->other_card, self->other_dom));
	KNOWN_C_FAULT("N8",
		      signals > 1 || SIGNALS());
}

TEST_F_TIMEOUT(plug, unassign_takes_what_is_armed, 120)
{
	ASSERT_EQ(RC_NORMAL, IRQ_ON());
	ASSERT_EQ(RC_NORMAL, guest_send(&self->guest, self->card, self->dom));
	SET("unassign_adapter", self->card);
	EXPECT_FALSE(ARMED());
	EXPECT_TRUE(wait_for(!PINNED()));
	EXPECT_EQ(RC_NOT_AVAILABLE, guest_receive(&self->guest, self->card,
						  self->dom));
	EXPECT_EQ(RC_NOT_AVAILABLE, IRQ_ON());
	SET("assign_adapter", self->card);
	EXPECT_EQ(RC_NO_REPLY, guest_receive(&self->guest, self->card,
					     self->dom));
	EXPECT_EQ(RC_NORMAL, IRQ_ON());
}

/* By drivers */

TEST_F_TIMEOUT(plug, unbind_and_bind, 120)
{
	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(RC_NORMAL, IRQ_ON());
		ASSERT_EQ(RC_NORMAL, guest_send(&self->guest, self->card,
						self->dom));
		ASSERT_EQ(0, queue_unbind(self->card, self->dom));
		EXPECT_EQ(1, SIGNALS());
		EXPECT_FALSE(ARMED());
		EXPECT_TRUE(wait_for(!PINNED()));
		EXPECT_EQ(RC_NOT_AVAILABLE, TAPQ(self->card, self->dom));
		EXPECT_EQ(RC_NOT_AVAILABLE, IRQ_ON());
		ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
		EXPECT_TRUE(wait_for(!TAPQ(self->card, self->dom)));
		EXPECT_EQ(1, SIGNALS());
		EXPECT_EQ(RC_NO_REPLY, guest_receive(&self->guest, self->card,
						     self->dom));
	}
}

TEST_F_TIMEOUT(plug, unbind_of_one_takes_the_adapter, 120)
{
	SET("assign_domain", self->other_dom);
	ASSERT_EQ(RC_NORMAL, IRQ_ON());
	EXPECT_EQ(1, SIGNALS());
	ASSERT_EQ(0, queue_unbind(self->card, self->other_dom));
	EXPECT_EQ(RC_NOT_AVAILABLE, TAPQ(self->card, self->dom));
	EXPECT_FALSE(ARMED());
	EXPECT_TRUE(wait_for(!PINNED()));
	EXPECT_EQ(1, SIGNALS());
	ASSERT_EQ(0, queue_bind(self->card, self->other_dom, "vfio_ap"));
	EXPECT_TRUE(wait_for(!TAPQ(self->card, self->dom)));
	EXPECT_EQ(1, SIGNALS());
}

static bool stop;

static void *keep_using(void *arg)
{
	struct plug_data *self = arg;

	for (int i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
		guest_irq_on(&self->guest, self->card, self->dom, i % 8,
			     guest_nib(i % GUEST_NIB_PAGES));
		guest_send(&self->guest, self->card, self->dom);
		guest_receive(&self->guest, self->card, self->dom);
		if (i % 2)
			guest_irq_off(&self->guest, self->card, self->dom);
	}
	return NULL;
}

TEST_F_TIMEOUT(plug, unbind_and_bind_while_it_is_used, 240)
{
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_using, self));
	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, queue_unbind(self->card, self->dom));
		ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(40, SIGNALS());
	EXPECT_TRUE(wait_for(!TAPQ(self->card, self->dom)));
	guest_detach(&self->guest);
	EXPECT_FALSE(ARMED());
	EXPECT_EQ(0, PINNED());
}

TEST_F_TIMEOUT(plug, assign_and_unassign_while_it_is_used, 240)
{
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_using, self));
	for (int i = 0; i < 20; i++) {
		SET("unassign_adapter", self->card);
		SET("assign_adapter", self->card);
		SET("assign_domain", self->other_dom);
		SET("unassign_domain", self->other_dom);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(80, SIGNALS());
	EXPECT_TRUE(wait_for(!TAPQ(self->card, self->dom)));
	guest_detach(&self->guest);
	EXPECT_FALSE(ARMED());
	EXPECT_EQ(0, PINNED());
}

/* With the hardware */

TEST_F_TIMEOUT(plug, card_goes_off_and_on, 240)
{
	const char *card = qmp_card(self->qmp, self->card);
	int ret;

	ASSERT_EQ(0, attach_again(self, variant->cdev));
	ASSERT_EQ(RC_NORMAL, IRQ_ON());
	kmsg_text(self->kmsg);
	ASSERT_TRUE(qmp_set(self->qmp, card, "configured", "false"));
	EXPECT_EQ(RC_DECONFIGURED, TAPQ(self->card, self->dom));
	ASSERT_EQ(0, ap_rescan());
	guest_irq_off(&self->guest, self->card, self->dom);
	ret = vdev_ioctl(&self->guest.vdev, VFIO_DEVICE_RESET, NULL);
	/* L8, which is tested elsewhere */
	EXPECT_TRUE(!ret || impl_is_c());
	EXPECT_TRUE(wait_for(!PINNED()));
	ASSERT_TRUE(qmp_set(self->qmp, card, "configured", "true"));
	ASSERT_EQ(0, ap_rescan());
	EXPECT_TRUE(wait_for(!TAPQ(self->card, self->dom)));
	EXPECT_EQ(RC_NORMAL, IRQ_ON());
	KNOWN_C_FAULT("M2", strstr(kmsg_text(self->kmsg), "WARNING: "));
}

/* L7: the host wants the device back */

static int remove_mdev(void *arg)
{
	/* It would wait for itself. */
	close_range(STDERR_FILENO + 1, ~0U, 0);
	return mdev_remove(arg);
}

TEST_F_TIMEOUT(plug, request_takes_all_and_gives_nothing_back, 120)
{
	int rc;

	ASSERT_EQ(RC_NORMAL, IRQ_ON());
	start_process(remove_mdev, &self->mdev);
	ASSERT_TRUE(wait_for(TAPQ(self->card, self->dom) == RC_NOT_AVAILABLE));
	EXPECT_TRUE(wait_for(SIGNALS()));
	/* The sysfs attributes may be gone already; drivers come and go. */
	ASSERT_EQ(0, queue_unbind(self->card, self->dom));
	ASSERT_EQ(0, queue_bind(self->card, self->dom, "vfio_ap"));
	nap();
	rc = TAPQ(self->card, self->dom);
	guest_detach(&self->guest);
	EXPECT_TRUE(wait_for(!mdev_exists(&self->mdev)));
	EXPECT_FALSE(ARMED());
	EXPECT_EQ(0, PINNED());
	KNOWN_C_FAULT("L7", rc != RC_NOT_AVAILABLE);
}

AP_MAIN(2)
