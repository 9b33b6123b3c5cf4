// SPDX-License-Identifier: GPL-2.0

#ifdef CONFIG_RUST_AP_ABSTRACTIONS

#include <asm/ap.h>

__rust_helper bool rust_helper_ap_instructions_available(void)
{
	return ap_instructions_available();
}

__rust_helper int rust_helper_ap_qci(struct ap_config_info *info)
{
	return ap_qci(info);
}

/* Status words are decoded in Rust: the C type is a union of bit fields. */

__rust_helper u32 rust_helper_ap_tapq_word(u32 qid, unsigned long *info)
{
	struct ap_tapq_hwinfo hwinfo;
	struct ap_queue_status status;

	if (!info)
		return ap_tapq(qid, NULL).value;

	status = ap_test_queue(qid, 1, &hwinfo);
	*info = hwinfo.value;
	return status.value;
}

__rust_helper u32 rust_helper_ap_zapq_word(u32 qid)
{
	return ap_zapq(qid, 0).value;
}

__rust_helper u32 rust_helper_ap_aqic_word(u32 qid, unsigned long control, u64 nib)
{
	union ap_qirq_ctrl qirqctrl = { .value = control };

	return ap_aqic(qid, qirqctrl, nib).value;
}

#endif /* CONFIG_RUST_AP_ABSTRACTIONS */
