// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that executes one AP instruction at a time; see guest.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/iommufd.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../kselftest.h"
#include "guest.h"
#include "qmp.h"

#define MIB		0x100000UL

/* Storage of the guest: lowcore, code, a request, a reply, tests' own. */
#define LC_PGM_CODE	0x8e
#define LC_IO_WORD	0xc0
#define LC_PGM_NEW	0x1d0
#define LC_IO_NEW	0x1f0
#define CODE		0x2000
#define REQUEST		0x4000
#define REPLY		0x8000
#define NIBS		MIB

#define REQUEST_SIZE	256
#define REPLY_SIZE	0x4000

#define PSW_64		0x0000000180000000ULL
#define PSW_IO		0x0200000000000000ULL
#define PSW_WAIT	0x0002000000000000ULL
#define PSW_CC_SHIFT	44

/*
 * DIAGNOSE with a code that KVM does not know ends KVM_RUN: what the guest came
 * to is the code.
 */
enum {
	DIAG_DONE = 0x501,
	DIAG_PGM = 0x502,
	DIAG_IO = 0x503,
};

static const uint32_t code[] = {
	0xb2af0000, 0x83000000 | DIAG_DONE,	/* pqap */
	0xb2ad0024, 0x83000000 | DIAG_DONE,	/* nqap %r2,%r4 */
	0xb2ae0024, 0x83000000 | DIAG_DONE,	/* dqap %r2,%r4 */
	0x83000000 | DIAG_PGM, 0,
	0x83000000 | DIAG_IO, 0,
};

enum {
	CODE_PQAP = CODE,
	CODE_NQAP = CODE + 8,
	CODE_DQAP = CODE + 16,
	CODE_PGM = CODE + 24,
	CODE_IO = CODE + 32,
};

#define FUNCTION_TAPQ	0
#define FUNCTION_RAPQ	1
#define FUNCTION_ZAPQ	2
#define FUNCTION_AQIC	3

#define AQIC_IR		0x0000800000000000ULL
#define NQAP_LAST	0x40000000ULL
#define DQAP_FIRST	0x80000000ULL

/* Facilities of AP: query, test, interrupts */
static const int ap_facilities[] = { 12, 15, 65 };

static int vm_attr(struct guest *guest, unsigned long request, uint32_t group,
		   uint64_t attr, void *arg)
{
	struct kvm_device_attr device_attr = {
		.group = group,
		.attr = attr,
		.addr = (uintptr_t)arg,
	};

	return ioctl(guest->vm.vm, request, &device_attr) ? -errno : 0;
}

/* All that the host has, AP instructions among it, and interpreted. */
static int set_cpu_model(struct guest *guest)
{
	struct kvm_s390_vm_cpu_processor processor = {};
	struct kvm_s390_vm_cpu_machine machine;
	int ret = vm_attr(guest, KVM_GET_DEVICE_ATTR, KVM_S390_VM_CPU_MODEL,
			  KVM_S390_VM_CPU_MACHINE, &machine);

	if (ret)
		return ret;
	processor.cpuid = machine.cpuid;
	processor.ibc = machine.ibc & 0xfff;
	for (int i = 0; i < 256; i++)
		processor.fac_list[i] = machine.fac_mask[i] &
					machine.fac_list[i];
	for (int i = 0; i < 3; i++) {
		int facility = ap_facilities[i];

		if (!(processor.fac_list[facility / 64] >>
		      (63 - facility % 64) & 1))
			return -ENODEV;
	}
	return vm_attr(guest, KVM_SET_DEVICE_ATTR, KVM_S390_VM_CPU_MODEL,
		       KVM_S390_VM_CPU_PROCESSOR, &processor) ?:
	       vm_attr(guest, KVM_SET_DEVICE_ATTR, KVM_S390_VM_CRYPTO,
		       KVM_S390_VM_CRYPTO_ENABLE_APIE, NULL);
}

static int create_cpu(struct guest *guest)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_OPERATING };
	int size = ioctl(guest->vm.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	guest->vcpu = ioctl(guest->vm.vm, KVM_CREATE_VCPU, 0);
	if (guest->vcpu < 0 || size < 0)
		return -errno;
	guest->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			  guest->vcpu, 0);
	if (guest->run == MAP_FAILED ||
	    ioctl(guest->vcpu, KVM_S390_INITIAL_RESET, 0) ||
	    ioctl(guest->vcpu, KVM_SET_MP_STATE, &state))
		return -errno;
	return 0;
}

int guest_create_without_memory(struct guest *guest)
{
	struct kvm_enable_cap vector = { .cap = KVM_CAP_S390_VECTOR_REGISTERS };
	int ret;

	*guest = (struct guest){
		.vm = { -1, -1, -1 },
		.vdev = { .iommu = -1, .group = -1, .device = -1 },
		.vcpu = -1,
	};
	ret = vm_create(&guest->vm);
	if (ret)
		return ret;
	if (ioctl(guest->vm.vm, KVM_ENABLE_CAP, &vector))
		ret = -errno;
	return ret ?: set_cpu_model(guest) ?: create_cpu(guest);
}

int guest_add_memory(struct guest *guest, int slot, uint64_t addr, void *at,
		     size_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = addr,
		.memory_size = size,
		.userspace_addr = (uintptr_t)at,
	};

	if (!addr)
		guest->mem = at;
	return ioctl(guest->vm.vm, KVM_SET_USER_MEMORY_REGION, &region) ?
	       -errno : 0;
}

static void put64(struct guest *guest, uint64_t addr, uint64_t value)
{
	memcpy(guest->mem + addr, &value, sizeof(value));
}

void guest_load(struct guest *guest)
{
	put64(guest, LC_PGM_NEW, PSW_64);
	put64(guest, LC_PGM_NEW + 8, CODE_PGM);
	put64(guest, LC_IO_NEW, PSW_64);
	put64(guest, LC_IO_NEW + 8, CODE_IO);
	memcpy(guest->mem + CODE, code, sizeof(code));
}

int guest_create(struct guest *guest)
{
	int ret = guest_create_without_memory(guest);
	uint8_t *mem;

	if (ret)
		return ret;
	/* KVM wants it aligned to 1 MiB. */
	mem = mmap(NULL, GUEST_MEM + MIB, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	mem = (uint8_t *)(((uintptr_t)mem + MIB - 1) & -MIB);
	ret = guest_add_memory(guest, 0, 0, mem, GUEST_MEM);
	if (!ret)
		guest_load(guest);
	return ret;
}

void guest_destroy(struct guest *guest)
{
	guest_detach(guest);
	if (guest->vcpu >= 0)
		close(guest->vcpu);
	guest->vcpu = -1;
	if (guest->run && guest->run != MAP_FAILED)
		munmap(guest->run,
		       ioctl(guest->vm.kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	guest->run = NULL;
	vm_destroy(&guest->vm);
}

int guest_enter_ioas(struct guest *guest)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.pt_id = guest->ioas,
	};

	return vdev_ioctl(&guest->vdev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

int guest_leave_ioas(struct guest *guest)
{
	struct vfio_device_detach_iommufd_pt detach = {
		.argsz = sizeof(detach),
	};

	return vdev_ioctl(&guest->vdev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
}

int guest_attach_unmapped(struct guest *guest, const struct mdev *mdev,
			  bool cdev)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	int ret = vdev_open(&guest->vdev, mdev, cdev, &guest->vm);

	if (ret || !cdev)
		return ret;
	if (ioctl(guest->vdev.iommu, IOMMU_IOAS_ALLOC, &alloc))
		return -errno;
	guest->ioas = alloc.out_ioas_id;
	return guest_enter_ioas(guest);
}

int guest_attach(struct guest *guest, const struct mdev *mdev, bool cdev)
{
	return guest_attach_unmapped(guest, mdev, cdev) ?:
	       guest_map(guest, 0, guest->mem, GUEST_MEM);
}

void guest_detach(struct guest *guest)
{
	if (guest->vdev.device >= 0)
		vdev_close(&guest->vdev);
}

int guest_map(struct guest *guest, uint64_t iova, void *at, size_t size)
{
	struct vfio_iommu_type1_dma_map type1 = {
		.argsz = sizeof(type1),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)at,
		.iova = iova,
		.size = size,
	};
	struct iommu_ioas_map ioas = {
		.size = sizeof(ioas),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = guest->ioas,
		.user_va = (uintptr_t)at,
		.iova = iova,
		.length = size,
	};
	int ret;

	if (guest->vdev.cdev)
		ret = ioctl(guest->vdev.iommu, IOMMU_IOAS_MAP, &ioas);
	else
		ret = ioctl(guest->vdev.iommu, VFIO_IOMMU_MAP_DMA, &type1);
	return ret ? -errno : 0;
}

int guest_unmap(struct guest *guest, uint64_t iova, size_t size)
{
	struct vfio_iommu_type1_dma_unmap type1 = {
		.argsz = sizeof(type1),
		.iova = iova,
		.size = size,
	};
	struct iommu_ioas_unmap ioas = {
		.size = sizeof(ioas),
		.ioas_id = guest->ioas,
		.iova = iova,
		.length = size,
	};
	int ret;

	if (guest->vdev.cdev)
		ret = ioctl(guest->vdev.iommu, IOMMU_IOAS_UNMAP, &ioas);
	else
		ret = ioctl(guest->vdev.iommu, VFIO_IOMMU_UNMAP_DMA, &type1);
	return ret ? -errno : 0;
}

/* Runs the guest until it says where it came to; returns the code of that. */
static int run(struct guest *guest, uint64_t mask, uint64_t addr)
{
	struct kvm_run *run = guest->run;

	run->psw_mask = mask;
	run->psw_addr = addr;
	if (ioctl(guest->vcpu, KVM_RUN, 0))
		return -errno;
	if (run->exit_reason != KVM_EXIT_S390_SIEIC ||
	    run->s390_sieic.icptcode != 4 || run->s390_sieic.ipa != 0x8300) {
		fprintf(stderr, "# exit %d, %#x: instruction %04x %08x, PSW %#llx %#llx\n",
			run->exit_reason, run->s390_sieic.icptcode,
			run->s390_sieic.ipa, run->s390_sieic.ipb,
			(unsigned long long)run->psw_mask,
			(unsigned long long)run->psw_addr);
		return -EIO;
	}
	return run->s390_sieic.ipb >> 16;
}

/* One instruction; returns the response code. */
static int execute(struct guest *guest, uint64_t addr)
{
	__u64 *gprs = guest->run->s.regs.gprs;
	int ret;

	/* A signal: go on where it came. */
	ret = run(guest, PSW_64, addr);
	while (ret == -EINTR)
		ret = run(guest, guest->run->psw_mask, guest->run->psw_addr);
	guest->pgm = 0;
	if (ret == DIAG_PGM)
		guest->pgm = guest->mem[LC_PGM_CODE] << 8 |
			     guest->mem[LC_PGM_CODE + 1];
	if (ret != DIAG_DONE)
		return ret < 0 ? ret : -EPROTO;
	guest->status = gprs[1];
	guest->gr2 = gprs[2];
	guest->cc = guest->run->psw_mask >> PSW_CC_SHIFT & 3;
	return guest->status >> 16 & 0xff;
}

static uint64_t apqn(int card, int dom)
{
	return card << 8 | dom;
}

int guest_pqap(struct guest *guest, unsigned int function, int card, int dom,
	       uint64_t gr1, uint64_t gr2)
{
	__u64 *gprs = guest->run->s.regs.gprs;

	gprs[0] = (uint64_t)function << 24 | apqn(card, dom);
	gprs[1] = gr1;
	gprs[2] = gr2;
	return execute(guest, CODE_PQAP);
}

int guest_tapq(struct guest *guest, int card, int dom)
{
	return guest_pqap(guest, FUNCTION_TAPQ, card, dom, 0, 0);
}

int guest_rapq(struct guest *guest, int card, int dom)
{
	return guest_pqap(guest, FUNCTION_RAPQ, card, dom, 0, 0);
}

int guest_zapq(struct guest *guest, int card, int dom)
{
	return guest_pqap(guest, FUNCTION_ZAPQ, card, dom, 0, 0);
}

int guest_irq_on(struct guest *guest, int card, int dom, int isc, uint64_t nib)
{
	return guest_pqap(guest, FUNCTION_AQIC, card, dom, AQIC_IR | isc, nib);
}

int guest_irq_off(struct guest *guest, int card, int dom)
{
	return guest_pqap(guest, FUNCTION_AQIC, card, dom, 0, 0);
}

int guest_send(struct guest *guest, int card, int dom)
{
	__u64 *gprs = guest->run->s.regs.gprs;

	gprs[0] = NQAP_LAST | apqn(card, dom);
	gprs[1] = 0;
	gprs[2] = 0;
	gprs[3] = 1;		/* PSMID */
	gprs[4] = REQUEST;
	gprs[5] = REQUEST_SIZE;
	return execute(guest, CODE_NQAP);
}

int guest_receive(struct guest *guest, int card, int dom)
{
	__u64 *gprs = guest->run->s.regs.gprs;

	gprs[0] = DQAP_FIRST | apqn(card, dom);
	gprs[1] = 0;
	gprs[2] = 0;
	gprs[3] = 0;
	gprs[4] = REPLY;
	gprs[5] = REPLY_SIZE;
	return execute(guest, CODE_DQAP);
}

int guest_execute(struct guest *guest, enum guest_instruction instruction,
		  const uint64_t gr[6])
{
	static const uint64_t addr[] = { CODE_PQAP, CODE_NQAP, CODE_DQAP };

	memcpy(guest->run->s.regs.gprs, gr, 6 * sizeof(gr[0]));
	return execute(guest, addr[instruction]);
}

int guest_use(struct guest *guest, int card, int dom)
{
	int ret = guest_send(guest, card, dom);

	if (!ret)
		wait_for((ret = guest_receive(guest, card, dom)) != RC_NO_REPLY);
	return ret;
}

static void wake_up(int sig)
{
}

int guest_wait_irq(struct guest *guest, uint8_t isc_mask, int milliseconds)
{
	/* Again and again, for the first may come too early. */
	struct itimerval timer = { { 0, 50000 }, { 0, 50000 } };
	struct itimerval none = {};
	struct sigaction action = { .sa_handler = wake_up };
	double end = now() + milliseconds / 1000.0;
	struct kvm_sregs sregs;
	uint32_t word;
	int ret;

	if (ioctl(guest->vcpu, KVM_GET_SREGS, &sregs))
		return -errno;
	sregs.crs[6] = (uint64_t)isc_mask << 24;
	if (ioctl(guest->vcpu, KVM_SET_SREGS, &sregs))
		return -errno;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	ret = run(guest, PSW_64 | PSW_IO | PSW_WAIT, CODE_IO);
	while (ret == -EINTR && now() < end)
		ret = run(guest, guest->run->psw_mask, guest->run->psw_addr);
	setitimer(ITIMER_REAL, &none, NULL);
	if (ret == -EINTR)
		return -ETIME;
	if (ret != DIAG_IO)
		return ret < 0 ? ret : -EPROTO;
	memcpy(&word, guest->mem + LC_IO_WORD, sizeof(word));
	/* An adapter interruption has bit 0. */
	return word & 0x80000000 ? word >> 27 & 7 : -EPROTO;
}

uint64_t guest_nib(int n)
{
	/* Not at the same place in each page. */
	return NIBS + n * GUEST_PAGE + n % 64 * 8;
}

int guest_nib_take(struct guest *guest, uint64_t nib)
{
	return __atomic_exchange_n(guest->mem + nib, 0, __ATOMIC_SEQ_CST);
}

long pinned_pages(void)
{
	const char *status = file_text("/proc/self/status");
	const char *locked = strstr(status, "VmLck:");
	const char *pinned = strstr(status, "VmPin:");
	long kib = 0;

	/* The one for containers, the other for iommufd. */
	if (locked)
		kib += atol(locked + strlen("VmLck:"));
	if (pinned)
		kib += atol(pinned + strlen("VmPin:"));
	return kib / 4;
}

bool queue_irq_armed(int qmp, const char *queue)
{
	const char *irq = qmp_get(qmp, queue, "irq");

	/* There may be more: what is on the way. */
	return strncmp(irq, "\"none", strlen("\"none"));
}

bool queue_force(int qmp, const char *queue, const char *what)
{
	return qmp_set(qmp, queue, "force", text("\"%s\"", what));
}

#define BRIDGE	"/machine/s390-ap"

unsigned long violations(int qmp)
{
	unsigned long n = strtoul(qmp_get(qmp, BRIDGE, "violations"), NULL, 10);

	if (n)
		fprintf(stderr, "# violation: %s\n",
			qmp_get(qmp, BRIDGE, "last-violation"));
	return n;
}

void clear_violations(int qmp)
{
	qmp_set(qmp, BRIDGE, "violations", "0");
}

bool card_behaves(int qmp, int card)
{
	static const struct {
		const char *property, *value;
	} normal[] = {
		{ "force", "\"\"" }, { "reset-stuck", "false" },
		{ "aqic-polls", "0" }, { "irq-delay-ms", "0" },
		{ "reply-delay-ms", "0" }, { "configured", "true" },
	};
	const char *path = qmp_card(qmp, card);
	bool ok = true;

	for (int i = 0; i < ARRAY_SIZE(normal); i++)
		ok &= qmp_set(qmp, path, normal[i].property, normal[i].value);
	return ok;
}

int guests_begin(void)
{
	int ret = ap_restore();

	if (ret)
		return ret;
	vm_need_modules();
	ret = qmp_open();
	if (ret >= 0)
		clear_violations(ret);
	return ret;
}

const char *guests_queue(int qmp, struct mdev *mdev, int card, int dom)
{
	return mdev_create(mdev) || mdev_assign(mdev, card, dom) ? "" :
	       qmp_queue(qmp, card, dom);
}

int guests_end(void)
{
	int qmp = qmp_open(), ret;

	if (qmp < 0)
		return qmp;
	ret = card_behaves(qmp, ap.cards[0]) ? violations(qmp) : -EIO;
	close(qmp);
	return ap_restore() ?: ret;
}

pid_t start_process(int (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(fn(arg) ? 1 : 0);
	}
	return pid;
}

bool process_ends_within(int seconds, pid_t pid)
{
	return wait_for_at_most(seconds, waitpid(pid, NULL, WNOHANG) == pid);
}
