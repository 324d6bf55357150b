#!/bin/sh
# cargo.sh ARGUMENT...: finds a cargo that is new enough for this project, and runs it. If there is none, the script installs the
# first package of Debian or Ubuntu that has one.
set -eu

root=$(dirname "$0")/..
wanted=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' "$root/Cargo.toml")

# Whether a version, such as 1.88.0 or 1.96.0+dfsg1-1~deb12u2, is sufficient.
sufficient() {
	minor=${1#1.}
	minor=${minor%%.*}
	case $minor in
	'' | *[!0-9]*) return 1 ;;
	esac
	[ "$minor" -ge "$wanted" ]
}

# Whether this cargo is new enough.
fits() {
	version=$("$1" --version 2>/dev/null) || return 1
	version=${version#cargo }
	sufficient "${version%% *}"
}

# The shell's own search finds rustup's first. Ubuntu installs versions side by side, each with its own rustc.
find_cargo() {
	for cargo in "${CARGO:-cargo}" "$HOME/.cargo/bin/cargo" /usr/bin/cargo /usr/bin/cargo-1.*; do
		if fits "$cargo"; then
			case $cargo in
			*/cargo-1.*) export RUSTC="${cargo%cargo-*}rustc-${cargo##*-}" ;;
			esac
			return 0
		fi
	done
	return 1
}

# The package that has such a cargo, according to apt's lists. Debian builds its browsers with cargo-web, which is newer
# than cargo; Ubuntu has a package for each version.
find_package() {
	for package in cargo cargo-web $(apt-cache pkgnames cargo-1. 2>/dev/null | sort -V); do
		sufficient "$(apt-cache policy "$package" 2>/dev/null | sed -n 's/^  Candidate: //p')" && return 0
	done
	return 1
}

if ! find_cargo; then
	echo "no cargo 1.$wanted or newer: looking for a package that has one" >&2
	# There may be a newer version since apt last read its lists.
	if find_package || { "$root/scripts/need.sh" -u && find_package; }; then
		"$root/scripts/need.sh" -i "$package" "rustc${package#cargo}" || true
	fi
	if ! find_cargo; then
		echo "this needs cargo 1.$wanted or newer, and no package of this system has it (Debian 12's is in its security archive)." >&2
		echo "Take it from https://rustup.rs" >&2
		exit 1
	fi
fi
exec "$cargo" "$@"
