// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plugin for QEMU that counts what a driver costs: the instructions that a
 * task executes from the moment it enters the driver's code to its return from
 * there, whatever the driver calls meanwhile.  Instructions of other tasks, while
 * this one sleeps, and those of interrupts are not among them.  The machine does not
 * notice.
 *
 * bench.c, in the machine, says what the driver is, what is to be counted and
 * when: it executes no-operations with a number, see bench.h.  One CPU only.
 * Until it has said what the driver is, and then while no task is there, the code of
 * the machine runs almost as fast as without this.
 *
 * Options: out=FILE for the results, profile=FILE for the blocks executed.
 */
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "qemu-plugin.h"
#include "bench.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

#define NR_AREAS	64
#define NR_WATCHED	16
#define NR_REGISTERS	16
#define NR_FUNCTIONS	256
#define NR_INTERRUPTS	4

/* Where a task will be, and with which stack, when something ends. */
struct end {
	bool ahead;
	uint64_t address, stack;
};

/* A task: when it leaves the driver, and when an interrupt is over that hit it there. */
struct task {
	struct end driver, interrupt;
};

struct area {
	uint64_t start, end;
};

struct watched {
	uint64_t address;
	char *name;
	uint64_t by_driver, by_all;
};

static struct qemu_plugin_register *registers[NR_REGISTERS];
static GByteArray *buffer;
static FILE *out, *profile;

static qemu_plugin_id_t plugin;
static bool ready;			/* what follows is complete */
static struct area driver, others[NR_AREAS];
static int nr_others;
static struct watched watched[NR_WATCHED];
static int nr_watched;
static uint64_t switch_to;
static struct {
	uint64_t handler, old_address;
} interrupts[NR_INTERRUPTS];
static int nr_interrupts;

static GHashTable *tasks;		/* by the address of the task_struct */
static struct task *current;
static struct qemu_plugin_scoreboard *scoreboard;
static qemu_plugin_u64 attention;	/* the task is in the driver, or will be again */
static GHashTable *blocks;		/* by address, for the profile */

/* Since COUNT_BEGIN; kept from COUNT_END to the next one. */
static bool counting;
static uint64_t instructions, entries;
static uint64_t functions[NR_FUNCTIONS];

static uint64_t reg(int n)
{
	uint64_t value = 0;

	g_byte_array_set_size(buffer, 0);
	if (qemu_plugin_read_register(registers[n], buffer) == sizeof(value))
		memcpy(&value, buffer->data, sizeof(value));
	return GUINT64_FROM_BE(value);
}

static struct task *task_of(uint64_t address)
{
	struct task *task = g_hash_table_lookup(tasks, (void *)address);

	if (!task) {
		task = g_new0(struct task, 1);
		g_hash_table_insert(tasks, (void *)address, task);
	}
	return task;
}

static bool is_driver(uint64_t address)
{
	if (address < driver.start || address >= driver.end)
		return false;
	for (int i = 0; i < nr_others; i++)
		if (address >= others[i].start && address < others[i].end)
			return false;
	return true;
}

static void note_block(uint64_t address, unsigned int n)
{
	uint64_t old = (uint64_t)g_hash_table_lookup(blocks, (void *)address);

	g_hash_table_insert(blocks, (void *)address, (void *)(old + n));
}

static bool in_driver(void)
{
	return current->driver.ahead && !current->interrupt.ahead;
}

static void look_for_end(struct end *end, uint64_t address)
{
	if (end->ahead && address == end->address && reg(15) == end->stack)
		end->ahead = false;
}

/* The first instruction of a handler: the stack is still that of the task. */
static void look_for_interrupt(uint64_t address)
{
	static GByteArray *old;

	for (int i = 0; i < nr_interrupts; i++) {
		if (address != interrupts[i].handler)
			continue;
		if (!old)
			old = g_byte_array_new();
		if (!qemu_plugin_read_memory_vaddr(interrupts[i].old_address, old,
						   sizeof(uint64_t)))
			g_error("no lowcore where it is looked for");
		memcpy(&address, old->data, sizeof(address));
		current->interrupt = (struct end){ true, GUINT64_FROM_BE(address), reg(15) };
		return;
	}
}

/* A block is about to be executed: its address and its length are in @data. */
static void on_block(unsigned int cpu, void *data)
{
	uint64_t address = (uint64_t)data >> 10;
	unsigned int n = (uint64_t)data & 1023;

	look_for_end(&current->interrupt, address);
	if (in_driver())
		look_for_interrupt(address);
	if (!current->interrupt.ahead)
		look_for_end(&current->driver, address);
	if (!current->driver.ahead && is_driver(address)) {
		current->driver = (struct end){ true, reg(14), reg(15) };
		entries += counting;
	}
	if (counting) {
		if (in_driver()) {
			instructions += n;
			if (profile)
				note_block(address, n);
		}
		for (int i = 0; i < nr_watched; i++) {
			if (address != watched[i].address)
				continue;
			watched[i].by_all++;
			watched[i].by_driver += in_driver();
		}
	}
	if (address == switch_to) {
		/* The first one had no name yet. */
		g_hash_table_insert(tasks, (void *)reg(2), current);
		current = task_of(reg(3));
	}
	qemu_plugin_u64_set(attention, cpu, current->driver.ahead || current->interrupt.ahead);
}

/* PQAP: which function is in GR0. */
static void on_pqap(unsigned int cpu, void *data)
{
	if (counting && in_driver())
		functions[reg(0) >> 24 & 0x7f]++;
}

static const char *argument(uint64_t address, uint64_t len)
{
	static GByteArray *text;

	if (!text)
		text = g_byte_array_new();
	g_byte_array_set_size(text, 0);
	if (!qemu_plugin_read_memory_vaddr(address, text, len))
		return "?";
	g_byte_array_append(text, (const guint8 *)"", 1);
	return (const char *)text->data;
}

static void write_profile(const char *title)
{
	GHashTableIter iter;
	void *address, *n;

	fprintf(profile, "@ %s\n", title);
	g_hash_table_iter_init(&iter, blocks);
	while (g_hash_table_iter_next(&iter, &address, &n))
		fprintf(profile, "%" PRIx64 " %" PRIu64 "\n", (uint64_t)address, (uint64_t)n);
	g_hash_table_remove_all(blocks);
	fflush(profile);
}

/* A line: what bench.c has to say, and what was counted. */
static void write_line(const char *text)
{
	fprintf(out, "%s instructions=%" PRIu64 " entries=%" PRIu64, text, instructions, entries);
	for (int i = 0; i < nr_watched; i++)
		fprintf(out, " %s=%" PRIu64 " %s_by_all=%" PRIu64, watched[i].name,
			watched[i].by_driver, watched[i].name, watched[i].by_all);
	for (int i = 0; i < NR_FUNCTIONS; i++)
		if (functions[i])
			fprintf(out, " pqap%02x=%" PRIu64, i, functions[i]);
	fputc('\n', out);
	fflush(out);
	if (profile)
		write_profile(text);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);

static void on_ready(qemu_plugin_id_t id)
{
	ready = true;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
}

static void on_command(unsigned int cpu, void *data)
{
	uint64_t a = reg(2), b = reg(3), c = reg(4);

	switch ((uint64_t)data) {
	case COUNT_DRIVER:
		driver = (struct area){ a, b };
		nr_others = 0;
		break;
	case COUNT_NOT_DRIVER:
		if (nr_others < NR_AREAS)
			others[nr_others++] = (struct area){ a, b };
		break;
	case COUNT_SWITCH:
		switch_to = a;
		break;
	case COUNT_WATCH:
		if (nr_watched < NR_WATCHED)
			watched[nr_watched++] = (struct watched){ a, g_strdup(argument(b, c)) };
		break;
	case COUNT_READY:
		/* Have all be translated anew. */
		qemu_plugin_reset(plugin, on_ready);
		break;
	case COUNT_BEGIN:
		instructions = entries = 0;
		memset(functions, 0, sizeof(functions));
		for (int i = 0; i < nr_watched; i++)
			watched[i].by_driver = watched[i].by_all = 0;
		counting = true;
		break;
	case COUNT_END:
		counting = false;
		break;
	case COUNT_LINE:
		write_line(argument(a, b));
		break;
	case COUNT_SYMBOLS:
		if (profile)
			fputs(argument(a, b), profile);
		break;
	case COUNT_INTERRUPT:
		if (nr_interrupts < NR_INTERRUPTS) {
			interrupts[nr_interrupts].handler = a;
			interrupts[nr_interrupts++].old_address = b;
		}
		break;
	}
}

/* A block that matters even if the task is not in the driver. */
static bool is_special(uint64_t address)
{
	for (int i = 0; i < nr_watched; i++)
		if (address == watched[i].address)
			return true;
	return address == switch_to || is_driver(address);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	uint64_t address = qemu_plugin_tb_vaddr(tb);
	void *key = (void *)(address << 10 | n);

	if (ready && is_special(address))
		qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_R_REGS, key);
	else if (ready)
		qemu_plugin_register_vcpu_tb_exec_cond_cb(tb, on_block, QEMU_PLUGIN_CB_R_REGS,
							  QEMU_PLUGIN_COND_NE, attention, 0, key);
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint8_t code[4] = {};

		if (qemu_plugin_insn_data(insn, code, sizeof(code)) != sizeof(code))
			continue;
		if (code[0] == 0xb2 && code[1] == 0xaf)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_pqap, QEMU_PLUGIN_CB_R_REGS,
							       NULL);
		if (code[0] == 0x47 && code[1] == 0 && code[2] == COUNT_CODE >> 8 &&
		    (code[3] & 0xf0) == (COUNT_CODE & 0xf0))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_command,
							       QEMU_PLUGIN_CB_R_REGS,
							       (void *)(uint64_t)(code[3] & 0xf));
	}
}

static void on_cpu(qemu_plugin_id_t id, unsigned int cpu)
{
	GArray *list = qemu_plugin_get_registers();

	for (int i = 0; i < list->len; i++) {
		qemu_plugin_reg_descriptor *desc =
			&g_array_index(list, qemu_plugin_reg_descriptor, i);
		int n, end = 0;

		if (sscanf(desc->name, "r%d%n", &n, &end) == 1 && !desc->name[end] &&
		    n < NR_REGISTERS)
			registers[n] = desc->handle;
	}
	g_array_free(list, true);
}

static FILE *open_option(const char *option, const char *name)
{
	FILE *file;

	if (strncmp(option, name, strlen(name)))
		return NULL;
	file = fopen(option + strlen(name), "w");
	if (!file)
		perror(option);
	return file;
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info,
					   int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		out = out ?: open_option(argv[i], "out=");
		profile = profile ?: open_option(argv[i], "profile=");
	}
	if (!out) {
		fputs("count: out=FILE is missing\n", stderr);
		return -1;
	}
	plugin = id;
	scoreboard = qemu_plugin_scoreboard_new(sizeof(uint64_t));
	attention = qemu_plugin_scoreboard_u64(scoreboard);
	buffer = g_byte_array_new();
	tasks = g_hash_table_new(NULL, NULL);
	blocks = g_hash_table_new(NULL, NULL);
	current = task_of(0);
	qemu_plugin_register_vcpu_init_cb(id, on_cpu);
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}
