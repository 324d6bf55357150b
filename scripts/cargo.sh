#!/bin/sh
# cargo.sh ARGUMENT...: runs a cargo that is new enough for this project, wherever it is. Where there is
# none, Debian's cargo-web is installed, or it says what to do.
set -eu

root=$(dirname "$0")/..
wanted=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' "$root/Cargo.toml")

# Whether this is a cargo of a sufficient version. The shell's own search finds rustup's first.
fits() {
	version=$("$1" --version 2>/dev/null) || return 1
	minor=${version#cargo 1.}
	minor=${minor%%.*}
	case $minor in
	'' | *[!0-9]*) return 1 ;;
	esac
	[ "$minor" -ge "$wanted" ]
}

find_cargo() {
	for cargo in "${CARGO:-cargo}" "$HOME/.cargo/bin/cargo" /usr/bin/cargo /usr/bin/cargo-1.9[0-9] /usr/bin/cargo-1.8[89]; do
		if fits "$cargo"; then
			# Ubuntu's versions stand beside each other, each with its own rustc.
			case $cargo in
			*/cargo-1.*) export RUSTC="${cargo%cargo-*}rustc-${cargo##*-}" ;;
			esac
			return 0
		fi
	done
	return 1
}

if ! find_cargo; then
	"$root/scripts/need.sh" /usr/share/doc/cargo-web=cargo-web /usr/share/doc/rustc-web=rustc-web 2>/dev/null ||
		"$root/scripts/need.sh" /usr/bin/cargo-1.89=cargo-1.89 /usr/bin/rustc-1.89=rustc-1.89 2>/dev/null || true
	if ! find_cargo; then
		echo "this needs cargo 1.$wanted or newer: https://rustup.rs, or apt-get install cargo-web rustc-web (Debian 12), cargo-1.89 (Ubuntu)" >&2
		exit 1
	fi
fi
exec "$cargo" "$@"
