# SPDX-License-Identifier: GPL-2.0
#
# Guests of Linux with queues of their own, for the scripts of the large image:
# started by Debian's QEMU or by the small monitor, watched over their console.
# Sourced.  Must not decide what is right or wrong.

AP=/sys/bus/ap
MATRIX=/sys/devices/vfio_ap/matrix
RUN=/tmp/guests

UUID_A=c3f5a1e0-000a-4a6b-9d52-7e18b04c2a0a
UUID_B=c3f5a1e0-000b-4a6b-9d52-7e18b04c2a0b

mkdir -p $RUN

# soon SECONDS COMMAND...: wait for the command to succeed.
soon()
{
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.2
	done
}

not()
{
	! "$@"
}

put()
{
	echo "$2" >"$1"
}

# oracle PROPERTY [QUEUE]: what the emulator knows, of all or of one queue (03.000e).
oracle()
{
	local path=/machine/s390-ap value
	[ -z "${2:-}" ] || path="/machine/peripheral/card${2%.*}/queue[$((16#${2#*.}))]"
	value=$(qmp "{\"execute\": \"qom-get\", \"arguments\": {\"path\": \"$path\", \"property\": \"$1\"}}") || return
	# {"return": VALUE}, and starting jq takes an emulated CPU long
	value=${value#*: }
	value=${value%\}*}
	value=${value#\"}
	echo "${value%\"}"
}

# knob CARD PROPERTY VALUE
knob()
{
	qmp "{\"execute\": \"qom-set\", \"arguments\": {\"path\": \"/machine/peripheral/card$1\",
		\"property\": \"$2\", \"value\": $3}}" >/dev/null
}

unplug()
{
	qmp "{\"execute\": \"device_del\", \"arguments\": {\"id\": \"card$1\"}}" >/dev/null
}

# plug CARD MODE
plug()
{
	qmp "{\"execute\": \"device_add\", \"arguments\": {\"driver\": \"s390-ap-card\",
		\"id\": \"card$1\", \"apid\": $((16#$1)), \"mode\": \"$2\"}}" >/dev/null
}

driver_of()
{
	basename "$(readlink "$AP/devices/$1/driver")" 2>/dev/null
}

# driven_by DRIVER QUEUE...
driven_by()
{
	local driver=$1 queue
	shift
	for queue; do
		[ "$(driver_of "$queue")" = "$driver" ] || return 1
	done
}

# queues CARDS DOMAINS: the names of all pairs, "03 0b" "000e".
queues()
{
	local card dom
	for card in $1; do
		for dom in $2; do
			echo "$card.$dom"
		done
	done
}

guest_matrix()
{
	cat "$MATRIX/$1/guest_matrix"
}

# mdev UUID CARDS DOMAINS: make the device and assign.
mdev()
{
	local id
	put $MATRIX/mdev_supported_types/vfio_ap-passthrough/create "$1" || return
	for id in $2; do
		put "$MATRIX/$1/assign_adapter" "0x$id" || return
	done
	for id in $3; do
		put "$MATRIX/$1/assign_domain" "0x$id" || return
	done
}

# guest_start NAME HOW UUID: HOW is qemu or vmm, then -group or -iommufd.  Not for expect:
# guest_kill waits for the end, which only the shell can do that has started it.
guest_start()
{
	local dir=$RUN/$1 dev=$MATRIX/$3 boot
	rm -rf "$dir"
	mkdir -p "$dir"
	mkfifo "$dir/in" "$dir/monitor.in" "$dir/monitor.out"
	echo 0 >"$dir/mark"
	boot=console=ttysclp0
	set -- "$2"
	case $1 in
	qemu-*)
		set -- "$@" qemu-system-s390x -accel kvm -M s390-ccw-virtio -cpu host -m 256 -nodefaults \
			-display none -kernel /guest/bzImage -initrd /guest/initramfs.cpio -append "$boot" \
			-chardev stdio,id=console,signal=off -device sclpconsole,chardev=console \
			-chardev "pipe,id=monitor,path=$dir/monitor" -mon chardev=monitor,mode=readline ;;
	vmm-*)
		set -- "$@" /guest/vmm -k /guest/bzImage -i /guest/initramfs.cpio -p "$boot config_time=120" ;;
	esac
	case $1 in
	qemu-group)	set -- "$@" -device "vfio-ap,id=ap,sysfsdev=$dev" ;;
	qemu-iommufd)	set -- "$@" -object iommufd,id=iommufd -device "vfio-ap,id=ap,sysfsdev=$dev,iommufd=iommufd" ;;
	vmm-group)	set -- "$@" -d "$dev" ;;
	vmm-iommufd)	set -- "$@" -D "$dev" ;;
	esac
	shift
	# Both ends of the pipes stay open, whoever comes and goes.
	(
		exec 8<>"$dir/monitor.in" 9<>"$dir/monitor.out"
		exec "$@" <>"$dir/in" >"$dir/log" 2>&1
	) &
	echo $! >"$dir/pid"
}

# guest_log NAME: its console since it was started.
guest_log()
{
	tr -d '\r' <"$RUN/$1/log"
}

guest_runs()
{
	kill -0 "$(cat "$RUN/$1/pid")" 2>/dev/null
}

# guest_do NAME COMMAND: in the guest's shell.
guest_do()
{
	echo "$2" >"$RUN/$1/in"
}

# guest_monitor NAME COMMAND: to its QEMU.
guest_monitor()
{
	echo "$2" >"$RUN/$1/monitor.in"
}

guest_kill()
{
	local pid
	pid=$(cat "$RUN/$1/pid")
	kill -9 "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	true
}

# guest_mark NAME: forget what the guest has reported until now.
guest_mark()
{
	wc -l <"$RUN/$1/log" >"$RUN/$1/mark"
}

# guest_report NAME: what rsa said of each queue since guest_mark, in order, "QUEUE RIGHT
# WRONG REFUSED HOW FIRST", and "irq N".  FIRST is how many were right the first time.
guest_report()
{
	awk -v mark="$(<"$RUN/$1/mark")" '
		NR <= mark	{ next }
		!/^rsa /	{ next }
		{ sub(/\r$/, "") }
		/^rsa [0-9a-f]+\.[0-9a-f]+ right [0-9]+ wrong [0-9]+ refused [0-9]+ [a-z]+$/ {
			if (!($2 in first))
				first[$2] = $4
			queue[$2] = $4 " " $6 " " $8 " " $9 " " first[$2]
		}
		/^rsa irq [0-9]+$/ { irq = $3 }
		END {
			for (q in queue)
				print q, queue[q]
			if (irq != "")
				print "irq", irq
		}' "$RUN/$1/log" | sort
}

# guest_queues NAME: those that do not count as gone.
guest_queues()
{
	guest_report "$1" | awk '$5 == "interrupts" || $5 == "polling" { print $1 }'
}

# guest_wrong NAME: how many results were wrong.
guest_wrong()
{
	guest_report "$1" | awk 'NF > 2 { sum += $3 } END { print sum + 0 }'
}

# guest_computes NAME QUEUE...: the guest has these queues, given in order, and no others,
# with interrupts, and each has given right results since guest_mark.
guest_computes()
{
	local name=$1 queue right how first has=()
	shift
	while read -r queue right _ _ how first; do
		case $how in
		"" | gone)	continue ;;
		interrupts)	[ "$right" -gt "$first" ] || return 1 ;;
		*)		return 1 ;;
		esac
		has+=("$queue")
	done < <(guest_report "$name")
	[ "${has[*]}" = "$*" ]
}

# interrupts NAME: of this host, by the name that /proc/interrupts has (APB, GAL).
interrupts()
{
	awk -v name="$1:" '$1 == name { for (i = 2; $i ~ /^[0-9]+$/; i++) sum += $i } END { print sum + 0 }' \
		/proc/interrupts
}

# guest_refused NAME: how many requests got no result on the queues it has; those on
# a queue that has gone go on being refused.
guest_refused()
{
	guest_report "$1" | awk 'NF > 2 && $5 != "gone" { sum += $4 } END { print sum + 0 }'
}

# ap_config UUID CARDS DOMAINS [CONTROL-DOMAINS]: set a device's whole configuration
# as s390-tools does, 201 bytes in one write.
ap_config()
{
	ap_config_text "$2" "$3" "${4:-}" >"$MATRIX/$1/ap_config"
}

ap_config_text()
{
	printf '%s\n' "$(mask "$1"),$(mask "$2"),$(mask "${3:-}")"
}

# mask IDS: the 256 bits with these set, hexadecimal numbers, the leftmost being 0.
mask()
{
	local id digits=() i
	for i in {0..63}; do
		digits[i]=0
	done
	for id in $1; do
		id=$((16#$id))
		digits[id / 4]=$((digits[id / 4] | 8 >> id % 4))
	done
	printf 0x
	printf '%x' "${digits[@]}"
}

# Tests: each is a function t_NAME, which says by "expect" what has to hold.

# expect WHAT COMMAND...
expect()
{
	local what=$1 said
	shift
	said=$("$@" 2>&1) && return
	echo "# not so: $what${said:+ ($said)}"
	wrong=1
	return 1
}

# run_tests FUNCTION...
run_tests()
{
	local test n=0 start
	echo "TAP version 13"
	echo "1..$#"
	for test; do
		n=$((n + 1)) wrong= start=$SECONDS
		echo "vfio_ap: test ${test#t_}" >/dev/kmsg
		if $test && [ -z "$wrong" ]; then
			echo "ok $n ${test#t_} ($((SECONDS - start)) s)"
		else
			echo "not ok $n ${test#t_}"
		fi
	done
}
