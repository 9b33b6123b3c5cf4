// SPDX-License-Identifier: GPL-2.0

#ifdef CONFIG_RUST_VFIO_ABSTRACTIONS

#include <linux/io.h>
#include <linux/mm.h>

__rust_helper phys_addr_t rust_helper_page_to_phys(struct page *page)
{
	return page_to_phys(page);
}

__rust_helper void rust_helper_get_page(struct page *page)
{
	get_page(page);
}

#endif /* CONFIG_RUST_VFIO_ABSTRACTIONS */
