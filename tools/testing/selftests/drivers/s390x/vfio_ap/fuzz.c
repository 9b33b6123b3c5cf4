// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hostile input: bytes that nobody meant are written to the files of a mediated
 * device and given to its ioctls.  Whatever is refused or taken, the files have to
 * fit together afterwards, and the kernel has nothing to complain about.
 *
 * FUZZ_SECONDS says how long each test runs, FUZZ_SEED where it begins.
 */
#define _GNU_SOURCE
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "../../../kselftest_harness.h"
#include "ap.h"
#include "vm.h"

#define ZEROS		"0x0000000000000000000000000000000000000000000000000000000000000000"
#define SECONDS		10
#define ROUND		64	/* inputs between two looks */

FIXTURE(fuzz) {
	struct mdev mdev;
	struct vm vm;
	struct vdev vdev;
	double end;
};

static int number_of(const char *variable, int otherwise)
{
	const char *value = getenv(variable);

	return value ? atoi(value) : otherwise;
}

FIXTURE_SETUP(fuzz)
{
	ASSERT_EQ(0, ap_restore());
	vm_need_modules();
	ASSERT_EQ(0, mdev_create(&self->mdev));
	ASSERT_EQ(0, vm_create(&self->vm));
	ASSERT_EQ(0, mdev_assign(&self->mdev, ap.cards[0], ap.doms[0]));
	ASSERT_EQ(0, vdev_open(&self->vdev, &self->mdev, false, &self->vm));
	srand(number_of("FUZZ_SEED", 1));
	self->end = now() + number_of("FUZZ_SECONDS", SECONDS);
}

FIXTURE_TEARDOWN_PARENT(fuzz)
{
	EXPECT_EQ(0, ap_restore());
}

/* `matrix` is the product of the first two masks of `ap_config`. */
static bool files_fit(const struct mdev *mdev)
{
	const char *config = mdev_get(mdev, "ap_config");
	struct ap_mask apm, aqm, adm;

	if (strlen(config) != 201 || mask_parse(&apm, config) ||
	    mask_parse(&aqm, config + 67) || mask_parse(&adm, config + 134))
		return false;
	/* With more lines, the C driver shows but some (M4). */
	return strlen(matrix_text(&apm, &aqm)) > 4000 ||
	       !strcmp(matrix_text(&apm, &aqm), mdev_get(mdev, "matrix"));
}

static const char * const corpus[] = {
	"0x3", "13", "010", "0xffffffffffffffff", "-1", "+0x8\n", "",
	"0x0,0x0,0x0\n", "0x8,0x04,0x02\n", "0x1000,0x0002,0x0\n", ",,,", "0x,0x,0x",
	ZEROS "," ZEROS "," ZEROS "\n",
};

static size_t mutate(char *buf, size_t size)
{
	size_t len = snprintf(buf, size / 2, "%s", corpus[rand() % ARRAY_SIZE(corpus)]);

	for (int n = rand() % 6; n > 0; n--) {
		size_t at = len ? rand() % len : 0;

		switch (rand() % 5) {
		case 0:		/* another byte */
			buf[at] = rand();
			break;
		case 1:		/* another digit */
			buf[at] = "0123456789abcdefx,\n"[rand() % 19];
			break;
		case 2:		/* shorter */
			len = at;
			break;
		case 3:		/* a part once more */
			if (2 * len - at < size) {
				memcpy(buf + len, buf + at, len - at);
				len += len - at;
			}
			break;
		case 4:		/* very long */
			if (!(rand() % 16)) {
				memset(buf + len, '0', size - len);
				len = size;
			}
			break;
		}
	}
	return len;
}

TEST_F_TIMEOUT(fuzz, sysfs, 600)
{
	static const char * const files[] = {
		"assign_adapter", "unassign_adapter", "assign_domain",
		"unassign_domain", "assign_control_domain",
		"unassign_control_domain", "ap_config", "ap_config", "try_ap_config",
	};
	static char buf[8192];
	unsigned long inputs = 0, taken = 0;

	while (now() < self->end) {
		for (int i = 0; i < ROUND; i++, inputs++) {
			const char *file = files[rand() % ARRAY_SIZE(files)];
			char path[160];

			snprintf(path, sizeof(path), "%s/%s", self->mdev.path, file);
			taken += !file_write_n(path, buf, mutate(buf, sizeof(buf)));
		}
		ASSERT_TRUE(files_fit(&self->mdev));
	}
	TH_LOG("%lu inputs, %lu of them taken", inputs, taken);
	EXPECT_NE(0, taken);
	EXPECT_NE(inputs, taken);
}

TEST_F_TIMEOUT(fuzz, ioctl, 600)
{
	static const unsigned long commands[] = {
		VFIO_DEVICE_GET_INFO, VFIO_DEVICE_GET_REGION_INFO,
		VFIO_DEVICE_GET_IRQ_INFO, VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_SET_IRQS,
		VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_RESET,
	};
	long page = sysconf(_SC_PAGESIZE);
	char *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vfio_device_info info;
	unsigned long inputs = 0, taken = 0;

	ASSERT_NE(MAP_FAILED, memory);
	/* Behind the first page there is nothing. */
	ASSERT_EQ(0, munmap(memory + page, page));
	while (now() < self->end) {
		for (int i = 0; i < ROUND; i++, inputs++) {
			unsigned int words[8], len = rand() % sizeof(words) + 1;
			unsigned long command = commands[rand() % ARRAY_SIZE(commands)];
			char *at = memory + page - len;

			/* Small numbers are what gets far. */
			for (int w = 0; w < ARRAY_SIZE(words); w++)
				words[w] = rand() % 4 ? rand() % 40 : rand() * 2654435761U;
			if (rand() % 2)
				words[1] = VFIO_IRQ_SET_DATA_EVENTFD |
					   VFIO_IRQ_SET_ACTION_TRIGGER;
			memcpy(at, words, len);
			if (!(rand() % 8))
				command += rand() % 64;
			if (!(rand() % 16))
				at = NULL + rand();
			taken += !vdev_ioctl(&self->vdev, command, at);
		}
		info = (struct vfio_device_info){ .argsz = sizeof(info) };
		ASSERT_EQ(0, vdev_ioctl(&self->vdev, VFIO_DEVICE_GET_INFO, &info));
		ASSERT_TRUE(files_fit(&self->mdev));
	}
	TH_LOG("%lu inputs, %lu of them taken", inputs, taken);
	EXPECT_NE(0, taken);
	EXPECT_NE(inputs, taken);
}

AP_MAIN(2)
