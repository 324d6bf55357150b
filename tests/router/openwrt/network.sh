# A stand-in for OpenWrt's /lib/functions/network.sh: /tmp/networks has a line for each network that is up.

network_get_device() {
	local __name __device
	while read -r __name __device; do
		[ "$__name" != "$2" ] || {
			eval "$1=\$__device"
			return 0
		}
	done </tmp/networks
	return 1
}
