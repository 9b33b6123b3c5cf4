# SPDX-License-Identifier: GPL-2.0
#
# What the results in the cache are named after: everything that goes into them,
# and nothing else.  Sourced after lib.sh, on the host and in the root alike.

# The packages of the root, with their versions.
packages()
{
	if [ -e /.packages ]; then
		cat /.packages
	else
		cat "$("$TOP/scripts/toolchain")/.packages"
	fi
}

root_key()
{
	packages | key
}

# kernel_source: SOURCE names the source tree, FINGERPRINT its state.
kernel_source()
{
	local wrong=() version
	SOURCE=$(packages | sed -n 's/^linux-source-7.3_\([^_]*\)_.*/debian-\1/p' | tr -c 'a-z0-9.\n' -)
	FINGERPRINT=
	[ -n "${KERNEL_SRC:-}" ] || return 0

	[ -f "$KERNEL_SRC/Makefile" ] && [ -f "$KERNEL_SRC/rust/kernel/lib.rs" ] ||
		die "KERNEL_SRC=$KERNEL_SRC is not a Linux source tree" \
		    "It must name the top directory of Linux 7.3."
	version=$(awk '$1 == "VERSION" { v = $3 } $1 == "PATCHLEVEL" { print v "." $3; exit }' "$KERNEL_SRC/Makefile")
	[ "$version" = 7.3 ] ||
		die "KERNEL_SRC=$KERNEL_SRC is Linux $version, 7.3 is needed" \
		    "The abstractions follow one release; check out a v7.3 tag there."
	for f in .config include/config arch/s390/include/generated; do
		[ ! -e "$KERNEL_SRC/$f" ] || wrong+=("$f")
	done
	[ ${#wrong[@]} = 0 ] ||
		die "KERNEL_SRC=$KERNEL_SRC has been built in: ${wrong[*]}" \
		    "Run 'make mrproper' there; this build keeps its objects elsewhere."
	SOURCE=user-$(realpath "$KERNEL_SRC" | key)
	FINGERPRINT=$(cd "$KERNEL_SRC" && find . -path ./.git -prune -o -type f -printf '%P %s %T@\n' | sort | key)
}

# kernel_key CONFIG: names that kernel, its modules and nothing else.
kernel_key()
{
	{
		echo "$1 $SOURCE $FINGERPRINT"
		root_key
		contents drivers rust include patches scripts/kernel-build scripts/lay \
			tools/testing/mainframe/configs/{base,"$1"}.config
	} | key
}

# programs_key: names the test programs.
programs_key()
{
	{
		echo "$SOURCE $FINGERPRINT"
		root_key
		contents include patches tools/testing/selftests tools/testing/mainframe/{guest,bench} \
			scripts/programs-build scripts/lay
	} | key
}

# kvm_selftests_key: names the kernel's selftests of KVM, which are built as they are.
kvm_selftests_key()
{
	{
		echo "$SOURCE $FINGERPRINT"
		root_key
		contents patches scripts/kvm-selftests-build scripts/lay
	} | key
}

# qemu_key: names the emulator.
qemu_key()
{
	{
		root_key
		contents tools/testing/mainframe/qemu scripts/qemu-build scripts/qemu-tree.sh scripts/lay
	} | key
}

# qemu_tests_key: names the tests of TCG that come with QEMU, and its user mode.
qemu_tests_key()
{
	{
		qemu_key
		contents scripts/qemu-tests-build
	} | key
}
