#!/bin/sh

case "$1" in
ketuk) ketuk --version | grep -F "$PKG_VERSION" || exit 1 ;;
esac
