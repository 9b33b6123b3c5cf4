/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What bench.c tells count.c: a no-operation whose low digit is the command, its
 * arguments in general registers 2 to 4.
 */
#ifndef MAINFRAME_BENCH_H
#define MAINFRAME_BENCH_H

#define COUNT_CODE		0xbe0

#define COUNT_DRIVER		0	/* start and end of the area that modules are in */
#define COUNT_NOT_DRIVER	1	/* start and end of what in it is not the driver */
#define COUNT_SWITCH		2	/* address of __switch_to */
#define COUNT_WATCH		3	/* address of a function, its name, length of that */
#define COUNT_BEGIN		4
#define COUNT_END		5
#define COUNT_LINE		6	/* text and its length */
#define COUNT_SYMBOLS		7	/* text and its length, for the profile */
#define COUNT_INTERRUPT		8	/* address of a handler, and of the interrupted address */
#define COUNT_READY		9	/* these were all addresses */

#endif /* MAINFRAME_BENCH_H */
