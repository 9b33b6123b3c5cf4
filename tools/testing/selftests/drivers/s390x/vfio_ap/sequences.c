// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random sequences of operations: the driver has to do what the model says; see
 * model.h.  With the C driver the model has the faults of the C driver, and each
 * difference from what is right is counted by its row of the table of differences.
 * A sequence after which driver and model do not agree is made as short as it can
 * be, and printed.
 *
 * The environment may say: MODEL_SEQUENCES, how many; MODEL_SEED, from where on;
 * MODEL_FAULT, what is to be wrong in the model (see model_faults in model.c); or
 * MODEL_SEQUENCE, the one sequence to do, printing every step.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model.h"
#include "qmp.h"
#include "vm.h"

#define SEQUENCES	200
#define LENGTH		14
#define FAULT_TRIES	60	/* sequences until a wrong model is found out */
#define SEEN_SIZE	131072

static int qmp;
static bool c_driver;
static struct model right, faulty;	/* the two models */
static struct vm vm[MODEL_VMS];
static struct mdev mdevs[MODEL_MDEVS];
static struct {
	struct vdev vdev;
	int request, change;		/* eventfds */
	pid_t remover;
	unsigned long signals;
} session[MODEL_MDEVS];

static struct model *under_test(void)
{
	return c_driver ? &faulty : &right;
}

/* Random numbers: the same ones everywhere. */

static unsigned long random_state;

static unsigned int random_below(unsigned int n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 11) % n;
}

/* What users really see, in the same form as model_show() */

/*
 * A file that is looked at all the time.  It stays open, which is most of the time
 * that a look takes; once what it belongs to has gone, so has the open file.
 */
struct watched {
	char *path;
	int fd;			/* 0 if it is not open */
};

/* More than a page is read in parts. */
static ssize_t read_again(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	do {
		n = pread(fd, buf + len, size - len, len);
		if (n < 0)
			return -errno;
		len += n;
	} while (n >= 4095);
	return len;
}

static size_t look_at(struct watched *file, char *buf, size_t size)
{
	bool opened = false;
	ssize_t n;

	for (;;) {
		if (!file->fd) {
			opened = true;
			file->fd = open(file->path, O_RDONLY | O_CLOEXEC);
		}
		n = file->fd < 0 ? -errno : read_again(file->fd, buf, size - 1);
		if (n >= 0)
			break;
		if (file->fd > 0)
			close(file->fd);
		file->fd = 0;
		if (opened)
			return snprintf(buf, size, "<%s>\n", strerrorname_np(-n));
	}
	buf[n] = 0;
	return n;
}

static size_t show_mdev(int i, char *buf, size_t size)
{
	static const char * const names[] = {
		"matrix", "guest_matrix", "control_domains", "ap_config",
		"guest_control_domains", "filtered",	/* not of the C driver */
	};
	static struct watched files[MODEL_MDEVS][ARRAY_SIZE(names)];
	static char *device[MODEL_MDEVS];
	size_t len = 0;

	if (!device[i])
		device[i] = text(MATRIX_DEV "/%s", model_uuid(i));
	if (access(device[i], F_OK))
		return snprintf(buf, size, "mdev %d: none\n", i);
	if (access(mdevs[i].path, F_OK))
		len += snprintf(buf, size, "mdev %d: going\n", i);
	if (!len) {
		for (int f = 0; f < ARRAY_SIZE(names) - 2 * c_driver; f++) {
			if (!files[i][f].path)
				files[i][f].path = text("%s/%s", mdevs[i].path, names[f]);
			len += snprintf(buf + len, size - len, "mdev %d: %s:\n", i, names[f]);
			len += look_at(&files[i][f], buf + len, size - len);
		}
	}
	if (session[i].vdev.mdev) {
		session[i].signals += eventfd_count(session[i].change);
		len += snprintf(buf + len, size - len, "mdev %d: signals: %lu\n", i,
				session[i].signals);
	}
	return len;
}

static size_t show_queue(int card, int dom, char *buf, size_t size)
{
	static struct {
		char *path, *driver;
		struct watched status, owner;
	} queues[MODEL_SEEN][MODEL_SEEN], *q;
	const char *driver = "none";
	char link[100];
	size_t len;
	ssize_t n;

	q = &queues[card][dom];
	if (!q->path) {
		q->path = text("%s", queue_path(model_card[card], model_dom[dom]));
		q->driver = text("%s/driver", q->path);
		q->status.path = text("%s/status", q->path);
		q->owner.path = text("%s/owner", q->path);
	}
	n = readlink(q->driver, link, sizeof(link) - 1);
	if (n > 0) {
		link[n] = 0;
		driver = strrchr(link, '/') + 1;
	} else if (access(q->path, F_OK)) {
		return 0;
	}
	len = snprintf(buf, size, "queue %02x.%04x: %s", model_card[card], model_dom[dom],
		       driver);
	if (!strcmp(driver, MODULE_NAME) || !access(q->status.path, F_OK)) {
		len += snprintf(buf + len, size - len, ", ");
		len += look_at(&q->status, buf + len, size - len) - 1;
		if (!c_driver) {
			len += snprintf(buf + len, size - len, ", of ");
			n = look_at(&q->owner, buf + len, size - len);
			if (n == 1)
				n = snprintf(buf + len, size - len, "nobody\n");
			len += n - 1;
		}
	}
	return len + snprintf(buf + len, size - len, "\n");
}

static void show(char *buf, size_t size)
{
	size_t len = 0;

	for (int i = 0; i < MODEL_MDEVS; i++)
		len += show_mdev(i, buf + len, size - len);
	for (int card = 0; card < MODEL_SEEN; card++)
		for (int dom = 0; dom < MODEL_SEEN; dom++)
			len += show_queue(card, dom, buf + len, size - len);
}

/* Lines of @a that are not in @b. */
static void print_lines(const char *what, const char *a, const char *b)
{
	while (*a) {
		int len = strcspn(a, "\n") + 1;
		char *line = text("%.*s", len, a);
		const char *found = strstr(b, line);

		if (!found || (found > b && found[-1] != '\n'))
			printf("#     %s %s", what, line);
		free(line);
		a += len;
	}
}

/* Doing it */

static int set_mdev(const struct op *op, const char *file, const char *data)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", mdevs[op->arg[0]].path, file);
	return file_write_n(path, data, strlen(data));
}

static int open_mdev(int i, int v, bool cdev)
{
	int ret;

	if (session[i].vdev.mdev)
		return -EBUSY;
	if (access(mdevs[i].path, F_OK))
		return -ENOENT;
	ret = vdev_open(&session[i].vdev, &mdevs[i], cdev, v < MODEL_VMS ? &vm[v] : NULL);
	if (ret) {
		session[i].vdev.mdev = NULL;
		return ret;
	}
	session[i].request = eventfd_new();
	session[i].change = eventfd_new();
	return vdev_set_eventfd(&session[i].vdev, VFIO_AP_REQ_IRQ_INDEX, session[i].request) ?:
	       vdev_set_eventfd(&session[i].vdev, VFIO_AP_CFG_CHG_IRQ_INDEX, session[i].change);
}

static int close_mdev(int i)
{
	int status = 0;

	if (!session[i].vdev.mdev)
		return -EBADF;
	vdev_close(&session[i].vdev);
	close(session[i].request);
	close(session[i].change);
	session[i].vdev.mdev = NULL;
	if (session[i].remover) {
		waitpid(session[i].remover, &status, 0);
		session[i].remover = 0;
	}
	return status ? -EIO : 0;
}

static int request_mdev(int i)
{
	if (!session[i].vdev.mdev || session[i].remover)
		return -EBADF;
	session[i].remover = fork();
	if (!session[i].remover) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close_range(STDERR_FILENO + 1, ~0U, 0);
		_exit(mdev_remove(&mdevs[i]) ? 1 : 0);
	}
	return wait_for(eventfd_count(session[i].request)) ? 0 : -ETIME;
}

static const char *card_object(int card)
{
	static const char *objects[MODEL_SEEN];

	if (!objects[card])
		objects[card] = qmp_card(qmp, model_card[card]);
	return objects[card];
}

static int hotplug(const struct op *op)
{
	bool value = op->arg[1], ok;

	switch (op->kind) {
	case OP_CARD_ADD:
		ok = qmp_add_card(qmp, model_card[MODEL_HOT], "cex7");
		break;
	case OP_DOM_ADD:
		ok = qmp_add_domain(qmp, model_dom[MODEL_HOT]);
		break;
	case OP_CARD_DEL:
	case OP_DOM_DEL:
		ok = qmp_remove_new(qmp);
		break;
	default:
		ok = qmp_set(qmp, card_object(op->arg[0]), op->kind == OP_CONFIGURED ?
			     "configured" : "checkstopped", value ? "true" : "false");
	}
	return ok ? ap_rescan() : -EIO;
}

static bool is_hotplug(const struct op *op)
{
	return op->kind >= OP_CARD_ADD && op->kind <= OP_CHECKSTOP;
}

static int do_op(const struct op *op)
{
	static const char * const drivers[] = { "\n", "cex4queue\n", "vfio_ap\n" };
	const int *arg = op->arg;

	switch (op->kind) {
	case OP_CREATE:
		return file_write(MDEV_TYPE "/create", "%s", mdevs[arg[0]].uuid);
	case OP_CREATE_BAD:
		return file_write(MDEV_TYPE "/create", "%s", model_bad_uuid(arg[0]));
	case OP_REMOVE:
		if (session[arg[0]].vdev.mdev)
			return access(mdevs[arg[0]].path, F_OK) ? -ENOENT : -EBUSY;
		return set_mdev(op, "remove", "1");
	case OP_REQUEST:
		return request_mdev(arg[0]);
	case OP_ASSIGN_ADAPTER:
		return set_mdev(op, "assign_adapter", model_number(arg[1]));
	case OP_UNASSIGN_ADAPTER:
		return set_mdev(op, "unassign_adapter", model_number(arg[1]));
	case OP_ASSIGN_DOMAIN:
		return set_mdev(op, "assign_domain", model_number(arg[1] + 1000));
	case OP_UNASSIGN_DOMAIN:
		return set_mdev(op, "unassign_domain", model_number(arg[1] + 1000));
	case OP_ASSIGN_CONTROL:
		return set_mdev(op, "assign_control_domain", model_number(arg[1] + 1000));
	case OP_UNASSIGN_CONTROL:
		return set_mdev(op, "unassign_control_domain", model_number(arg[1] + 1000));
	case OP_CONFIG:
	case OP_CONFIG_LARGE:
		return set_mdev(op, "ap_config", model_config(op));
	case OP_TRY:
		return set_mdev(op, "try_ap_config", model_config(op));
	case OP_CONFIG_TEXT:
		return set_mdev(op, "ap_config", model_config_text(arg[1]));
	case OP_BIND:
		return queue_bind(model_card[arg[0]], model_dom[arg[1]],
				  arg[2] ? "cex4queue" : "vfio_ap");
	case OP_UNBIND:
		return queue_unbind(model_card[arg[0]], model_dom[arg[1]]);
	case OP_OVERRIDE:
		return file_write(text("%s/driver_override", queue_path(model_card[arg[0]],
									model_dom[arg[1]])),
				  "%s", drivers[arg[2]]);
	case OP_APMASK:
		return file_write(AP_BUS "/apmask", "%s", model_mask(op));
	case OP_AQMASK:
		return file_write(AP_BUS "/aqmask", "%s", model_mask(op));
	case OP_OPEN:
		return open_mdev(arg[0], arg[1], arg[2]);
	case OP_CLOSE:
		return close_mdev(arg[0]);
	case OP_RESET:
		return session[arg[0]].vdev.mdev ?
		       vdev_ioctl(&session[arg[0]].vdev, VFIO_DEVICE_RESET, NULL) : -EBADF;
	case OP_UNLOAD:
		return module_unload(MODULE_NAME);
	case OP_LOAD:
		return module_load(MODULE_NAME);
	default:
		return hotplug(op);
	}
}

/* What was seen of each difference between the models */

static struct row {
	const char *id;
	unsigned int times;
	char first[24];
} rows[16];

static unsigned int precautions, late, steps;
/* Where the time goes; the last one is for looking at what users see. */
static struct spent {
	const char *what;
	double seconds;
	unsigned int times;
} spent[OP_KINDS + 1];
static const char *where = "";		/* which sequence */

static void count_time(const struct op *op, double since)
{
	struct spent *s = &spent[op ? op->kind : OP_KINDS];

	if (!s->what)
		s->what = op ? text("%s", op_text(op)) : "looking";
	s->seconds += now() - since;
	s->times++;
}

static int by_seconds(const void *a, const void *b)
{
	const struct spent *x = a, *y = b;

	return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static void count_row(const char *id)
{
	struct row *row = rows;

	while (row->id && strcmp(row->id, id))
		row++;
	if (!row->times++)
		snprintf(row->first, sizeof(row->first), "%s", where);
	row->id = id;
}

/* Of all operations since the last look: how long what is seen may lag, and signals. */
static double patience;
static int signals_due[MODEL_MDEVS];

/* Those that the operation has led to; a device that is closed has nobody to be told. */
static void count_signals(void)
{
	for (int i = 0; i < MODEL_MDEVS; i++) {
		const struct model_mdev *mdev = &under_test()->mdev[i];

		signals_due[i] = mdev->open ? signals_due[i] + mdev->signals : 0;
	}
}

/*
 * C3: with the C driver, a queue that was left out points to its mdev after that
 * is gone, and follows the pointer when it is unbound.  So it is unbound before.
 */
static void spare_c_driver(const struct op *op)
{
	struct model *m = &faulty;

	if (op->kind != OP_REMOVE && op->kind != OP_CLOSE && op->kind != OP_UNLOAD)
		return;
	for (int card = 0; card < MODEL_SEEN; card++) {
		for (int dom = 0; dom < MODEL_SEEN; dom++) {
			struct op unbind = { OP_UNBIND, { card, dom } };
			struct op bind = { OP_BIND, { card, dom, 0 } };

			if (!model_queue_exists(m, card, dom) ||
			    m->queue[card][dom].stale < 0)
				continue;
			precautions++;
			if (do_op(&unbind) || model_apply(m, &unbind))
				return;
			count_signals();
			do_op(&bind);
			model_apply(m, &bind);
			count_signals();
		}
	}
}

/* How long what is seen may lag behind an operation, in seconds. */
static double lag(const struct op *op)
{
	return is_hotplug(op) ? 10 : op->kind == OP_BIND || op->kind == OP_CLOSE ||
	       op->kind == OP_APMASK || op->kind == OP_AQMASK || op->kind == OP_LOAD ? 2 : 0;
}

static char expected[SEEN_SIZE], seen[SEEN_SIZE];
static bool verbose;

/*
 * One operation, by driver and models; false if they do not agree: in what it returns,
 * and with @look in what is seen after it.
 */
static bool step(const struct op *op, bool look, const char **earlier)
{
	bool forbidden = model_forbids(under_test(), op);
	int ret, right_ret, c_ret, want;
	static struct model shown;
	const char *row;
	bool same = true;
	double since;

	steps++;
	if (c_driver)
		spare_c_driver(op);
	right_ret = model_apply(&right, op);
	c_ret = model_apply(&faulty, op);
	want = c_driver ? c_ret : right_ret;
	count_signals();
	since = now();
	if (forbidden || (is_hotplug(op) && want))
		ret = want;
	else
		ret = do_op(op);
	count_time(op, since);

	if (patience < lag(op))
		patience = lag(op);
	/* The bus may still be at work for a change of hardware. */
	if (!look && ret == want && !is_hotplug(op))
		goto agreed;
	since = now();
	shown = *under_test();
	for (int i = 0; i < MODEL_MDEVS; i++) {
		shown.mdev[i].signals = signals_due[i];
		signals_due[i] = 0;
		session[i].signals = 0;
	}
	model_show(&shown, expected, sizeof(expected));
	show(seen, sizeof(seen));
	same = !strcmp(expected, seen);
	if (!same && patience) {
		same = wait_for_at_most(patience, (show(seen, sizeof(seen)),
						   !strcmp(expected, seen)));
		late += same;
	}
	patience = 0;
	count_time(NULL, since);
agreed:
	row = model_row(&right, &faulty, op, right_ret, c_ret, *earlier);
	if (row && !*earlier)
		count_row(row);
	*earlier = row;
	if (verbose)
		printf("#   %-28s %s%s%s\n", op_text(op), ret ? strerrorname_np(-ret) : "0",
		       row ? ", row " : "", row ?: "");
	if (verbose && (ret != want || !same)) {
		printf("#     the model says %s\n", want ? strerrorname_np(-want) : "0");
		print_lines("model: ", expected, seen);
		print_lines("driver:", seen, expected);
	}
	return ret == want && same;
}

/* Back to where sequences start */

static void hard_restore(void)
{
	for (int i = 0; i < MODEL_MDEVS; i++)
		close_mdev(i);
	/* The port has one user at a time. */
	close(qmp);
	if (!qmp_restore() || ap_restore())
		ksft_exit_fail_msg("the machine cannot be restored\n");
	qmp = qmp_open();
	model_start(&right, false);
	model_start(&faulty, true);
}

static bool undo(enum op_kind kind, int a, int b, int c)
{
	struct op op = { kind, { a, b, c } };
	const char *earlier = "";

	return step(&op, false, &earlier);
}

/* By operations, which have to do what the model says, too. */
static bool restore(void)
{
	const struct op last = { OP_AQMASK, { 9 } };
	const struct model *m = under_test();
	const char *earlier = "";
	bool ok = true;

	for (int i = 0; i < MODEL_MDEVS; i++) {
		if (ok && m->mdev[i].open)
			ok = undo(OP_CLOSE, i, 0, 0);
		if (ok && m->mdev[i].life)
			ok = undo(OP_REMOVE, i, 0, 0);
	}
	if (ok && !m->loaded)
		ok = undo(OP_LOAD, 0, 0, 0);
	if (ok && m->card_there[MODEL_HOT])
		ok = undo(OP_CARD_DEL, 0, 0, 0);
	if (ok && m->dom_there[MODEL_HOT])
		ok = undo(OP_DOM_DEL, 0, 0, 0);
	for (int card = 0; ok && card < MODEL_HOT; card++) {
		if (!m->configured[card])
			ok = undo(OP_CONFIGURED, card, 1, 0);
		if (ok && m->checkstopped[card])
			ok = undo(OP_CHECKSTOP, card, 0, 0);
		for (int dom = 0; ok && dom < MODEL_HOT; dom++) {
			if (m->queue[card][dom].override)
				ok = undo(OP_OVERRIDE, card, dom, DRIVER_NONE);
			if (ok && !m->queue[card][dom].driver)
				ok = undo(OP_BIND, card, dom,
					  mask_test(&m->apmask, model_card[card]) &&
					  mask_test(&m->aqmask, model_dom[dom]));
		}
	}
	return ok && undo(OP_APMASK, 9, 0, 0) && step(&last, true, &earlier);
}

/* Sequences */

#define MAX_LENGTH	200

struct sequence {
	int length;
	struct op op[MAX_LENGTH];
};

/* Returns how many operations it took until driver and model disagreed, or 0. */
static int run(const struct sequence *sequence)
{
	const char *earlier = NULL;
	int n = 0;

	model_start(&right, false);
	model_start(&faulty, true);
	while (n < sequence->length)
		if (!step(&sequence->op[n++], true, &earlier))
			goto disagree;
	if (restore())
		return 0;
disagree:
	hard_restore();
	return n;
}

static bool sequence_parse(struct sequence *sequence, const char *list)
{
	char *copy = strdup(list), *rest = copy, *one;

	sequence->length = 0;
	while ((one = strsep(&rest, ",")))
		if (sequence->length == MAX_LENGTH ||
		    !op_parse(&sequence->op[sequence->length++], one))
			return false;
	free(copy);
	return true;
}

/* What users do often, and what seldom. */
static const struct {
	enum op_kind kind;
	int weight;
} weights[] = {
	{ OP_CREATE, 60 }, { OP_CREATE_BAD, 4 }, { OP_REMOVE, 25 }, { OP_REQUEST, 15 },
	{ OP_ASSIGN_ADAPTER, 140 }, { OP_UNASSIGN_ADAPTER, 60 },
	{ OP_ASSIGN_DOMAIN, 140 }, { OP_UNASSIGN_DOMAIN, 60 },
	{ OP_ASSIGN_CONTROL, 40 }, { OP_UNASSIGN_CONTROL, 25 },
	{ OP_CONFIG, 100 }, { OP_TRY, 20 }, { OP_CONFIG_TEXT, 25 }, { OP_CONFIG_LARGE, 3 },
	{ OP_BIND, 50 }, { OP_UNBIND, 45 }, { OP_OVERRIDE, 30 },
	{ OP_APMASK, 25 }, { OP_AQMASK, 25 },
	/* They take ten times as long as others, and are undone in the end. */
	{ OP_CARD_ADD, 3 }, { OP_CARD_DEL, 3 }, { OP_DOM_ADD, 3 }, { OP_DOM_DEL, 3 },
	{ OP_CONFIGURED, 2 }, { OP_CHECKSTOP, 2 },
	{ OP_OPEN, 80 }, { OP_CLOSE, 35 }, { OP_RESET, 20 }, { OP_UNLOAD, 4 }, { OP_LOAD, 8 },
};

static struct op any_op(void)
{
	int total = 0, at;
	struct op op = {};

	for (int i = 0; i < ARRAY_SIZE(weights); i++)
		total += weights[i].weight;
	at = random_below(total);
	for (int i = 0; at >= 0; i++) {
		op.kind = weights[i].kind;
		at -= weights[i].weight;
	}
	for (int i = 0; i < OP_ARGS && op_values(op.kind, i); i++)
		op.arg[i] = random_below(op_values(op.kind, i));
	/* Mostly good numbers. */
	if (op.kind >= OP_ASSIGN_ADAPTER && op.kind <= OP_UNASSIGN_CONTROL && random_below(8))
		op.arg[1] %= 3 * MODEL_SEEN;
	if ((op.kind == OP_CONFIG || op.kind == OP_TRY) && random_below(3))
		op.arg[2] &= 3;
	return op;
}

/*
 * What would do nothing is seldom of interest, and most of what is drawn would; so
 * the model is asked.
 */
static bool is_dull(const struct model *m, const struct op *op)
{
	struct model before = *m, after = *m;
	int ret;

	if (model_forbids(m, op))
		return true;
	ret = model_apply(&after, op);
	for (int i = 0; i < MODEL_MDEVS; i++)
		before.mdev[i].signals = after.mdev[i].signals;
	if (!ret)
		return !memcmp(&before, &after, sizeof(after));
	return ret == -ENOENT || ret == -EBADF || ret == -ENODEV || ret == -EEXIST ||
	       (ret == -EINVAL && op->kind == OP_OVERRIDE);
}

/* Two queues of adapter 0 for vfio_ap, by driver_override. */
#define FIRST		",driver_override.0.0.2,unbind.0.0,bind.0.0.0"
#define SECOND		",driver_override.0.1.2,unbind.0.1,bind.0.1.0"
#define OVERRIDDEN	"apmask.8,aqmask.8" FIRST SECOND

/* Where it gets interesting sooner, and what comes before. */
static const struct {
	int weight;
	const char *list;
} beginnings[] = {
	{ 4, "create.0" },
	{ 2, "create.0,ap_config.0.1.3.0,open.0.0.0" },
	{ 2, "create.1,ap_config.1.3.1.1,create.2,ap_config.2.3.2.1,open.2.1.1" },
	{ 1, "unbind.1.1,create.0,ap_config.0.3.3.0" },
	{ 1, "create.0,ap_config.0.9.11.11,open.0.1.0" },
	{ 1, OVERRIDDEN ",create.0" },
};

static void generate(struct sequence *sequence, unsigned long seed)
{
	const char *fault = model_fault, *list = "";
	int total = 0, at, begun;
	struct model m;

	/* The same sequences for each driver and each model. */
	model_fault = NULL;
	model_start(&m, false);
	random_state = seed * 0x9e3779b97f4a7c15UL + 1;
	for (int i = 0; i < 8; i++)
		random_below(2);
	for (int i = 0; i < ARRAY_SIZE(beginnings); i++)
		total += beginnings[i].weight;
	at = random_below(total);
	for (int i = 0; at >= 0; i++) {
		list = beginnings[i].list;
		at -= beginnings[i].weight;
	}
	sequence_parse(sequence, list);
	begun = sequence->length;
	sequence->length += 4 + random_below(2 * LENGTH - 8);
	for (int i = 0; i < sequence->length; i++) {
		struct op op = i < begun ? sequence->op[i] : any_op();

		for (int try = 0; i >= begun && try < 30 && is_dull(&m, &op) &&
		     random_below(20); try++)
			op = any_op();
		model_apply(&m, &op);
		sequence->op[i] = op;
	}
	model_fault = fault;
}

/* The shortest sequence with a disagreement that leaving out finds. */
static void shrink(struct sequence *sequence)
{
	for (int part = sequence->length / 2; part; part = part > 1 ? part / 2 : 0) {
		for (int at = 0; at + part <= sequence->length; ) {
			struct sequence shorter = *sequence;
			int n;

			shorter.length -= part;
			memmove(shorter.op + at, sequence->op + at + part,
				(sequence->length - at - part) * sizeof(struct op));
			n = shorter.length ? run(&shorter) : 0;
			if (n) {
				shorter.length = n;
				*sequence = shorter;
				at = 0;
			} else {
				at++;
			}
		}
	}
}

static const char *sequence_text(const struct sequence *sequence)
{
	const char *all = "";

	for (int i = 0; i < sequence->length; i++)
		all = text("%s%s%s", all, i ? "," : "", op_text(&sequence->op[i]));
	return all;
}

static void replay(const struct sequence *sequence)
{
	verbose = true;
	run(sequence);
	verbose = false;
}

static void report(struct sequence *sequence, int length, unsigned long seed)
{
	printf("# seed %lu: driver and model disagree after %d operations\n", seed, length);
	print_lines("model: ", expected, seen);
	print_lines("driver:", seen, expected);
	sequence->length = length;
	if (!run(sequence)) {
		printf("# done again, they agree: %s\n", sequence_text(sequence));
		return;
	}
	shrink(sequence);
	printf("# the shortest such sequence, to be done again by\n");
	printf("#   make compare SEQUENCE=%s%s\n", sequence_text(sequence),
	       model_fault ? text(" FAULT='%s'", model_fault) : "");
	replay(sequence);
}

static int number_of(const char *variable, int otherwise)
{
	const char *value = getenv(variable);

	return value && *value ? atoi(value) : otherwise;
}

static void random_sequences(void)
{
	unsigned long first = number_of("MODEL_SEED", 1), seed = first;
	unsigned long end = first + number_of("MODEL_SEQUENCES", SEQUENCES);
	struct sequence sequence;
	int length = 0;

	while (!length && seed < end) {
		where = text("seed %lu", seed);
		generate(&sequence, seed);
		length = run(&sequence);
		seed += !length;
	}
	if (length)
		report(&sequence, length, seed);
	printf("# seeds %lu to %lu: %u operations, %u of them seen late\n", first, seed - 1,
	       steps, late);
	qsort(spent, ARRAY_SIZE(spent), sizeof(spent[0]), by_seconds);
	for (int i = 0; i < 6; i++)
		if (spent[i].what)
			printf("# time: %.1f s in %u times %.*s\n", spent[i].seconds,
			       spent[i].times, (int)strcspn(spent[i].what, "."),
			       spent[i].what);
	for (struct row *row = rows; row->id; row++)
		printf("# row %s: in %u sequences, first %s\n", row->id, row->times, row->first);
	if (precautions)
		printf("# row C3: %u times a queue was spared from a use after free\n",
		       precautions);
	ksft_test_result(!length && seed > first,
			 "random sequences agree with the model\n");
}

/* Each row of the table of differences that shows in what the model describes. */
static const struct {
	const char *id, *sequence;
} shown[] = {
	{ "L4", "create.0,ap_config_text.0.5" },
	{ "L7", "create.0,ap_config.0.1.1.0,open.0.0.0,request.0" },
	{ "L8", "create.0,ap_config.0.1.1.0,open.0.0.1,configured.0.0,reset.0" },
	{ "L10", "unbind.1.1,create.0,ap_config.0.3.3.0,unassign_domain.0.1" },
	{ "M4", "create.0,ap_config_large.0" },
	{ "M8", OVERRIDDEN ",create.0,ap_config.0.1.1.0,driver_override.0.0.0,assign_domain.0.1" },
	{ "N3", "create.0,try_ap_config.0.1.1.0" },
	{ "N8", "create.0,ap_config.0.1.1.0,open.0.0.1,ap_config.0.2.2.0" },
};

static void row(const char *id, const char *list)
{
	struct sequence sequence;
	bool agree, differ = false;

	memset(rows, 0, sizeof(rows));
	if (!sequence_parse(&sequence, list))
		abort();
	agree = !run(&sequence);
	for (struct row *row = rows; row->id; row++)
		differ |= !strcmp(row->id, id);
	if (!agree)
		replay(&sequence);
	if (c_driver && agree && differ)
		ksft_test_result_xfail("row_%s # fault %s of the C driver\n", id, id);
	else
		ksft_test_result(agree && differ, "row_%s\n", id);
}

/* A model that is wrong must be found out. */
static void wrong_model(const char *fault)
{
	struct sequence sequence;
	int length = 0, seed;

	model_fault = fault;
	for (seed = 1; !length && seed <= FAULT_TRIES; seed++) {
		generate(&sequence, seed);
		length = run(&sequence);
	}
	model_fault = NULL;
	hard_restore();
	if (length)
		printf("# found out by sequence %d\n", seed - 1);
	/* Some faults the C driver has, too. */
	if (c_driver && !length && !strcmp(fault, "a device that was asked for keeps its queues"))
		ksft_test_result_xfail("wrong model: %s # fault L7 of the C driver\n", fault);
	else
		ksft_test_result(length, "wrong model: %s\n", fault);
}

int main(void)
{
	const char *list = getenv("MODEL_SEQUENCE"), *fault = getenv("MODEL_FAULT");
	struct sequence sequence;
	int nr_faults = 0;

	c_driver = impl_is_c();
	ap_start(2);
	vm_need_modules();
	qmp = qmp_open();
	if (qmp < 0)
		ksft_exit_fail_msg("no port to the emulator\n");
	for (int i = 0; i < MODEL_VMS; i++)
		if (vm_create(&vm[i]))
			ksft_exit_fail_msg("no virtual machine\n");
	for (int i = 0; i < MODEL_MDEVS; i++) {
		snprintf(mdevs[i].uuid, sizeof(mdevs[i].uuid), "%.36s", model_uuid(i));
		snprintf(mdevs[i].path, sizeof(mdevs[i].path), MDEV_BUS "/devices/%.36s",
			 model_uuid(i));
	}
	model_init();
	while (model_faults[nr_faults])
		nr_faults++;
	for (int i = 0; fault && *fault && i < nr_faults; i++)
		if (!strcmp(fault, model_faults[i]))
			model_fault = model_faults[i];
	if (fault && *fault && !model_fault)
		ksft_exit_fail_msg("no such fault: %s\n", fault);

	ksft_print_header();
	if (list && *list) {
		ksft_set_plan(1);
		if (!sequence_parse(&sequence, list))
			ksft_exit_fail_msg("not a sequence: %s\n", list);
		verbose = true;
		ksft_test_result(!run(&sequence), "the sequence agrees with the model\n");
		ksft_finished();
	}
	ksft_set_plan(1 + (model_fault ? 0 : ARRAY_SIZE(shown) + nr_faults));
	random_sequences();
	for (int i = 0; !(fault && *fault) && i < ARRAY_SIZE(shown); i++)
		row(shown[i].id, shown[i].sequence);
	for (int i = 0; !(fault && *fault) && i < nr_faults; i++)
		wrong_model(model_faults[i]);
	ksft_finished();
}
