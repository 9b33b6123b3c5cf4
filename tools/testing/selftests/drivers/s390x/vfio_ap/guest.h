/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest for tests, which are its VMM: one CPU, some storage, and a mediated
 * device.  It executes one AP instruction at a time, with registers that the
 * test chooses, and waits for interrupts.
 */
#ifndef VFIO_AP_SELFTEST_GUEST_H
#define VFIO_AP_SELFTEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ap.h"
#include "vm.h"

#define GUEST_PAGE	4096UL
#define GUEST_MEM	(4UL << 20)

/* Guest storage that is the tests' own, in pages: see guest_nib(). */
#define GUEST_NIB_PAGES	512

/* Response codes */
#define RC_NORMAL		0x00
#define RC_NOT_AVAILABLE	0x01
#define RC_RESET_IN_PROGRESS	0x02
#define RC_DECONFIGURED		0x03
#define RC_CHECKSTOPPED		0x04
#define RC_BUSY			0x05
#define RC_INVALID_ADDRESS	0x06
#define RC_OTHERWISE_CHANGED	0x07
#define RC_INVALID_GISA		0x08
#define RC_STATE_CHANGE		0x0a
#define RC_NO_REPLY		0x10

struct guest {
	struct vm vm;
	struct vdev vdev;
	uint32_t ioas;
	int vcpu;
	struct kvm_run *run;
	uint8_t *mem;			/* of GUEST_MEM bytes, at 0 */
	/* of the last instruction */
	uint32_t status;		/* rightmost half of GR1 */
	uint64_t gr2;
	int cc;
	int pgm;			/* program interruption code, or 0 */
};

/* Functions that can fail return 0 or a negative errno if not said otherwise. */

/* A VM with AP instructions; its guest has no queue yet. */
int guest_create(struct guest *guest);
void guest_destroy(struct guest *guest);

/* The same without storage; and a part of storage for it, in MiB. */
int guest_create_without_memory(struct guest *guest);
int guest_add_memory(struct guest *guest, int slot, uint64_t addr, void *at,
		     size_t size);
/* Puts the instructions in; needs storage at 0. */
void guest_load(struct guest *guest);

/* Opens the device of @mdev and maps all of the storage. */
int guest_attach(struct guest *guest, const struct mdev *mdev, bool cdev);
/* The same without mapping anything. */
int guest_attach_unmapped(struct guest *guest, const struct mdev *mdev,
			  bool cdev);
void guest_detach(struct guest *guest);
int guest_map(struct guest *guest, uint64_t iova, void *at, size_t size);
int guest_unmap(struct guest *guest, uint64_t iova, size_t size);
/* With iommufd: takes the device out of the address space with its memory; and back. */
int guest_leave_ioas(struct guest *guest);
int guest_enter_ioas(struct guest *guest);

/*
 * What the guest executes.  These return the response code, or a negative errno
 * if there is none: -EPROTO for a program interruption.
 */
int guest_pqap(struct guest *guest, unsigned int function, int card, int dom,
	       uint64_t gr1, uint64_t gr2);
int guest_tapq(struct guest *guest, int card, int dom);
int guest_rapq(struct guest *guest, int card, int dom);
int guest_zapq(struct guest *guest, int card, int dom);
int guest_irq_on(struct guest *guest, int card, int dom, int isc, uint64_t nib);
int guest_irq_off(struct guest *guest, int card, int dom);
int guest_send(struct guest *guest, int card, int dom);		/* NQAP */
int guest_receive(struct guest *guest, int card, int dom);	/* DQAP */
/* A request, and its reply, waited for. */
int guest_use(struct guest *guest, int card, int dom);

/* Any of the instructions with general registers 0 to 5 as they are in @gr. */
enum guest_instruction { GUEST_PQAP, GUEST_NQAP, GUEST_DQAP };

int guest_execute(struct guest *guest, enum guest_instruction instruction,
		  const uint64_t gr[6]);

/* How long an interrupt may take, and how long to look for one that must not come. */
#define IRQ_MS		10000
#define NO_IRQ_MS	300

/*
 * Waits for an I/O interruption of one of the subclasses in @isc_mask (0x80 is
 * subclass 0).  Returns the subclass, or a negative errno: -ETIME.
 */
int guest_wait_irq(struct guest *guest, uint8_t isc_mask, int milliseconds);

/* The address of the notification byte number @n, each in a page of its own. */
uint64_t guest_nib(int n);
/* What it holds; set to 0 by that. */
int guest_nib_take(struct guest *guest, uint64_t nib);

/* Pages of this process that are pinned for whatever. */
long pinned_pages(void);

/*
 * The emulated cards' own view, over QMP; @queue is what qmp_queue() returns.
 */
bool queue_irq_armed(int qmp, const char *queue);
bool queue_force(int qmp, const char *queue, const char *what);
/* How often hardware saw one guest's data or interrupts reach another. */
unsigned long violations(int qmp);
void clear_violations(int qmp);
/* Makes a card what it was: nothing forced, nothing stuck. */
bool card_behaves(int qmp, int card);

/*
 * The beginning of a test with guests: the machine is as it was, no violation so
 * far.  Returns the port to the emulator.
 */
int guests_begin(void);
/* A mediated device with one queue.  Returns what qmp_queue() does, "" if it failed. */
const char *guests_queue(int qmp, struct mdev *mdev, int card, int dom);
/* Its end: the same again.  Returns how many violations there were. */
int guests_end(void);

/*
 * What faults C1, C3, C5 and M2 of the C driver look like in the kernel log, for
 * expect_faults(): it warns of ordinary answers, others find what it has leaked,
 * and it uses what is gone.
 */
#define GUEST_FAULTS							\
	"WARNING: (vfio_ap_ops\\.c|.* at (kvm_s390_gisa_destroy|"	\
	"vfio_iommu_type1_detach_group|vfio_remove_dma|"			\
	"vfio_unpin_pages))|"						\
	"KASAN: slab-use-after-free in vfio_ap_|lockdep is turned off"

/* Processes and threads of a test. */
pid_t start_process(int (*fn)(void *arg), void *arg);
bool process_ends_within(int seconds, pid_t pid);

#endif /* VFIO_AP_SELFTEST_GUEST_H */
