/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a VMM does with a mediated device, up to and without running a guest: a
 * virtual machine, and the device opened for it by its group or by its
 * character device.
 */
#ifndef VFIO_AP_SELFTEST_VM_H
#define VFIO_AP_SELFTEST_VM_H

#include <linux/vfio.h>

#include "ap.h"

struct vm {
	int kvm, vm, vfio;
};

/* Functions return 0 or a negative errno. */
int vm_create(struct vm *vm);
void vm_destroy(struct vm *vm);

/* @cdev: the way of character device and iommufd, else of group and container */
struct vdev {
	bool cdev;
	const struct mdev *mdev;
	const struct vm *vm;
	int iommu;		/* container or iommufd */
	int group;
	int device;
};

/* Loads the modules that all this needs. */
void vm_need_modules(void);

/* All up to the step that opens the device; @vm may be NULL. */
int vdev_prepare(struct vdev *vdev, const struct mdev *mdev, bool cdev,
		 const struct vm *vm);
/* The step that opens the device. */
int vdev_start(struct vdev *vdev);
/* Both; after a failure there is nothing to close. */
int vdev_open(struct vdev *vdev, const struct mdev *mdev, bool cdev,
	      const struct vm *vm);
/* Also takes it from the VM, which holds a reference of its own. */
void vdev_close(struct vdev *vdev);

int vdev_ioctl(const struct vdev *vdev, unsigned long request, void *arg);

/* What VFIO_DEVICE_SET_IRQS takes, to have @fd told; and that ioctl. */
struct vdev_irq_set {
	struct vfio_irq_set set;
	int fd;
};

struct vdev_irq_set vdev_irq_set(unsigned int index, int fd);
int vdev_set_eventfd(const struct vdev *vdev, unsigned int index, int fd);

/* Eventfds: how often signalled since it was last asked for. */
int eventfd_new(void);
unsigned long eventfd_count(int fd);
int eventfd_id(int fd);		/* of the context, while it lives */

#endif /* VFIO_AP_SELFTEST_VM_H */
