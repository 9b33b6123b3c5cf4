// SPDX-License-Identifier: GPL-2.0

#ifdef CONFIG_RUST_KVM_ABSTRACTIONS

#include <linux/kvm_host.h>

/* The SIE block is packed and aligned at once, which bindgen cannot express. */
__rust_helper bool rust_helper_kvm_s390_vcpu_aiv(struct kvm_vcpu *vcpu)
{
	return vcpu->arch.sie_block->eca & ECA_AIV;
}

__rust_helper u64 rust_helper_kvm_s390_gisa_address(struct kvm *kvm)
{
	return virt_to_phys(kvm->arch.gisa_int.origin);
}

#endif /* CONFIG_RUST_KVM_ABSTRACTIONS */
