#!/usr/bin/env bash
# walk.sh ROOT PACKAGE: runs the blocks of docs/debian.md, word for word, as a reader would. It runs them on the Debian whose root
# directory is ROOT, with its own systemd as process 1, in namespaces of its own, and reboots this machine in between.
# (docs/id/debian.md has the same blocks; tests/commands.rs compares them.)
#
# ROOT needs systemd, nftables, iproute2, adduser, procps, openssh-server, knockd, netcat-openbsd.
set -euo pipefail

root=$1 package=$2
here=$(cd "$(dirname "$0")/.." && pwd)
document=$here/docs/debian.md
[ "$(id -u)" = 0 ] || { echo "walk.sh needs root" >&2; exit 1; }

# shellcheck source=tests/machine.sh
. "$here/tests/machine.sh"
work=$(mktemp -d)
stop() {
	machine_stop
	rm -rf "$work" "$root/etc/systemd/system/walk-network.service" "$root/etc/systemd/system/multi-user.target.wants/walk-network.service"
}
trap stop EXIT

# --- the machine

# The machine's network, and a host outside. The network comes up at its usual time in the boot, and then the host outside tries
# whether port 22 can be reached.
cat >"$root/etc/systemd/system/walk-network.service" <<'UNIT'
[Unit]
DefaultDependencies=no
After=network-pre.target
Before=network.target
Wants=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/walk-network
[Install]
WantedBy=multi-user.target
UNIT
cat >"$root/usr/local/sbin/walk-network" <<'SH'
#!/bin/sh -e
ip link set lo up
ip netns add outside
ip link add wan0 type veth peer name eth0 netns outside
ip -n outside address add 192.0.2.2/24 dev eth0
ip -n outside link set eth0 up
ip address add 192.0.2.1/24 dev wan0
ip link set wan0 up
nc -l 192.0.2.1 22 &
until ss -ltn | grep -q 192.0.2.1:22; do sleep 0.1; done
ip netns exec outside nc -z -w 2 192.0.2.1 22 && echo open >/run/at-network || echo shut >/run/at-network
kill $! || true
SH
chmod 755 "$root/usr/local/sbin/walk-network"
ln -sf ../walk-network.service "$root/etc/systemd/system/multi-user.target.wants/"
echo '192.0.2.1 server' >>"$root/etc/hosts"
# The machine's user, who has a key, and its administrator, who answers apt's questions with yes.
chroot "$root" sh -ec '
	id user >/dev/null 2>&1 || useradd --create-home --shell /bin/bash user
	mkdir -p /root/.ssh /home/user/.ssh
	[ -e /root/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N "" -f /root/.ssh/id_ed25519
	cp /root/.ssh/id_ed25519.pub /home/user/.ssh/authorized_keys
	chown -R user: /home/user/.ssh'
printf 'Host *\n\tBatchMode yes\n\tStrictHostKeyChecking no\n\tLogLevel ERROR\n' >"$root/etc/ssh/ssh_config.d/walk.conf"
echo 'APT::Get::Assume-Yes "true";' >"$root/etc/apt/apt.conf.d/90walk"
mkdir -p "$root/root/downloads"
cp "$package" "$root/root/downloads/"

journal() { on journalctl --no-pager --boot --unit ketukd; }
server() { on sh -ec "cd /root/downloads; $1"; }
outside() { # outside LINES: each line works
	local line
	while read -r line; do on ip netns exec outside bash -c "$line" </dev/null || return 1; done <<<"$1"
}
answers() { outside 'nc -z -w 1 server 22'; }
boot() {
	machine_stop
	machine_start "$root"
	until_true 30 on test -s /run/at-network
	until_true 30 on systemctl is-active ssh.service
}

# --- the document

steps=0
walk() { # walk HEADING: runs the blocks below it, up to the next heading
	local file info text
	rm -f "$work"/block.*
	awk -v heading="$1" -v out="$work/block" '
		/^```/ { inside = !inside; if (inside && here) { file = sprintf("%s.%02d", out, ++count); print substr($0, 4) >file }; next }
		inside && here { print >file }
		!inside && /^#+ / { name = $0; sub(/^#+ /, "", name); here = name == heading }
	' "$document"
	ls "$work"/block.* >/dev/null 2>&1 || { echo "$document has no blocks below '$1'" >&2; exit 1; }
	for file in "$work"/block.*; do
		info=$(head -1 "$file") text=$(tail -n +2 "$file")
		case $info in
		uci)
			steps=$((steps + 1))
			check "$1: a file is written" on sh -c 'cat >/etc/config/ketuk' <<<"$text"
			;;
		'sh run by tests/walk.sh on the server')
			steps=$((steps + 1))
			check "$1: ${text//$'\n'/; }" server "$text"
			;;
		'sh run by tests/walk.sh outside, fails')
			check "$1: this fails: $text" says 'timed out' outside "$text"
			;;
		'sh run by tests/walk.sh outside')
			check "$1: before, it is shut" fails answers
			check "$1: this works: ${text//$'\n'/; }" outside "$text"
			on sh -c 'ketukd close ssh' >/dev/null 2>&1 || true
			;;
		*) check "$1: a block says what it is" fails echo "$info" ;;
		esac
	done
}
nothing_is_left() {
	check "the port is open again" answers
	check "nothing is left in the kernel" test -z "$(on nft list ruleset)"
	check "nothing is left of its files" fails on ls -d /etc/config /run/ketuk /var/lib/ketuk /var/log/ketuk /usr/share/doc/ketuk
}

# --- the document's door

boot
check "a new server's port is open" answers
check "and was at its start" says open on cat /run/at-network
walk '1. Install'
check "the port is open until the start" answers
walk '2. Write the door'
check "ketukd check finds it fine" says 'fine: 1 door' on ketukd check
check "and has nothing to say of other firewalls" fails says 'stays shut' on ketukd check
walk '3. Start'
check "in three steps" test "$steps" = 3
check "the journal says what is shut" says "door 'ssh': tcp port 22 is shut on every device but lo" journal
walk 'Try it'
check "status warns of nothing" fails says WARNING on ketukd status

boot
check "after a reboot the port was shut when the network came up" says shut on cat /run/at-network
walk 'Try it'

on sh -c 'echo "	option dest_prot 22" >>/etc/config/ketuk'
boot
check "after a boot with a wrong configuration the port was shut all the same" says shut on cat /run/at-network
check "the daemon has not started" says 'Result=exit-code' on systemctl show ketukd -p Result
check "the journal says so" says "the ports of door 'ssh' are shut to everybody" journal
check "the port is shut" fails answers
walk 'Taking it off'
nothing_is_left

# --- knockd's doors

steps=0
walk '1. Install'
walk "Or take over knockd's doors"
walk '3. Start'
check "in three steps" test "$steps" = 3
check "the port is shut" fails answers
walk "With knockd's doors"
check "the other knock has shut it" fails answers
walk 'Taking it off'
nothing_is_left

[ "$failed" = 0 ] || journal | tail -40
report
