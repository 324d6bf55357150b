/* A profile: everything that the page must know about a router, in one line (docs/protocol.md, "Profiles"). */
import { base32nopad } from '@scure/base';

const SCHEME = 'ketuk://';
export const DEFAULT_RANGE = Object.freeze({ first: 20000, last: 29999 });

/* The same limits as the daemon's. */
const MIN_PORTS = 4096;
const MIN_SECRET = 16;
const MAX_SECRET = 64;
const MAX_STEPS = 32;

/* The reason why a text is not a profile. `code` is the key of a text for people. */
export class ProfileError extends Error {
	constructor(code) {
		super(code);
		this.code = code;
	}
}

function port(text) {
	const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;

	if (number < 1 || number > 65535)
		throw new ProfileError('badPort');

	return number;
}

function door(text) {
	const [ , name, answers ] = text.match(/^([A-Za-z0-9_]{1,32})(?::(.*))?$/) ?? [];

	if (name == null)
		throw new ProfileError('badDoor');

	return { name, port: answers == null ? null : port(answers) };
}

function step(text) {
	const [ number, protocol = 'tcp' ] = text.split(':');

	if (text.split(':').length > 2 || !/^(tcp|udp)$/i.test(protocol))
		throw new ProfileError('badPort');

	return { port: port(number), udp: protocol.toLowerCase() == 'udp' };
}

function secret(text) {
	let bytes;

	try {
		bytes = base32nopad.decode(text.replace(/[ -]/g, '').replace(/=+$/, '').toUpperCase());
	} catch {
		throw new ProfileError('badSecret');
	}
	if (bytes.length < MIN_SECRET || bytes.length > MAX_SECRET)
		throw new ProfileError('badSecret');

	return bytes;
}

function range(text) {
	const [ first, last ] = text.split('-').map(port);

	if (!(last - first >= MIN_PORTS - 1))
		throw new ProfileError('badPort');

	return { first, last };
}

/* The profile in a text: the line itself, or a link to the page that ends with it. */
export function parse(text) {
	const at = text.indexOf(SCHEME);

	if (at < 0)
		throw new ProfileError('noProfile');

	const line = text.slice(at).trim();
	const [ , user, host, path, query = '' ] = line.match(/^ketuk:\/\/(?:([\w.@-]+)@)?([A-Za-z0-9.\-_:[\]%]+)\/([^?]*)(?:\?(.*))?$/s) ?? [];

	if (host == null || host.startsWith('-') || !URL.canParse(`https://${host}:1/`))
		throw new ProfileError('badHost');

	const profile = { line, user: user ?? null, host, doors: path.split(',').map(door), hasKey: false, secret: null, range: DEFAULT_RANGE, sequence: null };

	for (const parameter of query.split('&')) {
		const [ , name, value ] = parameter.match(/^([^=]*)=(.*)$/s) ?? [];

		if (name == 'key' || name == 'fwknop_key')
			profile.hasKey = true;
		else if (name == 'totp')
			profile.secret = secret(value);
		else if (name == 'ports')
			profile.range = range(value);
		else if (name == 'sequence')
			profile.sequence = value.split(',').map(step);
	}
	if (profile.sequence?.length > MAX_STEPS)
		throw new ProfileError('badPort');
	if (!profile.hasKey && profile.secret == null && profile.sequence == null)
		throw new ProfileError('nothing');

	return profile;
}

/* The profile in the page's own address, or null if there is none. */
export function fromFragment(fragment) {
	const bare = fragment.replace(/^#/, '');

	if (bare == '')
		return null;

	let text = bare;
	try {
		/* Some programs encode a link again when they pass it on. */
		if (!bare.includes(SCHEME))
			text = decodeURIComponent(bare);
	} catch {
		throw new ProfileError('noProfile');
	}

	return parse(text);
}
