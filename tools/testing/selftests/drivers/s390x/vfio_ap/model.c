// SPDX-License-Identifier: GPL-2.0-only
/*
 * A model of what users of vfio_ap see; see model.h.
 *
 * What is right is short: ownership is two masks, what a guest gets is a function
 * of what is assigned, what the host has and what is bound, and whatever changes
 * is signalled once.  The functions that begin with c_ are what the C driver makes
 * of it.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

int model_card[MODEL_IDS], model_dom[MODEL_IDS], model_cards, model_doms;

const char *model_fault;

const char * const model_faults[] = {
	"unbound queues are passed on",
	"two mdevs may have a queue",
	"another mdev comes before the host",
	"removed domains stay",
	"octal is decimal",
	"changes are not signalled",
	"a device that was asked for keeps its queues",
	"apmask takes queues that are in use",
	"a closed device is in use",
	NULL
};

static bool wrong(const char *what)
{
	return model_fault && !strcmp(model_fault, what);
}

/* Masks */

static struct ap_mask and(struct ap_mask a, struct ap_mask b)
{
	for (int i = 0; i < 4; i++)
		a.word[i] &= b.word[i];
	return a;
}

static struct ap_mask andnot(struct ap_mask a, struct ap_mask b)
{
	for (int i = 0; i < 4; i++)
		a.word[i] &= ~b.word[i];
	return a;
}

static bool none(struct ap_mask a)
{
	return !(a.word[0] | a.word[1] | a.word[2] | a.word[3]);
}

static bool same(struct ap_mask a, struct ap_mask b)
{
	return !memcmp(&a, &b, sizeof(a));
}

static struct ap_mask all(void)
{
	struct ap_mask mask;

	memset(&mask, 0xff, sizeof(mask));
	return mask;
}

static int count(struct ap_mask a)
{
	int n = 0;

	for (int i = 0; i < 4; i++)
		n += __builtin_popcountl(a.word[i]);
	return n;
}

/* The first number in @a from @id on; AP_IDS if there is none. */
static int next_id(struct ap_mask a, int id)
{
	for (; id < AP_IDS; id = (id | 63) + 1) {
		unsigned long rest = a.word[id / 64] << id % 64;

		if (rest)
			return id + __builtin_clzl(rest);
	}
	return AP_IDS;
}

/* The machine */

void model_init(void)
{
	model_cards = ap.nr_cards + 1;
	model_doms = ap.nr_doms + 1;
	if (model_cards > MODEL_IDS)
		model_cards = MODEL_IDS;
	if (model_doms > MODEL_IDS)
		model_doms = MODEL_IDS;
	for (int i = 0; i < MODEL_IDS; i++) {
		/* The hot one is among those that are looked at. */
		int real = i - (i > MODEL_HOT);

		model_card[i] = i == MODEL_HOT ? ap.no_cards[0] : ap.cards[real];
		model_dom[i] = i == MODEL_HOT ? ap.no_doms[0] : ap.doms[real];
	}
}

static int card_index(int id)
{
	for (int i = 0; i < model_cards; i++)
		if (model_card[i] == id)
			return i;
	return -1;
}

static int dom_index(int id)
{
	for (int i = 0; i < model_doms; i++)
		if (model_dom[i] == id)
			return i;
	return -1;
}

static struct ap_mask host_apm(const struct model *m)
{
	struct ap_mask mask = {};

	for (int i = 0; i < model_cards; i++)
		if (m->card_there[i])
			mask_set(&mask, model_card[i]);
	return mask;
}

static struct ap_mask host_aqm(const struct model *m)
{
	struct ap_mask mask = {};

	for (int i = 0; i < model_doms; i++)
		if (m->dom_there[i])
			mask_set(&mask, model_dom[i]);
	return mask;
}

bool model_queue_exists(const struct model *m, int card, int dom)
{
	return m->card_there[card] && m->dom_there[dom];
}

/* The queue after queue @n, -1 for the first; -1 if there is none any more. */
static int next_queue(const struct model *m, int n)
{
	while (++n < MODEL_IDS * MODEL_IDS) {
		int card = n / MODEL_IDS, dom = n % MODEL_IDS;

		if (card < model_cards && dom < model_doms &&
		    model_queue_exists(m, card, dom))
			return n;
	}
	return -1;
}

static bool is_bound(const struct model *m, int card_id, int dom_id)
{
	int card = card_index(card_id), dom = dom_index(dom_id);

	return card >= 0 && dom >= 0 && model_queue_exists(m, card, dom) &&
	       m->queue[card][dom].driver == DRIVER_VFIO;
}

/* Does the AP bus keep the queue for the default drivers? */
static bool is_hosts(const struct model *m, int card_id, int dom_id)
{
	int card = card_index(card_id), dom = dom_index(dom_id);

	if (card >= 0 && dom >= 0 && model_queue_exists(m, card, dom)) {
		const struct model_queue *q = &m->queue[card][dom];

		if (q->override && q->driver)
			return q->driver == DRIVER_DEFAULT;
	}
	return mask_test(&m->apmask, card_id) && mask_test(&m->aqmask, dom_id);
}

/* Which of the drivers would the AP bus bind it to? */
static enum model_driver driver_for(const struct model *m, int card, int dom)
{
	const struct model_queue *q = &m->queue[card][dom];
	enum model_driver driver;

	if (q->override)
		driver = q->override;
	else if (mask_test(&m->apmask, model_card[card]) &&
		 mask_test(&m->aqmask, model_dom[dom]))
		driver = DRIVER_DEFAULT;
	else
		driver = DRIVER_VFIO;
	return driver == DRIVER_VFIO && !m->loaded ? DRIVER_NONE : driver;
}

/* Which mdev has the queue, or -1. */
static int owner_of(const struct model *m, int card_id, int dom_id)
{
	for (int i = 0; i < MODEL_MDEVS; i++) {
		const struct model_mdev *mdev = &m->mdev[i];

		if (mdev->life && mask_test(&mdev->apm, card_id) &&
		    mask_test(&mdev->aqm, dom_id))
			return i;
	}
	return -1;
}

/* What is right */

static void effective(const struct model *m, struct model_mdev *mdev)
{
	struct ap_mask apm, aqm;

	mdev->guest_aqm = wrong("removed domains stay") ? mdev->aqm :
			  and(mdev->aqm, host_aqm(m));
	mdev->guest_adm = and(mdev->adm, host_aqm(m));
	mdev->guest_apm = and(mdev->apm, host_apm(m));
	apm = mdev->guest_apm;
	aqm = mdev->guest_aqm;
	for (int a = next_id(apm, 0); a < AP_IDS; a = next_id(apm, a + 1))
		for (int d = next_id(aqm, 0); d < AP_IDS; d = next_id(aqm, d + 1))
			if (!is_bound(m, a, d) && !wrong("unbound queues are passed on"))
				mask_clear(&mdev->guest_apm, a);
	if (mdev->open && mdev->life == MDEV_GOING &&
	    !wrong("a device that was asked for keeps its queues")) {
		mdev->guest_apm = (struct ap_mask){};
		mdev->guest_aqm = (struct ap_mask){};
		mdev->guest_adm = (struct ap_mask){};
	}
}

/* Something has changed: guests follow at once, and are told once. */
static void follow(struct model *m)
{
	if (m->c)
		return;
	for (int i = 0; i < MODEL_MDEVS; i++) {
		struct model_mdev *mdev = &m->mdev[i], old = *mdev;

		if (!mdev->life)
			continue;
		effective(m, mdev);
		if (mdev->open && !(same(old.guest_apm, mdev->guest_apm) &&
				    same(old.guest_aqm, mdev->guest_aqm) &&
				    same(old.guest_adm, mdev->guest_adm)))
			mdev->signals += !wrong("changes are not signalled");
	}
}

/* The C driver: what the guest has is changed bit by bit. */

static void c_update(struct model_mdev *mdev)
{
	if (mdev->open)
		mdev->signals += !wrong("changes are not signalled");
}

static bool c_filter(const struct model *m, struct model_mdev *mdev)
{
	struct ap_mask apm = mdev->guest_apm, aqm = mdev->guest_aqm;
	struct ap_mask adm = mdev->guest_adm;
	struct model_mdev now = *mdev;

	now.life = MDEV_THERE;		/* L7: that it was asked for is no state */
	effective(m, &now);
	mdev->guest_apm = now.guest_apm;
	mdev->guest_aqm = now.guest_aqm;
	mdev->guest_adm = adm;
	return !same(apm, mdev->guest_apm) || !same(aqm, mdev->guest_aqm);
}

static bool c_filter_control(const struct model *m, struct model_mdev *mdev)
{
	struct ap_mask adm = mdev->guest_adm;

	mdev->guest_adm = and(mdev->adm, host_aqm(m));
	return !same(adm, mdev->guest_adm);
}

/* The adapters and domains in @apm and @aqm leave an mdev that had @old. */
static void c_unplug(struct model *m, struct model_mdev *mdev,
		     struct ap_mask apm, struct ap_mask aqm,
		     const struct model_mdev *old)
{
	for (int n = next_queue(m, -1); n >= 0; n = next_queue(m, n)) {
		int card = n / MODEL_IDS, dom = n % MODEL_IDS;
		struct model_queue *q = &m->queue[card][dom];
		int a = model_card[card], d = model_dom[dom];
		bool had = mask_test(&old->apm, a) && mask_test(&old->aqm, d);

		if (!had || !(mask_test(&apm, a) || mask_test(&aqm, d)) ||
		    q->driver != DRIVER_VFIO)
			continue;
		/* C3: what was left out keeps its pointer. */
		if (!mask_test(&mdev->guest_apm, a) || !mask_test(&mdev->guest_aqm, d))
			q->stale = mdev - m->mdev;
	}
	if (!none(and(mdev->guest_apm, apm))) {
		mdev->guest_apm = andnot(mdev->guest_apm, apm);
		c_update(mdev);
	}
	if (!none(and(mdev->guest_aqm, aqm))) {
		mdev->guest_aqm = andnot(mdev->guest_aqm, aqm);
		c_update(mdev);
	}
}

static void c_link(struct model *m, int mdev)
{
	for (int n = next_queue(m, -1); n >= 0; n = next_queue(m, n)) {
		int card = n / MODEL_IDS, dom = n % MODEL_IDS;
		struct model_queue *q = &m->queue[card][dom];

		if (q->driver == DRIVER_VFIO &&
		    owner_of(m, model_card[card], model_dom[dom]) == mdev)
			q->stale = -1;
	}
}

/* Binding */

static void unbind(struct model *m, int card, int dom)
{
	struct model_queue *q = &m->queue[card][dom];
	int a = model_card[card], d = model_dom[dom];
	int owner = owner_of(m, a, d);

	if (m->c && q->driver == DRIVER_VFIO && owner >= 0) {
		struct model_mdev *mdev = &m->mdev[owner];

		if (mask_test(&mdev->guest_apm, a) && mask_test(&mdev->guest_aqm, d)) {
			mask_clear(&mdev->guest_apm, a);
			c_update(mdev);
		}
	}
	q->driver = DRIVER_NONE;
	q->stale = -1;
	follow(m);
}

static void bind(struct model *m, int card, int dom, bool scan)
{
	struct model_queue *q = &m->queue[card][dom];
	int owner = owner_of(m, model_card[card], model_dom[dom]);

	q->driver = driver_for(m, card, dom);
	q->stale = -1;
	/* In a scan, guests get what is new at the end of it. */
	if (scan || q->driver != DRIVER_VFIO)
		return;
	if (!m->c)
		follow(m);
	else if (owner >= 0 && c_filter(m, &m->mdev[owner]))
		c_update(&m->mdev[owner]);
}

static bool anything_unbound(const struct model *m)
{
	for (int n = next_queue(m, -1); n >= 0; n = next_queue(m, n)) {
		int card = n / MODEL_IDS, dom = n % MODEL_IDS;

		if (!m->queue[card][dom].driver)
			return true;
	}
	return false;
}

static bool any_override(const struct model *m)
{
	for (int n = next_queue(m, -1); n >= 0; n = next_queue(m, n)) {
		int card = n / MODEL_IDS, dom = n % MODEL_IDS;

		if (m->queue[card][dom].override)
			return true;
	}
	return false;
}

void model_start(struct model *m, bool c)
{
	memset(m, 0, sizeof(*m));
	m->c = c;
	m->loaded = true;
	m->apmask = ap.apmask;
	m->aqmask = ap.aqmask;
	for (int i = 0; i < MODEL_SEEN; i++)
		m->configured[i] = true;
	for (int i = 0; i < model_cards; i++)
		m->card_there[i] = i != MODEL_HOT;
	for (int i = 0; i < model_doms; i++)
		m->dom_there[i] = i != MODEL_HOT;
	for (int n = next_queue(m, -1); n >= 0; n = next_queue(m, n)) {
		int card = n / MODEL_IDS, dom = n % MODEL_IDS;

		bind(m, card, dom, false);
	}
}

/* Numbers, as the kernel reads them: one newline at the end may be. */

static int parse_number(const char *s, unsigned long *number)
{
	int base = 10, digits = 0;
	bool over = false;

	*number = 0;
	s += *s == '+';
	if (*s == '0' && tolower(s[1]) == 'x' && isxdigit(s[2])) {
		base = 16;
		s += 2;
	} else if (*s == '0' && !wrong("octal is decimal")) {
		base = 8;
	}
	for (;; s++, digits++) {
		int value = isdigit(*s) ? *s - '0' :
			    isxdigit(*s) ? tolower(*s) - 'a' + 10 : 99;

		if (value >= base)
			break;
		over |= __builtin_mul_overflow(*number, base, number) ||
			__builtin_add_overflow(*number, value, number);
	}
	if (over)
		return -ERANGE;
	s += *s == '\n';
	return digits && !*s ? 0 : -EINVAL;
}

/* The three masks of ap_config. */

static int parse_mask(const char *s, size_t len, struct ap_mask *mask)
{
	size_t at = len >= 2 && s[0] == '0' && s[1] == 'x' ? 2 : 0;

	memset(mask, 0, sizeof(*mask));
	if (len == at || len - at > 64)
		return -EINVAL;
	for (size_t i = 0; at < len; at++, i++) {
		int value = isdigit(s[at]) ? s[at] - '0' : tolower(s[at]) - 'a' + 10;

		if (!isxdigit(s[at]))
			return -EINVAL;
		mask->word[i / 16] |= (unsigned long)value << (60 - i % 16 * 4);
	}
	return 0;
}

static int parse_config(const char *s, struct ap_mask mask[3])
{
	size_t len = strlen(s);

	len -= len && s[len - 1] == '\n';
	for (int i = 0; i < 3; i++) {
		const char *comma = memchr(s, ',', len);
		size_t part = comma ? (size_t)(comma - s) : len;

		bool last = i == 2;

		if (last == !!comma || parse_mask(s, part, &mask[i]))
			return -EINVAL;
		s += part + !!comma;
		len -= part + !!comma;
	}
	return 0;
}

/* L4: what the C driver takes. */
static int c_parse_config(const char *text, struct ap_mask mask[3])
{
	char copy[202];
	char *s = copy, *part;

	snprintf(copy, sizeof(copy), "%s", text);
	for (int i = 0; i < 3; i++) {
		size_t n = 0;

		memset(&mask[i], 0, sizeof(mask[i]));
		part = strsep(&s, ",\n");
		if (!part)
			return -EINVAL;
		part += part[0] == '0' && part[1] == 'x';
		part += *part == 'x';
		while (isxdigit(part[n]))
			n++;
		if (part[n] || n > 64 || (n && parse_mask(part, n, &mask[i])))
			return -EINVAL;
	}
	return 0;
}

/* Assigning */

static int check(const struct model *m, int mdev, struct ap_mask apm, struct ap_mask aqm,
		 const struct model_mdev *old)
{
	bool hosts = false, shared = false, new_only = !m->c;

	for (int a = next_id(apm, 0); a < AP_IDS; a = next_id(apm, a + 1)) {
		for (int d = next_id(aqm, 0); d < AP_IDS; d = next_id(aqm, d + 1)) {
			int owner;

			/* M8: the C driver looks at what was there, too. */
			if (new_only && mask_test(&old->apm, a) && mask_test(&old->aqm, d))
				continue;
			hosts |= is_hosts(m, a, d);
			/* Without @mdev: it may have it in the draft already. */
			for (owner = 0; owner < MODEL_MDEVS; owner++)
				shared |= owner != mdev && m->mdev[owner].life &&
					  mask_test(&m->mdev[owner].apm, a) &&
					  mask_test(&m->mdev[owner].aqm, d);
		}
	}
	if (wrong("two mdevs may have a queue"))
		shared = false;
	if (wrong("another mdev comes before the host") && shared)
		return -EADDRINUSE;
	return hosts ? -EADDRNOTAVAIL : shared ? -EADDRINUSE : 0;
}

static int change(struct model *m, const struct op *op)
{
	struct model_mdev *mdev = &m->mdev[op->arg[0]], old = *mdev;
	bool assign = op->kind == OP_ASSIGN_ADAPTER || op->kind == OP_ASSIGN_DOMAIN ||
		      op->kind == OP_ASSIGN_CONTROL;
	bool adapter = op->kind == OP_ASSIGN_ADAPTER || op->kind == OP_UNASSIGN_ADAPTER;
	bool control = op->kind == OP_ASSIGN_CONTROL || op->kind == OP_UNASSIGN_CONTROL;
	struct ap_mask *mask = adapter ? &mdev->apm : control ? &mdev->adm : &mdev->aqm;
	const char *text = model_number(op->arg[1] + (adapter ? 0 : 1000));
	struct ap_mask bit = {}, nothing = {};
	unsigned long id;
	int ret;

	if (mdev->life != MDEV_THERE)
		return -ENOENT;
	if (!*text)
		return 0;		/* nothing was written */
	ret = parse_number(text, &id);
	if (ret)
		return ret;
	if (id > (adapter ? ap.max_adapter : ap.max_domain))
		return -ENODEV;
	if (mask_test(mask, id) == assign)
		return 0;
	mask_set(&bit, id);
	if (!assign) {
		*mask = andnot(*mask, bit);
		if (m->c && control) {
			if (mask_test(&mdev->guest_adm, id))
				c_update(mdev);
			mdev->guest_adm = andnot(mdev->guest_adm, bit);
		} else if (m->c) {
			c_unplug(m, mdev, adapter ? bit : nothing,
				 adapter ? nothing : bit, &old);
		}
		follow(m);
		return 0;
	}
	if (!control) {
		struct ap_mask apm = mdev->apm, aqm = mdev->aqm;

		mask_set(adapter ? &apm : &aqm, id);
		ret = check(m, op->arg[0], apm, aqm, &old);
		if (ret)
			return ret;
	}
	mask_set(mask, id);
	if (m->c) {
		c_link(m, op->arg[0]);
		if (control ? c_filter_control(m, mdev) : c_filter(m, mdev))
			c_update(mdev);
	}
	follow(m);
	return 0;
}

static int configure(struct model *m, const struct op *op)
{
	struct model_mdev *mdev = &m->mdev[op->arg[0]], old = *mdev;
	const char *text = op->kind == OP_CONFIG_TEXT ? model_config_text(op->arg[1]) :
			   model_config(op);
	struct ap_mask mask[3];
	int ret;

	if (mdev->life != MDEV_THERE || (m->c && op->kind == OP_TRY))
		return -ENOENT;
	if (!*text)
		return 0;
	ret = m->c ? c_parse_config(text, mask) : parse_config(text, mask);
	ret = ret ?: check(m, op->arg[0], mask[0], mask[1], &old);
	if (ret || op->kind == OP_TRY)
		return ret;
	if (m->c) {
		struct ap_mask apm = andnot(old.apm, mask[0]);
		struct ap_mask aqm = andnot(old.aqm, mask[1]);

		c_unplug(m, mdev, apm, aqm, &old);
	}
	mdev->apm = mask[0];
	mdev->aqm = mask[1];
	mdev->adm = mask[2];
	if (m->c) {
		c_link(m, op->arg[0]);
		/* Both, one after the other. */
		if (c_filter(m, mdev) | c_filter_control(m, mdev))
			c_update(mdev);
	}
	follow(m);
	return 0;
}

/* The masks of the AP bus */

static int mask_value(const struct op *op, bool adapters, struct ap_mask *mask)
{
	const int *id = adapters ? model_card : model_dom;
	int value = op->arg[0];

	if (value < 4)
		mask_set(mask, id[value]);
	else if (value < 8)
		mask_clear(mask, id[value - 4]);
	else if (value == 8)
		*mask = all();
	else if (value == 9)
		*mask = adapters ? ap.apmask : ap.aqmask;
	else if (value == 10)
		mask_set(mask, id[0]), mask_set(mask, id[1]);
	else if (value == 11)
		mask_clear(mask, id[0]), mask_clear(mask, id[1]);
	else
		return -EINVAL;
	return 0;
}

static int set_mask(struct model *m, const struct op *op)
{
	bool adapters = op->kind == OP_APMASK;
	struct ap_mask *mask = adapters ? &m->apmask : &m->aqmask, new = *mask, added;

	if (any_override(m) || mask_value(op, adapters, &new))
		return -EINVAL;
	if (same(new, *mask))
		return 0;
	added = andnot(new, *mask);
	for (int i = 0; m->loaded && i < MODEL_MDEVS; i++) {
		const struct model_mdev *mdev = &m->mdev[i];

		if (mdev->life && !none(and(adapters ? mdev->apm : mdev->aqm, added)) &&
		    !none(adapters ? mdev->aqm : mdev->apm) &&
		    !(adapters && wrong("apmask takes queues that are in use")))
			return -EBUSY;
	}
	*mask = new;
	for (int n = next_queue(m, -1); n >= 0; n = next_queue(m, n)) {
		int card = n / MODEL_IDS, dom = n % MODEL_IDS;

		if (driver_for(m, card, dom) != m->queue[card][dom].driver) {
			unbind(m, card, dom);
			bind(m, card, dom, false);
		}
	}
	return 0;
}

/* Hot plug */

static int plug(struct model *m, const struct op *op)
{
	bool card = op->kind == OP_CARD_ADD || op->kind == OP_CARD_DEL;
	bool add = op->kind == OP_CARD_ADD || op->kind == OP_DOM_ADD;
	bool *there = card ? &m->card_there[MODEL_HOT] : &m->dom_there[MODEL_HOT];
	int id = card ? model_card[MODEL_HOT] : model_dom[MODEL_HOT];

	if (*there == add)
		return -EEXIST;
	if (add && (m->card_there[MODEL_HOT] || m->dom_there[MODEL_HOT]))
		return -EBUSY;		/* one new thing at a time */
	*there = add;
	for (int c = 0; c < model_cards; c++) {
		for (int d = 0; d < model_doms; d++) {
			struct model_queue *q = &m->queue[c][d];

			if ((card ? c : d) != MODEL_HOT)
				continue;
			*q = (struct model_queue){ .stale = -1 };
			if (add && model_queue_exists(m, c, d))
				bind(m, c, d, true);
		}
	}
	for (int i = 0; m->c && i < MODEL_MDEVS; i++) {
		struct model_mdev *mdev = &m->mdev[i];
		bool update = false;

		if (!mdev->life)
			continue;
		if (add) {
			if (mask_test(card ? &mdev->apm : &mdev->aqm, id))
				update = c_filter(m, mdev);
			if (!card && mask_test(&mdev->adm, id))
				update |= c_filter_control(m, mdev);
		} else {
			if (card) {
				update = mask_test(&mdev->guest_apm, id);
				mask_clear(&mdev->guest_apm, id);
			} else {
				update = mask_test(&mdev->guest_aqm, id) ||
					 mask_test(&mdev->guest_adm, id);
				mask_clear(&mdev->guest_aqm, id);
				mask_clear(&mdev->guest_adm, id);
			}
		}
		if (update)
			c_update(mdev);
	}
	follow(m);
	return 0;
}

/* Open and close */

static int open_mdev(struct model *m, const struct op *op)
{
	struct model_mdev *mdev = &m->mdev[op->arg[0]];
	int vm = op->arg[1];

	if (mdev->open)
		return -EBUSY;
	if (mdev->life != MDEV_THERE)
		return -ENOENT;
	if (vm >= MODEL_VMS)
		return -EINVAL;
	for (int i = 0; i < MODEL_MDEVS; i++)
		if (m->mdev[i].open && m->mdev[i].vm == vm)
			return -EPERM;
	mdev->open = true;
	mdev->vm = vm;
	return 0;
}

static void remove_mdev(struct model *m, int i)
{
	memset(&m->mdev[i], 0, sizeof(m->mdev[i]));
	follow(m);
}

static int close_mdev(struct model *m, int i)
{
	struct model_mdev *mdev = &m->mdev[i];

	if (!mdev->open)
		return -EBADF;
	if (mdev->life == MDEV_GOING)
		remove_mdev(m, i);
	mdev->open = false;
	follow(m);
	return 0;
}

static int reset(const struct model *m, int i)
{
	const struct model_mdev *mdev = &m->mdev[i];

	if (!mdev->open)
		return -EBADF;
	/* L8: an adapter that is off cannot be reset. */
	for (int card = 0; m->c && card < MODEL_SEEN; card++)
		for (int dom = 0; dom < model_doms; dom++)
			if (is_bound(m, model_card[card], model_dom[dom]) &&
			    owner_of(m, model_card[card], model_dom[dom]) == i &&
			    (!m->configured[card] || m->checkstopped[card]))
				return -EIO;
	return 0;
}

static int unload(struct model *m)
{
	if (!m->loaded)
		return -ENOENT;
	for (int i = 0; i < MODEL_MDEVS; i++)
		if (m->mdev[i].open)
			return -EAGAIN;
	for (int i = 0; i < MODEL_MDEVS; i++)
		remove_mdev(m, i);
	for (int n = next_queue(m, -1); n >= 0; n = next_queue(m, n)) {
		int card = n / MODEL_IDS, dom = n % MODEL_IDS;

		if (m->queue[card][dom].driver == DRIVER_VFIO)
			unbind(m, card, dom);
	}
	m->loaded = false;
	return 0;
}

static int load(struct model *m)
{
	if (m->loaded)
		return -EEXIST;
	m->loaded = true;
	/* Of what has no driver, the new driver gets what it may have. */
	for (int n = next_queue(m, -1); n >= 0; n = next_queue(m, n)) {
		int card = n / MODEL_IDS, dom = n % MODEL_IDS;

		if (!m->queue[card][dom].driver && driver_for(m, card, dom) == DRIVER_VFIO)
			bind(m, card, dom, false);
	}
	return 0;
}

static int bind_queue(struct model *m, const struct op *op)
{
	int card = op->arg[0], dom = op->arg[1];
	enum model_driver driver = op->arg[2] ? DRIVER_DEFAULT : DRIVER_VFIO;

	if (driver == DRIVER_VFIO && !m->loaded)
		return -ENOENT;
	if (!model_queue_exists(m, card, dom))
		return -ENODEV;
	if (m->queue[card][dom].driver)
		return -EBUSY;
	if (driver_for(m, card, dom) != driver)
		return -ENODEV;
	bind(m, card, dom, false);
	return 0;
}

static int create(struct model *m, int i)
{
	if (!m->loaded)
		return -ENOENT;
	if (m->mdev[i].life)
		return -EEXIST;
	m->mdev[i].life = MDEV_THERE;
	return 0;
}

bool model_forbids(const struct model *m, const struct op *op)
{
	bool masks = op->kind == OP_APMASK || op->kind == OP_AQMASK;

	/*
	 * The AP bus follows a null pointer when a mask is written while a queue
	 * has no driver (__ap_revise_reserved()), and it counts the override of a
	 * queue that goes for ever.
	 */
	return (masks && anything_unbound(m)) ||
	       (op->kind == OP_OVERRIDE &&
		(op->arg[0] == MODEL_HOT || op->arg[1] == MODEL_HOT));
}

int model_apply(struct model *m, const struct op *op)
{
	const int *arg = op->arg;
	struct model_queue *q;

	for (int i = 0; i < MODEL_MDEVS; i++)
		m->mdev[i].signals = 0;
	if (model_forbids(m, op))
		return 0;

	switch (op->kind) {
	case OP_CREATE:
		return create(m, arg[0]);
	case OP_CREATE_BAD:
		return m->loaded ? -EINVAL : -ENOENT;
	case OP_REMOVE:
		if (m->mdev[arg[0]].life != MDEV_THERE)
			return -ENOENT;
		if (m->mdev[arg[0]].open)
			return -EBUSY;	/* it would wait; see OP_REQUEST */
		remove_mdev(m, arg[0]);
		return 0;
	case OP_REQUEST:
		if (!m->mdev[arg[0]].open || m->mdev[arg[0]].life != MDEV_THERE)
			return -EBADF;
		m->mdev[arg[0]].life = MDEV_GOING;
		if (m->c)
			c_update(&m->mdev[arg[0]]);
		follow(m);
		return 0;
	case OP_ASSIGN_ADAPTER ... OP_UNASSIGN_CONTROL:
		return change(m, op);
	case OP_CONFIG ... OP_CONFIG_LARGE:
		return configure(m, op);
	case OP_BIND:
		return bind_queue(m, op);
	case OP_UNBIND:
		if (!model_queue_exists(m, arg[0], arg[1]) ||
		    !m->queue[arg[0]][arg[1]].driver)
			return -ENOENT;
		unbind(m, arg[0], arg[1]);
		return 0;
	case OP_OVERRIDE:
		q = &m->queue[arg[0]][arg[1]];
		if (!same(m->apmask, all()) || !same(m->aqmask, all()))
			return -EINVAL;
		q->override = arg[2];
		return 0;
	case OP_APMASK:
	case OP_AQMASK:
		return set_mask(m, op);
	case OP_CARD_ADD ... OP_DOM_DEL:
		return plug(m, op);
	case OP_CONFIGURED:
		m->configured[arg[0]] = arg[1];
		return 0;
	case OP_CHECKSTOP:
		m->checkstopped[arg[0]] = arg[1];
		return 0;
	case OP_OPEN:
		return open_mdev(m, op);
	case OP_CLOSE:
		return close_mdev(m, arg[0]);
	case OP_RESET:
		return reset(m, arg[0]);
	case OP_UNLOAD:
		return unload(m);
	case OP_LOAD:
		return load(m);
	default:
		abort();
	}
}

/* What is seen */

struct out {
	char *buf;
	size_t size, len;
};

static void __printf(2, 3) put(struct out *out, const char *fmt, ...)
{
	size_t room = out->len < out->size ? out->size - out->len : 0;
	va_list args;

	va_start(args, fmt);
	out->len += vsnprintf(out->buf + (room ? out->len : 0), room, fmt, args);
	va_end(args);
}

/* M4: the C driver stops after a page, less one byte. */
#define C_PAGE	4095

static void put_matrix(struct out *out, bool c, struct ap_mask apm, struct ap_mask aqm)
{
	size_t start = out->len;

	if (none(aqm)) {
		for (int a = next_id(apm, 0); a < AP_IDS; a = next_id(apm, a + 1))
			put(out, "%02x.\n", a);
	} else if (none(apm)) {
		for (int d = next_id(aqm, 0); d < AP_IDS; d = next_id(aqm, d + 1))
			put(out, ".%04x\n", d);
	} else {
		for (int a = next_id(apm, 0); a < AP_IDS; a = next_id(apm, a + 1))
			for (int d = next_id(aqm, 0); d < AP_IDS; d = next_id(aqm, d + 1))
				put(out, "%02x.%04x\n", a, d);
	}
	if (c && out->len - start > C_PAGE) {
		out->len = start + C_PAGE;
		out->buf[out->len] = 0;
	}
}

static void put_domains(struct out *out, struct ap_mask mask)
{
	for (int d = next_id(mask, 0); d < AP_IDS; d = next_id(mask, d + 1))
		put(out, "%04x\n", d);
}

static void put_filtered(struct out *out, const struct model *m,
			 const struct model_mdev *mdev)
{
	struct ap_mask apm = host_apm(m), aqm = host_aqm(m);
	struct ap_mask doms = and(mdev->aqm, aqm), gone = andnot(mdev->aqm, aqm);

	for (int a = next_id(mdev->apm, 0); a < AP_IDS; a = next_id(mdev->apm, a + 1)) {
		if (!mask_test(&apm, a)) {
			put(out, "%02x. not in host configuration\n", a);
			continue;
		}
		for (int d = next_id(doms, 0); d < AP_IDS; d = next_id(doms, d + 1)) {
			if (!is_bound(m, a, d)) {
				put(out, "%02x.%04x not bound\n", a, d);
				break;
			}
		}
	}
	for (int d = next_id(gone, 0); d < AP_IDS; d = next_id(gone, d + 1))
		put(out, ".%04x not in host configuration\n", d);
}

static void show_mdev(struct out *out, const struct model *m, int i)
{
	const struct model_mdev *mdev = &m->mdev[i];

	if (!mdev->life) {
		put(out, "mdev %d: none\n", i);
		return;
	}
	if (mdev->life == MDEV_GOING) {
		put(out, "mdev %d: going\n", i);
	} else {
		put(out, "mdev %d: matrix:\n", i);
		put_matrix(out, m->c, mdev->apm, mdev->aqm);
		put(out, "mdev %d: guest_matrix:\n", i);
		put_matrix(out, m->c, mdev->guest_apm, mdev->guest_aqm);
		put(out, "mdev %d: control_domains:\n", i);
		put_domains(out, mdev->adm);
		put(out, "mdev %d: ap_config:\n", i);
		put(out, "0x%016lx%016lx%016lx%016lx,", mdev->apm.word[0],
		    mdev->apm.word[1], mdev->apm.word[2], mdev->apm.word[3]);
		put(out, "0x%016lx%016lx%016lx%016lx,", mdev->aqm.word[0],
		    mdev->aqm.word[1], mdev->aqm.word[2], mdev->aqm.word[3]);
		put(out, "0x%016lx%016lx%016lx%016lx\n", mdev->adm.word[0],
		    mdev->adm.word[1], mdev->adm.word[2], mdev->adm.word[3]);
		if (!m->c) {
			put(out, "mdev %d: guest_control_domains:\n", i);
			put_domains(out, mdev->guest_adm);
			put(out, "mdev %d: filtered:\n", i);
			put_filtered(out, m, mdev);
		}
	}
	if (mdev->open)
		put(out, "mdev %d: signals: %d\n", i, mdev->signals);
}

static void show_queue(struct out *out, const struct model *m, int card, int dom)
{
	static const char * const drivers[] = { "none", "cex4queue", "vfio_ap" };
	int a = model_card[card], d = model_dom[dom];
	int owner = owner_of(m, a, d);
	const struct model_mdev *mdev = owner < 0 ? NULL : &m->mdev[owner];
	const struct model_queue *q = &m->queue[card][dom];
	const char *status = "unassigned";

	put(out, "queue %02x.%04x: %s", a, d, drivers[q->driver]);
	if (q->driver == DRIVER_VFIO) {
		if (mdev)
			status = (mdev->open || wrong("a closed device is in use")) &&
				 mask_test(&mdev->guest_apm, a) &&
				 mask_test(&mdev->guest_aqm, d) ? "in use" : "assigned";
		put(out, ", %s", status);
		if (!m->c)
			put(out, ", of %s", mdev ? model_uuid(owner) : "nobody");
	}
	put(out, "\n");
}

void model_show(const struct model *m, char *buf, size_t size)
{
	struct out out = { .buf = buf, .size = size };

	for (int i = 0; i < MODEL_MDEVS; i++)
		show_mdev(&out, m, i);
	for (int card = 0; card < MODEL_SEEN; card++)
		for (int dom = 0; dom < MODEL_SEEN; dom++)
			if (model_queue_exists(m, card, dom))
				show_queue(&out, m, card, dom);
}

/* Why the two models do not agree */

const char *model_row(const struct model *right, const struct model *c,
		      const struct op *op, int right_ret, int c_ret, const char *earlier)
{
	if (right_ret != c_ret) {
		if (op->kind == OP_TRY)
			return "N3";
		if (op->kind == OP_RESET)
			return "L8";
		if (right_ret == -EINVAL)
			return "L4";
		if (!earlier && (c_ret == -EADDRNOTAVAIL || c_ret == -EADDRINUSE))
			return "M8";
		return earlier;
	}
	for (int i = 0; i < MODEL_MDEVS; i++) {
		const struct model_mdev *r = &right->mdev[i], *f = &c->mdev[i];

		if (!same(r->apm, f->apm) || !same(r->aqm, f->aqm) ||
		    !same(r->adm, f->adm) || r->life != f->life)
			return earlier;
		if (r->life == MDEV_GOING && (r->signals != f->signals ||
					      !same(r->guest_apm, f->guest_apm)))
			return "L7";
		if (!same(r->guest_apm, f->guest_apm) || !same(r->guest_aqm, f->guest_aqm))
			return "L10";
		if (r->signals != f->signals)
			return "N8";
		if (count(r->apm) * count(r->aqm) * 8 > C_PAGE)
			return "M4";
	}
	return NULL;
}

/* Operations as text */

static const char * const numbers[] = {
	"", "\n", "x", "-1", "256", "0x100", "1 ", " 1", "18446744073709551616",
	"18446744073709551615", "08", "+0x100", "0x", "1\n\n", "0x1g", "255",
};

#define NR_IDS	(3 * MODEL_SEEN)

/* Of an adapter, or with 1000 more of a domain. */
const char *model_number(int value)
{
	static char text[32];
	const int *ids = value < 1000 ? model_card : model_dom;

	value %= 1000;
	if (value >= NR_IDS)
		return numbers[value - NR_IDS];
	snprintf(text, sizeof(text), value < MODEL_SEEN ? "0x%x" :
		 value < 2 * MODEL_SEEN ? "%d\n" : "0%o", ids[value % MODEL_SEEN]);
	return text;
}

#define ZEROS	"0000000000000000000000000000000000000000000000000000000000000000"

static const char * const configs[] = {
	"", "\n", "0x0,0x0,0x0\n", "0,0,0", "0x0,0x0\n", ",,\n", "0x,0x,0x\n",
	"0x0,0x0,0x0,0x0\n", "0x0,0x0,0x0\nrubbish\n", "0x0\n0x0\n0x0\n", "x0,x0,x0\n",
	"0X0,0x0,0x0\n", "0x0, 0x0,0x0\n", "0x0,0x0,0x0\n\n", "none,none,none\n",
	"0x" ZEROS "0,0x0,0x0\n", "0x" ZEROS ",0x" ZEROS ",0x" ZEROS ",\n",
	"0x" ZEROS ",0x" ZEROS ",0x" ZEROS "\nx", "0x0,,0x0\n", "0x0;0x0;0x0\n",
};

const char *model_config_text(int value)
{
	return configs[value];
}

static struct ap_mask mask_of_bits(int bits, const int *ids)
{
	struct ap_mask mask = {};

	for (int i = 0; i < MODEL_SEEN; i++)
		if (bits & (1 << i))
			mask_set(&mask, ids[i]);
	return mask;
}

const char *model_config(const struct op *op)
{
	static char text[300];
	struct ap_mask mask[3];
	struct out out = { .buf = text, .size = sizeof(text) };
	int style = 0;

	if (op->kind == OP_CONFIG_LARGE) {
		/* More lines than the C driver can show, of what does not exist. */
		mask[0] = mask_of_bits(8, model_card);
		mask[1] = mask_of_bits(3, model_dom);
		mask[2] = mask[1];
		for (int i = 1; i < 120; i++)
			mask_set(&mask[0], ap.no_cards[i]);
		for (int i = 1; i < 4; i++)
			mask_set(&mask[1], ap.no_doms[i]);
	} else {
		mask[0] = mask_of_bits(op->arg[1], model_card);
		mask[1] = mask_of_bits(op->arg[2], model_dom);
		mask[2] = mask_of_bits(op->arg[3] % 16, model_dom);
		style = op->arg[3] / 16;
	}
	for (int i = 0; i < 3; i++) {
		put(&out, style == 1 ? "%016lx" : "0x%016lx", mask[i].word[0]);
		for (int w = 1; w < 4; w++)
			put(&out, style == 2 ? "%016lX" : "%016lx", mask[i].word[w]);
		/* Zeros on the right may be missing. */
		while (style == 3 && out.len > 3 && text[out.len - 1] == '0' &&
		       text[out.len - 2] != 'x')
			text[--out.len] = 0;
		put(&out, i < 2 ? "," : style == 3 ? "" : "\n");
	}
	return text;
}

static const char * const mask_texts[] = { "+256", "+", "rubbish", "-0x100\n" };

#define NR_MASKS	12

const char *model_mask(const struct op *op)
{
	static char text[80];
	bool adapters = op->kind == OP_APMASK;
	const int *id = adapters ? model_card : model_dom;
	int value = op->arg[0];
	struct ap_mask mask = {};

	if (value >= NR_MASKS)
		return mask_texts[value - NR_MASKS];
	if (value == 8 || value == 9) {
		mask_value(op, adapters, &mask);
		return mask_text(&mask);
	}
	if (value >= 10)
		snprintf(text, sizeof(text), "%c%d,%c%d", value == 10 ? '+' : '-', id[0],
			 value == 10 ? '+' : '-', id[1]);
	else
		snprintf(text, sizeof(text), "%c%d", value < 4 ? '+' : '-', id[value % 4]);
	return text;
}

static const char * const uuids[] = { "\n", "rubbish", "0", ZEROS };

const char *model_bad_uuid(int value)
{
	return uuids[value];
}

const char *model_uuid(int mdev)
{
	static const char * const names[MODEL_MDEVS] = {
		"6d6f6465-6c00-4000-8000-000000000000",
		"6d6f6465-6c00-4000-8000-000000000001",
		"6d6f6465-6c00-4000-8000-000000000002",
	};

	return names[mdev];
}

static const struct {
	const char *name;
	int values[OP_ARGS];
} kinds[OP_KINDS] = {
#define NUMBER	(NR_IDS + (int)ARRAY_SIZE(numbers))
#define MASKS	(NR_MASKS + (int)ARRAY_SIZE(mask_texts))
	[OP_CREATE] = { "create", { MODEL_MDEVS } },
	[OP_CREATE_BAD] = { "create_bad", { ARRAY_SIZE(uuids) } },
	[OP_REMOVE] = { "remove", { MODEL_MDEVS } },
	[OP_REQUEST] = { "request", { MODEL_MDEVS } },
	[OP_ASSIGN_ADAPTER] = { "assign_adapter", { MODEL_MDEVS, NUMBER } },
	[OP_UNASSIGN_ADAPTER] = { "unassign_adapter", { MODEL_MDEVS, NUMBER } },
	[OP_ASSIGN_DOMAIN] = { "assign_domain", { MODEL_MDEVS, NUMBER } },
	[OP_UNASSIGN_DOMAIN] = { "unassign_domain", { MODEL_MDEVS, NUMBER } },
	[OP_ASSIGN_CONTROL] = { "assign_control_domain", { MODEL_MDEVS, NUMBER } },
	[OP_UNASSIGN_CONTROL] = { "unassign_control_domain", { MODEL_MDEVS, NUMBER } },
	[OP_CONFIG] = { "ap_config", { MODEL_MDEVS, 16, 16, 64 } },
	[OP_TRY] = { "try_ap_config", { MODEL_MDEVS, 16, 16, 64 } },
	[OP_CONFIG_TEXT] = { "ap_config_text", { MODEL_MDEVS, ARRAY_SIZE(configs) } },
	[OP_CONFIG_LARGE] = { "ap_config_large", { MODEL_MDEVS } },
	[OP_BIND] = { "bind", { MODEL_SEEN, MODEL_SEEN, 2 } },
	[OP_UNBIND] = { "unbind", { MODEL_SEEN, MODEL_SEEN } },
	[OP_OVERRIDE] = { "driver_override", { MODEL_SEEN, MODEL_SEEN, 3 } },
	[OP_APMASK] = { "apmask", { MASKS } },
	[OP_AQMASK] = { "aqmask", { MASKS } },
	[OP_CARD_ADD] = { "card_add", { } },
	[OP_CARD_DEL] = { "card_del", { } },
	[OP_DOM_ADD] = { "dom_add", { } },
	[OP_DOM_DEL] = { "dom_del", { } },
	[OP_CONFIGURED] = { "configured", { MODEL_HOT, 2 } },
	[OP_CHECKSTOP] = { "checkstopped", { MODEL_HOT, 2 } },
	[OP_OPEN] = { "open", { MODEL_MDEVS, MODEL_VMS + 1, 2 } },
	[OP_CLOSE] = { "close", { MODEL_MDEVS } },
	[OP_RESET] = { "reset", { MODEL_MDEVS } },
	[OP_UNLOAD] = { "unload", { } },
	[OP_LOAD] = { "load", { } },
};

int op_values(enum op_kind kind, int n)
{
	return kinds[kind].values[n];
}

const char *op_text(const struct op *op)
{
	static char text[80];
	struct out out = { .buf = text, .size = sizeof(text) };

	put(&out, "%s", kinds[op->kind].name);
	for (int i = 0; i < OP_ARGS && op_values(op->kind, i); i++)
		put(&out, ".%d", op->arg[i]);
	return text;
}

bool op_parse(struct op *op, const char *text)
{
	size_t len = strcspn(text, ".");

	*op = (struct op){ .kind = 0 };
	while (op->kind < OP_KINDS && (strlen(kinds[op->kind].name) != len ||
				       strncmp(kinds[op->kind].name, text, len)))
		op->kind++;
	if (op->kind == OP_KINDS)
		return false;
	text += len;
	for (int i = 0; i < OP_ARGS && op_values(op->kind, i); i++) {
		char *end;

		if (*text != '.')
			return false;
		op->arg[i] = strtol(text + 1, &end, 10);
		if (end == text + 1 || op->arg[i] < 0 ||
		    op->arg[i] >= op_values(op->kind, i))
			return false;
		text = end;
	}
	return !*text;
}
