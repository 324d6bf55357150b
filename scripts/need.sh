#!/bin/sh
# need.sh COMMAND[=PACKAGE]...: makes sure that each command exists. A word that begins with / is a file.
# need.sh -i PACKAGE...: installs these packages, or their newer versions.
# need.sh -u: updates apt's package lists.
#
# The script installs missing packages with apt, as root or with sudo. If that is not possible, it names the packages, and fails.
set -eu

update= packages=
case ${1:-} in
-u)
	update=y
	;;
-i)
	shift
	packages=" $*"
	;;
*)
	for need in "$@"; do
		command=${need%%=*}
		case $command in
		/*)
			# shellcheck disable=SC2086 # it may be a pattern
			ls $command >/dev/null 2>&1 && continue
			;;
		*) PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null 2>&1 && continue ;;
		esac
		# Two commands may be in one package.
		case "$packages " in
		*" ${need#*=} "*) ;;
		*) packages="$packages ${need#*=}" ;;
		esac
	done
	;;
esac
[ -n "$update$packages" ] || exit 0

fail() {
	[ -z "$packages" ] || echo "missing: install with apt-get update && apt-get install$packages (Debian and Ubuntu)" >&2
	exit 1
}

# sudo may ask for a password if the input is a terminal.
become=
if [ "$(id -u)" != 0 ]; then
	become="sudo -n"
	[ ! -t 0 ] || become=sudo
fi
command -v apt-get >/dev/null 2>&1 || fail
[ -z "$become" ] || command -v sudo >/dev/null 2>&1 || fail
[ -z "$become" ] || $become true || fail

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# apt's output is long. The script shows the sizes before the download begins, and the whole output only if apt fails.
apt() {
	{
		$become env DEBIAN_FRONTEND=noninteractive apt-get -y -q "$@" 2>&1 </dev/null || echo "apt-get failed: $*"
	} | tee "$log" | sed -un 's/^Need to get \(.*\) of archives\.$/  \1 to download/p; s/^After this operation, \(.*\) of additional .*/  \1 on disk/p' >&2
	! grep -q '^apt-get failed: ' "$log"
}

install() {
	# shellcheck disable=SC2086 # several packages
	apt -o APT::Keep-Downloaded-Packages=false install --no-install-recommends $packages
}
if [ -n "$update" ]; then
	echo "reading apt's package lists" >&2
	apt update && exit 0
else
	echo "installing:$packages" >&2
	install && exit 0
	# The lists may be old or missing.
	apt update && install && exit 0
fi
cat "$log" >&2
[ -z "$packages" ] || fail
exit 1
