// SPDX-License-Identifier: GPL-2.0-only
/*
 * What all tests of vfio_ap share; ap.h says what each function is for.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ap.h"

#define NAP_MS	10

struct ap_machine ap;

/* The longest time between two scans that the AP bus accepts, in seconds. */
#define SCAN_SELDOM	120

static struct ap_mask found_apmask, found_aqmask;
static int found_scan_time;
static pid_t main_pid;
/* Shared by the program and its tests, which are processes of their own. */
static struct {
	pid_t test_group;	/* of the test that runs */
	bool restored;		/* by the program, and no test has run since */
} *shared;

bool impl_is_c(void)
{
	const char *impl = getenv("IMPL");

	return impl && !strcmp(impl, "c");
}

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

void nap(void)
{
	struct timespec ts = { .tv_nsec = NAP_MS * 1000000L };

	nanosleep(&ts, NULL);
}

static char *vtext(const char *fmt, va_list args)
{
	char *s;

	if (vasprintf(&s, fmt, args) < 0)
		abort();
	return s;
}

char *text(const char *fmt, ...)
{
	va_list args;
	char *s;

	va_start(args, fmt);
	s = vtext(fmt, args);
	va_end(args);
	return s;
}

/* Files */

int file_write_n(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;
	int ret;

	if (fd < 0)
		return -errno;
	n = write(fd, data, len);
	ret = n < 0 ? -errno : n == (ssize_t)len ? 0 : -EIO;
	close(fd);
	return ret;
}

int file_write(const char *path, const char *fmt, ...)
{
	va_list args;
	char *s;
	int ret;

	va_start(args, fmt);
	s = vtext(fmt, args);
	va_end(args);
	ret = file_write_n(path, s, strlen(s));
	free(s);
	return ret;
}

int file_read(const char *path, char **text)
{
	size_t size = 4096, len = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *s = malloc(size);
	ssize_t n;

	if (!s)
		abort();
	if (fd < 0) {
		free(s);
		return -errno;
	}
	while ((n = read(fd, s + len, size - len - 1)) > 0) {
		len += n;
		if (size - len < 4096) {
			size *= 2;
			s = realloc(s, size);
			if (!s)
				abort();
		}
	}
	if (n < 0)
		n = -errno;
	close(fd);
	s[len] = 0;
	*text = s;
	return n;
}

const char *file_text(const char *path)
{
	char *s;
	int ret = file_read(path, &s);

	return ret ? text("<%s>", strerrorname_np(-ret)) : s;
}

bool path_exists(const char *fmt, ...)
{
	struct stat st;
	va_list args;
	char *s;
	int ret;

	va_start(args, fmt);
	s = vtext(fmt, args);
	va_end(args);
	ret = lstat(s, &st);
	free(s);
	return !ret;
}

int path_mode(const char *path)
{
	struct stat st;

	return stat(path, &st) ? -errno : (int)(st.st_mode & 07777);
}

const char *link_base(const char *path)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	char *slash;

	if (n < 0)
		return "";
	target[n] = 0;
	slash = strrchr(target, '/');
	return text("%s", slash ? slash + 1 : target);
}

const char *link_real(const char *path)
{
	char *real = realpath(path, NULL);

	return real ?: "";
}

/* Masks */

struct ap_mask mask_of(int nr_ids, const int *ids)
{
	struct ap_mask mask = {};

	for (int i = 0; i < nr_ids; i++)
		mask_set(&mask, ids[i]);
	return mask;
}

const char *mask_text(const struct ap_mask *mask)
{
	return text("0x%016lx%016lx%016lx%016lx", mask->word[0], mask->word[1],
		    mask->word[2], mask->word[3]);
}

int mask_parse(struct ap_mask *mask, const char *text)
{
	unsigned long *word = mask->word;

	return sscanf(text, "0x%16lx%16lx%16lx%16lx", &word[0], &word[1],
		      &word[2], &word[3]) == 4 ? 0 : -EINVAL;
}

static bool mask_same(const struct ap_mask *a, const struct ap_mask *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static int bus_mask(const char *attr, struct ap_mask *mask)
{
	return mask_parse(mask, file_text(text(AP_BUS "/%s", attr)));
}

/* Queues */

const char *queue_name(int card, int dom)
{
	return text("%02x.%04x", card, dom);
}

const char *queue_path(int card, int dom)
{
	return text("/sys/devices/ap/card%02x/%02x.%04x", card, card, dom);
}

const char *queue_driver(int card, int dom)
{
	return link_base(text("%s/driver", queue_path(card, dom)));
}

const char *queue_status(int card, int dom)
{
	return file_text(text("%s/status", queue_path(card, dom)));
}

int queue_unbind(int card, int dom)
{
	return file_write(text("%s/driver/unbind", queue_path(card, dom)), "%s",
			  queue_name(card, dom));
}

int queue_bind(int card, int dom, const char *driver)
{
	return file_write(text(AP_BUS "/drivers/%s/bind", driver), "%s",
			  queue_name(card, dom));
}

static bool parse_queue(const char *name, unsigned int *card, unsigned int *dom)
{
	int n = 0;

	return sscanf(name, "%2x.%4x%n", card, dom, &n) == 2 && n == 7 &&
	       !name[n];
}

typedef int queue_fn(int card, int dom, void *data);

/* Calls @fn for each queue that there is; ends at the first nonzero result. */
static int each_queue(queue_fn *fn, void *data)
{
	DIR *dir = opendir(AP_BUS "/devices");
	unsigned int card, dom;
	struct dirent *entry;
	int ret = 0;

	if (!dir)
		return -errno;
	while (!ret && (entry = readdir(dir)))
		if (parse_queue(entry->d_name, &card, &dom))
			ret = fn(card, dom, data);
	closedir(dir);
	return ret;
}

/* Mediated devices */

static void mdev_path(struct mdev *mdev)
{
	snprintf(mdev->path, sizeof(mdev->path), MDEV_BUS "/devices/%s",
		 mdev->uuid);
}

void mdev_name(struct mdev *mdev)
{
	unsigned short r[8];

	if (getrandom(r, sizeof(r), 0) != sizeof(r))
		abort();
	snprintf(mdev->uuid, sizeof(mdev->uuid),
		 "%04x%04x-%04x-%04x-%04x-%04x%04x%04x",
		 r[0], r[1], r[2], (r[3] & 0xfff) | 0x4000,
		 (r[4] & 0x3fff) | 0x8000, r[5], r[6], r[7]);
	mdev_path(mdev);
}

int mdev_create(struct mdev *mdev)
{
	mdev_name(mdev);
	return file_write(MDEV_TYPE "/create", "%s", mdev->uuid);
}

int mdev_remove(const struct mdev *mdev)
{
	return file_write(mdev_attr(mdev, "remove"), "1");
}

bool mdev_exists(const struct mdev *mdev)
{
	return path_exists("%s", mdev->path);
}

/* All that the parent has: one that is on its way out is not in the type. */
static int mdev_each(bool remove)
{
	DIR *dir = opendir(MATRIX_DEV);
	struct dirent *entry;
	struct mdev mdev;
	int n = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		if (strlen(entry->d_name) != 36)
			continue;
		snprintf(mdev.uuid, sizeof(mdev.uuid), "%.36s", entry->d_name);
		mdev_path(&mdev);
		if (remove)
			mdev_remove(&mdev);
		n++;
	}
	closedir(dir);
	return n;
}

int mdev_count(void)
{
	return mdev_each(false);
}

int mdev_available(void)
{
	return atoi(file_text(MDEV_TYPE "/available_instances"));
}

const char *mdev_attr(const struct mdev *mdev, const char *attr)
{
	return text("%s/%s", mdev->path, attr);
}

int mdev_set(const struct mdev *mdev, const char *attr, const char *fmt, ...)
{
	va_list args;
	char *s;

	va_start(args, fmt);
	s = vtext(fmt, args);
	va_end(args);
	return file_write_n(mdev_attr(mdev, attr), s, strlen(s));
}

const char *mdev_get(const struct mdev *mdev, const char *attr)
{
	return file_text(mdev_attr(mdev, attr));
}

int mdev_assign(const struct mdev *mdev, int card, int dom)
{
	return mdev_set(mdev, "assign_adapter", "%d", card) ?:
	       mdev_set(mdev, "assign_domain", "%d", dom);
}

bool mdev_guest_has(const struct mdev *mdev, int nr_cards, const int *cards,
		    int nr_doms, const int *doms)
{
	struct ap_mask apm = mask_of(nr_cards, cards);
	struct ap_mask aqm = mask_of(nr_doms, doms);

	return !strcmp(matrix_text(&apm, &aqm), mdev_get(mdev, "guest_matrix"));
}

const char *matrix_text(const struct ap_mask *apm, const struct ap_mask *aqm)
{
	static const struct ap_mask none;
	char *s = text("%s", ""), *end;
	bool no_apm = mask_same(apm, &none), no_aqm = mask_same(aqm, &none);

	s = realloc(s, AP_IDS * AP_IDS * 8 + 1);
	if (!s)
		abort();
	end = s;
	for (int a = 0; a < AP_IDS; a++) {
		if (!no_apm && !mask_test(apm, a))
			continue;
		for (int d = 0; d < AP_IDS; d++) {
			if (!no_aqm && !mask_test(aqm, d))
				continue;
			if (!no_apm)
				end += sprintf(end, "%02x", a);
			if (!no_apm || !no_aqm)
				end += sprintf(end, ".");
			if (!no_aqm)
				end += sprintf(end, "%04x", d);
			if (!no_apm || !no_aqm)
				end += sprintf(end, "\n");
			if (no_aqm)
				break;
		}
		if (no_apm)
			break;
	}
	return s;
}

const char *ap_config_text(const struct ap_mask *apm, const struct ap_mask *aqm,
			   const struct ap_mask *adm)
{
	return text("%s,%s,%s\n", mask_text(apm), mask_text(aqm),
		    mask_text(adm));
}

/* Modules */

static const char *wanted_file;
static char found_file[PATH_MAX];

static int is_wanted_file(const char *path, const struct stat *st, int type,
			  struct FTW *ftw)
{
	if (strcmp(path + ftw->base, wanted_file))
		return 0;
	snprintf(found_file, sizeof(found_file), "%s", path);
	return 1;
}

/*
 * The file of a module: for vfio_ap itself the environment variable VFIO_AP_KO
 * may say which, for all others what is installed for the running kernel.
 */
const char *module_file(const char *name)
{
	const char *chosen = getenv("VFIO_AP_KO");
	struct utsname uts;

	if (chosen && !strcmp(name, MODULE_NAME))
		return chosen;
	uname(&uts);
	wanted_file = text("%s.ko", name);
	if (nftw(text("/lib/modules/%s", uts.release), is_wanted_file, 8,
		 FTW_PHYS) != 1)
		ksft_exit_fail_msg("no %s.ko in /lib/modules/%s\n", name,
				   uts.release);
	return text("%s", found_file);
}

bool module_loaded(const char *name)
{
	return path_exists("/sys/module/%s/initstate", name);
}

int module_load(const char *name)
{
	int fd = open(module_file(name), O_RDONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = syscall(SYS_finit_module, fd, "", 0) ? -errno : 0;
	close(fd);
	return ret;
}

int module_unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

void module_need(const char *name)
{
	int status = -1;
	pid_t pid;

	if (path_exists("/sys/module/%s", name))
		return;
	pid = fork();
	if (!pid) {
		execlp("modprobe", "modprobe", name, NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		ksft_exit_fail_msg("modprobe %s failed\n", name);
}

/* The AP bus */

int ap_rescan(void)
{
	return file_write(AP_BUS "/scans", "1");
}

/* The time starts anew with this. */
static int set_scan_time(int seconds)
{
	return file_write(AP_BUS "/config_time", "%d\n", seconds);
}

bool ap_bindings_settled(void)
{
	return strstr(file_text(AP_BUS "/bindings"), "(complete)");
}

static int clear_override(int card, int dom, void *data)
{
	const char *file = text("%s/driver_override", queue_path(card, dom));

	return strcmp(file_text(file), "\n") ? file_write(file, "\n") : 0;
}

struct ownership {
	struct ap_mask apmask, aqmask;
	bool vfio_ap;			/* is it loaded? */
};

/* Brings a queue to its driver; nonzero if it is not there yet. */
static int settle_queue(int card, int dom, void *data)
{
	const struct ownership *own = data;
	bool ours = !mask_test(&own->apmask, card) ||
		    !mask_test(&own->aqmask, dom);
	const char *driver = queue_driver(card, dom);

	if (ours && !own->vfio_ap)
		return *driver ? 1 : 0;
	if (!*driver) {
		file_write(AP_BUS "/drivers_probe", "%s",
			   queue_name(card, dom));
		return 1;
	}
	if (ours != !strcmp(driver, MODULE_NAME)) {
		queue_unbind(card, dom);
		return 1;
	}
	return 0;
}

static int settle_queues(struct ownership *own)
{
	own->vfio_ap = module_loaded(MODULE_NAME);
	return wait_for(!each_queue(settle_queue, own)) ? 0 : -ETIME;
}

int ap_set_masks(const struct ap_mask *apmask, const struct ap_mask *aqmask)
{
	struct ownership own;
	int ret;

	/*
	 * A queue without a driver while a mask is written: the AP bus follows
	 * its null pointer (__ap_revise_reserved()).  So first bind them all.
	 */
	ret = bus_mask("apmask", &own.apmask) ?: bus_mask("aqmask", &own.aqmask);
	if (!ret)
		ret = settle_queues(&own);
	if (ret || (mask_same(&own.apmask, apmask) &&
		    mask_same(&own.aqmask, aqmask)))
		return ret;
	ret = file_write(AP_BUS "/apmask", "%s\n", mask_text(apmask)) ?:
	      file_write(AP_BUS "/aqmask", "%s\n", mask_text(aqmask));
	if (ret)
		return ret;
	own.apmask = *apmask;
	own.aqmask = *aqmask;
	return settle_queues(&own);
}

int ap_restore(void)
{
	static bool asked;
	bool restored = shared->restored && !asked;
	int ret;

	shared->restored = false;
	/* A scan would meet answers that a test forces, and remove the queue. */
	ret = set_scan_time(SCAN_SELDOM);
	if (getpid() != main_pid) {
		shared->test_group = getpgrp();
		asked = true;
		if (restored)
			return ret;
	}
	if (!ret && !module_loaded(MODULE_NAME))
		ret = module_load(MODULE_NAME);
	if (!ret) {
		mdev_each(true);
		ret = wait_for(!mdev_count()) ? 0 : -EBUSY;
	}
	if (!ret)
		ret = each_queue(clear_override, NULL);
	if (!ret)
		ret = ap_set_masks(&ap.apmask, &ap.aqmask);
	if (ret)
		fprintf(stderr, "# the machine is not as it was: %s\n",
			strerror(-ret));
	shared->restored = !ret && getpid() == main_pid;
	return ret;
}

static void give_all_back(void)
{
	if (getpid() != main_pid)
		return;
	ap.apmask = found_apmask;
	ap.aqmask = found_aqmask;
	if (ap_restore() || set_scan_time(found_scan_time))
		_exit(KSFT_FAIL);
}

/* Whoever runs the program has no more patience: the test ends, too. */
static void terminate(int signal)
{
	if (shared->test_group)
		kill(-shared->test_group, SIGKILL);
	exit(KSFT_FAIL);
}

static int count_queue(int card, int dom, void *data)
{
	struct ap_mask *doms_of_card = data;

	mask_set(&doms_of_card[card], dom);
	return 0;
}

static void find_machine(void)
{
	struct ap_mask doms_of_card[AP_IDS] = {}, common = {};
	static const struct ap_mask none;
	bool apxa = strstr(file_text(AP_BUS "/features"), "APXA");

	ap.max_adapter = apxa ? atoi(file_text(AP_BUS "/ap_max_adapter_id")) : 63;
	ap.max_domain = apxa ? atoi(file_text(AP_BUS "/ap_max_domain_id")) : 15;
	ap.accelerator = -1;

	each_queue(count_queue, doms_of_card);
	memset(&common, 0xff, sizeof(common));
	for (int card = 0; card < AP_IDS; card++) {
		unsigned long functions;

		if (mask_same(&doms_of_card[card], &none)) {
			if (card <= ap.max_adapter)
				ap.no_cards[ap.nr_no_cards++] = card;
			continue;
		}
		ap.cards[ap.nr_cards++] = card;
		for (int i = 0; i < 4; i++)
			common.word[i] &= doms_of_card[card].word[i];
		functions = strtoul(file_text(text("/sys/devices/ap/card%02x/ap_functions",
						   card)), NULL, 16);
		if (functions & 0x08000000)
			ap.accelerator = card;
	}
	for (int dom = 0; dom <= ap.max_domain; dom++) {
		bool any = false;

		for (int i = 0; i < ap.nr_cards; i++)
			any |= mask_test(&doms_of_card[ap.cards[i]], dom);
		if (mask_test(&common, dom))
			ap.doms[ap.nr_doms++] = dom;
		else if (!any)
			ap.no_doms[ap.nr_no_doms++] = dom;
	}
}

void ap_start(int nr_doms)
{
	const char *impl = getenv("IMPL");

	setbuf(stdout, NULL);
	if (impl && strcmp(impl, "c") && strcmp(impl, "rust"))
		ksft_exit_fail_msg("IMPL is neither c nor rust: %s\n", impl);
	if (geteuid())
		ksft_exit_skip("needs root\n");
	if (!path_exists(AP_BUS))
		ksft_exit_skip("no AP bus\n");
	if (!wait_for(ap_bindings_settled()))
		ksft_exit_fail_msg("AP bus: bindings %s", file_text(AP_BUS "/bindings"));
	find_machine();
	if (ap.nr_cards < AP_MIN_CARDS || ap.nr_doms < AP_MIN_DOMAINS)
		ksft_exit_fail_msg("%d adapters with %d domains in common; needs %d with %d\n",
				   ap.nr_cards, ap.nr_doms, AP_MIN_CARDS,
				   AP_MIN_DOMAINS);
	if (bus_mask("apmask", &found_apmask) || bus_mask("aqmask", &found_aqmask))
		ksft_exit_fail_msg("cannot read apmask and aqmask\n");
	found_scan_time = atoi(file_text(AP_BUS "/config_time"));
	if (mdev_count())
		ksft_exit_fail_msg("there are mediated devices already\n");

	if (nr_doms > ap.nr_doms)
		nr_doms = ap.nr_doms;
	ap.nr_given = nr_doms;
	ap.apmask = mask_of(ap.nr_cards, ap.cards);
	ap.aqmask = mask_of(ap.nr_doms - nr_doms, ap.doms + nr_doms);
	main_pid = getpid();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		ksft_exit_fail_msg("no memory\n");
	atexit(give_all_back);
	signal(SIGTERM, terminate);
	if (ap_restore())
		ksft_exit_fail_msg("cannot give queues to %s\n", MODULE_NAME);
}

/* The kernel log */

static void kmsg_write(const char *what, const char *regex)
{
	if (impl_is_c())
		file_write("/dev/kmsg", "expect-fault: %s%s", what, regex);
}

void expect_faults(const char *regex)
{
	kmsg_write("begin ", regex);
}

void expected_faults_end(void)
{
	kmsg_write("end", "");
}

bool kernel_has_kasan(void)
{
	return strstr(file_text("/proc/kallsyms"), " kasan_report");
}

int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

const char *kmsg_text(int fd)
{
	char record[8192], *all = text("%s", "");
	ssize_t n;

	while ((n = read(fd, record, sizeof(record) - 1)) > 0 ||
	       (n < 0 && errno == EPIPE)) {
		char *line;

		if (n < 0)
			continue;	/* overwritten; go on with the next */
		record[n] = 0;
		line = strchr(record, ';');
		if (line)
			all = text("%s%.*s\n", all, (int)strcspn(line + 1, "\n"),
				   line + 1);
	}
	return all;
}

int count_lines_with(const char *log, const char *what)
{
	int n = 0;

	while ((log = strstr(log, what))) {
		n++;
		log += strcspn(log, "\n");
	}
	return n;
}

/* Uevents */

int uevent_open(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC,
			NETLINK_KOBJECT_UEVENT);
	int size = 16 << 20;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		close(fd);
		return -errno;
	}
	return fd;
}

bool uevent_next(int fd, struct uevent *event, int milliseconds)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	ssize_t n;

	if (poll(&pollfd, 1, milliseconds) != 1)
		return false;
	n = recv(fd, event->text, sizeof(event->text) - 1, 0);
	if (n <= 0)
		return false;
	event->text[n] = 0;
	event->len = n;
	return true;
}

const char *uevent_get(const struct uevent *event, const char *key)
{
	size_t key_len = strlen(key);

	for (size_t at = 0; at < event->len; at += strlen(event->text + at) + 1)
		if (!strncmp(event->text + at, key, key_len) &&
		    event->text[at + key_len] == '=')
			return event->text + at + key_len + 1;
	return "";
}

bool uevent_wait(int fd, struct uevent *event, const char *key,
		 const char *value)
{
	double end = now() + AP_PATIENCE;

	while (now() < end)
		if (uevent_next(fd, event, 100) &&
		    !strcmp(uevent_get(event, key), value))
			return true;
	return false;
}
