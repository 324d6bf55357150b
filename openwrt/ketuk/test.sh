#!/bin/sh

# shellcheck shell=busybox

case "$1" in
ketukd)
	ketukd --version | grep -Fx "$PKG_VERSION" || exit 1
	ketukd check --config /etc/config/ketuk || exit 1
	;;
ketuk)
	ketuk --version | grep -Fx "ketuk $PKG_VERSION" || exit 1
	;;
ketuk-import)
	ketuk-import --version | grep -Fx "$PKG_VERSION" || exit 1
	conf="$(mktemp)"
	printf '[ssh]\n\tsequence = 7000,8000,9000\n\ttcpflags = syn\n\tcommand = true\n' >"$conf"
	ketuk-import "$conf" >"$conf.uci" || exit 1
	ketukd check --config "$conf.uci" || exit 1
	rm -f "$conf" "$conf.uci"
	;;
esac
