// SPDX-License-Identifier: GPL-2.0
/*
 * A small virtual machine monitor for tests: KVM, a console, and mediated
 * devices.  It runs a Linux kernel image, or a guest of a few instructions.
 *
 * Machine: a channel subsystem without devices, SERVICE CALL with the VT220 console,
 * DIAGNOSE 308 as far as KVM has it, up to 4 CPUs.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm.h"

/* where a kernel image starts, and where it looks for its parameters */
#define KERNEL_ENTRY		0x10000
#define PARM_INITRD_START	0x10408
#define PARM_INITRD_SIZE	0x10410
#define PARM_COMMAND_LINE_SIZE	0x10430
#define PARM_COMMAND_LINE	0x10480

#define PSW_64BIT		0x0000000180000000ULL
#define PSW_CC			0x0000300000000000ULL
#define PSW_CC_SHIFT		44

#define ICPT_INST		0x04
#define ICPT_WAIT		0x1c
#define ICPT_STOP		0x28

#define PGM_OPERATION		0x01
#define PGM_SPECIFICATION	0x06

#define SIGP_START		0x04
#define SIGP_RESTART		0x06
#define SIGP_INITIAL_CPU_RESET	0x0b
#define SIGP_CPU_RESET		0x0c

#define DIAG_IPL		0x308
#define DIAG_PUT_CHAR		0x700	/* of this monitor: write the low byte of R1 */

#define FACILITY_AP_QUERY	12
#define FACILITY_AP_TEST	15

struct vm vm = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.started = PTHREAD_COND_INITIALIZER,
};

void die(int code, const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "vmm: ");
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\n");
	_exit(code);
}

void *guest_mem(uint64_t addr, size_t len)
{
	if (addr > vm.mem_size || len > vm.mem_size - addr)
		return NULL;
	return vm.mem + addr;
}

void set_cc(struct vcpu *cpu, int cc)
{
	cpu->run->psw_mask &= ~PSW_CC;
	cpu->run->psw_mask |= (uint64_t)cc << PSW_CC_SHIFT;
}

void vm_interrupt(struct kvm_s390_interrupt *irq)
{
	if (ioctl(vm.fd, KVM_S390_INTERRUPT, irq))
		die(EXIT_UNKNOWN, "interruption %#x: %s", irq->type, strerror(errno));
}

void inject_pgm(struct vcpu *cpu, uint16_t code)
{
	struct kvm_s390_irq irq = {
		.type = KVM_S390_PROGRAM_INT,
		/* the PSW is behind an instruction of 4 bytes */
		.u.pgm = { .code = code, .flags = KVM_S390_PGM_FLAGS_ILC_VALID | 4 },
	};

	if (ioctl(cpu->fd, KVM_S390_IRQ, &irq))
		die(EXIT_UNKNOWN, "program interruption %#x: %s", code, strerror(errno));
}

static void set_operating(struct vcpu *cpu, bool operating)
{
	struct kvm_mp_state state = {
		.mp_state = operating ? KVM_MP_STATE_OPERATING : KVM_MP_STATE_STOPPED,
	};

	if (ioctl(cpu->fd, KVM_SET_MP_STATE, &state))
		die(EXIT_UNKNOWN, "KVM_SET_MP_STATE: %s", strerror(errno));
	pthread_mutex_lock(&vm.lock);
	cpu->operating = operating;
	pthread_cond_broadcast(&vm.started);
	pthread_mutex_unlock(&vm.lock);
}

/* KVM leaves the orders that start and reset a CPU to us. */
static void handle_sigp(struct vcpu *cpu, uint16_t ipa, uint32_t ipb)
{
	struct kvm_s390_irq restart = { .type = KVM_S390_RESTART };
	__u64 *gprs = cpu->run->s.regs.gprs;
	int base = ipb >> 28, r3 = ipa & 0xf;
	uint8_t order = ((ipb >> 16) & 0xfff) + (base ? gprs[base] : 0);
	struct vcpu *dst;
	int cc = 0;

	if ((uint16_t)gprs[r3] >= vm.ncpus) {
		set_cc(cpu, 3);
		return;
	}
	dst = &vm.cpu[(uint16_t)gprs[r3]];
	switch (order) {
	case SIGP_INITIAL_CPU_RESET:
		if (ioctl(dst->fd, KVM_S390_INITIAL_RESET, 0))
			cc = 2;
		break;
	case SIGP_CPU_RESET:
		if (ioctl(dst->fd, KVM_S390_NORMAL_RESET, 0))
			cc = 2;
		break;
	case SIGP_RESTART:
		if (ioctl(dst->fd, KVM_S390_IRQ, &restart)) {
			cc = 2;
			break;
		}
		/* fallthrough */
	case SIGP_START:
		set_operating(dst, true);
		break;
	default:
		die(EXIT_UNKNOWN, "CPU %d: SIGP order %#x", cpu->id, order);
	}
	set_cc(cpu, cc);
}

static void handle_diag(struct vcpu *cpu, uint16_t ipa, uint32_t ipb)
{
	__u64 *gprs = cpu->run->s.regs.gprs;
	int base = ipb >> 28, r1 = (ipa >> 4) & 0xf;
	uint16_t code = ((ipb >> 16) & 0xfff) + (base ? gprs[base] : 0);

	switch (code) {
	case DIAG_IPL:
		gprs[(r1 + 1) & 0xf] = 0x0102;	/* no such configuration */
		break;
	case DIAG_PUT_CHAR:
		putchar(gprs[r1] & 0xff);
		fflush(stdout);
		break;
	default:
		if (vm.verbose)
			fprintf(stderr, "vmm: DIAGNOSE %#x\n", code);
		inject_pgm(cpu, PGM_SPECIFICATION);
		break;
	}
}

static void handle_instruction(struct vcpu *cpu)
{
	uint16_t ipa = cpu->run->s390_sieic.ipa;
	uint32_t ipb = cpu->run->s390_sieic.ipb;
	__u64 *gprs = cpu->run->s.regs.gprs;
	int rc;

	if (vm.verbose)
		fprintf(stderr, "vmm: CPU %d: instruction %04x %08x before %#llx\n", cpu->id, ipa,
			ipb, (unsigned long long)cpu->run->psw_addr);
	if (ipa >> 8 == 0xae) {
		handle_sigp(cpu, ipa, ipb);
	} else if (ipa >> 8 == 0x83) {
		handle_diag(cpu, ipa, ipb);
	} else if (ipa == 0xb220) {
		pthread_mutex_lock(&vm.lock);
		rc = sclp_service_call(gprs[(ipb >> 20) & 0xf], (uint32_t)gprs[(ipb >> 16) & 0xf]);
		pthread_mutex_unlock(&vm.lock);
		if (rc < 0)
			inject_pgm(cpu, -rc);
		else
			set_cc(cpu, rc);
	} else if (!css_instruction(cpu, ipa, ipb)) {
		inject_pgm(cpu, PGM_OPERATION);
	}
}

/* A guest of a few instructions waits at address 0 if all is well. */
static void handle_disabled_wait(struct vcpu *cpu)
{
	uint64_t addr = cpu->run->psw_addr;

	if (!addr) {
		fprintf(stderr, "vmm: the guest is done\n");
		_exit(EXIT_STOPPED);
	}
	die(EXIT_CRASHED, "CPU %d: disabled wait, PSW %016llx %016llx", cpu->id,
	    (unsigned long long)cpu->run->psw_mask, (unsigned long long)addr);
}

static void handle_stop(struct vcpu *cpu)
{
	int operating = 0;

	set_operating(cpu, false);
	pthread_mutex_lock(&vm.lock);
	for (int i = 0; i < vm.ncpus; i++)
		operating += vm.cpu[i].operating;
	pthread_mutex_unlock(&vm.lock);
	if (!operating) {
		fprintf(stderr, "vmm: the guest powered off\n");
		_exit(EXIT_STOPPED);
	}
}

static void handle_exit(struct vcpu *cpu)
{
	struct kvm_run *run = cpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_INTR:
		return;
	case KVM_EXIT_S390_TSCH:
		set_cc(cpu, 3);		/* no such subchannel */
		return;
	case KVM_EXIT_S390_RESET:
		die(EXIT_RESET, "the guest wants a reset, flags %#llx",
		    (unsigned long long)run->s390_reset_flags);
	case KVM_EXIT_S390_SIEIC:
		switch (run->s390_sieic.icptcode) {
		case ICPT_INST:
			handle_instruction(cpu);
			return;
		case ICPT_WAIT:
			handle_disabled_wait(cpu);
			return;
		case ICPT_STOP:
			handle_stop(cpu);
			return;
		}
		die(EXIT_UNKNOWN, "CPU %d: interception %#x, instruction %04x %08x, PSW %016llx %016llx",
		    cpu->id, run->s390_sieic.icptcode, run->s390_sieic.ipa, run->s390_sieic.ipb,
		    (unsigned long long)run->psw_mask, (unsigned long long)run->psw_addr);
	default:
		die(EXIT_UNKNOWN, "CPU %d: exit reason %u, PSW %016llx %016llx", cpu->id,
		    run->exit_reason, (unsigned long long)run->psw_mask,
		    (unsigned long long)run->psw_addr);
	}
}

static void *run_cpu(void *arg)
{
	struct vcpu *cpu = arg;

	for (;;) {
		pthread_mutex_lock(&vm.lock);
		while (!cpu->operating)
			pthread_cond_wait(&vm.started, &vm.lock);
		pthread_mutex_unlock(&vm.lock);

		if (ioctl(cpu->fd, KVM_RUN, 0) && errno != EINTR && errno != EAGAIN)
			die(EXIT_UNKNOWN, "CPU %d: KVM_RUN: %s, PSW %016llx %016llx", cpu->id,
			    strerror(errno), (unsigned long long)cpu->run->psw_mask,
			    (unsigned long long)cpu->run->psw_addr);
		handle_exit(cpu);
	}
}

static void vm_attr(uint32_t group, uint64_t attr, void *arg, bool get, const char *what)
{
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)arg };

	if (ioctl(vm.fd, get ? KVM_GET_DEVICE_ATTR : KVM_SET_DEVICE_ATTR, &a))
		die(EXIT_USAGE, "%s: %s", what, strerror(errno));
}

/* The guest gets all that the host can give, AP instructions only on demand. */
static void set_cpu_model(bool ap)
{
	struct kvm_s390_vm_cpu_machine machine;
	struct kvm_s390_vm_cpu_processor processor = {};

	vm_attr(KVM_S390_VM_CPU_MODEL, KVM_S390_VM_CPU_MACHINE, &machine, true, "host CPU model");
	processor.cpuid = machine.cpuid;
	processor.ibc = machine.ibc & 0xfff;
	for (size_t i = 0; i < sizeof(processor.fac_list) / sizeof(processor.fac_list[0]); i++)
		processor.fac_list[i] = machine.fac_mask[i] & machine.fac_list[i];
	if (!ap) {
		processor.fac_list[0] &= ~(1ULL << (63 - FACILITY_AP_QUERY));
		processor.fac_list[0] &= ~(1ULL << (63 - FACILITY_AP_TEST));
		processor.fac_list[1] &= ~(1ULL << (127 - 65));
	} else if (!(processor.fac_list[0] & (1ULL << (63 - FACILITY_AP_TEST)))) {
		die(EXIT_USAGE, "the host has no AP instructions for guests");
	}
	vm_attr(KVM_S390_VM_CPU_MODEL, KVM_S390_VM_CPU_PROCESSOR, &processor, false,
		"guest CPU model");
	if (ap)
		vm_attr(KVM_S390_VM_CRYPTO, KVM_S390_VM_CRYPTO_ENABLE_APIE, NULL, false,
			"KVM_S390_VM_CRYPTO_ENABLE_APIE");
}

static void create_vm(size_t mem_size)
{
	struct kvm_userspace_memory_region region = { .memory_size = mem_size };
	struct kvm_enable_cap vector = { .cap = KVM_CAP_S390_VECTOR_REGISTERS };

	vm.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm.kvm < 0)
		die(EXIT_USAGE, "/dev/kvm: %s", strerror(errno));
	if (ioctl(vm.kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		die(EXIT_USAGE, "this is another version of KVM");
	vm.fd = ioctl(vm.kvm, KVM_CREATE_VM, 0);
	if (vm.fd < 0)
		die(EXIT_USAGE, "KVM_CREATE_VM: %s", strerror(errno));
	/* a kernel for recent machines checks for it before it does anything else */
	if (ioctl(vm.kvm, KVM_CHECK_EXTENSION, KVM_CAP_S390_VECTOR_REGISTERS) > 0 &&
	    ioctl(vm.fd, KVM_ENABLE_CAP, &vector))
		die(EXIT_USAGE, "KVM_CAP_S390_VECTOR_REGISTERS: %s", strerror(errno));

	/* a mapping of its own: KVM wants it aligned to 1 MiB */
	vm.mem_size = mem_size;
	vm.mem = mmap(NULL, mem_size + (1 << 20), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm.mem == MAP_FAILED)
		die(EXIT_USAGE, "%zu MiB: %s", mem_size >> 20, strerror(errno));
	vm.mem = (uint8_t *)(((uintptr_t)vm.mem + (1 << 20) - 1) & -(uintptr_t)(1 << 20));
	region.userspace_addr = (uintptr_t)vm.mem;
	if (ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &region))
		die(EXIT_USAGE, "KVM_SET_USER_MEMORY_REGION: %s", strerror(errno));
}

static void create_cpus(void)
{
	int size = ioctl(vm.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	for (int i = 0; i < vm.ncpus; i++) {
		struct vcpu *cpu = &vm.cpu[i];

		cpu->id = i;
		cpu->fd = ioctl(vm.fd, KVM_CREATE_VCPU, i);
		if (cpu->fd < 0)
			die(EXIT_USAGE, "KVM_CREATE_VCPU: %s", strerror(errno));
		cpu->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu->fd, 0);
		if (cpu->run == MAP_FAILED)
			die(EXIT_USAGE, "CPU %d: mmap: %s", i, strerror(errno));
		if (ioctl(cpu->fd, KVM_S390_INITIAL_RESET, 0))
			die(EXIT_USAGE, "KVM_S390_INITIAL_RESET: %s", strerror(errno));
		set_operating(cpu, false);
	}
	css_init(&vm.cpu[0]);
}

static size_t load(const char *file, uint64_t addr)
{
	int fd = open(file, O_RDONLY);
	struct stat st;
	size_t done = 0;
	uint8_t *p;

	if (fd < 0 || fstat(fd, &st))
		die(EXIT_USAGE, "%s: %s", file, strerror(errno));
	p = guest_mem(addr, st.st_size);
	if (!p)
		die(EXIT_USAGE, "%s: larger than the storage of the guest", file);
	while (done < (size_t)st.st_size) {
		ssize_t n = read(fd, p + done, st.st_size - done);

		if (n <= 0)
			die(EXIT_USAGE, "%s: %s", file, n ? strerror(errno) : "truncated");
		done += n;
	}
	close(fd);
	return done;
}

static void put64(uint64_t addr, uint64_t value)
{
	memcpy(vm.mem + addr, &value, sizeof(value));
}

static void load_kernel(const char *kernel, const char *initrd, const char *command_line)
{
	uint64_t size, max = 0, initrd_addr;

	size = load(kernel, 0);
	if (size < PARM_COMMAND_LINE + 896)
		die(EXIT_USAGE, "%s: not a kernel image", kernel);
	memcpy(&max, vm.mem + PARM_COMMAND_LINE_SIZE, sizeof(max));
	if (!max || max > 4096)
		max = 896;
	if (strlen(command_line) >= max)
		die(EXIT_USAGE, "the command line is longer than %d bytes", (int)max - 1);
	strcpy((char *)vm.mem + PARM_COMMAND_LINE, command_line);
	if (!initrd)
		return;
	/* the kernel unpacks itself behind the image: stay away from there */
	initrd_addr = vm.mem_size / 2 & ~0xfffffULL;
	put64(PARM_INITRD_START, initrd_addr);
	put64(PARM_INITRD_SIZE, load(initrd, initrd_addr));
}

static void usage(FILE *f)
{
	fprintf(f,
		"usage: vmm [options] -k IMAGE [-i INITRD] [-p COMMAND-LINE]\n"
		"       vmm [options] -f GUEST\n"
		"\n"
		"  -k IMAGE    boot a Linux kernel image\n"
		"  -i INITRD   with this initial RAM disk\n"
		"  -p LINE     and this command line (the console is ttysclp0)\n"
		"  -f GUEST    load a flat binary to 0x10000 and start it there\n"
		"  -m MIB      storage of the guest (default 256)\n"
		"  -c CPUS     number of CPUs, 1 to %d (default 1)\n"
		"  -a          AP instructions, interpreted; -d and -D imply it\n"
		"  -d MDEV     attach this mediated device by its group (UUID or sysfs path)\n"
		"  -D MDEV     the same by iommufd (UUID, sysfs path or /dev/vfio/devices/vfioN)\n"
		"  -t SECONDS  give up after that time\n"
		"  -v          say what the guest wants\n"
		"\n"
		"exit status: 0 powered off, or a guest of -f waits at address 0; 1 not started;\n"
		"2 disabled wait; 3 the guest does what is not supported; 4 timeout; 5 reset.\n"
		"DIAGNOSE 0x%x writes the low byte of R1.\n", MAX_CPUS, DIAG_PUT_CHAR);
}

static void timed_out(int sig)
{
	(void)sig;
	die(EXIT_TIMEOUT, "timeout");
}

static unsigned long number(const char *s, unsigned long min, unsigned long max)
{
	char *end;
	unsigned long n = strtoul(s, &end, 0);

	if (*end || end == s || n < min || n > max)
		die(EXIT_USAGE, "%s: not a number from %lu to %lu", s, min, max);
	return n;
}

int main(int argc, char **argv)
{
	const char *kernel = NULL, *flat = NULL, *initrd = NULL, *command_line = "";
	struct { const char *name; bool cdev; } device[MAX_DEVICES];
	int ndevices = 0, opt;
	size_t mem = 256;
	bool ap = false;

	vm.ncpus = 1;
	while ((opt = getopt(argc, argv, "k:i:p:f:m:c:ad:D:t:vh")) != -1) {
		switch (opt) {
		case 'k':
			kernel = optarg;
			break;
		case 'i':
			initrd = optarg;
			break;
		case 'p':
			command_line = optarg;
			break;
		case 'f':
			flat = optarg;
			break;
		case 'm':
			mem = number(optarg, 1, 65535);
			break;
		case 'c':
			vm.ncpus = number(optarg, 1, MAX_CPUS);
			break;
		case 'd':
		case 'D':
			if (ndevices == MAX_DEVICES)
				die(EXIT_USAGE, "more than %d devices", MAX_DEVICES);
			device[ndevices].name = optarg;
			device[ndevices++].cdev = opt == 'D';
			/* fallthrough */
		case 'a':
			ap = true;
			break;
		case 't':
			signal(SIGALRM, timed_out);
			alarm(number(optarg, 1, 86400));
			break;
		case 'v':
			vm.verbose = true;
			break;
		case 'h':
			usage(stdout);
			return EXIT_STOPPED;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind != argc || !kernel == !flat) {
		usage(stderr);
		return EXIT_USAGE;
	}

	create_vm(mem << 20);
	set_cpu_model(ap);
	create_cpus();
	if (kernel)
		load_kernel(kernel, initrd, command_line);
	else
		load(flat, KERNEL_ENTRY);
	for (int i = 0; i < ndevices; i++)
		vfio_attach(device[i].name, device[i].cdev);

	vm.cpu[0].run->psw_mask = PSW_64BIT;
	vm.cpu[0].run->psw_addr = KERNEL_ENTRY;
	set_operating(&vm.cpu[0], true);
	for (int i = 1; i < vm.ncpus; i++)
		if (pthread_create(&vm.cpu[i].thread, NULL, run_cpu, &vm.cpu[i]))
			die(EXIT_USAGE, "no thread for CPU %d", i);
	run_cpu(&vm.cpu[0]);
}
