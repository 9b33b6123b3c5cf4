# SPDX-License-Identifier: GPL-2.0
# Shared by every script: where things are, how progress is shown, how a step
# fails.  Sourced, never run.  Must not do work of its own.
#
# TOP    the checkout
# BUILD  $TOP/build: what belongs to this checkout (safe to delete)
# CACHE  what every checkout of this user shares, keyed by its inputs

set -euo pipefail
umask 022
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

TOP=${TOP:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
BUILD=${BUILD:-$TOP/build}
CACHE=${VFIO_AP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vfio-ap-rust}
LOGS=$BUILD/log
# What is laid over the kernel's source, with patches/*.patch.
LAID="drivers rust include Documentation tools/testing/selftests"

# die MESSAGE...: one clear error that says what to do.
die()
{
	printf '\nerror: %s\n' "$1" >&2
	shift
	for line in "$@"; do
		printf '       %s\n' "$line" >&2
	done
	exit 77
}

# key [FILE...]: the short hash that names what the files, or standard input,
# hold; not what they are called.
key()
{
	sha256sum "$@" | cut -c1-64 | sha256sum | cut -c1-16
}

# contents PATH...: one line for each file below these paths of the checkout,
# with its hash.  What editors and failed patches leave behind does not count.
contents()
{
	(
		cd "$TOP"
		find $(ls -d "$@" 2>/dev/null) /dev/null -type f ! -name '*~' ! -name '*.orig' ! -name '*.rej' ! -name '.*.sw?' \
			-print0 2>/dev/null | sort -z | xargs -0r sha256sum
	)
}

# latest N DIR...: remove all but the N directories used last.
latest()
{
	local keep=$1
	shift
	ls -dt "$@" 2>/dev/null | tail -n +$((keep + 1)) | xargs -r rm -rf
}

# need_space DIR MIB WHAT: refuse to start what cannot end.
need_space()
{
	local free
	mkdir -p "$1"
	free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$2" ] || die "$3 needs $2 MiB in $1, $free are free" \
		"Make room, or choose another place with VFIO_AP_CACHE=/path."
}

# step NAME WHAT COMMAND...: run COMMAND with its output in a log, show the
# time it takes and the last line of the log as progress.
step()
{
	local name=$1 what=$2 log=$LOGS/$1.log start=$SECONDS pid rc=0 last
	shift 2
	mkdir -p "$LOGS"
	# A process group of its own, so that an interrupt leaves nothing behind.
	set -m
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	set +m
	trap 'kill -- -"$pid" 2>/dev/null; wait "$pid" 2>/dev/null; exit 130' INT TERM
	if [ -t 1 ]; then
		while kill -0 "$pid" 2>/dev/null; do
			last=$(tail -c 300 "$log" | tr '\r\t' '\n ' | tail -n 1 | tr -cd '[:print:]')
			printf '\r\033[K  %-34s %4ds  %.50s' "$what" $((SECONDS - start)) "$last"
			sleep 1
		done
	else
		while kill -0 "$pid" 2>/dev/null; do
			if [ $(((SECONDS - start) % 60)) = 59 ]; then
				printf '  %-34s %4ds  ...\n' "$what" $((SECONDS - start))
			fi
			sleep 1
		done
	fi
	wait "$pid" || rc=$?
	trap - INT TERM
	[ ! -t 1 ] || printf '\r\033[K'
	if [ "$rc" = 77 ]; then
		# The step said itself what is wrong.
		printf '  %-34s failed after %ds, see %s\n\n' "$what" $((SECONDS - start)) "$log"
		tac "$log" | sed '/^error: /q' | tac >&2
		exit 77
	elif [ "$rc" != 0 ]; then
		printf '  %-34s failed after %ds; the end of %s:\n\n' "$what" $((SECONDS - start)) "$log"
		tail -n 20 "$log"
		return "$rc"
	fi
	printf '  %-34s %4ds\n' "$what" $((SECONDS - start))
}

# ready WHAT: a step that had nothing to do.
ready()
{
	printf '  %-34s ready\n' "$1"
}
