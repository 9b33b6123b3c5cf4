# SPDX-License-Identifier: GPL-2.0
#
# The kernel's source with the checkout over it, in $state/tree, locked for as
# long as the script runs.  Sourced in the toolchain root by what builds in it.

mkdir -p "$state"
touch "$state"
exec 9>"$state/lock"
flock -n 9 || { echo "waiting for another build in this tree"; flock 9; }

if [ -n "$FINGERPRINT" ]; then
	if [ "$(cat "$state/fingerprint" 2>/dev/null)" != "$FINGERPRINT" ]; then
		rm -f "$state/fingerprint"
		mkdir -p "$state/base" "$state/tree"
		rsync -a --delete --exclude=/.git /mnt/ "$state/base/"
		touch "$state/laid"
		rsync -a --delete --exclude-from=<(sed 's|^|/|' "$state/laid") \
			--link-dest="$state/base" "$state/base/" "$state/tree/"
		echo "$FINGERPRINT" >"$state/fingerprint"
	fi
elif [ ! -e "$state/extracted" ]; then
	rm -rf "$state/base" "$state/tree"
	mkdir "$state/base"
	tar -xf /usr/src/linux-source-7.3.tar.xz -C "$state/base" --strip-components=1 --no-same-owner
	cp -al "$state/base" "$state/tree"
	touch "$state/extracted"
fi
"$TOP/scripts/lay" "$state" patches $LAID

# So that the same input makes the same kernel.
export KBUILD_BUILD_TIMESTAMP=2026-01-01 KBUILD_BUILD_USER=vfio-ap KBUILD_BUILD_HOST=vfio-ap

case $config in
release)	cc="ARCH=s390 CROSS_COMPILE=s390x-linux-gnu-" ;;
*)		cc="ARCH=s390 LLVM=1" ;;
esac
# The kernel keeps what its documentation tests say to itself.
kmake="nice make -s -C $state/tree -j$(nproc) $cc rustdoc_test_kernel_quiet="

# configure CONFIG OUT: allnoconfig and the fragments, every line of which must
# have come through.
configure()
{
	local lost
	cat "$configs/base.config" "$configs/$1.config" >"$2/fragment"
	$kmake O="$2" rustavailable
	$kmake O="$2" KCONFIG_ALLCONFIG="$2/fragment" allnoconfig
	lost=$({
		grep '^CONFIG_' "$2/fragment" | grep -vxF -f "$2/.config"
		sed -n 's/^# \(CONFIG_[^ ]*\) is not set$/\1=/p' "$2/fragment" |
			while read -r no; do grep "^$no" "$2/.config"; done
	} || true)
	[ -z "$lost" ] || die "this kernel's Kconfig does not take: $(echo $lost)" \
		"Something they depend on is missing or was renamed: see tools/testing/mainframe/configs/."
}
