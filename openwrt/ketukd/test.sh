#!/bin/sh

case "$1" in
ketukd)
	ketukd --version | grep -F "$PKG_VERSION" || exit 1
	ketukd check --config /etc/config/ketuk || exit 1
	;;
esac
