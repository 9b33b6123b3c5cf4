// SPDX-License-Identifier: GPL-2.0-only
/*
 * The benchmark behind "make bench", to be run in the emulated mainframe on a
 * machine whose cards and domains are numbered from 0 without a gap.  Has count.c,
 * outside, write a line each time that it has done an operation; what can be told from
 * inside only (times, bytes, lines of the log) is in the line too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ap.h"
#include "bench.h"
#include "guest.h"
#include "qmp.h"

#define MANY_MDEVS	256
#define MANY_GUESTS	16
#define AQIC_TIMES	16
#define ISC		3
#define RESET_MS	30
#define FIRST_CARD	"/machine/peripheral/card00"

static int nr_cards, nr_doms, qmp;
static const char *scale;
static struct ap_mask all_cards, all_doms;
static const struct ap_mask none;

/* What must not fail here: there is nothing to measure then. */
#define MUST(expr) do {								\
	long __ret = (expr);							\
										\
	if (__ret < 0) {							\
		printf("bench: line %d: %s: %s\n", __LINE__, #expr,		\
		       strerror(-__ret));					\
		exit(1);							\
	}									\
} while (0)
#define MUST_BE(expr) MUST((expr) ? 0 : -EPROTO)

/* Commands to count.c */

static void count3(int command, unsigned long a, unsigned long b, unsigned long c)
{
	register unsigned long r2 asm("2") = a;
	register unsigned long r3 asm("3") = b;
	register unsigned long r4 asm("4") = c;

	switch (command) {
#define COMMAND(n)								\
	case n:									\
		asm volatile("bc 0,%[code](0)" : : [code] "i" (COUNT_CODE + (n)),\
			     "d" (r2), "d" (r3), "d" (r4) : "memory");		\
		break
	COMMAND(COUNT_DRIVER);
	COMMAND(COUNT_NOT_DRIVER);
	COMMAND(COUNT_SWITCH);
	COMMAND(COUNT_WATCH);
	COMMAND(COUNT_BEGIN);
	COMMAND(COUNT_END);
	COMMAND(COUNT_LINE);
	COMMAND(COUNT_SYMBOLS);
	COMMAND(COUNT_INTERRUPT);
	COMMAND(COUNT_READY);
	}
}

/* Functions to count the calls of */
static const char * const watched[] = {
	"kvm_arch_crypto_set_masks",
	"ap_get_qdev",
	"ap_owned_by_def_drv",
	"__kthread_create_on_node",
};

/* Where Linux has its lowcore, with relocate_lowcore as scripts/machine has it. */
#define LOWCORE		0x70000

/* What handles interrupts, and where the address is that they have hit. */
static const struct {
	const char *name;
	unsigned long old_address;
} handlers[] = {
	{ "ext_int_handler", LOWCORE + 0x138 },
	{ "mcck_int_handler", LOWCORE + 0x168 },
	{ "io_int_handler", LOWCORE + 0x178 },
};

/*
 * The driver is what is where modules are, and is none of those that are loaded
 * now: so its first instruction is counted when it will be loaded.
 */
static void find_driver(void)
{
	char *symbols, *line, *next;
	unsigned long start = -1UL, end = 0, kernel_start = -1UL, kernel_end = 0;
	struct { char name[64]; unsigned long start, end; } modules[64];
	int nr = 0;

	MUST(file_read("/proc/kallsyms", &symbols));
	for (line = symbols; line && *line; line = next) {
		unsigned long address;
		char type, name[256], module[64] = "";

		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		if (sscanf(line, "%lx %c %255s [%63[^]]", &address, &type, name, module) < 3)
			continue;
		if (!strcmp(name, "__switch_to"))
			count3(COUNT_SWITCH, address, 0, 0);
		for (int i = 0; i < ARRAY_SIZE(watched); i++)
			if (!strcmp(name, watched[i]))
				count3(COUNT_WATCH, address, (unsigned long)watched[i],
				       strlen(watched[i]));
		for (int i = 0; i < ARRAY_SIZE(handlers); i++)
			if (!strcmp(name, handlers[i].name))
				count3(COUNT_INTERRUPT, address, handlers[i].old_address, 0);
		if (type != 't' && type != 'T')
			continue;
		if (!*module) {
			kernel_start = address < kernel_start ? address : kernel_start;
			kernel_end = address > kernel_end ? address : kernel_end;
			continue;
		}
		if (!nr || strcmp(modules[nr - 1].name, module)) {
			MUST_BE(nr < ARRAY_SIZE(modules));
			strcpy(modules[nr].name, module);
			modules[nr].start = address;
			modules[nr++].end = address;
		}
		if (address < modules[nr - 1].start)
			modules[nr - 1].start = address;
		if (address > modules[nr - 1].end)
			modules[nr - 1].end = address;
		start = address < start ? address : start;
		end = address > end ? address : end;
	}
	start = (start & -0x100000UL) - 0x4000000;
	end = (end & -0x100000UL) + 0x4000000;
	count3(COUNT_DRIVER, start, end, 0);
	/* Behind its last symbol a module has what it calls others by. */
	for (int i = 0; i < nr; i++)
		count3(COUNT_NOT_DRIVER, modules[i].start & -4096UL,
		       (modules[i].end & -4096UL) + 2 * 4096, 0);
	count3(COUNT_NOT_DRIVER, kernel_start & -4096UL, (kernel_end & -4096UL) + 2 * 4096, 0);
	count3(COUNT_READY, 0, 0, 0);
	free(symbols);
}

/* For the profile, which is made of addresses. */
static void send_symbols(void)
{
	char *symbols;

	MUST(file_read("/proc/kallsyms", &symbols));
	count3(COUNT_SYMBOLS, (unsigned long)symbols, strlen(symbols), 0);
	free(symbols);
}

/* Measuring */

static double began;

static void begin(void)
{
	began = now();
	count3(COUNT_BEGIN, 0, 0, 0);
}

static void end(void)
{
	count3(COUNT_END, 0, 0, 0);
	began = now() - began;
}

/*
 * What was between, done @times times.  Says nothing itself: the interrupt that ends the
 * output would be counted with the next operation.
 */
static void line(const char *operation, long times, const char *fmt, ...) __printf(3, 4);
static void line(const char *operation, long times, const char *fmt, ...)
{
	char extra[200], all[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(extra, sizeof(extra), fmt, args);
	va_end(args);
	snprintf(all, sizeof(all), "operation=%s scale=%s times=%ld us=%.1f%s%s", operation, scale,
		 times, began * 1e6, *extra ? " " : "", extra);
	count3(COUNT_LINE, (unsigned long)all, strlen(all), 0);
}

#define MEASURE(operation, times, expr) do {					\
	begin();								\
	MUST(expr);								\
	end();									\
	line(operation, times, "%s", "");					\
} while (0)

/*
 * The emulator answers in its own time.  Meanwhile the machine must have something
 * to do: the time that it sleeps passes at once.
 */
static pid_t keep_busy(void)
{
	struct sched_param param = {};
	pid_t pid = fork();

	if (!pid) {
		sched_setscheduler(0, SCHED_IDLE, &param);
		for (;;)
			asm volatile("");
	}
	MUST(pid);
	return pid;
}

static void no_longer_busy(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void execute(const char *command)
{
	pid_t pid = keep_busy();

	MUST_BE(qmp_ok(qmp_execute(qmp, "%s", command)));
	no_longer_busy(pid);
}

static void set(const char *object, const char *property, const char *value)
{
	pid_t pid = keep_busy();

	MUST_BE(qmp_set(qmp, object, property, value));
	no_longer_busy(pid);
}

/*
 * What was begun has ended: to wake the kernel's threads, for those who poll a file for
 * example, costs as much as a small operation, and it costs nothing if they are still
 * awake.
 */
static bool calm(void)
{
	usleep(10000);
	return true;
}

/*
 * For an operation on this many queues or cards.  Now and then the kernel's allocator
 * fills or empties a cache, which costs as much as a small operation: that is done
 * several times, and report takes the one in the middle.  In a large one it is lost.
 */
#define SEVERAL_TIMES(parts)							\
	for (int __left = (parts) < 50 ? 5 : 1; __left && calm(); __left--)

/* What operations are made of */

static int nr_queues(void)
{
	return nr_cards * nr_doms;
}

static bool has_driver(int card, int dom)
{
	return path_exists("/sys/bus/ap/drivers/vfio_ap/%s", queue_name(card, dom));
}

static bool all_bound(void)
{
	for (int card = 0; card < nr_cards; card++)
		for (int dom = 0; dom < nr_doms; dom++)
			if (!has_driver(card, dom))
				return false;
	return true;
}

static int for_each_queue(int (*fn)(int card, int dom))
{
	int ret = 0;

	for (int card = 0; card < nr_cards; card++)
		for (int dom = 0; !ret && dom < nr_doms; dom++)
			ret = fn(card, dom);
	return ret;
}

static int bind(int card, int dom)
{
	return queue_bind(card, dom, "vfio_ap");
}

/*
 * On a large machine a scan of the AP bus is most of what there would be to wait for.  The
 * two minutes begin anew with this.
 */
static void scan_seldom(void)
{
	MUST(file_write(AP_BUS "/config_time", "120"));
}

/* Work that an operation has left behind is part of it. */
static void settle(void)
{
	usleep(200000);
}

static int configure(const struct mdev *mdev, struct ap_mask apm, struct ap_mask aqm)
{
	return mdev_set(mdev, "ap_config", "%s", ap_config_text(&apm, &aqm, &none));
}

/* Cards from @first to @end. */
static struct ap_mask cards(int first, int end)
{
	struct ap_mask mask = {};

	for (int card = first; card < end; card++)
		mask_set(&mask, card);
	return mask;
}

static long slab(void)
{
	const char *at = strstr(file_text("/proc/meminfo"), "Slab:");

	return at ? atol(at + 5) * 1024 : 0;
}

/* The operations */

static void load_and_unload(void)
{
	long before;

	MUST(module_load("vfio_ap"));
	MUST(file_write(AP_BUS "/apmask", "0x0"));
	MUST_BE(wait_for(all_bound()));
	SEVERAL_TIMES(nr_queues()) {
		settle();
		before = slab();
		begin();
		MUST(module_unload("vfio_ap"));
		end();
		line("rmmod", nr_queues(), "bytes=%ld", before - slab());
		begin();
		MUST(module_load("vfio_ap"));
		MUST_BE(wait_for(all_bound()));
		settle();
		end();
		line("insmod", nr_queues(), "%s", "");
	}
	send_symbols();
}

static void bind_all(const char *operation)
{
	SEVERAL_TIMES(nr_queues()) {
		begin();
		MUST(for_each_queue(queue_unbind));
		settle();
		end();
		line(text("un%s", operation), nr_queues(), "%s", "");
		begin();
		MUST(for_each_queue(bind));
		settle();
		end();
		line(operation, nr_queues(), "%s", "");
	}
}

static void assign(const struct mdev *mdev, const char *first, int nr_first, const char *second,
		   int nr_second)
{
	const char *order = text("assign-%ss-first", first);
	const char *last = text("assign-last-%s", second);

	SEVERAL_TIMES(nr_queues()) {
		MUST(configure(mdev, none, none));
		begin();
		for (int i = 0; i < nr_first; i++)
			MUST(mdev_set(mdev, text("assign_%s", first), "%d", i));
		for (int i = 0; i < nr_second; i++)
			MUST(mdev_set(mdev, text("assign_%s", second), "%d", i));
		end();
		line(order, nr_queues(), "%s", "");
	}
	SEVERAL_TIMES(1) {
		MUST(mdev_set(mdev, text("unassign_%s", second), "%d", nr_second - 1));
		MEASURE(last, 1, mdev_set(mdev, text("assign_%s", second), "%d", nr_second - 1));
	}
}

static void read_matrix(const struct mdev *mdev)
{
	const char *path = mdev_attr(mdev, "matrix");
	static char buffer[65536 * 8 + 1];

	SEVERAL_TIMES(1) {
		ssize_t n, len = 0;
		int fd = open(path, O_RDONLY);

		MUST(fd);
		begin();
		while ((n = read(fd, buffer + len, sizeof(buffer) - len)) > 0)
			len += n;
		end();
		close(fd);
		line("read-matrix", nr_queues(), "bytes=%zd", len);
	}
}

/* How many lines the log has grown by. */
static int log_lines(int kmsg)
{
	char record[8192];
	int n = 0;

	while (read(kmsg, record, sizeof(record)) > 0 || errno == EPIPE)
		n++;
	return n;
}

/* The default drivers get a card that there is not: nobody minds. */
static void in_use(const char *operation)
{
	SEVERAL_TIMES(1) {
		MEASURE(operation, 1, file_write(AP_BUS "/apmask", "+255"));
		MUST(file_write(AP_BUS "/apmask", "-255"));
	}
}

static void in_use_conflict(void)
{
	int kmsg = kmsg_open(), ret;
	struct ap_mask wanted;

	memset(&wanted, 0xff, sizeof(wanted));
	SEVERAL_TIMES(1) {
		begin();
		ret = file_write(AP_BUS "/apmask", "%s\n", mask_text(&wanted));
		end();
		MUST_BE(ret == -EBUSY);
		line("in_use-full", 1, "lines=%d", log_lines(kmsg));
	}
	close(kmsg);
}

static void with_guest(const struct mdev *mdev)
{
	struct guest guest;
	int half = nr_cards / 2;

	SEVERAL_TIMES(1) {
		MUST(guest_create(&guest));
		begin();
		MUST(guest_attach(&guest, mdev, false));
		end();
		line("open", 1, "%s", "");

		begin();
		MUST(vdev_ioctl(&guest.vdev, VFIO_DEVICE_RESET, NULL));
		end();
		line("reset", nr_queues(), "%s", "");

		settle();
		begin();
		guest_detach(&guest);
		settle();
		end();
		line("close", nr_queues(), "%s", "");
		guest_destroy(&guest);
	}
	if (!half)
		return;
	MUST(guest_create(&guest));
	MUST(guest_attach(&guest, mdev, false));
	SEVERAL_TIMES(nr_queues()) {
		MUST(configure(mdev, cards(0, half), all_doms));
		MEASURE("ap_config-half", half * nr_doms,
			configure(mdev, cards(half, 2 * half), all_doms));
	}
	guest_destroy(&guest);
	settle();
	MUST(configure(mdev, all_cards, all_doms));
}

static void aqic_on_and_off(struct guest *guest)
{
	MUST_BE(guest_irq_on(guest, 0, 0, ISC, guest_nib(0)) == 0);
	MUST_BE(guest_irq_off(guest, 0, 0) == 0);
}

static void aqic(const struct mdev *mdev)
{
	struct guest guest;

	MUST(guest_create(&guest));
	MUST(guest_attach(&guest, mdev, false));
	aqic_on_and_off(&guest);
	aqic_on_and_off(&guest);
	SEVERAL_TIMES(1) {
		begin();
		for (int i = 0; i < AQIC_TIMES; i++)
			aqic_on_and_off(&guest);
		end();
		line("aqic-on-off", AQIC_TIMES, "%s", "");
		MUST_BE(guest_irq_on(&guest, 0, 0, ISC, guest_nib(0)) == 0);
		MEASURE("aqic-off", 1, guest_irq_off(&guest, 0, 0));
	}
	guest_destroy(&guest);
}

static bool config_changed(bool add, int dom)
{
	bool ok = true;

	if (add)
		for (int card = 0; card < nr_cards; card++)
			ok &= has_driver(card, dom);
	else
		ok = !path_exists("%s", queue_path(nr_cards - 1, dom));
	return ok;
}

static void add_device(const char *id, const char *properties)
{
	execute(text("\"device_add\", \"arguments\": {\"id\": \"%s\", %s}", id, properties));
}

static void remove_device(const char *id)
{
	execute(text("\"device_del\", \"arguments\": {\"id\": \"%s\"}", id));
}

static void change_domain(bool add, int dom)
{
	const char *id = text("dom%04x", dom);

	if (add)
		add_device(id, text("\"driver\": \"s390-ap-domain\", \"apqi\": %d", dom));
	else
		remove_device(id);
}

static void change_card(bool add, int card)
{
	const char *id = text("card%02x", card);

	if (add)
		add_device(id, text("\"driver\": \"s390-ap-card\", \"apid\": %d, \"mode\": \"cca\"",
				    card));
	else
		remove_device(id);
}

static void remove_and_add_domain(const char *suffix)
{
	SEVERAL_TIMES(nr_cards) {
		begin();
		change_domain(false, nr_doms - 1);
		MUST_BE(wait_for_at_most(600, config_changed(false, nr_doms - 1)));
		settle();
		end();
		line(text("remove-domain%s", suffix), 1, "%s", "");
		begin();
		change_domain(true, nr_doms - 1);
		MUST_BE(wait_for_at_most(600, config_changed(true, nr_doms - 1)));
		settle();
		end();
		line(text("add-domain%s", suffix), 1, "%s", "");
	}
}

/* Nothing looks at it in between: the AP bus is not told, and its own time is far off. */
static void change_everything(bool add)
{
	scan_seldom();
	for (int card = 0; card < nr_cards; card++)
		change_card(add, card);
	for (int dom = 0; dom < nr_doms; dom++)
		change_domain(add, dom);
}

static void add_everything(void)
{
	set("/machine/s390-ap", "config-events", "false");
	SEVERAL_TIMES(nr_queues()) {
		change_everything(false);
		MUST(ap_rescan());
		MUST_BE(!path_exists("/sys/devices/ap/card%02x", 0));
		change_everything(true);
		begin();
		MUST(ap_rescan());
		settle();
		end();
		MUST_BE(all_bound());
		line("add-everything", nr_queues(), "%s", "");
	}
	set("/machine/s390-ap", "config-events", "true");
}

static void host_changes(const struct mdev *mdev)
{
	struct guest guest[MANY_GUESTS];
	struct mdev mdevs[MANY_GUESTS];
	int nr = nr_cards < MANY_GUESTS ? nr_cards : MANY_GUESTS;

	MUST(guest_create(&guest[0]));
	MUST(guest_attach(&guest[0], mdev, false));
	remove_and_add_domain("-1");
	guest_destroy(&guest[0]);

	MUST(configure(mdev, none, none));
	for (int i = 0; i < nr; i++) {
		MUST(mdev_create(&mdevs[i]));
		MUST(configure(&mdevs[i], cards(i, i + 1), all_doms));
		MUST(guest_create(&guest[i]));
		MUST(guest_attach(&guest[i], &mdevs[i], false));
	}
	if (nr == MANY_GUESTS)
		remove_and_add_domain("-16");
	for (int i = 0; i < nr; i++) {
		guest_destroy(&guest[i]);
		MUST(mdev_remove(&mdevs[i]));
	}
	settle();
	MUST(configure(mdev, all_cards, all_doms));
	add_everything();
}

static void status(const char *operation)
{
	SEVERAL_TIMES(1) {
		begin();
		MUST_BE(*queue_status(0, 0));
		end();
		line(operation, 1, "%s", "");
	}
}

static void many_mdevs(const struct mdev *mdev)
{
	static struct mdev mdevs[MANY_MDEVS];
	struct ap_mask first = cards(0, 1);
	long before;

	status("status-1");
	in_use("in_use-1");

	before = slab();
	begin();
	for (int i = 0; i < MANY_MDEVS - 1; i++)
		MUST(mdev_create(&mdevs[i]));
	end();
	line("create", MANY_MDEVS - 1, "bytes=%ld", slab() - before);

	/* The one that is looked for is the last. */
	MUST(configure(mdev, none, none));
	MUST(configure(&mdevs[MANY_MDEVS - 2], first, first));
	status("status-256");
	in_use("in_use-256");
	for (int i = 0; i < MANY_MDEVS - 1; i++)
		MUST(mdev_remove(&mdevs[i]));
	MUST(configure(mdev, all_cards, all_doms));
}

/* While one device is being reset, others go on. */

static void *reset_device(void *vdev)
{
	MUST(vdev_ioctl(vdev, VFIO_DEVICE_RESET, NULL));
	return NULL;
}

/* One AQIC, or one read, while another device is being reset, or when that is over. */
static void go_on(struct guest *guest, const struct mdev *mdev, bool reads,
		  struct vdev *reset, bool during)
{
	pthread_t thread;

	MUST(-pthread_create(&thread, NULL, reset_device, reset));
	if (during)
		usleep(5000);
	else
		pthread_join(thread, NULL);
	begin();
	if (reads)
		MUST_BE(*mdev_get(mdev, "matrix"));
	else
		MUST_BE(guest_irq_on(guest, nr_cards - 1, 0, ISC, guest_nib(0)) == 0);
	end();
	line(text("%s-%s", reads ? "read" : "aqic", during ? "during-reset" : "idle"), 1, "%s", "");
	if (!reads)
		MUST_BE(guest_irq_off(guest, nr_cards - 1, 0) == 0);
	if (during)
		pthread_join(thread, NULL);
}

static void during_reset(const struct mdev *mdev)
{
	static struct guest guest, other;
	struct mdev other_mdev;
	struct ap_mask doms = {};

	mask_set(&doms, 0);
	MUST(configure(mdev, cards(0, nr_cards - 1), all_doms));
	MUST(mdev_create(&other_mdev));
	MUST(configure(&other_mdev, cards(nr_cards - 1, nr_cards), doms));
	MUST(guest_create(&guest));
	MUST(guest_attach(&guest, mdev, false));
	MUST(guest_create(&other));
	MUST(guest_attach(&other, &other_mdev, false));
	MUST_BE(guest_irq_on(&other, nr_cards - 1, 0, ISC, guest_nib(0)) == 0);
	MUST_BE(guest_irq_off(&other, nr_cards - 1, 0) == 0);
	set(FIRST_CARD, "reset-ms", text("%d", RESET_MS));

	for (int during = 0; during < 2; during++)
		for (int reads = 0; reads < 2; reads++)
			SEVERAL_TIMES(1)
				go_on(&other, &other_mdev, reads, &guest.vdev, during);
	set(FIRST_CARD, "reset-ms", "0");
	guest_destroy(&other);
	guest_destroy(&guest);
	settle();
	MUST(mdev_remove(&other_mdev));
	MUST(configure(mdev, all_cards, all_doms));
}

int main(int argc, char **argv)
{
	struct mdev mdev;
	pid_t busy;

	setbuf(stdout, NULL);
	/* A large machine is still being scanned. */
	MUST_BE(wait_for_at_most(600, ap_bindings_settled()));
	while (path_exists("/sys/devices/ap/card%02x", nr_cards))
		mask_set(&all_cards, nr_cards++);
	while (path_exists("%s", queue_path(0, nr_doms)))
		mask_set(&all_doms, nr_doms++);
	MUST_BE(nr_cards && nr_doms);
	scale = text("%dx%d", nr_cards, nr_doms);
	vm_need_modules();
	busy = keep_busy();
	qmp = qmp_open();
	MUST(qmp);
	no_longer_busy(busy);
	find_driver();
	scan_seldom();

	load_and_unload();
	bind_all("bind-unassigned");
	MUST(mdev_create(&mdev));
	assign(&mdev, "adapter", nr_cards, "domain", nr_doms);
	assign(&mdev, "domain", nr_doms, "adapter", nr_cards);
	read_matrix(&mdev);
	in_use_conflict();

	SEVERAL_TIMES(nr_queues()) {
		MUST(configure(&mdev, none, none));
		MEASURE("ap_config-full", nr_queues(), configure(&mdev, all_cards, all_doms));
	}
	SEVERAL_TIMES(1)
		MEASURE("ap_config-same", 1, configure(&mdev, all_cards, all_doms));

	bind_all("bind");

	with_guest(&mdev);
	aqic(&mdev);
	if (nr_cards > 1)
		during_reset(&mdev);
	many_mdevs(&mdev);
	host_changes(&mdev);

	MUST(mdev_remove(&mdev));
	MUST(module_unload("vfio_ap"));
	return 0;
}
