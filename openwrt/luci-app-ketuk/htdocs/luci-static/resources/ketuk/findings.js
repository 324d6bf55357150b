'use strict';
'require baseclass';

/*
 * The findings of `ketukd doctor` in LuCI's language.
 *
 * These are the daemon's own texts (src/cli/doctor, and the warnings of src/config), with %s for each value. A value may be one of
 * these texts too. They are marked here, and translated when a finding is shown.
 */
const TEXTS = (_ => [
	_('%s cannot be read without privilege: run it as root'),
	_('%s cannot be read: %s'),
	_('the loaded rules'),
	_('the devices\' addresses'),
	_('whether it is a port of another device'),
	_('not everything can be looked at without privilege: run it as root'),
	_('the configuration is wrong, or cannot be read'),
	_('the daemon cannot be asked'),
	_('only the running daemon knows which devices it listens on'),
	_('%s holds %s, and others may read it: chmod 600 %s'),
	_('users\' secrets'),
	_('doors\' sequences'),
	_('there is no door: nothing can be opened'),
	_('door \'%s\' opens port %s, which is also a step of its sequence: choose another port for the sequence'),
	_('user \'%s\' has expired: he may open nothing'),
	_('door \'%s\' has no sequence, and no user may open it'),
	_('door \'%s\' has no sequences: %s: %s'),
	_('door \'%s\' opens no port with backend \'none\': only commands are run'),
	_('user \'%s\' has no secret: give him a key, see \'ketukd keygen\''),
	_('user \'%s\' may open no door: add list door'),
	_('door \'%s\' asks for SYN and ACK, but no client\'s first segment has both: leave tcpflags out'),
	_('door \'%s\' %s: \'ketukd keygen\' prints a random sequence'),
	_('has fewer than three steps, which a scan may hit'),
	_('has a sequence that guides or examples print'),
	_('has the same distance between its ports: a scan with this stride opens it'),
	_('has only multiples of 50: a scan with this stride opens it'),
	_('door \'%s\' is open to everybody already, by %s in %s'),
	_('the policy of zone \'%s\''),
	_('no daemon answers at %s'),
	_('set enabled \'1\' in the globals, and run \'%s\''),
	_('run \'%s\'; if it ends, \'%s\' says why'),
	_('read its log, and restart it'),
	_('version %s runs, and %s is installed'),
	_('restart it'),
	_('it runs with %s, and not with %s'),
	_('name its file with --config, or start it with this one'),
	_('%s has changed since the daemon read it'),
	_('\'service ketuk reload\' has the daemon read it, if it is right'),
	_('the process that reads packets may make every system call'),
	_('the process that reads packets is root, since there is no user ketuk: make one (\'useradd --system ketuk\'), and restart ketukd with --socket in a folder of that user'),
	_('the process that reads packets is root, since user ketuk cannot make files in %s: %s: restart ketukd with --socket in a folder of that user'),
	_('the process that reads packets is root, since user ketuk cannot use %s: %s: let it, and restart ketukd'),
	_('the process that reads packets is root, since it cannot become user ketuk: %s'),
	_('restart it; if its log says that this kernel does not bound system calls, the kernel lacks seccomp'),
	_('its process cannot be seen, so its confinement is not known'),
	_('the daemon listens on no device'),
	_('check that the network is up'),
	_('the kernel refuses the packet filter of \'%s\''),
	_('give it more room with \'sysctl -w net.core.optmem_max=131072\''),
	_('there is no device \'%s\''),
	_('\'ip link\' lists the devices; the daemon listens as soon as it is there'),
	_('\'%s\' is down'),
	_('run \'ip link set %s up\''),
	_('\'%s\' %s'),
	_('is a port of bridge %s, which takes its packets'),
	_('is a port of bond %s, which has the addresses'),
	_('is a port of VRF %s: rules of the firewall see %s instead'),
	_('is a VRF: knocks are heard on its ports only'),
	_('name %s too, or backend \'own\' does NOT shut the port there'),
	_('name its ports too'),
	_('the doors\' ports are NOT shut on %s: ketukd shuts them only on the named devices, and %s is not on this host: name the device that strangers come in by'),
	_('\'ip address\' lists the devices'),
	_('is a port of %s'),
	_('listen on %s'),
	_('if %s has the addresses, listen there'),
	_('the daemon listens on no device that has an address'),
	_('\'ip address\' shows them; does DHCP or the provider\'s login work?'),
	_('\'%s\' has %s, an address behind the provider\'s NAT, which knocks do not pass'),
	_('ask the provider for a public address, or knock over IPv6'),
	_('\'%s\' has %s, a private address: a NAT is in front of it'),
	_('forward the ports of the knocks and of the doors at the router in front, or knock over IPv6'),
	_('a program answers everybody at %s, to which knocks are sent'),
	_('choose another port, or end that program'),
	_('a program answers everybody at %s, a trap: a client that uses it while knocking may have to begin again'),
	_('add list trap_except \'%s\' to the globals'),
	_('the sequences name too many ports'),
	_('the sockets in /proc/net cannot be read'),
	_('door \'%s\': %s port %s may be open to everybody: it is not known whether it can be reached without a knock on %s'),
	_('door \'%s\': %s port %s can be reached without a knock on %s'),
	_('door \'%s\': %s port %s can be reached without a knock on %s (nothing listens on it now)'),
	_('door \'%s\': %s port %s stays shut on %s even after a knock: %s drops the packets that the door lets in'),
	_('it depends on a rule that ketukd cannot follow'),
	_('only root can read the rules of iptables-legacy: run \'ketukd check\' as root'),
	_('close it in the firewall, or let ketuk do so with backend \'own\''),
	_('if ketukd listens on %s, a reload shuts it; the log says so if that fails'),
	_('ketukd makes chain ketuk_input at its start, and logs the reason if it cannot'),
	_('run \'ufw allow %s/%s\', because the door keeps it shut for strangers'),
	_('run \'firewall-cmd --permanent --add-port=%s/%s\' and \'firewall-cmd --reload\', because the door keeps it shut for strangers'),
	_('run \'iptables -I DOCKER-USER -i %s -p %s --dport %s -j ACCEPT\', because the door keeps it shut for strangers'),
	_('reload the firewall, so that it loads the rules of the doors'),
	_('load the rules of the doors: \'ketukd ruleset | nft -f -\''),
	_('accept the port there, because the door keeps it shut for strangers'),
	_('door \'%s\' should be open for %s, but the firewall does not have the entry'),
	_('the daemon\'s log says why'),
	_('the firewall\'s %s'),
	_('%s is not loaded: it does not shut the doors\' ports'),
	_('start the daemon, which makes it'),
	_('there is no %s: no door can open'),
	_('door \'%s\' cannot open: %s has no set %s'),
	_('run \'service firewall reload\''),
	_('load the firewall again, and then the output of \'ketukd ruleset\''),
	_('the firewall cannot be read without privilege: run it as root'),
	_('there is no program iptables: no door can open'),
	_('install it, or choose another backend'),
	_('iptables cannot be asked without privilege: run it as root'),
	_('iptables cannot list its chain INPUT: no door can open'),
	_('run \'iptables -S INPUT\', which says why'),
	_('the daemon\'s own chains of iptables are not loaded: they do not shut the doors\' ports'),
	_('start the daemon, which makes them'),
	_('door \'%s\': %s is there, and no program listens at its TCP port %s'),
	_('start the service there, or correct dest_port'),
	_('door \'%s\': %s does not answer'),
	_('is the host on, with this address, and does its own firewall let the port through?'),
	_('door \'%s\': %s answers no TCP, and UDP alone does not tell whether it is there'),
	_('door \'%s\': %s was not asked, because other hosts did not answer within %s s'),
	_('the time is not known, and users\' knocks are refused'),
	_('let NTP set the clock, or vouch for it with trust_clock \'1\''),
	_('no knock has come in the %s s since the daemon\'s start: knock from outside, and look again'),
	_('%s packets were lost before the daemon read them'),
	_('a flood came, or this host is too busy: knock again when it is over'),
	_('the firewall refused %s changes since the daemon\'s start'),
	_('the daemon\'s log says which')
])(text => text);

/* A pattern for each text. The texts with most letters come first, because they are the most exact. */
const PATTERNS = TEXTS.slice().sort((a, b) => b.length - a.length).map(text =>
	[ new RegExp('^' + text.split('%s').map(part => part.replace(/[^\w ]/g, '\\$&')).join('(.+?)') + '$', 's'), text ]);

/* The translation of the daemon's words, or the words themselves if there is no such text. */
function translated(words) {
	for (const [ pattern, text ] of PATTERNS) {
		const values = words.match(pattern)?.slice(1);

		if (values)
			return _(text).format(...values.map(translated));
	}

	return words;
}

return baseclass.extend({
	/* The fault and the advice of a finding. */
	sentence: finding => [ finding.text, finding.advice ].filter(words => words).map(translated).join(': ')
});
