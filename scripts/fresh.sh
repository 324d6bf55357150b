#!/usr/bin/env bash
# fresh.sh SUITE:USER...: runs `make demo` and `make test` on new machines, for example trixie:user bookworm:root; then makes
# the .deb there, and uses it with the machine's own systemd (tests/deb.sh), and as docs/debian.md says (tests/walk.sh).
#
# debootstrap makes each machine, with git, make, ca-certificates and sudo, and the last commit of this tree. A machine has
# namespaces of its own, except for the network, over which it downloads packages and crates. USER is root, or an ordinary user
# who may use sudo. The machine gets only this machine's configuration of packages and crates: apt's mirrors and proxies,
# Cargo's configuration, name servers, certificates.
#
# DEBIAN_MIRROR, DEBIAN_SECURITY_MIRROR   Debian's archives; needed if this machine does not run Debian
# FRESH_STEPS   some of demo, test and deb (default all)
# FRESH_DIR   the directory of the machines (default /var/tmp); each needs 3 GB while it exists
# FRESH_KEEP  if set, the machines are not deleted
set -euo pipefail

cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "make test-fresh needs root: debootstrap does" >&2; exit 1; }
scripts/need.sh debootstrap=debootstrap unshare=util-linux pivot_root=util-linux

# --- the configuration of packages and crates

# Finds the archive from which this machine takes a Debian's packages, and its security archive.
mirror() { # mirror SUITE-PATTERN DEFAULT
	{
		sed -n 's/^deb \(\[[^]]*\] *\)\{0,1\}\([^ ]*\) \([^ ]*\) .*/\2 \3/p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list
		awk '/^URIs:/ { uri = $2 } /^Suites:/ { for (i = 2; i <= NF; i++) print uri, $i }' /etc/apt/sources.list.d/*.sources
	} 2>/dev/null | awk -v suite="^$VERSION_CODENAME$1\$" '$2 ~ suite { print $1; exit }' | grep . || echo "$2"
}
# shellcheck source=/dev/null
. /etc/os-release
archive=${DEBIAN_MIRROR:-} security=${DEBIAN_SECURITY_MIRROR:-}
if [ "$ID" = debian ]; then
	archive=$(mirror '' "$archive")
	security=$(mirror '-security' "$security")
fi

configure() { # configure ROOT SUITE USER
	local root=$1 home=$1/root
	printf 'deb %s %s main\n' "$archive" "$2" "$archive" "$2-updates" "$security" "$2-security" >"$root/etc/apt/sources.list"
	apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries|ForceIPv)' >"$root/etc/apt/apt.conf.d/90network" || true
	cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
	if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
		mkdir -p "$root/usr/local/share/ca-certificates"
		cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/"
		chroot "$root" update-ca-certificates >/dev/null 2>&1
	fi
	if [ "$3" != root ]; then
		home=$root/home/$3
		chroot "$root" useradd --create-home --shell /bin/bash "$3"
		echo "$3 ALL=(ALL) NOPASSWD: ALL" >"$root/etc/sudoers.d/$3"
	fi
	if [ -e "${CARGO_HOME:-$HOME/.cargo}/config.toml" ]; then
		mkdir -p "$home/.cargo"
		cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$home/.cargo/"
	fi
	git clone --quiet --no-local . "$home/ketuk"
	local name
	for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
		[ -z "${!name:-}" ] || printf 'export %s=%q\n' "$name" "${!name}"
	done >"$home/environment"
	chroot "$root" chown -R "$3:" "${home#"$root"}"
}

# --- the machines

made=
clean() { [ -z "$made" ] || [ -n "${FRESH_KEEP:-}" ] || rm -rf --one-file-system "$made"; }
trap clean EXIT

report= passed=0 failed=0
inside() { unshare --mount --pid --ipc --uts --fork --kill-child scripts/inside.sh "$made" "$@" </dev/null; }
as_user() { inside su - "$user" -c ". ./environment && cd ketuk && exec $*"; }
package() { # makes the package on the machine, and uses it there
	as_user make deb
	inside apt-get install -y -q --no-install-recommends systemd nftables iproute2 adduser procps \
		openssh-server openssh-client knockd netcat-openbsd >/dev/null
	# make test has installed firewalls that a new server does not have. They would start with systemd.
	ln -sf /dev/null "$made/etc/systemd/system/firewalld.service"
	ln -sf /dev/null "$made/etc/systemd/system/ufw.service"
	local deb
	deb=$(find "$made/home" "$made/root" -name 'ketuk_*.deb')
	tests/deb.sh "$made" "$deb"
	tests/walk.sh "$made" "$deb"
}
step() { # step NAME COMMAND...: times and counts a command
	local name=$1 began ended
	shift
	echo "=== $suite, $user: $name ($(date +%T))"
	began=$(date +%s)
	# The command is not in the condition, because a function in a condition goes on after an error.
	("$@") &
	if wait $!; then
		ended=passed
		passed=$((passed + 1))
	else
		ended=FAILED
		failed=$((failed + 1))
	fi
	report+=$(printf '%-10s %-6s %-10s %s %5d s, %5d MB in all' "$suite" "$user" "$name" $ended \
		$(($(date +%s) - began)) "$(($(du -sxm "$made" | cut -f1) - before))")$'\n'
}

for machine; do
	suite=${machine%%:*} user=${machine#*:}
	made=$(mktemp -d "${FRESH_DIR:-/var/tmp}/ketuk-fresh.XXXXXX")
	chmod 755 "$made"
	echo "=== a new $suite, for $user: $made ($(date +%T))"
	debootstrap --variant=minbase --include=git,make,ca-certificates,sudo "$suite" "$made" "$archive" >"$made.log" 2>&1 ||
		{ tail -20 "$made.log" >&2; exit 1; }
	rm "$made.log"
	configure "$made" "$suite" "$user"
	before=$(du -sxm "$made" | cut -f1)
	for name in ${FRESH_STEPS:-demo test deb}; do
		case $name in
		deb) step 'the .deb' package ;;
		*) step "make $name" as_user make "$name" ;;
		esac
	done
	clean
	made=
done
printf '%s' "$report"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
