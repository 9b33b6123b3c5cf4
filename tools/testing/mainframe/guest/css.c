// SPDX-License-Identifier: GPL-2.0
/*
 * The channel subsystem: it has no devices, and one thing to say, that the guest has
 * other AP queues now.  A machine check makes the guest fetch a channel report, which
 * makes it fetch the event.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm.h"

#define CR14_CHANNEL_REPORT	0x10000000
/* A channel report is pending; all that is stored with the machine check is valid. */
#define MCIC_CHANNEL_REPORT	0x00400f7d40330000ULL

#define CRW_OF_CSS		0x0b000000

#define CHSC_STORE_EVENT	0x000e
#define CHSC_NORMAL		0x0001
#define CHSC_NO_EVENT		0x0005

#define SOURCE_AP		5
#define AP_CONFIG_CHANGED	3

struct chsc_event {
	uint16_t length;
	uint16_t code;		/* command, or response */
	uint8_t reserved[3];
	uint8_t type;
	uint8_t flags;
	uint8_t valid;
	uint8_t source;
	uint8_t content;
	uint16_t link;
	uint16_t source_id;
} __attribute__((packed));

_Static_assert(sizeof(struct chsc_event) == 16, "chsc_event");

/* under vm.lock */
static bool report_pending, event_pending;

void css_init(struct vcpu *cpu)
{
	struct kvm_enable_cap css = { .cap = KVM_CAP_S390_CSS_SUPPORT };

	/* of the virtual machine, in spite of where it is enabled */
	if (ioctl(cpu->fd, KVM_ENABLE_CAP, &css))
		die(EXIT_USAGE, "KVM_CAP_S390_CSS_SUPPORT: %s", strerror(errno));
}

void css_ap_config_changed(void)
{
	struct kvm_s390_interrupt irq = {
		.type = KVM_S390_MCHK,
		.parm = CR14_CHANNEL_REPORT,
		.parm64 = MCIC_CHANNEL_REPORT,
	};

	pthread_mutex_lock(&vm.lock);
	report_pending = true;
	event_pending = true;
	pthread_mutex_unlock(&vm.lock);
	vm_interrupt(&irq);
}

/* Whether it is done: else the guest has got a program interruption. */
static bool access_logical(struct vcpu *cpu, uint32_t op, uint64_t addr, void *buf, uint32_t size)
{
	struct kvm_s390_mem_op mem_op = {
		.gaddr = addr,
		.flags = KVM_S390_MEMOP_F_INJECT_EXCEPTION,
		.size = size,
		.op = op,
		.buf = (uintptr_t)buf,
	};
	int ret = ioctl(cpu->fd, KVM_S390_MEM_OP, &mem_op);

	if (ret < 0)
		die(EXIT_UNKNOWN, "KVM_S390_MEM_OP: %s", strerror(errno));
	return !ret;
}

static void store_channel_report(struct vcpu *cpu, uint64_t addr)
{
	uint32_t word = report_pending ? CRW_OF_CSS : 0;

	if (!access_logical(cpu, KVM_S390_MEMOP_LOGICAL_WRITE, addr, &word, sizeof(word)))
		return;
	set_cc(cpu, !report_pending);
	report_pending = false;
}

static void channel_subsystem_call(struct vcpu *cpu, uint64_t addr)
{
	struct chsc_event request, event = { .length = 8, .code = CHSC_NO_EVENT };

	if (!access_logical(cpu, KVM_S390_MEMOP_LOGICAL_READ, addr, &request, sizeof(request)))
		return;
	if (request.code != CHSC_STORE_EVENT) {
		set_cc(cpu, 3);
		return;
	}
	if (event_pending) {
		event.length = sizeof(event);
		event.code = CHSC_NORMAL;
		event.source = SOURCE_AP;
		event.content = AP_CONFIG_CHANGED;
	}
	/* The response is behind the request. */
	if (!access_logical(cpu, KVM_S390_MEMOP_LOGICAL_WRITE, addr + request.length, &event,
			    event.length))
		return;
	event_pending = false;
	set_cc(cpu, 0);
}

/* Whether it is an instruction of the channel subsystem. */
bool css_instruction(struct vcpu *cpu, uint16_t ipa, uint32_t ipb)
{
	__u64 *gprs = cpu->run->s.regs.gprs;
	int base = ipb >> 28;
	bool mine = true;

	pthread_mutex_lock(&vm.lock);
	switch (ipa) {
	case 0xb239:		/* STORE CHANNEL REPORT WORD */
		store_channel_report(cpu, ((ipb >> 16) & 0xfff) + (base ? gprs[base] : 0));
		break;
	case 0xb25f:
		channel_subsystem_call(cpu, gprs[(ipb >> 20) & 0xf]);
		break;
	case 0xb230 ... 0xb238:		/* those that take a subchannel or a channel path */
	case 0xb23a ... 0xb23c:
	case 0xb274:
	case 0xb276:
		set_cc(cpu, 3);
		break;
	default:
		mine = false;
	}
	pthread_mutex_unlock(&vm.lock);
	return mine;
}
