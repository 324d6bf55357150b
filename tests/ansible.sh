#!/usr/bin/env bash
# ansible.sh PACKAGE: the role of packaging/ansible installs and configures PACKAGE, a .deb, over ssh on a new Debian whose own
# systemd runs in namespaces. OpenWrt's tasks are run on this machine, in a mount namespace, with stand-ins for opkg, scp and
# service.
#
# Needs root, ansible-playbook, debootstrap and ssh. MACHINE names a root directory to use instead of a new one.
set -euo pipefail

[ "$(id -u)" = 0 ] || { echo "NOT TESTED without root: the Ansible role" >&2; exit 1; }
package=$(realpath "$1")
cd "$(dirname "$0")/.."
scripts/need.sh ansible-playbook=ansible-core debootstrap=debootstrap ssh=openssh-client unshare=util-linux

# shellcheck source=tests/machine.sh
. tests/machine.sh
work=$(mktemp -d) root=${MACHINE:-$(mktemp -d /var/tmp/ketuk-ansible.XXXXXX)}
stop() {
	machine_stop
	rm -rf "$work"
	[ -n "${MACHINE:-}" ] || rm -rf --one-file-system "$root"
}
trap stop EXIT

# --- the machine

if [ ! -e "$root/etc/debian_version" ]; then
	# shellcheck source=/dev/null
	suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
	chmod 755 "$root"
	debootstrap --variant=minbase --include=systemd,systemd-sysv,openssh-server,python3,python3-apt,adduser,iproute2,nftables,procps \
		"$suite" "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }
fi
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
install -D -m 600 "$work/key.pub" "$root/root/.ssh/authorized_keys"
machine_start "$root"
on mkdir -p /run/sshd
on ip link set lo up

cat >"$work/inventory.yml" <<YAML
all:
  hosts:
    machine:
      ansible_user: root
      ansible_ssh_private_key_file: $work/key
      ansible_ssh_common_args: >-
        -o ProxyCommand="nsenter -t $init --all /usr/sbin/sshd -i" -o UserKnownHostsFile=/dev/null
        -o StrictHostKeyChecking=no -o ControlMaster=no -o ControlPath=none
      ketuk_package: $package
  vars:
    ketuk_no_log: false
    ketuk_doors:
      ssh: {sequence: ["24817", "51203:udp", "38466"], proto: tcp, dest_port: "22", open_time: "30"}
      note: {sequence: ["19544", "62738", "30221"], start_command: "logger 'it''s %IP%'"}
    ketuk_users:
      alice: {key: VSMwfecm7iiuQtFs+7R9W45xBgnHZCN07WywKjA6Bo4=, door: [ssh]}
YAML
export ANSIBLE_NOCOLOR=1 ANSIBLE_LOCALHOST_WARNING=False ANSIBLE_HOME=$work/ansible
play() { # play ARGUMENT...: the whole playbook
	ansible-playbook -i "$work/inventory.yml" "$@" packaging/ansible/site.yml >"$work/play" 2>&1 || { cut -c1-300 "$work/play"; return 1; }
}
changes() { # changes PATTERN: what the last play says of changes
	grep -E "changed=$1 .*failed=0" "$work/play" || { cut -c1-300 "$work/play"; return 1; }
}

# --- Debian

check "the playbook is well-formed" play --syntax-check
check "it installs and configures" play
check "which is a change" changes '[1-9]'
check "the daemon runs" on systemctl is-active ketukd
check "at each boot too" on systemctl is-enabled ketukd
check "the doors are there" on sh -c 'ketukd status | grep ssh && ketukd status | grep note'
cat >"$work/quoted" <<'LINE'
	option start_command 'logger '\''it'\'''\''s %IP%'\'''
LINE
check "a quote stays a quote" grep -qxFf "$work/quoted" "$root/etc/config/ketuk"
check "nobody else reads the keys" test "$(on stat -c %a:%U /etc/config/ketuk)" = 600:ketuk
check "a second time" play
check "nothing is changed" changes 0
before=$(on cat /etc/config/ketuk)
other='{"ketuk_doors": {"ssh": {"sequence": ["24817", "51203:udp", "38466"], "dest_port": "22", "open_time": "77"}}}'
check "a trial of another configuration" play --check -e "$other"
check "would be a change" changes '[1-9]'
check "and is none" test "$before" = "$(on cat /etc/config/ketuk)"
check "a wrong one fails" fails play -e '{"ketuk_doors": {"ssh": {"dest_prot": "22"}}}'
check "and is not put in place" test "$before" = "$(on cat /etc/config/ketuk)"
check "the daemon goes on" on systemctl is-active ketukd
check "another configuration" play -e "$other"
check "is the daemon's" on sh -c 'ketukd status --json | grep -E "open_time\": ?77"'

# --- OpenWrt

mkdir -p "$work/bin" "$work/etc/config"
cp -a /etc/. "$work/etc"
mkdir -p "$work/etc/config"
rm -f "$work/etc/config/ketuk"
: >"$work/etc/openwrt_release"
for name in opkg scp service; do
	printf '#!/bin/sh\necho "%s $*" >>%s/called\n' "$name" "$work" >"$work/bin/$name"
done
cat >>"$work/bin/service" <<SH
case \$2 in
enabled | running) [ -e "$work/is.\$2" ] ;;
enable) : >"$work/is.enabled" ;;
start) : >"$work/is.running" ;;
esac
SH
cat >>"$work/bin/opkg" <<SH
[ ! -e "$work/installed" ] || { echo 'Package ketukd (0.1.0-r1) installed in root is up to date.'; exit 0; }
: >"$work/installed"
echo 'Installing ketukd (0.1.0-r1) to root...'
SH
install "$root/usr/sbin/ketukd" "$work/bin/"
chmod +x "$work"/bin/*
sed -e '/ansible_user/,/ControlMaster/d' -e "s|ketuk_package: .*|ketuk_package: dist/ketukd_0.1.0-r1_mipsel_24kc.ipk|" \
	-e 's|^    machine:|    machine:\n      ansible_connection: local|' "$work/inventory.yml" >"$work/router.yml"
play_router() {
	unshare --mount sh -c "mount --bind '$work/etc' /etc && PATH='$work/bin':\$PATH exec ansible-playbook -i '$work/router.yml' \"\$@\" packaging/ansible/site.yml" sh "$@" \
		>"$work/play" 2>&1 || { cut -c1-300 "$work/play"; return 1; }
}
router=$work/etc/config/ketuk
check "OpenWrt's tasks run" play_router
check "which is a change" changes '[1-9]'
check "the package is copied and installed" grep -q 'opkg install /tmp/ketukd_0.1.0-r1_mipsel_24kc.ipk' "$work/called"
check "the configuration is the same as Debian's" test "$before" = "$(cat "$router")"
check "it is enabled and started" test -e "$work/is.enabled" -a -e "$work/is.running"
check "a second time" play_router
check "nothing is changed" changes 0
check "a wrong one fails" fails play_router -e '{"ketuk_doors": {"ssh": {"dest_prot": "22"}}}'
check "and is not put in place" test "$before" = "$(cat "$router")"
check "nothing is left of it" fails ls "$work/etc/config/.ketuk.new"
echo "NOT TESTED: OpenWrt itself; opkg, scp and service were stand-ins"

report
