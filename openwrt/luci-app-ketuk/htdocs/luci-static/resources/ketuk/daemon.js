'use strict';
'require baseclass';
'require rpc';
'require uci';

/*
 * The daemon for the pages: ubus' object `ketuk`, which `ketukd rpcd` answers.
 */

/* The most bytes in one call (uhttpd takes 64 KiB, and JSON needs room of its own). */
const MAX_CHECKED = 48 * 1024;

/* The daemon's sentences about a knock, by their short names (src/core/reason.rs). %s stands for each number and port. */
const SENTENCES = {
	opened: _('right: the door is open'),
	unchanged: _('right: the door was open already'),
	advanced: _('right: step %s of %s'),
	asked: _('right: the firewall is being asked'),
	shut: _('right: it shut other doors'),
	retransmission: _('the same knock came again, which changes nothing'),
	repeat: _('a step that was taken came again, which changes nothing'),
	totp_knock: _('it may be a part of a changing sequence'),
	wrong_step: _('step %s of %s is %s, %s came: begin again'),
	not_begun: _('step %s of %s is %s, %s came: nothing has begun'),
	timed_out: _('step %s of %s is %s, and did not come in time'),
	forgiven: _('a foreign port, which one attempt may touch once'),
	trap: _('a second foreign port, as in a scan: begin again'),
	implausible: _('the kernel would not take it on this device'),
	not_ours: _('it is not to an address of this host'),
	other_flags: _('no door asks for these TCP flags'),
	no_door: _('no door names this port'),
	auth_form: _('not opened: it is neither ketuk\'s packet nor fwknop\'s'),
	auth_unknown: _('not opened: no user\'s key fits it'),
	auth_forged: _('not opened: it has a user\'s tag, but was not made with the user\'s key'),
	auth_limited: _('not opened: too many packets without a valid key came'),
	auth_no_clock: _('not opened: this host does not know the time'),
	auth_age: _('not opened: its time is too far from this host\'s: are both clocks right?'),
	auth_replay: _('not opened: it was used before, or made before ketukd started'),
	auth_expired: _('not opened: the user has expired'),
	auth_rules: _('not opened: its fields are not as a client writes them'),
	auth_command: _('not opened: it asks for a command, and commands are never run'),
	auth_door: _('not opened: it asks for something that the user may not open'),
	auth_address: _('not opened: it asks for another address, and the user has no other_address \'1\''),
	auth_no_address: _('not opened: it does not name its address, which the user\'s require_address \'1\' asks for'),
	auth_no_port: _('not opened: it names no port, and the door has any_port \'1\': ask with an fwknop client'),
	auth_source: _('not opened: it comes from outside of the user\'s list src'),
	auth_digest: _('not opened: its HMAC is of another type than the user\'s fwknop_hmac_type'),
	auth_key: _('not opened: the user\'s fwknop_key differs from the client\'s key'),
	auth_mode: _('not opened: it is encrypted in another mode than CBC, the client\'s default: use no -M'),
	auth_version: _('not opened: it is of another version of fwknop\'s protocol than 3'),
	auth_user_name: _('not opened: it does not carry the user\'s fwknop_user'),
	auth_ports: _('not opened: it asks for more than 8 ports, or for others than TCP and UDP'),
	auth_gnupg: _('not opened: it seems to be encrypted with GnuPG, which is not supported: use a key and an HMAC key'),
	auth_memory: _('not opened: the time of the newest packet cannot be kept beside the control socket'),
	not_from_src: _('not opened: the door\'s src does not allow this address'),
	not_in_hours: _('not opened: the door may not be opened at this hour'),
	open_rate: _('not opened: too many doors were opened just now'),
	grants_full: _('not opened: too many addresses are let in already'),
	commands_full: _('not opened: too many commands are waiting'),
	one_time_line: _('not opened: the line of the one-time sequence could not be marked as used'),
	no_such_door: _('not opened: there is no such door'),
	closing_door: _('not opened: the door opens nothing: its knock shuts other doors'),
	no_host: _('not opened: this is not the address of a host'),
	not_in_firewall: _('not opened: the firewall does not have the entry')
};

const callStatus = rpc.declare({ object: 'ketuk', method: 'status', expect: { '': {} } });
const callOpen = rpc.declare({ object: 'ketuk', method: 'open', params: [ 'door', 'address', 'seconds' ] });
const callClose = rpc.declare({ object: 'ketuk', method: 'close', params: [ 'door', 'address' ] });
const callCheck = rpc.declare({ object: 'ketuk', method: 'check', params: [ 'config' ] });
const callDoctor = rpc.declare({ object: 'ketuk', method: 'doctor' });
const callKeygen = rpc.declare({ object: 'ketuk', method: 'keygen' });
const callInvite = rpc.declare({ object: 'ketuk', method: 'invite', params: [ 'user', 'host', 'page' ] });

/* The answer, or the daemon's refusal as an error. */
function done(answer) {
	if (answer?.ok)
		return answer;

	throw new Error(answer?.error ?? _('The daemon gave no answer'));
}

function quoted(value) {
	return "'" + String(value).replace(/'/g, "'\\''") + "'";
}

/* The text of a section in the file. */
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
	doctor: () => callDoctor().then(done),
	keygen: () => callKeygen().then(done),
	invite: (user, host, page) => callInvite(user, host || undefined, page || undefined).then(done),
	close: (door, address) => callClose(door, address).then(done),

	open(door, address, seconds) {
		return (seconds != null ? callOpen(door, address, seconds) : callOpen(door, address)).then(done);
	},

	/* Every section with the form's unsaved changes. LuCI's own list still has deleted sections. */
	sections: () => uci.sections('ketuk').map(values => Object.fromEntries(Object.entries(values)
		.map(([ name, value ]) => [ name, name.charAt(0) == '.' ? value : uci.get('ketuk', values['.name'], name) ])
		.filter(([ , value ]) => value != null))),

	/* The same as the text of the file. */
	pending() {
		return this.sections().map(section).join('\n');
	},

	/* Whether the daemon accepts it. */
	checkPending() {
		const text = this.pending();

		/* The daemon checks it again when it is applied. */
		return text.length > MAX_CHECKED ? Promise.resolve() : callCheck(text).then(done);
	},

	/*
	 * The result of a knock in words: the daemon's own sentence, as in `ketukd watch` and the log, in LuCI's language if there
	 * is a translation.
	 */
	sentence(recent) {
		const form = SENTENCES[recent.reason] ?? '';
		const holes = form.split('%s').length - 1;
		const values = recent.text?.match(/\d+(\/\w+)?/g) ?? [];

		if (!form || (holes > 0 && holes != values.length))
			return recent.text ?? recent.reason;

		return holes > 0 ? form.format(...values) : form;
	},

	/*
	 * The problems that keep knocks from working, the worst first: [ whether it is an error, the text, the daemon's words,
	 * the remedy: `enable` the service, `start` it, or none ].
	 */
	troubles(status) {
		const missing = (status.doors ?? []).filter(door => door.firewall == 'missing');
		const warned = (status.doors ?? []).filter(door => door.warning);
		const devices = state => (status.devices ?? []).filter(device => device.state == state).map(device => device.name).join(', ');
		const [ waiting, refused ] = [ 'waiting', 'refused' ].map(devices);
		// A VRF whose port is named too is right, and has no text.
		const ports = (status.devices ?? []).filter(device => device.state == 'port' && device.text);
		const troubles = [];

		if (status.running == null)
			return [ [ true, _('The router gives no answer about the service. Is ketuk installed, and may you see it?') ] ];

		if (!status.running && status.enabled)
			troubles.push([ true, _('The service is not running: no knock is heard.'), status.error, status.config_error == null ? 'start' : null ]);
		else if (!status.running && status.config_error == null)
			troubles.push([ true, _('The service is switched off: no knock is heard. Switch it on once there is a door.'), null, 'enable' ]);

		if (status.config_error != null)
			troubles.push([ true, status.running
				? _('The configuration has an error. The daemon goes on with the previous one.')
				: _('The configuration has an error, so the service does not start.'), status.config_error ]);

		if (missing.length)
			troubles.push([ true, _('The firewall lacks the sets of these doors, so they do not open: %s. Restart the firewall.').format(missing.map(door => door.name).join(', ')) ]);

		if (warned.length)
			troubles.push([ true, _('The firewall does not do what these doors promise: %s.').format(warned.map(door => door.name).join(', ')), warned.map(door => door.warning).join('\n') ]);

		if (refused)
			troubles.push([ true, _('The kernel refuses the packet filter of these devices, so new knocks may not be heard there: %s. The daemon tries again.').format(refused) ]);

		if (waiting)
			troubles.push([ false, _('These devices are down, so no knock is heard there: %s. The daemon waits for them.').format(waiting) ]);

		if (ports.length)
			troubles.push([ true, _('These devices are ports of others, so no knock is heard there: %s.').format(ports.map(device => device.name).join(', ')),
				ports.map(device => device.name + ' ' + device.text).join('\n') ]);

		if (status.daemon?.clock_trusted === false)
			troubles.push([ true, _('The clock is not set: users’ knocks are refused until a time server has set it. Plain sequences work.') ]);

		return troubles;
	},

	/* Seconds in a form that is easy to read. */
	span(seconds) {
		if (seconds < 60)
			return _('%d s').format(seconds);
		if (seconds < 3600)
			return seconds % 60 ? _('%d min %d s').format(Math.floor(seconds / 60), seconds % 60) : _('%d min').format(seconds / 60);
		return _('%d h %d min').format(Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60);
	}
});
