// SPDX-License-Identifier: GPL-2.0-only
/*
 * QMP over a virtio-serial port: as much as the tests need.  Lines are JSON
 * objects; what is neither an answer nor the greeting is an event, and skipped.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qmp.h"

#define PORTS	"/sys/class/virtio-ports"

static const char *find_port(void)
{
	DIR *dir = opendir(PORTS);
	const char *port = NULL;
	struct dirent *entry;

	if (!dir)
		return NULL;
	while (!port && (entry = readdir(dir)))
		if (!strcmp(file_text(text(PORTS "/%s/name", entry->d_name)),
			    "qmp\n"))
			port = text("/dev/%s", entry->d_name);
	closedir(dir);
	return port;
}

/* One line, without its end; empty if none comes in time. */
static const char *read_line(int fd, double end)
{
	static char pending[1 << 16];	/* read, but not of a line before */
	static size_t len;
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	char *newline;
	ssize_t n;

	while (!(newline = memchr(pending, '\n', len))) {
		if (now() > end || len == sizeof(pending))
			return "";
		/* On a machine where sleeping takes no time, no answer would be soon enough. */
		if (poll(&pollfd, 1, 0) != 1) {
			sched_yield();
			continue;
		}
		n = read(fd, pending + len, sizeof(pending) - len);
		if (n > 0)
			len += n;
		else
			nap();		/* nobody at the other end (yet) */
	}
	n = newline - pending;
	newline = text("%.*s", (int)n, pending);
	len -= n + 1;
	memmove(pending, pending + n + 1, len);
	return newline;
}

/*
 * Each request has an id of its own, so that an answer that an earlier user of
 * the port did not wait for is not taken for this one.
 */
static const char *run_command(int fd, const char *command)
{
	static unsigned int count;
	const char *id = text("\"id\": \"%d-%u\"", getpid(), count++);
	const char *request = text("{\"execute\": %s, %s}\n", command, id);
	double end = now() + AP_PATIENCE;
	size_t len = strlen(request);
	const char *line;

	if (write(fd, request, len) != (ssize_t)len)
		return "";
	do {
		line = read_line(fd, end);
		if (strstr(line, id))
			return line;
	} while (now() < end);
	return "";
}

int qmp_open(void)
{
	const char *port = find_port();
	int fd;

	if (!port)
		return -ENODEV;
	fd = open(port, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/*
	 * The greeting may have gone to an earlier user of the port, who then
	 * left the monitor in command mode: an answer of either kind is enough.
	 */
	if (!*run_command(fd, "\"qmp_capabilities\"")) {
		close(fd);
		return -ETIME;
	}
	return fd;
}

const char *qmp_execute(int fd, const char *fmt, ...)
{
	va_list args;
	char *command;

	va_start(args, fmt);
	if (vasprintf(&command, fmt, args) < 0)
		abort();
	va_end(args);
	return run_command(fd, command);
}

bool qmp_ok(const char *answer)
{
	return strstr(answer, "\"return\"") && !strstr(answer, "\"error\"");
}

static const char *property_of(const char *path, const char *property)
{
	return text("\"path\": \"%s\", \"property\": \"%s\"", path, property);
}

bool qmp_set(int fd, const char *path, const char *property, const char *json)
{
	return qmp_ok(qmp_execute(fd,
				  "\"qom-set\", \"arguments\": {%s, \"value\": %s}",
				  property_of(path, property), json));
}

const char *qmp_get(int fd, const char *path, const char *property)
{
	const char *answer =
		qmp_execute(fd, "\"qom-get\", \"arguments\": {%s}",
			    property_of(path, property));
	const char *value = strstr(answer, "\"return\": ");
	int depth = 0, len = 0;

	if (!value || !qmp_ok(answer))
		return "";
	value += strlen("\"return\": ");
	for (; value[len]; len++) {
		if (strchr("{[", value[len]))
			depth++;
		else if (!depth && strchr(",}", value[len]))
			break;
		else if (strchr("}]", value[len]))
			depth--;
	}
	return text("%.*s", len, value);
}

#define PERIPHERAL	"/machine/peripheral"

/* What qom-list says of each card, and what is before and behind its name. */
#define CARD_TYPE	"\"type\": \"child<s390-ap-card>\""
#define NAME		"\"name\": \""

static const char *list_peripherals(int fd)
{
	return qmp_execute(fd, "\"qom-list\", \"arguments\": {\"path\": \"" PERIPHERAL "\"}");
}

const char *qmp_card(int fd, int card)
{
	const char *object = list_peripherals(fd), *end;

	/* One object after the other, from brace to brace. */
	while ((object = strchr(object, '{')) && (end = strchr(object + 1, '}'))) {
		const char *members = text("%.*s", (int)(end - object - 1),
					   object + 1);
		const char *inner = strrchr(members, '{');
		const char *name, *path;

		object = end;
		members = inner ? inner : members;
		name = strstr(members, NAME);
		if (!name || !strstr(members, CARD_TYPE))
			continue;
		name += strlen(NAME);
		path = text(PERIPHERAL "/%.*s", (int)strcspn(name, "\""), name);
		if (atoi(qmp_get(fd, path, "apid")) == card)
			return path;
	}
	return "";
}

const char *qmp_queue(int fd, int card, int dom)
{
	const char *path = qmp_card(fd, card);

	return *path ? text("%s/queue[%d]", path, dom) : "";
}

unsigned long queue_counter(int qmp, const char *queue, const char *counter)
{
	return strtoul(qmp_get(qmp, queue, counter), NULL, 10);
}

/* What the tests add is told by its name. */
#define NEW_DEVICE	"kselftest-"

static bool add_device(int fd, const char *id, const char *properties)
{
	return qmp_ok(qmp_execute(fd,
				  "\"device_add\", \"arguments\": {\"id\": \"%s\", %s}",
				  id, properties));
}

bool qmp_add_card(int fd, int card, const char *type)
{
	return add_device(fd, text(NEW_DEVICE "card%d", card),
			  text("\"driver\": \"s390-ap-card\", \"apid\": %d, \"hwtype\": \"%s\"",
			       card, type));
}

bool qmp_add_domain(int fd, int dom)
{
	return add_device(fd, text(NEW_DEVICE "dom%d", dom),
			  text("\"driver\": \"s390-ap-domain\", \"apqi\": %d", dom));
}

bool qmp_remove_new(int fd)
{
	const char *name = list_peripherals(fd);
	bool any = false, ok = true;

	while ((name = strstr(name, NAME NEW_DEVICE))) {
		name += strlen(NAME);
		any = true;
		ok &= qmp_ok(qmp_execute(fd, "\"device_del\", \"arguments\": {\"id\": \"%.*s\"}",
					 (int)strcspn(name, "\""), name));
	}
	return any && ok;
}

bool qmp_config_events(int fd, bool on)
{
	return qmp_set(fd, "/machine/s390-ap", "config-events", on ? "true" : "false");
}

static bool bus_has_new_device(void)
{
	return path_exists("/sys/devices/ap/card%02x", ap.no_cards[0]) ||
	       path_exists("%s", queue_path(ap.cards[0], ap.no_doms[0]));
}

bool qmp_restore(void)
{
	int fd = qmp_open();
	bool ok = fd >= 0;

	if (!ok)
		return false;
	ok = qmp_config_events(fd, true);
	qmp_remove_new(fd);	/* most tests added none */
	for (int i = 0; i < ap.nr_cards; i++) {
		const char *card = qmp_card(fd, ap.cards[i]);

		ok &= qmp_set(fd, card, "configured", "true") &&
		      qmp_set(fd, card, "checkstopped", "false") &&
		      qmp_set(fd, card, "reset-stuck", "false") &&
		      qmp_set(fd, card, "force", "\"\"");
	}
	close(fd);
	return wait_for(!ap_rescan() && !bus_has_new_device()) && ok;
}
