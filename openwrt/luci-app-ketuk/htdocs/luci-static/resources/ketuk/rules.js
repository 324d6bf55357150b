'use strict';
'require baseclass';

/*
 * The rules of `ketukd check` for the values of /etc/config/ketuk, so that the form shows at once the errors that the daemon
 * would find later. Each rule returns null if the value is fine, and a sentence if it is not. An empty value means that the
 * option is not given.
 */

const MAX_STEPS = 32;
const MAX_SEQ_TIMEOUT = 3600;
const MAX_OPEN_TIME = 31 * 24 * 3600;
const MAX_PORT_RANGES = 16;
const MAX_ALLOW_PORT = 64;
const MAX_COMMAND = 1024;
const MAX_NAME = 32;
const MAX_TRAP_EXCEPT = 4096;
const OPEN_TIME = 30;
const MAX_SECRETS = 4;
const MAX_SPA_AGE = 240;
const MIN_TOTP_PORTS = 4096;
const MAX_SRC = 64;
const DAYS = [ 'sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday' ];

const FLAGS = [ 'fin', 'syn', 'rst', 'psh', 'ack', 'urg' ];

/* UCI's blanks, which separate the values in one option. */
function words(value) {
	return L.toArray(value).join(' ').split(/[ \t\n\r\f]+/).filter(word => word != '');
}

function port(text) {
	return /^[0-9]+$/.test(text) && +text >= 1 && +text <= 65535;
}

function protocol(text) {
	return /^(tcp|udp)$/i.test(text);
}

/* The first and the last port, or null. */
function range(text) {
	const [ first, last ] = text.includes('-') ? [ text.slice(0, text.indexOf('-')), text.slice(text.indexOf('-') + 1) ] : [ text, text ];

	return port(first) && port(last) && +first <= +last ? [ +first, +last ] : null;
}

/* 4 or 6; null if it is no address. */
function version(text) {
	const quads = text.match(/^(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})$/);

	if (quads)
		return quads.slice(1).every(byte => +byte <= 255) ? 4 : null;

	if (!/^[0-9a-fA-F:.]+$/.test(text) || !text.includes(':'))
		return null;

	return canonical(text) ? 6 : null;
}

/* An IPv6 address as the browser writes it; null if it is none. */
function canonical(text) {
	try {
		return new URL('http://[%s]/'.format(text)).hostname;
	} catch (e) {
		return null;
	}
}

/* 4 or 6; null if it is not the address of a host. */
function family(text) {
	switch (version(text)) {
	case 4: return /^(0\.0\.0\.0$|22[4-9]\.|23[0-9]\.)/.test(text) ? null : 4;
	case 6: return /^\[(::\]|ff..:)/.test(canonical(text)) ? null : 6;
	default: return null;
	}
}

return baseclass.extend({
	OPEN_TIME, MAX_NAME,

	words,

	name(value) {
		if (!/^[A-Za-z0-9_]+$/.test(value))
			return _('Use letters, digits and _ only');

		return value.length > MAX_NAME ? _('At most %d characters').format(MAX_NAME) : null;
	},

	step(value) {
		const [ number, word, more ] = value.split(':');

		if (port(number) && more == null && (word == null || protocol(word)))
			return null;

		return _('Write a port from 1 to 65535, with :udp behind it for UDP');
	},

	sequence(values) {
		/* Commas separate too. An empty piece between two of them is not a step. */
		const steps = [].concat(values ?? []).filter(value => value !== '').flatMap(value => value.split(',').flatMap(piece => {
			const inner = words(piece);
			return inner.length ? inner : [ '' ];
		}));

		if (steps.length > MAX_STEPS)
			return _('At most %d knocks').format(MAX_STEPS);

		return steps.map(this.step).find(problem => problem != null) ?? null;
	},

	seconds(value, min, max) {
		if (value == null || value === '')
			return null;

		if (!/^[0-9]+$/.test(value))
			return _('Write a number of seconds, digits only');

		return +value < min || +value > max ? _('From %d to %d seconds').format(min, max) : null;
	},

	seq_timeout(value) {
		return this.seconds(value, 1, MAX_SEQ_TIMEOUT);
	},

	open_time(value) {
		return this.seconds(value, 0, MAX_OPEN_TIME);
	},

	max_time(value, open_time) {
		const problem = this.open_time(value);

		if (problem != null || value == null || value === '' || +value == 0)
			return problem;

		const open = open_time == null || open_time === '' ? OPEN_TIME : +open_time;

		return open == 0 || +value < open ? _('Not less than the opening time') : null;
	},

	tcpflags(value) {
		const seen = { set: [], clear: [] };

		if (value == null || value === '')
			return null;

		for (const piece of value.split(',')) {
			const word = piece.trim().toLowerCase();
			const clear = word.startsWith('!');
			const flag = clear ? word.slice(1).trimStart() : word;

			if (!FLAGS.includes(flag))
				return _('The flags are fin, syn, rst, psh, ack and urg, with commas between them, each with ! if it must be clear');

			if (seen[clear ? 'set' : 'clear'].includes(flag))
				return _('A flag cannot be both set and clear');

			seen[clear ? 'clear' : 'set'].push(flag);
		}

		return null;
	},

	address(value) {
		if (value == null || value === '' || family(value))
			return null;

		return _('Write the IPv4 or IPv6 address of one host');
	},

	port(value) {
		return value == null || value === '' || port(value) ? null : _('A port is 1 to 65535');
	},

	spa_max_age(value) {
		return this.seconds(value, 5, MAX_SPA_AGE);
	},

	totp_ports(value) {
		const ports = value ? range(value) : null;

		return !value || (ports != null && ports[1] - ports[0] + 1 >= MIN_TOTP_PORTS)
			? null : _('Write a range of at least %d ports, for example 20000-29999').format(MIN_TOTP_PORTS);
	},

	/* Networks that may knock. */
	src(values) {
		const networks = words(values);
		const fine = networks.every(text => {
			const [ address, bits, more ] = text.split('/');
			const of = version(address);

			return of && more == null && (bits == null || (/^[0-9]+$/.test(bits) && +bits <= (of == 4 ? 32 : 128)));
		});

		if (!fine)
			return _('Write an address, or a network as 192.0.2.0/24');

		return networks.length > MAX_SRC ? _('At most %d networks').format(MAX_SRC) : null;
	},

	/* The prefix of a group of addresses, in bits. A door with commands has none, because a command gets one address. */
	grant_prefix(value, widest, bits, commands) {
		if (value == null || value === '')
			return null;

		if (!/^[1-9][0-9]*$/.test(value) || +value < widest || +value > bits)
			return _('From %d to %d').format(widest, bits);

		return commands && +value < bits ? _('A door that runs commands opens for one address') : null;
	},

	time(value) {
		const parts = value ? value.split(':') : [ '0' ];
		const bounds = [ 23, 59, 59 ];

		return parts.length <= 3 && parts.every((part, n) => /^[0-9]{1,2}$/.test(part) && +part <= bounds[n])
			? null : _('Write a time of day as 08:00');
	},

	/* A ! before the first day, joined to it or separate, means all other days. */
	weekdays(values) {
		const list = words(values);
		const inverted = list.length > 0 && list[0].startsWith('!');
		const named = new Set();

		for (const [ n, word ] of list.entries()) {
			const name = (inverted ? word.replace(/^!/, '') : word).toLowerCase();

			if (n == 0 && inverted && name === '' && list.length > 1)
				continue;

			const day = DAYS.findIndex(known => name.length >= 2 && known.startsWith(name));

			if (day < 0)
				return _('The days are mon, tue, wed, thu, fri, sat and sun, with ! in front for all others');

			named.add(day);
		}

		return inverted && named.size == DAYS.length ? _('No day is left') : null;
	},

	hosts(values) {
		const families = words(values).map(family);

		if (families.includes(null))
			return _('Write the IPv4 or IPv6 address of one host');

		return new Set(families).size < families.length
			? _('At most one IPv4 address and one IPv6 address') : null;
	},

	ports(value) {
		const ranges = words(value).map(range);

		if (ranges.includes(null))
			return _('Write ports from 1 to 65535, or ranges as 8000-8010, with blanks between them');

		if (ranges.length > MAX_PORT_RANGES)
			return _('At most %d ports or ranges').format(MAX_PORT_RANGES);

		const overlap = ranges.some(([ first, last ], n) => ranges.slice(n + 1).some(other => first <= other[1] && other[0] <= last));

		return overlap ? _('No port may be named twice') : null;
	},

	/* The ports that an fwknop client may ask for: 22, tcp/22 or 22:tcp, also with ranges. */
	allow_port(value) {
		const list = words(value);
		const fine = list.every(word => {
			const [ , before, text, behind ] = word.match(/^(?:([a-zA-Z]+)\/)?([0-9-]+)(?::([a-zA-Z]+))?$/) ?? [];

			return text != null && range(text) != null && !(before && behind) && (before ?? behind ?? 'tcp').match(/^(tcp|udp)$/i);
		});

		if (!fine)
			return _('Write ports or ranges, with tcp/ or udp/ in front of them for one protocol');

		const count = list.reduce((sum, word) => sum + (/[/:]/.test(word) ? 1 : 2), 0);

		return count > MAX_ALLOW_PORT ? _('At most %d ports, one without a protocol counts twice').format(MAX_ALLOW_PORT) : null;
	},

	/* Checks the options of the form that say what opens, together. */
	opening({ proto, dest_port, src_dport, dest_ip, start_command, start_command_6 }) {
		const [ inner, outer, hosts ] = [ dest_port, src_dport, dest_ip ].map(words);
		const runs = [ start_command, start_command_6 ].some(this.runs);

		if (!hosts.length) {
			if (outer.length)
				return _('Ports on the router belong to a host behind it');
			if (!inner.length && words(proto).length)
				return _('Name the ports to open');
			if (!inner.length && !runs)
				return _('The door opens nothing: name the ports to open, or a command to run');
			return null;
		}

		if (!inner.length && !outer.length)
			return _('Name the ports to open');

		const ranges = list => list.map(range).map(String).join(' ');
		const one = inner.length == 1 && range(inner[0])?.[0] == range(inner[0])?.[1];

		if (inner.length && outer.length && !one && ranges(inner) != ranges(outer))
			return _('Forward to one port of the host, or leave this empty to keep each port its number');

		return null;
	},

	/* Whether an option holds a command: the word `none` means no command. */
	runs(value) {
		return value != null && value !== '' && value != 'none';
	},

	command(value) {
		return value && new TextEncoder().encode(value).length > MAX_COMMAND
			? _('At most %d bytes: put it into a script').format(MAX_COMMAND) : null;
	},

	trap_except(value) {
		const seen = new Set();

		for (const word of words(value)) {
			const [ text, name ] = word.includes(':') ? [ word.slice(0, word.indexOf(':')), word.slice(word.indexOf(':') + 1) ] : [ word, null ];
			const ports = range(text);

			if (ports == null || (name != null && !protocol(name)))
				return _('Write ports or ranges, with :tcp or :udp behind them for one protocol');

			for (const of of name != null ? [ name.toLowerCase() ] : [ 'tcp', 'udp' ])
				for (let number = ports[0]; number <= ports[1]; number++)
					seen.add('%d:%s'.format(number, of));
		}

		return seen.size > MAX_TRAP_EXCEPT ? _('At most %d ports, one without a protocol counts twice').format(MAX_TRAP_EXCEPT) : null;
	},

	nft_table(value) {
		if (value == null || value === '')
			return null;

		const parts = words(value);
		const name = parts.pop() ?? '';
		const fine = parts.length == 0 || (parts.length == 1 && [ 'inet', 'ip', 'ip6' ].includes(parts[0]));

		if (fine && /^[A-Za-z_][A-Za-z0-9_./-]*$/.test(name) && name.length <= 255)
			return null;

		return _('Write a family (inet, ip or ip6) and a name, for example: inet filter');
	},

	log_file(value) {
		return value && !value.startsWith('/') ? _('Write an absolute path') : null;
	},

	page(value) {
		return !value || /^(https?:\/\/|file:\/\/\/)[!-"$-~]+$/.test(value)
			? null : _('Write the address of the page, without a #: it begins with https://, http:// or file:///');
	},

	/* 32 bytes in base 64, with or without padding. The unused bits of the last character must be 0. */
	key(value) {
		return /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=?$/.test(value) && (value.length == 44 || !value.endsWith('='))
			? null : _('A key is 32 bytes in base 64');
	},

	/* 16 to 64 bytes in base 32. The last group has 2, 4, 5, 7 or all 8 characters. */
	totp(value) {
		const text = value.replace(/=+$/, '').replace(/-/g, '').toUpperCase();
		const bytes = Math.floor(text.length * 5 / 8);
		const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(text.slice(-1));
		const whole = ![ 1, 3, 6 ].includes(text.length % 8) && (last & ((1 << (text.length * 5 % 8)) - 1)) == 0;

		return /^[A-Z2-7]+$/.test(text) && whole && bytes >= 16 && bytes <= 64
			? null : _('A secret is 16 to 64 bytes in base 32');
	},

	secrets(values, rule) {
		const list = words(values);

		return list.length > MAX_SECRETS ? _('At most %d').format(MAX_SECRETS)
			: list.map(rule).find(problem => problem != null) ?? null;
	},

	date(value) {
		const parts = value?.match(/^(\d{4})-(\d{2})-(\d{2})$/);
		const there = parts && new Date(Date.UTC(+parts[1], +parts[2] - 1, +parts[3])).toISOString().startsWith(value);

		return !value || (there && +parts[1] >= 1970) ? null : _('Write a date as 2027-01-31');
	},

	/* A random sequence of `count` ports: none of them is in `taken`, and no two are the same. */
	random(count, taken) {
		const used = new Set(taken);
		const steps = [];

		while (steps.length < count) {
			const number = 1024 + crypto.getRandomValues(new Uint32Array(1))[0] % 64512;

			if (used.has(number))
				continue;

			used.add(number);
			steps.push(steps.length % 2 ? '%d:udp'.format(number) : '%d'.format(number));
		}

		return steps;
	}
});
