/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small virtual machine monitor: what its parts share.
 */
#ifndef VMM_H
#define VMM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_CPUS 4
#define MAX_DEVICES 4

/* how the program ends */
enum {
	EXIT_STOPPED = 0,	/* the guest powered off, or says that all is well */
	EXIT_USAGE = 1,		/* the guest was never started */
	EXIT_CRASHED = 2,	/* disabled wait */
	EXIT_UNKNOWN = 3,	/* the guest did what nobody here can do */
	EXIT_TIMEOUT = 4,
	EXIT_RESET = 5,		/* the guest reboots, or dumps */
};

struct vcpu {
	int fd;
	int id;
	bool operating;		/* under vm.lock */
	struct kvm_run *run;
	pthread_t thread;
};

struct vm {
	int kvm;		/* /dev/kvm */
	int fd;
	uint8_t *mem;
	size_t mem_size;
	int ncpus;
	struct vcpu cpu[MAX_CPUS];
	pthread_mutex_t lock;
	pthread_cond_t started;
	bool verbose;
};

extern struct vm vm;

__attribute__((noreturn, format(printf, 2, 3)))
void die(int code, const char *fmt, ...);

/* Storage of the guest, or NULL if @len bytes are not there. */
void *guest_mem(uint64_t addr, size_t len);

void vm_interrupt(struct kvm_s390_interrupt *irq);
void set_cc(struct vcpu *cpu, int cc);
void inject_pgm(struct vcpu *cpu, uint16_t code);

/* The channel subsystem, by the first CPU; an event for the guest; instructions */
void css_init(struct vcpu *cpu);
void css_ap_config_changed(void);
bool css_instruction(struct vcpu *cpu, uint16_t ipa, uint32_t ipb);

/* SERVICE CALL: returns a condition code, or minus a program interruption code */
int sclp_service_call(uint32_t command, uint64_t sccb);

/* Attach a mediated device, given by UUID, by its sysfs path or by /dev/vfio/devices/vfioN. */
void vfio_attach(const char *device, bool cdev);

#endif
