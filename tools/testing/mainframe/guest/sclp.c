// SPDX-License-Identifier: GPL-2.0
/*
 * The service element: configuration, and the VT220 console of the guest.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm.h"

#define READ_CPU_INFO		0x00010001
#define READ_SCP_INFO		0x00020001
#define READ_SCP_INFO_FORCED	0x00120001
#define WRITE_EVENT_DATA	0x00760005
#define READ_EVENT_DATA		0x00770005
#define WRITE_EVENT_MASK	0x00780005

#define RC_WRITTEN		0x0020
#define RC_READ			0x0010
#define RC_NO_EVENT		0x60f0
#define RC_BAD_COMMAND		0x01f0
#define RC_BAD_BUFFERS		0x70f0

#define FACILITY_CPU_INFO	0x0800000000000000ULL

#define EVENT_VT220		0x1a
#define MASK_VT220		(1u << (32 - EVENT_VT220))
#define EVENT_ACCEPTED		0x80

struct sccb {
	uint16_t length;
	uint8_t function;
	uint8_t control[3];
	uint16_t rc;
	uint8_t data[];
} __attribute__((packed));

struct cpu_entry {
	uint8_t address;
	uint8_t reserved[15];
} __attribute__((packed));

struct scp_info {
	struct sccb h;
	uint16_t rnmax;			/* 8 */
	uint8_t rnsize;			/* 10 */
	uint8_t reserved11[5];
	uint16_t ncpus;			/* 16 */
	uint16_t cpu_offset;		/* 18 */
	uint8_t reserved20[4];
	uint8_t loadparm[8];		/* 24 */
	uint8_t reserved32[16];
	uint64_t facilities;		/* 48 */
	uint8_t reserved56[43];
	uint8_t hamaxpow;		/* 99 */
	uint8_t reserved100[20];
	uint16_t highest_cpu;		/* 120 */
	uint8_t reserved122[6];
	struct cpu_entry cpu[];		/* 128 */
} __attribute__((packed));

struct cpu_info {
	struct sccb h;
	uint16_t configured;
	uint16_t configured_offset;
	uint16_t standby;
	uint16_t standby_offset;
	uint8_t reserved[8];
	struct cpu_entry cpu[];
} __attribute__((packed));

struct event {
	uint16_t length;
	uint8_t type;
	uint8_t flags;
	uint16_t reserved;
	char data[];
} __attribute__((packed));

struct event_mask {
	struct sccb h;
	uint16_t reserved;
	uint16_t length;
	uint8_t masks[];	/* receive, send, and both for the service element */
} __attribute__((packed));

_Static_assert(offsetof(struct scp_info, facilities) == 48, "scp_info");
_Static_assert(offsetof(struct scp_info, cpu) == 128, "scp_info");

static void fill_cpus(struct cpu_entry *entry)
{
	for (int i = 0; i < vm.ncpus; i++) {
		memset(&entry[i], 0, sizeof(entry[i]));
		entry[i].address = i;
	}
}

static void read_scp_info(struct sccb *sccb)
{
	struct scp_info *info = (struct scp_info *)sccb;

	if (sccb->length < sizeof(*info) + vm.ncpus * sizeof(struct cpu_entry)) {
		sccb->rc = 0x0300;
		return;
	}
	memset(sccb->data, 0, sccb->length - sizeof(*sccb));
	info->rnsize = 1;	/* MiB */
	info->rnmax = vm.mem_size >> 20;
	info->ncpus = vm.ncpus;
	info->cpu_offset = offsetof(struct scp_info, cpu);
	info->highest_cpu = vm.ncpus - 1;
	info->facilities = FACILITY_CPU_INFO;
	info->hamaxpow = 47;
	memset(info->loadparm, 0x40, sizeof(info->loadparm));
	fill_cpus(info->cpu);
	sccb->rc = RC_READ;
}

static void read_cpu_info(struct sccb *sccb)
{
	struct cpu_info *info = (struct cpu_info *)sccb;

	if (sccb->length < sizeof(*info) + vm.ncpus * sizeof(struct cpu_entry)) {
		sccb->rc = 0x0300;
		return;
	}
	memset(sccb->data, 0, sccb->length - sizeof(*sccb));
	info->configured = vm.ncpus;
	info->configured_offset = offsetof(struct cpu_info, cpu);
	info->standby_offset = info->configured_offset + vm.ncpus * sizeof(struct cpu_entry);
	fill_cpus(info->cpu);
	sccb->rc = RC_READ;
}

/* The guest may send to the console; it is never sent anything. */
static void write_event_mask(struct sccb *sccb)
{
	struct event_mask *mask = (struct event_mask *)sccb;
	uint32_t wanted = MASK_VT220;

	if (sccb->length < sizeof(*mask) || mask->length < sizeof(wanted) ||
	    sccb->length < sizeof(*mask) + 4 * mask->length) {
		sccb->rc = RC_BAD_BUFFERS;
		return;
	}
	memset(mask->masks + 2 * mask->length, 0, 2 * mask->length);
	memcpy(mask->masks + 3 * mask->length, &wanted, sizeof(wanted));
	memcpy(mask->masks + 2 * mask->length, &wanted, sizeof(wanted));
	sccb->rc = RC_WRITTEN;
}

static void put_console(const char *s, size_t len)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, s, len);

		if (n <= 0)
			return;
		s += n;
		len -= n;
	}
}

static void write_event_data(struct sccb *sccb)
{
	size_t pos = sizeof(*sccb);

	sccb->rc = RC_WRITTEN;
	while (pos + sizeof(struct event) <= sccb->length) {
		struct event *event = (void *)((char *)sccb + pos);

		if (event->length < sizeof(*event) || pos + event->length > sccb->length) {
			sccb->rc = RC_BAD_BUFFERS;
			return;
		}
		if (event->type == EVENT_VT220)
			put_console(event->data, event->length - sizeof(*event));
		else if (vm.verbose)
			fprintf(stderr, "vmm: event of type %02x is lost\n", event->type);
		event->flags |= EVENT_ACCEPTED;
		pos += event->length;
	}
}

int sclp_service_call(uint32_t command, uint64_t addr)
{
	struct kvm_s390_interrupt irq = {
		.type = KVM_S390_INT_SERVICE,
		.parm = addr,
	};
	struct sccb *sccb;

	if (addr & 7 || addr >> 31 || addr < 0x2000)
		return -0x06;
	sccb = guest_mem(addr, sizeof(*sccb));
	if (!sccb)
		return -0x05;
	if (sccb->length < sizeof(*sccb))
		return -0x06;
	if (!guest_mem(addr, sccb->length))
		return -0x05;

	switch (command & 0xffff00ff) {
	case READ_SCP_INFO & 0xffff00ff:
	case READ_SCP_INFO_FORCED & 0xffff00ff:
		read_scp_info(sccb);
		break;
	case READ_CPU_INFO & 0xffff00ff:
		read_cpu_info(sccb);
		break;
	case WRITE_EVENT_MASK:
		write_event_mask(sccb);
		break;
	case WRITE_EVENT_DATA:
		write_event_data(sccb);
		break;
	case READ_EVENT_DATA:
		sccb->rc = RC_NO_EVENT;
		break;
	default:
		sccb->rc = RC_BAD_COMMAND;
		break;
	}
	if (vm.verbose)
		fprintf(stderr, "vmm: service call %08x: response %04x\n", command, sccb->rc);
	vm_interrupt(&irq);
	return 0;
}
