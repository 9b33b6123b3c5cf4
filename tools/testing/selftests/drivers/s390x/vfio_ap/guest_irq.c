// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts of a guest's queues: PQAP(AQIC) in a running guest, what it pins
 * and when that is given back, whatever the hardware answers.
 */
#define _GNU_SOURCE
#include <linux/vfio.h>
#include <pthread.h>
#include <sys/mman.h>

#include "../../../kselftest_harness.h"
#include "ap.h"
#include "guest.h"
#include "qmp.h"

#define ISC		3
#define OTHER_ISC	5
#define ISC_BIT(isc)	(0x80 >> (isc))

FIXTURE(irq) {
	struct mdev mdev;
	struct guest guest;
	int qmp, kmsg;
	int card, dom, other_dom;
	const char *queue, *other_queue;
	long pinned;		/* before the guest had anything */
};

/* The same as a type that functions can name. */
#define irq_data _test_data_irq

FIXTURE_VARIANT(irq) {
	bool cdev;
};

FIXTURE_VARIANT_ADD(irq, group) {
	.cdev = false,
};

FIXTURE_VARIANT_ADD(irq, cdev) {
	.cdev = true,
};

FIXTURE_SETUP(irq)
{
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

FIXTURE_TEARDOWN_PARENT(irq)
{
	EXPECT_EQ(0, guests_end());
}

#define ATTACH() \
	ASSERT_EQ(0, guest_attach(&self->guest, &self->mdev, variant->cdev))
#define IRQ_ON(_nib) \
	guest_irq_on(&self->guest, self->card, self->dom, ISC, _nib)
#define IRQ_OFF() \
	guest_irq_off(&self->guest, self->card, self->dom)
#define ARMED() queue_irq_armed(self->qmp, self->queue)
/* How many pages are pinned for the guest. */
#define PINNED() (pinned_pages() - self->pinned)
#define FORCE(_what) \
	ASSERT_TRUE(queue_force(self->qmp, self->queue, _what))

/* What works */

TEST_F_TIMEOUT(irq, on_and_off, 120)
{
	ATTACH();
	EXPECT_EQ(RC_NORMAL, guest_tapq(&self->guest, self->card, self->dom));
	EXPECT_FALSE(ARMED());
	EXPECT_EQ(0, PINNED());
	EXPECT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	EXPECT_TRUE(ARMED());
	EXPECT_EQ(1, PINNED());
	EXPECT_EQ(RC_NORMAL, IRQ_OFF());
	EXPECT_FALSE(ARMED());
	EXPECT_TRUE(wait_for(!PINNED()));
}

TEST_F_TIMEOUT(irq, is_delivered, 120)
{
	ATTACH();
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(i)));
		ASSERT_EQ(RC_NORMAL, guest_send(&self->guest, self->card,
						self->dom));
		EXPECT_EQ(ISC, guest_wait_irq(&self->guest, ISC_BIT(ISC),
					      IRQ_MS));
		EXPECT_EQ(1, guest_nib_take(&self->guest, guest_nib(i)));
		EXPECT_EQ(RC_NORMAL, guest_receive(&self->guest, self->card,
						   self->dom));
		ASSERT_EQ(RC_NORMAL, IRQ_OFF());
	}
}

/* Two queues with one subclass: the one's end is not the other's. */
TEST_F_TIMEOUT(irq, queues_share_a_subclass, 120)
{
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	ATTACH();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	ASSERT_EQ(RC_NORMAL, guest_irq_on(&self->guest, self->card,
					  self->other_dom, ISC, guest_nib(1)));
	EXPECT_EQ(2, PINNED());
	ASSERT_EQ(RC_NORMAL, IRQ_OFF());
	EXPECT_TRUE(wait_for(PINNED() == 1));
	ASSERT_EQ(RC_NORMAL, guest_send(&self->guest, self->card,
					self->other_dom));
	EXPECT_EQ(ISC, guest_wait_irq(&self->guest, 0xff, IRQ_MS));
	EXPECT_EQ(1, guest_nib_take(&self->guest, guest_nib(1)));
	EXPECT_EQ(0, guest_nib_take(&self->guest, guest_nib(0)));
}

/* Both in one page, so that it has to be pinned until the last has gone. */
TEST_F_TIMEOUT(irq, queues_share_a_page, 120)
{
	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	ATTACH();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	ASSERT_EQ(RC_NORMAL, guest_irq_on(&self->guest, self->card,
					  self->other_dom, OTHER_ISC,
					  guest_nib(0) + 1));
	ASSERT_EQ(RC_NORMAL, IRQ_OFF());
	ASSERT_EQ(RC_NORMAL, guest_send(&self->guest, self->card,
					self->other_dom));
	EXPECT_EQ(OTHER_ISC, guest_wait_irq(&self->guest, 0xff, IRQ_MS));
	EXPECT_EQ(1, guest_nib_take(&self->guest, guest_nib(0) + 1));
	EXPECT_EQ(1, PINNED());
	ASSERT_EQ(RC_NORMAL, guest_irq_off(&self->guest, self->card,
					   self->other_dom));
	EXPECT_TRUE(wait_for(!PINNED()));
}

TEST_F_TIMEOUT(irq, close_gives_back_what_is_armed, 120)
{
	ATTACH();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	guest_detach(&self->guest);
	EXPECT_FALSE(ARMED());
	EXPECT_EQ(0, PINNED());
	/* And the next session begins anew. */
	ATTACH();
	EXPECT_EQ(RC_NORMAL, IRQ_ON(guest_nib(1)));
	EXPECT_EQ(1, PINNED());
}

TEST_F_TIMEOUT(irq, reset_of_the_device_gives_back_what_is_armed, 120)
{
	ATTACH();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	ASSERT_EQ(0, vdev_ioctl(&self->guest.vdev, VFIO_DEVICE_RESET, NULL));
	EXPECT_FALSE(ARMED());
	EXPECT_TRUE(wait_for(!PINNED()));
	EXPECT_EQ(RC_NORMAL, IRQ_ON(guest_nib(1)));
}

/* The guest resets the queue without the host seeing it, as often as it likes. */
TEST_F_TIMEOUT(irq, reset_by_the_guest_pins_no_more, 120)
{
	ATTACH();
	for (int i = 0; i < 100; i++) {
		ASSERT_EQ(RC_NORMAL, guest_rapq(&self->guest, self->card,
						self->dom));
		ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(i)));
		ASSERT_EQ(1, PINNED());
	}
	ASSERT_EQ(RC_NORMAL, IRQ_OFF());
	EXPECT_TRUE(wait_for(!PINNED()));
}

/* What the guest asks for wrongly */

TEST_F_TIMEOUT(irq, bad_nib, 120)
{
	ATTACH();
	EXPECT_EQ(RC_INVALID_ADDRESS, IRQ_ON(0));
	EXPECT_EQ(RC_INVALID_ADDRESS, IRQ_ON(GUEST_MEM));
	EXPECT_EQ(RC_INVALID_ADDRESS, IRQ_ON(1ULL << 40));
	EXPECT_EQ(RC_INVALID_ADDRESS, IRQ_ON(~0ULL));
	EXPECT_FALSE(ARMED());
	EXPECT_EQ(0, PINNED());
	EXPECT_EQ(RC_NORMAL, IRQ_ON(GUEST_MEM - 1));
}

/* Memory of the guest that VFIO does not know of. */
TEST_F_TIMEOUT(irq, nib_that_cannot_be_pinned, 120)
{
	ASSERT_EQ(0, guest_attach_unmapped(&self->guest, &self->mdev,
					   variant->cdev));
	EXPECT_EQ(RC_INVALID_ADDRESS, IRQ_ON(guest_nib(0)));
	EXPECT_FALSE(ARMED());
	EXPECT_EQ(0, PINNED());
	ASSERT_EQ(0, guest_map(&self->guest, 0, self->guest.mem, GUEST_MEM));
	EXPECT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
}

/*
 * C2: two mappings, and the notification byte at the end of the first one.  What
 * is before the second one's memory is none of the guest's.
 */
TEST_F_TIMEOUT(irq, nib_at_the_end_of_a_mapping, 120)
{
	const size_t mib = 1 << 20;
	uint8_t *mem = mmap(NULL, 4 * mib, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *first, *second, *foreign;
	uint64_t nib = mib - 8;
	bool written, missed;
	struct guest guest;

	ASSERT_NE(MAP_FAILED, mem);
	first = (uint8_t *)(((uintptr_t)mem + mib - 1) & -mib);
	second = first + 2 * mib;
	foreign = second - 8;
	/* All there, so that nothing is pinned in the wrong place by accident. */
	memset(first, 0, 3 * mib - (first - mem));
	memset(second, 0, mib - (first - mem));

	ASSERT_EQ(0, guest_create_without_memory(&guest));
	ASSERT_EQ(0, guest_add_memory(&guest, 0, 0, first, mib));
	guest_load(&guest);
	ASSERT_EQ(0, guest_attach_unmapped(&guest, &self->mdev, variant->cdev));
	/* The tree of mappings is searched from the first that was made. */
	ASSERT_EQ(0, guest_map(&guest, mib, second, mib / 2));
	ASSERT_EQ(0, guest_map(&guest, 0, first, mib));

	ASSERT_EQ(RC_NORMAL, guest_irq_on(&guest, self->card, self->dom, ISC,
					  nib));
	ASSERT_EQ(RC_NORMAL, guest_use(&guest, self->card, self->dom));
	missed = !guest_nib_take(&guest, nib);
	written = *foreign;
	if (variant->cdev) {
		/* iommufd only ever sees pages. */
		EXPECT_FALSE(missed || written);
		return;
	}
	KNOWN_C_FAULT("C2", missed || written);
}

/* C2: and with nothing behind it: it has to be unpinned as well */
TEST_F_TIMEOUT(irq, nib_at_the_end_of_memory, 120)
{
	ATTACH();
	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(RC_NORMAL, IRQ_ON(GUEST_MEM - 1 - i));
		ASSERT_EQ(RC_NORMAL, guest_use(&self->guest, self->card,
					       self->dom));
		EXPECT_EQ(1, guest_nib_take(&self->guest, GUEST_MEM - 1 - i));
		ASSERT_EQ(RC_NORMAL, IRQ_OFF());
		EXPECT_TRUE(wait_for(!PINNED()));
	}
	/* The whole page is given back, wherever in it the byte was. */
	ASSERT_EQ(RC_NORMAL, IRQ_ON(GUEST_MEM - 1));
	ASSERT_EQ(0, guest_unmap(&self->guest, 0, GUEST_MEM));
	EXPECT_FALSE(ARMED());
	EXPECT_EQ(0, PINNED());
}

/* Memory of the guest that goes away */

TEST_F_TIMEOUT(irq, unmap_disarms, 120)
{
	ATTACH();
	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(i)));
		ASSERT_EQ(0, guest_unmap(&self->guest, 0, GUEST_MEM));
		/* When this returns it has been done. */
		EXPECT_FALSE(ARMED());
		EXPECT_EQ(0, PINNED());
		EXPECT_EQ(RC_INVALID_ADDRESS, IRQ_ON(guest_nib(i)));
		ASSERT_EQ(0, guest_map(&self->guest, 0, self->guest.mem,
				       GUEST_MEM));
	}
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	ASSERT_EQ(RC_NORMAL, guest_send(&self->guest, self->card, self->dom));
	EXPECT_EQ(ISC, guest_wait_irq(&self->guest, 0xff, IRQ_MS));
}

TEST_F_TIMEOUT(irq, unmap_of_other_memory_leaves_it_armed, 120)
{
	uint64_t middle = guest_nib(1) & -GUEST_PAGE;

	ASSERT_EQ(0, guest_attach_unmapped(&self->guest, &self->mdev,
					   variant->cdev));
	ASSERT_EQ(0, guest_map(&self->guest, 0, self->guest.mem, middle));
	ASSERT_EQ(0, guest_map(&self->guest, middle, self->guest.mem + middle,
			       GUEST_MEM - middle));
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	ASSERT_EQ(0, guest_unmap(&self->guest, middle, GUEST_MEM - middle));
	EXPECT_TRUE(ARMED());
	EXPECT_EQ(1, PINNED());
	ASSERT_EQ(0, guest_unmap(&self->guest, 0, middle));
	EXPECT_FALSE(ARMED());
	EXPECT_EQ(0, PINNED());
}

/* The page has to be given back even if hardware goes on being unhelpful. */
TEST_F_TIMEOUT(irq, unmap_of_a_queue_that_is_busy, 120)
{
	ATTACH();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	FORCE("aqic:05:3");
	ASSERT_EQ(0, guest_unmap(&self->guest, 0, GUEST_MEM));
	EXPECT_FALSE(ARMED());
	EXPECT_EQ(0, PINNED());
}

/*
 * As with a balloon: the guest does not need the page any more, its VMM frees it.  It
 * is pinned, so hardware does not write to what is somebody else's by now; nor to
 * what the guest has got in its place.
 */
TEST_F_TIMEOUT(irq, page_that_the_guest_frees, 120)
{
	uint8_t *page = self->guest.mem + (guest_nib(0) & -GUEST_PAGE);

	ATTACH();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	ASSERT_EQ(0, madvise(page, GUEST_PAGE, MADV_DONTNEED));
	EXPECT_EQ(1, PINNED());
	ASSERT_EQ(RC_NORMAL, guest_send(&self->guest, self->card, self->dom));
	EXPECT_EQ(ISC, guest_wait_irq(&self->guest, ISC_BIT(ISC), IRQ_MS));
	EXPECT_EQ(0, guest_nib_take(&self->guest, guest_nib(0)));
	EXPECT_EQ(RC_NORMAL, guest_receive(&self->guest, self->card,
					   self->dom));
	ASSERT_EQ(RC_NORMAL, IRQ_OFF());
	EXPECT_TRUE(wait_for(!PINNED()));

	/* Now for the new page; and nobody turns it off. */
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	ASSERT_EQ(RC_NORMAL, guest_send(&self->guest, self->card, self->dom));
	EXPECT_EQ(ISC, guest_wait_irq(&self->guest, ISC_BIT(ISC), IRQ_MS));
	EXPECT_EQ(1, guest_nib_take(&self->guest, guest_nib(0)));
	ASSERT_EQ(0, madvise(page, GUEST_PAGE, MADV_DONTNEED));
	guest_detach(&self->guest);
	EXPECT_FALSE(ARMED());
	EXPECT_EQ(0, PINNED());
}

static bool stop;

static void *keep_turning_on_and_off(void *arg)
{
	struct irq_data *self = arg;

	for (int i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
		guest_irq_on(&self->guest, self->card, self->dom, i % 8,
			     guest_nib(i % GUEST_NIB_PAGES));
		guest_irq_off(&self->guest, self->card, self->dom);
	}
	return NULL;
}

/* Two queues: when it is the other one's turn, the first is armed. */
static void *keep_turning_both_on(void *arg)
{
	struct irq_data *self = arg;

	for (int i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++)
		guest_irq_on(&self->guest, self->card,
			     i % 2 ? self->dom : self->other_dom, i % 8,
			     guest_nib(i % GUEST_NIB_PAGES));
	return NULL;
}

/*
 * Memory goes while interrupts are turned on that use it: it is unmapped, or the
 * device leaves its address space, which the driver is told of once.
 */
TEST_F_TIMEOUT(irq, memory_goes_while_they_are_turned_on, 240)
{
	pthread_t thread;

	ASSERT_EQ(0, mdev_set(&self->mdev, "assign_domain", "%d",
			      self->other_dom));
	ATTACH();
	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_turning_both_on, self));
	for (int i = 0; i < 60; i++) {
		ASSERT_EQ(0, variant->cdev ?
			     guest_leave_ioas(&self->guest) :
			     guest_unmap(&self->guest, 0, GUEST_MEM));
		EXPECT_EQ(0, PINNED());
		EXPECT_FALSE(ARMED());
		EXPECT_FALSE(queue_irq_armed(self->qmp, self->other_queue));
		ASSERT_EQ(0, variant->cdev ?
			     guest_enter_ioas(&self->guest) :
			     guest_map(&self->guest, 0, self->guest.mem,
				       GUEST_MEM));
		/* Until the guest has something again. */
		EXPECT_TRUE(wait_for(PINNED()));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	guest_detach(&self->guest);
	EXPECT_EQ(0, PINNED());
}

TEST_F_TIMEOUT(irq, unmap_while_it_is_turned_on, 240)
{
	pthread_t thread;

	ATTACH();
	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_turning_on_and_off,
				    self));
	for (int i = 0; i < 30; i++) {
		ASSERT_EQ(0, guest_unmap(&self->guest, 0, GUEST_MEM));
		EXPECT_EQ(0, PINNED());
		EXPECT_FALSE(ARMED());
		ASSERT_EQ(0, guest_map(&self->guest, 0, self->guest.mem,
				       GUEST_MEM));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_TRUE(wait_for(!ARMED() && !PINNED()));
	EXPECT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
}

/* The device is closed and opened while the guest goes on. */
TEST_F_TIMEOUT(irq, close_while_it_is_turned_on, 240)
{
	pthread_t thread;

	ATTACH();
	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_turning_on_and_off,
				    self));
	for (int i = 0; i < 20; i++) {
		guest_detach(&self->guest);
		EXPECT_EQ(0, PINNED());
		EXPECT_FALSE(ARMED());
		ATTACH();
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_TRUE(wait_for(!ARMED() && !PINNED()));
}

/*
 * Part of C7: the driver is told of memory that goes away with locks of VFIO held,
 * and takes locks of VFIO in turn when it pins and unpins. Lockdep must not find
 * a way in which that ends in a deadlock.
 */
TEST_F_TIMEOUT(irq, unmap_makes_no_lock_cycle, 120)
{
	const char *stats = file_text("/proc/lockdep_stats");
	const char *locks = strstr(stats, "debug_locks:");

	if (!locks)
		SKIP(return, "the kernel has no lockdep");
	ASSERT_NE(0, atoi(locks + strlen("debug_locks:")))
		TH_LOG("lockdep has reported something before");
	ATTACH();
	ASSERT_EQ(RC_NORMAL, IRQ_ON(guest_nib(0)));
	ASSERT_EQ(0, guest_unmap(&self->guest, 0, GUEST_MEM));
	EXPECT_EQ(NULL, strstr(kmsg_text(self->kmsg), "possible circular locking"));
}

AP_MAIN(2)
