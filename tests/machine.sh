# shellcheck shell=bash
# machine.sh is for other scripts to source. It starts a Debian with its own systemd as process 1, in namespaces of its own, and
# counts checks. The root directory needs systemd.

init='' keeper='' machine_log=$(mktemp)
passed=0 failed=0

machine_start() { # machine_start ROOT
	container=ketuk unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child \
		"$(dirname "${BASH_SOURCE[0]}")/../scripts/inside.sh" "$1" /lib/systemd/systemd >"$machine_log" 2>&1 </dev/null &
	keeper=$!
	until_true 60 machine_is_up || { cat "$machine_log" >&2; on systemctl --failed; exit 1; }
}
machine_is_up() { # a unit that needs kernel modules may have failed, which does not matter
	init=$(pgrep -P "$keeper") && [ -S "/proc/$init/root/run/systemd/private" ] || return 1
	case $(on systemctl is-system-running) in
	running | degraded) ;;
	*) return 1 ;;
	esac
}
machine_stop() {
	# Process 1 does not end on SIGTERM.
	[ -z "$keeper" ] || { kill -9 "$keeper" 2>/dev/null; wait "$keeper" 2>/dev/null || true; }
	rm -f "$machine_log"
}
on() { # on COMMAND...: runs a command on the machine
	nsenter -t "$init" --all env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb "$@"
}

until_true() { # until_true SECONDS COMMAND...
	local tries=$(($1 * 10))
	shift
	for ((; tries > 0; tries--)); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	return 1
}
check() { # check WHAT COMMAND...: counts whether a command succeeds
	local what=$1 said
	shift
	if said=$("$@" 2>&1); then
		passed=$((passed + 1))
		echo "ok      $what"
	else
		failed=$((failed + 1))
		printf 'FAILED  %s: %s\n%s\n' "$what" "$*" "$said"
	fi
}
fails() { ! "$@"; }
says() { # says TEXT COMMAND...: whether a command prints this text, whatever its exit code is
	local text=$1 said
	shift
	said=$("$@" 2>&1) || true
	echo "$said"
	[[ $said == *"$text"* ]]
}
report() { # the last line of a script
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
}
