/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The machine monitor of the emulator that runs this machine, over the
 * virtio-serial port named "qmp": cards and domains come, go and change.
 */
#ifndef VFIO_AP_SELFTEST_QMP_H
#define VFIO_AP_SELFTEST_QMP_H

#include "ap.h"

/* The port and the handshake; a file descriptor or a negative errno. */
int qmp_open(void);

/*
 * Executes one command, given as the JSON text of its name and arguments.
 * Returns the line of the answer, which has "return" or "error" in it, or an
 * empty string if none came in time.
 */
const char *qmp_execute(int fd, const char *fmt, ...) __printf(2, 3);

/* The same, true if the answer is not an error. */
bool qmp_ok(const char *answer);

/* Property of a QOM object: written as JSON; read as the JSON text. */
bool qmp_set(int fd, const char *path, const char *property, const char *json);
const char *qmp_get(int fd, const char *path, const char *property);

/*
 * Where the object of the card with this adapter id is, or of its queue in this
 * domain; empty if there is no such card.
 */
const char *qmp_card(int fd, int card);
const char *qmp_queue(int fd, int card, int dom);

/* How often its queue, as qmp_queue() names it, has had an instruction: "tapq-count". */
unsigned long queue_counter(int fd, const char *queue, const char *counter);

/* Hot plug: a card of the type that the emulator names so; all that is new goes again. */
bool qmp_add_card(int fd, int card, const char *type);
bool qmp_add_domain(int fd, int dom);
bool qmp_remove_new(int fd);

/* Without them the machine is not told of such a change: it has to look itself. */
bool qmp_config_events(int fd, bool on);

/*
 * No new device, events, and nothing wrong with the others: for the teardown.  When it
 * returns, the AP bus knows.
 */
bool qmp_restore(void);

#endif /* VFIO_AP_SELFTEST_QMP_H */
