// SPDX-License-Identifier: GPL-2.0
/*
 * Attach a mediated device, by its IOMMU group or by the device node of its own.
 *
 * The driver wants three things: that the virtual machine is known before the
 * device is opened, that the storage of the guest is mapped so that it can pin
 * what the guest points at, and that the file stays open.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm.h"

#define MDEV_DEVICES "/sys/bus/mdev/devices"

/* what a vfio-ap device may signal */
enum {
	IRQ_REQUEST,		/* give the device back */
	IRQ_CONFIG_CHANGE,	/* the guest has other queues now */
	NUM_IRQS
};

struct device {
	const char *name;
	int fd;
	bool cdev;		/* KVM holds the file of the device, not of its group */
	int irq[NUM_IRQS];
};

static int kvm_vfio = -1;
static int container = -1;
static int iommufd = -1;
static uint32_t ioas;

static int must_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die(EXIT_USAGE, "%s: %s", path, strerror(errno));
	return fd;
}

static void tell_kvm(int fd, uint64_t what)
{
	struct kvm_create_device create = { .type = KVM_DEV_TYPE_VFIO };
	int32_t arg = fd;
	struct kvm_device_attr attr = {
		.group = KVM_DEV_VFIO_FILE,
		.attr = what,
		.addr = (uintptr_t)&arg,
	};

	if (kvm_vfio < 0) {
		if (ioctl(vm.fd, KVM_CREATE_DEVICE, &create))
			die(EXIT_USAGE, "KVM VFIO device: %s", strerror(errno));
		kvm_vfio = create.fd;
	}
	if (ioctl(kvm_vfio, KVM_SET_DEVICE_ATTR, &attr))
		die(EXIT_USAGE, "KVM_DEV_VFIO_FILE_%s: %s",
		    what == KVM_DEV_VFIO_FILE_ADD ? "ADD" : "DEL", strerror(errno));
}

static int arm_irq(struct device *device, unsigned int index)
{
	struct {
		struct vfio_irq_set set;
		int32_t fd;
	} arg = {
		.set = {
			.argsz = sizeof(arg),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = index,
			.count = 1,
		},
		.fd = eventfd(0, EFD_CLOEXEC),
	};

	if (arg.fd < 0 || ioctl(device->fd, VFIO_DEVICE_SET_IRQS, &arg))
		die(EXIT_USAGE, "%s: VFIO_DEVICE_SET_IRQS %u: %s", device->name, index,
		    strerror(errno));
	return arg.fd;
}

/* Close the device when it is wanted back; the guest goes on without it. */
static void *watch_device(void *arg)
{
	struct device *device = arg;
	struct pollfd pfd[NUM_IRQS];
	uint64_t count;

	for (int i = 0; i < NUM_IRQS; i++)
		pfd[i] = (struct pollfd){ .fd = device->irq[i], .events = POLLIN };
	for (;;) {
		if (poll(pfd, NUM_IRQS, -1) < 0)
			continue;
		if (pfd[IRQ_CONFIG_CHANGE].revents &&
		    read(device->irq[IRQ_CONFIG_CHANGE], &count, sizeof(count)) > 0) {
			fprintf(stderr, "vmm: %s: configuration changed\n", device->name);
			css_ap_config_changed();
		}
		if (pfd[IRQ_REQUEST].revents) {
			fprintf(stderr, "vmm: %s: given back\n", device->name);
			if (device->cdev)
				tell_kvm(device->fd, KVM_DEV_VFIO_FILE_DEL);
			close(device->fd);
			return NULL;
		}
	}
}

static void start_device(int fd, const char *name, bool cdev)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct device *device = calloc(1, sizeof(*device));
	pthread_t thread;

	if (!device || ioctl(fd, VFIO_DEVICE_GET_INFO, &info))
		die(EXIT_USAGE, "%s: VFIO_DEVICE_GET_INFO: %s", name, strerror(errno));
	fprintf(stderr, "vmm: %s: flags %#x, %u interrupts\n", name, info.flags, info.num_irqs);
	device->name = name;
	device->fd = fd;
	device->cdev = cdev;
	for (unsigned int i = 0; i < NUM_IRQS; i++)
		device->irq[i] = i < info.num_irqs ? arm_irq(device, i) : -1;
	if (pthread_create(&thread, NULL, watch_device, device))
		die(EXIT_USAGE, "%s: no thread to watch it", name);
}

static void map_group(int group, const char *device)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)vm.mem,
		.size = vm.mem_size,
	};
	bool first = container < 0;

	if (first)
		container = must_open("/dev/vfio/vfio");
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
		die(EXIT_USAGE, "%s: VFIO_GROUP_SET_CONTAINER: %s", device, strerror(errno));
	if (!first)
		return;
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		die(EXIT_USAGE, "VFIO_SET_IOMMU: %s", strerror(errno));
	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map))
		die(EXIT_USAGE, "VFIO_IOMMU_MAP_DMA: %s", strerror(errno));
}

static void attach_group(const char *sysfs, const char *device)
{
	const char *name = strrchr(sysfs, '/') + 1;
	char path[PATH_MAX], link[PATH_MAX];
	int group, fd;
	ssize_t len;

	snprintf(path, sizeof(path), "%s/iommu_group", sysfs);
	len = readlink(path, link, sizeof(link) - 1);
	if (len < 0)
		die(EXIT_USAGE, "%s: %s", path, strerror(errno));
	link[len] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	group = must_open(path);
	map_group(group, device);
	tell_kvm(group, KVM_DEV_VFIO_FILE_ADD);
	fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
	if (fd < 0)
		die(EXIT_USAGE, "%s: VFIO_GROUP_GET_DEVICE_FD: %s", device, strerror(errno));
	start_device(fd, device, false);
}

static void map_ioas(void)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.user_va = (uintptr_t)vm.mem,
		.length = vm.mem_size,
	};

	if (iommufd >= 0)
		return;
	iommufd = must_open("/dev/iommu");
	if (ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc))
		die(EXIT_USAGE, "IOMMU_IOAS_ALLOC: %s", strerror(errno));
	ioas = alloc.out_ioas_id;
	map.ioas_id = ioas;
	if (ioctl(iommufd, IOMMU_IOAS_MAP, &map))
		die(EXIT_USAGE, "IOMMU_IOAS_MAP: %s", strerror(errno));
}

static void attach_cdev(const char *sysfs, const char *device)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
	char path[PATH_MAX] = "";
	struct dirent *entry;
	DIR *dir;
	int fd;

	if (!strncmp(device, "/dev/", 5)) {
		snprintf(path, sizeof(path), "%s", device);
	} else {
		char name[PATH_MAX];

		snprintf(name, sizeof(name), "%s/vfio-dev", sysfs);
		dir = opendir(name);
		if (!dir)
			die(EXIT_USAGE, "%s: %s", name, strerror(errno));
		while ((entry = readdir(dir)))
			if (entry->d_name[0] != '.')
				snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
		closedir(dir);
	}
	fd = must_open(path);
	map_ioas();
	tell_kvm(fd, KVM_DEV_VFIO_FILE_ADD);
	bind.iommufd = iommufd;
	if (ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		die(EXIT_USAGE, "%s: VFIO_DEVICE_BIND_IOMMUFD: %s", path, strerror(errno));
	attach.pt_id = ioas;
	if (ioctl(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		die(EXIT_USAGE, "%s: VFIO_DEVICE_ATTACH_IOMMUFD_PT: %s", path, strerror(errno));
	start_device(fd, device, true);
}

void vfio_attach(const char *device, bool cdev)
{
	char sysfs[PATH_MAX], real[PATH_MAX] = "";

	if (strncmp(device, "/dev/", 5)) {
		if (device[0] == '/')
			snprintf(sysfs, sizeof(sysfs), "%s", device);
		else
			snprintf(sysfs, sizeof(sysfs), MDEV_DEVICES "/%s", device);
		if (!realpath(sysfs, real))
			die(EXIT_USAGE, "%s: %s", sysfs, strerror(errno));
	} else {
		cdev = true;
	}
	if (cdev)
		attach_cdev(real, device);
	else
		attach_group(real, device);
}
