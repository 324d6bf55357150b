# A stand-in for OpenWrt's /lib/functions.sh. It reads UCI files with one section or option on each line, and values in
# single quotes.

config_load() {
	local keyword name value rest
	CONFIG_SECTIONS='' CONFIG_COUNT=0
	while read -r keyword name value rest; do
		value="${value#\'}"
		value="${value%\'}"
		case "$keyword" in
		config)
			CONFIG_COUNT=$((CONFIG_COUNT + 1))
			section="${value:-anonymous$CONFIG_COUNT}"
			CONFIG_SECTIONS="$CONFIG_SECTIONS $name:$section"
			unset $(set | sed -n "s/^\(CONFIG_${section}_[A-Za-z0-9_]*\)=.*/\1/p")
			;;
		option) eval "CONFIG_${section}_$name=\$value" ;;
		list) eval "CONFIG_${section}_$name=\"\${CONFIG_${section}_$name:+\$CONFIG_${section}_$name }\$value\"" ;;
		esac
	done <"/etc/config/$1"
}

config_foreach() {
	local each
	for each in $CONFIG_SECTIONS; do
		[ "${each%%:*}" != "$2" ] || "$1" "${each#*:}"
	done
}

config_get() {
	eval "$1=\"\${CONFIG_${2}_$3:-\$4}\""
}

config_get_bool() {
	config_get "$@"
	eval "case \"\$$1\" in 1 | on | true | yes | enabled) $1=1 ;; *) $1=0 ;; esac"
}
