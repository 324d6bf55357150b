'use strict';
'require baseclass';
'require rpc';
'require uci';

/*
 * The daemon as the pages see it: ubus' object `ketuk`, which `ketukd rpcd` answers.
 */

/* What one call may carry (uhttpd takes 64 KiB, and JSON needs room of its own). */
const MAX_CHECKED = 48 * 1024;

const callStatus = rpc.declare({ object: 'ketuk', method: 'status', expect: { '': {} } });
const callOpen = rpc.declare({ object: 'ketuk', method: 'open', params: [ 'door', 'address', 'seconds' ] });
const callClose = rpc.declare({ object: 'ketuk', method: 'close', params: [ 'door', 'address' ] });
const callCheck = rpc.declare({ object: 'ketuk', method: 'check', params: [ 'config' ] });
const callKeygen = rpc.declare({ object: 'ketuk', method: 'keygen' });
const callInvite = rpc.declare({ object: 'ketuk', method: 'invite', params: [ 'user', 'host', 'page' ] });

/* The answer, or what the daemon said against it as an error. */
function done(answer) {
	if (answer?.ok)
		return answer;

	throw new Error(answer?.error ?? _('The daemon gave no answer'));
}

function quoted(value) {
	return "'" + String(value).replace(/'/g, "'\\''") + "'";
}

/* A section as it stands in the file. */
function section(values) {
	const lines = [ 'config %s'.format(values['.type']) + (values['.anonymous'] ? '' : ' ' + quoted(values['.name'])) ];

	for (const name in values)
		if (name.charAt(0) != '.' && values[name] !== '')
			lines.push(...(Array.isArray(values[name])
				? values[name].map(value => '\tlist %s %s'.format(name, quoted(value)))
				: [ '\toption %s %s'.format(name, quoted(values[name])) ]));

	return lines.join('\n') + '\n';
}

return baseclass.extend({
	status: () => L.resolveDefault(callStatus(), {}),
	keygen: () => callKeygen().then(done),
	invite: (user, host, page) => callInvite(user, host || undefined, page || undefined).then(done),
	close: (door, address) => callClose(door, address).then(done),

	open(door, address, seconds) {
		return (seconds != null ? callOpen(door, address, seconds) : callOpen(door, address)).then(done);
	},

	/* Every section with what the form has changed and not yet saved: LuCI's own list keeps what was deleted. */
	sections: () => uci.sections('ketuk').map(values => Object.fromEntries(Object.entries(values)
		.map(([ name, value ]) => [ name, name.charAt(0) == '.' ? value : uci.get('ketuk', values['.name'], name) ])
		.filter(([ , value ]) => value != null))),

	/* The same as the text of the file. */
	pending() {
		return this.sections().map(section).join('\n');
	},

	/* Whether the daemon would take it. */
	checkPending() {
		const text = this.pending();

		/* The daemon looks at it anyway when it is applied. */
		return text.length > MAX_CHECKED ? Promise.resolve() : callCheck(text).then(done);
	},

	/* In words, what became of a knock: by the names of the daemon's counters. */
	reason(name) {
		switch (name) {
		case 'opened':         return _('Opened the door');
		case 'advanced':       return _('Right so far, and goes on');
		case 'wrong_step':     return _('Refused: a step out of order');
		case 'trap':           return _('Refused: touched a port that only a scan touches');
		case 'not_begun':      return _('Refused: a later step without the first');
		case 'timed_out':      return _('Refused: the next knock did not come in time');
		case 'open_rate':      return _('Refused: too many doors were opened just then');
		case 'grants_full':    return _('Refused: too many addresses were in');
		case 'forgiven':        return _('Right so far, with one foreign port');
		case 'unchanged':       return _('The door was open already');
		case 'not_from_src':    return _('Refused: not from there');
		case 'not_in_hours':    return _('Refused: not at this hour');
		case 'not_in_firewall': return _('Not open yet: the firewall does not have it');
		case 'one_time_line':   return _('Refused: the line of the one-time sequence could not be used up');
		case 'auth_memory':     return _('Refused: the time of the packet could not be kept');
		case 'auth_no_address': return _('Refused: the packet does not name its address');
		case 'auth_source':     return _('Refused: from outside of the user’s networks');
		case 'auth_digest':     return _('Refused: its HMAC is of another type than the user’s');
		case 'auth_key':        return _('Refused: the user’s key is not the client’s');
		case 'auth_mode':       return _('Refused: encrypted in another mode than CBC');
		case 'auth_version':    return _('Refused: another version of fwknop’s protocol');
		case 'auth_user_name':  return _('Refused: without the user name that is asked for');
		case 'auth_ports':      return _('Refused: too many ports, or others than TCP and UDP');
		case 'auth_gnupg':      return _('Refused: encrypted with GnuPG');
		case 'commands_full':  return _('Refused: too many commands were waiting');
		case 'auth_form':      return _('Refused: neither ketuk’s packet nor fwknop’s');
		case 'auth_unknown':   return _('Refused: made with no user’s key');
		case 'auth_forged':    return _('Refused: not made with the user’s key');
		case 'auth_limited':   return _('Refused: too many packets that prove nothing');
		case 'auth_no_clock':  return _('Refused: this router did not know the time');
		case 'auth_age':       return _('Refused: its time is too far from this router’s');
		case 'auth_replay':    return _('Refused: used before');
		case 'auth_expired':   return _('Refused: the user has expired');
		case 'auth_rules':     return _('Refused: not written as a client writes');
		case 'auth_command':   return _('Refused: asked for a command');
		case 'auth_door':      return _('Refused: asked for what the user may not open');
		case 'auth_address':   return _('Refused: asked for another’s address');
		default:               return name;
		}
	},

	/*
	 * What stands in the way of knocking, the worst first: [ whether it is an error, the text, the daemon's words,
	 * whether switching the service on helps ].
	 */
	troubles(status) {
		const missing = (status.doors ?? []).filter(door => door.firewall == 'missing');
		const waiting = (status.devices ?? []).filter(device => device.state == 'waiting');
		const troubles = [];

		if (status.running == null)
			return [ [ true, _('The router gives no answer about the service. Is ketuk installed, and may you see it?') ] ];

		if (!status.running && status.enabled)
			troubles.push([ true, _('The service is not running: no knock is heard.'), status.error ]);
		else if (!status.running && status.config_error == null)
			troubles.push([ true, _('The service is switched off: no knock is heard. Switch it on once there is a door.'), null, true ]);

		if (status.config_error != null)
			troubles.push([ true, status.running
				? _('The configuration has an error. The daemon goes on with the one before.')
				: _('The configuration has an error, so the service does not start.'), status.config_error ]);

		if (missing.length)
			troubles.push([ true, _('The firewall lacks the sets of these doors, so they do not open: %s. Restart the firewall.').format(missing.map(door => door.name).join(', ')) ]);

		if (waiting.length)
			troubles.push([ false, _('These devices are down, so no knock is heard there: %s. The daemon waits for them.').format(waiting.map(device => device.name).join(', ')) ]);

		if (status.daemon?.clock_trusted === false)
			troubles.push([ true, _('The clock is not set: users’ knocks are refused until a time server has set it. Plain sequences work.') ]);

		return troubles;
	},

	/* Seconds as a person reads them. */
	span(seconds) {
		if (seconds < 60)
			return _('%d s').format(seconds);
		if (seconds < 3600)
			return seconds % 60 ? _('%d min %d s').format(Math.floor(seconds / 60), seconds % 60) : _('%d min').format(seconds / 60);
		return _('%d h %d min').format(Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60);
	}
});
