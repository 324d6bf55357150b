#!/bin/sh
# need.sh COMMAND[=PACKAGE]...: makes sure that each command is there. What is missing is installed with
# apt where that is possible without asking; otherwise this says exactly what to install, and fails.
# A word that begins with / is a file instead of a command.
set -eu

packages=
for need in "$@"; do
	command=${need%%=*}
	package=${need#*=}
	case $command in
	/*)
		# shellcheck disable=SC2086 # it may be a pattern
		ls $command >/dev/null 2>&1 && continue
		;;
	*) PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null 2>&1 && continue ;;
	esac
	packages="$packages $package"
done
[ -n "$packages" ] || exit 0

become=
[ "$(id -u)" = 0 ] || become="sudo -n"
if command -v apt-get >/dev/null 2>&1 && $become true 2>/dev/null; then
	echo "installing:$packages" >&2
	export DEBIAN_FRONTEND=noninteractive
	install="$become apt-get install -y -q --no-install-recommends"
	# shellcheck disable=SC2086 # several packages
	$install $packages >/dev/null 2>&1 || { $become apt-get update -q >/dev/null && $install $packages >/dev/null; } && exit 0
fi
echo "missing, on Debian and Ubuntu to be installed with: apt-get install$packages" >&2
exit 1
