// SPDX-License-Identifier: GPL-2.0-only
/*
 * A virtual machine and a mediated device opened for it; see vm.h.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/iommufd.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vm.h"

void vm_need_modules(void)
{
	static const char * const names[] = {
		"kvm", "vfio", "vfio_iommu_type1", "iommufd",
	};

	for (int i = 0; i < ARRAY_SIZE(names); i++)
		module_need(names[i]);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int vm_create(struct vm *vm)
{
	struct kvm_create_device device = { .type = KVM_DEV_TYPE_VFIO };
	int ret;

	*vm = (struct vm){ -1, -1, -1 };
	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0)
		return -errno;
	vm->vm = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	if (vm->vm < 0 || ioctl(vm->vm, KVM_CREATE_DEVICE, &device)) {
		ret = -errno;
		vm_destroy(vm);
		return ret;
	}
	vm->vfio = device.fd;
	return 0;
}

void vm_destroy(struct vm *vm)
{
	close_fd(&vm->vfio);
	close_fd(&vm->vm);
	close_fd(&vm->kvm);
}

static int vm_file(const struct vdev *vdev, unsigned int attr)
{
	int fd = vdev->cdev ? vdev->device : vdev->group;
	struct kvm_device_attr set = {
		.group = KVM_DEV_VFIO_FILE,
		.attr = attr,
		.addr = (uintptr_t)&fd,
	};

	return ioctl(vdev->vm->vfio, KVM_SET_DEVICE_ATTR, &set) ? -errno : 0;
}

static int prepare_group(struct vdev *vdev)
{
	const char *group = link_base(mdev_attr(vdev->mdev, "iommu_group"));

	if (!*group)
		return -ENOENT;
	vdev->iommu = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (vdev->iommu < 0)
		return -errno;
	vdev->group = open(text("/dev/vfio/%s", group), O_RDWR | O_CLOEXEC);
	if (vdev->group < 0)
		return -errno;
	if (ioctl(vdev->group, VFIO_GROUP_SET_CONTAINER, &vdev->iommu) ||
	    ioctl(vdev->iommu, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -errno;
	return 0;
}

static int prepare_cdev(struct vdev *vdev)
{
	DIR *dir = opendir(mdev_attr(vdev->mdev, "vfio-dev"));
	struct dirent *entry;

	if (!dir)
		return -errno;
	do {
		entry = readdir(dir);
	} while (entry && strncmp(entry->d_name, "vfio", 4));
	if (entry)
		vdev->device = open(text("/dev/vfio/devices/%s", entry->d_name),
				    O_RDWR | O_CLOEXEC);
	closedir(dir);
	if (!entry)
		return -ENOENT;
	if (vdev->device < 0)
		return -errno;
	vdev->iommu = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	return vdev->iommu < 0 ? -errno : 0;
}

int vdev_prepare(struct vdev *vdev, const struct mdev *mdev, bool cdev,
		 const struct vm *vm)
{
	int ret;

	*vdev = (struct vdev){
		.cdev = cdev, .mdev = mdev, .vm = vm,
		.iommu = -1, .group = -1, .device = -1,
	};
	ret = cdev ? prepare_cdev(vdev) : prepare_group(vdev);
	if (!ret && vm)
		ret = vm_file(vdev, KVM_DEV_VFIO_FILE_ADD);
	if (ret)
		vdev_close(vdev);
	return ret;
}

int vdev_start(struct vdev *vdev)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind),
		.iommufd = vdev->iommu,
	};

	if (vdev->cdev)
		return vdev_ioctl(vdev, VFIO_DEVICE_BIND_IOMMUFD, &bind);
	vdev->device = ioctl(vdev->group, VFIO_GROUP_GET_DEVICE_FD,
			     vdev->mdev->uuid);
	return vdev->device < 0 ? -errno : 0;
}

int vdev_open(struct vdev *vdev, const struct mdev *mdev, bool cdev,
	      const struct vm *vm)
{
	int ret = vdev_prepare(vdev, mdev, cdev, vm);

	if (ret)
		return ret;
	ret = vdev_start(vdev);
	if (ret)
		vdev_close(vdev);
	return ret;
}

void vdev_close(struct vdev *vdev)
{
	/* Fails if it was not added, or the VM has gone. */
	if (vdev->vm)
		vm_file(vdev, KVM_DEV_VFIO_FILE_DEL);
	close_fd(&vdev->device);
	close_fd(&vdev->group);
	close_fd(&vdev->iommu);
}

int vdev_ioctl(const struct vdev *vdev, unsigned long request, void *arg)
{
	int ret = ioctl(vdev->device, request, arg);

	return ret < 0 ? -errno : ret;
}

struct vdev_irq_set vdev_irq_set(unsigned int index, int fd)
{
	return (struct vdev_irq_set){
		.set = {
			.argsz = sizeof(struct vdev_irq_set),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD |
				 VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = index,
			.count = 1,
		},
		.fd = fd,
	};
}

int vdev_set_eventfd(const struct vdev *vdev, unsigned int index, int fd)
{
	struct vdev_irq_set set = vdev_irq_set(index, fd);

	return vdev_ioctl(vdev, VFIO_DEVICE_SET_IRQS, &set);
}

int eventfd_new(void)
{
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

unsigned long eventfd_count(int fd)
{
	unsigned long count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

int eventfd_id(int fd)
{
	const char *info = file_text(text("/proc/self/fdinfo/%d", fd));
	const char *id = strstr(info, "eventfd-id:");

	return id ? atoi(id + strlen("eventfd-id:")) : -1;
}
