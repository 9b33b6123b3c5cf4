/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A model of what users of vfio_ap see: which operation succeeds or fails with
 * which errno, and what the files in sysfs say after it.  It knows nothing of
 * how a driver does that, and does no I/O.
 *
 * There are two of it.  The one of the documentation says what is right.  The
 * other one has, on purpose, the faults of the C driver that show in sysfs; each
 * operation says by which row of the table of differences the two disagree, if
 * they do.
 */
#ifndef VFIO_AP_SELFTEST_MODEL_H
#define VFIO_AP_SELFTEST_MODEL_H

#include "ap.h"

/*
 * Adapters and domains by index.  The first MODEL_SEEN of both are looked at and
 * assigned; the others are the rest of the machine.
 */
#define MODEL_IDS	10
#define MODEL_SEEN	4
#define MODEL_HOT	3		/* the one that comes and goes */
#define MODEL_MDEVS	3
#define MODEL_VMS	2

enum op_kind {
	OP_CREATE, OP_CREATE_BAD, OP_REMOVE, OP_REQUEST,
	OP_ASSIGN_ADAPTER, OP_UNASSIGN_ADAPTER,
	OP_ASSIGN_DOMAIN, OP_UNASSIGN_DOMAIN,
	OP_ASSIGN_CONTROL, OP_UNASSIGN_CONTROL,
	OP_CONFIG, OP_TRY, OP_CONFIG_TEXT, OP_CONFIG_LARGE,
	OP_BIND, OP_UNBIND, OP_OVERRIDE, OP_APMASK, OP_AQMASK,
	OP_CARD_ADD, OP_CARD_DEL, OP_DOM_ADD, OP_DOM_DEL,
	OP_CONFIGURED, OP_CHECKSTOP,
	OP_OPEN, OP_CLOSE, OP_RESET, OP_UNLOAD, OP_LOAD,
	OP_KINDS
};

#define OP_ARGS	4

struct op {
	enum op_kind kind;
	int arg[OP_ARGS];
};

/* An operation as text, "assign_adapter.0.c1", and back; false if it is none. */
const char *op_text(const struct op *op);
bool op_parse(struct op *op, const char *text);
/* The values that argument @n may have: 0 .. op_values() - 1; 0 if there is none. */
int op_values(enum op_kind kind, int n);

/* What is written to sysfs for some of the arguments. */
const char *model_number(int value);		/* assign_... */
const char *model_config_text(int value);	/* texts for ap_config */
const char *model_config(const struct op *op);	/* OP_CONFIG, OP_TRY, OP_CONFIG_LARGE */
const char *model_mask(const struct op *op);	/* apmask, aqmask */
const char *model_bad_uuid(int value);

enum model_driver { DRIVER_NONE, DRIVER_DEFAULT, DRIVER_VFIO };

struct model_mdev {
	enum { MDEV_GONE, MDEV_THERE, MDEV_GOING } life;
	bool open;
	int vm;
	struct ap_mask apm, aqm, adm;
	/* What the guest has, or would get. */
	struct ap_mask guest_apm, guest_aqm, guest_adm;
	int signals;		/* of the configuration change, by this operation */
};

struct model_queue {
	enum model_driver driver, override;
	int stale;		/* fault C3: the mdev that is pointed to, or -1 */
};

struct model {
	bool c;			/* the one with the faults of the C driver */
	bool loaded;
	struct ap_mask apmask, aqmask;
	bool card_there[MODEL_IDS], dom_there[MODEL_IDS];
	bool configured[MODEL_SEEN], checkstopped[MODEL_SEEN];
	struct model_queue queue[MODEL_IDS][MODEL_IDS];
	struct model_mdev mdev[MODEL_MDEVS];
};

/* The machine by index; set by model_init(). */
extern int model_card[MODEL_IDS], model_dom[MODEL_IDS], model_cards, model_doms;

/* To be called once, after ap_start(2). */
void model_init(void);
/* What ap_restore() makes of the machine. */
void model_start(struct model *model, bool c);

/* Makes the model wrong: what is wrong, or NULL for a list of all that there is. */
extern const char *model_fault;
extern const char * const model_faults[];

/*
 * Would the operation crash a machine, whatever the driver?  Then it is not
 * done, neither here nor there.
 */
bool model_forbids(const struct model *model, const struct op *op);

/* Does the operation, if it may; returns 0 or the negative errno that a user gets. */
int model_apply(struct model *model, const struct op *op);

/* What a user then sees, one line for each thing, in @buf. */
void model_show(const struct model *model, char *buf, size_t size);

/* The lines of an mdev and of a queue, from what its files say. */
const char *model_uuid(int mdev);
bool model_queue_exists(const struct model *model, int card, int dom);

/*
 * The row of the table of differences that explains why the two models do not
 * agree on what @op returned or on what is seen after it: @earlier, if that is but
 * a consequence of what was so before; NULL if they agree.
 */
const char *model_row(const struct model *right, const struct model *c,
		      const struct op *op, int right_ret, int c_ret, const char *earlier);

#endif /* VFIO_AP_SELFTEST_MODEL_H */
