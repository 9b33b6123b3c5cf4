# SPDX-License-Identifier: GPL-2.0
#
# QEMU's source with our patches, in $state/tree, locked for as long as the script
# runs.  Sourced in the toolchain root by what builds in it.

state=$CACHE/qemu/source-$(root_key)
mkdir -p "$state"
touch "$state"
exec 9>"$state/lock"
flock -n 9 || { echo "waiting for another build of QEMU"; flock 9; }

if [ ! -e "$state/extracted" ]; then
	rm -rf "$state/base" "$state/tree"
	mkdir "$state/base"
	tar -xf /usr/src/qemu_*.orig.tar.xz -C "$state/base" --strip-components=1 --no-same-owner
	cp -al "$state/base" "$state/tree"
	touch "$state/extracted"
fi
"$TOP/scripts/lay" "$state" tools/testing/mainframe/qemu

# configure TARGETS [OPTION]: in $out.  Firmware is in Debian's binary package; its source
# package has none.  To be followed by "rm $out/.building" when all is built.
configure()
{
	local options="--target-list=$1 --without-default-features --enable-tcg
	--enable-trace-backends=log --disable-install-blobs --disable-download ${2:-}"

	if [ -e "$out/.building" ] || [ "$(cat "$out/.options" 2>/dev/null)" != "$options" ]; then
		rm -rf "$out"
		mkdir "$out"
		(cd "$out" && "$state/tree/configure" $options)
		echo "$options" >"$out/.options"
	fi
	touch "$out/.building"
}
