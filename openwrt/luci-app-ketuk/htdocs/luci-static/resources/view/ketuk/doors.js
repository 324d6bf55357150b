'use strict';
'require view';
'require form';
'require network';
'require rpc';
'require uci';
'require tools.widgets as widgets';
'require ketuk.daemon as daemon';
'require ketuk.page as page';
'require ketuk.rules as rules';

/* Knocks of a random sequence: with 64,512 ports each, nobody guesses four. */
const RANDOM_STEPS = 4;

const callHostHints = rpc.declare({
	object: 'luci-rpc',
	method: 'getHostHints',
	expect: { '': {} }
});

/* The known hosts' addresses, each with its name. */
function knownHosts(hints) {
	return Object.values(hints).flatMap(hint =>
		[ ...L.toArray(hint.ipaddrs ?? hint.ipv4), ...L.toArray(hint.ip6addrs ?? hint.ipv6) ]
			.filter(address => rules.address(address) == null && !/^fe80:/i.test(address))
			.map(address => [ address, hint.name ? '%s (%s)'.format(hint.name, address) : address ]));
}

/* The number in a port or a step, or the first number of a range. */
function ports(values) {
	return rules.words(values).flatMap(word => {
		const [ first, last ] = word.split(':')[0].split('-').map(Number);
		return Array.from({ length: Math.min((last || first) - first + 1, 65535) || 1 }, (_, n) => first + n);
	});
}

/* Whether the door opens what an fwknop client asks for. */
function isAny(section_id) {
	return [ '1', 'yes', 'on', 'true', 'enabled' ].includes(uci.get('ketuk', section_id, 'any_port'));
}

/* The doors that another door may shut. */
function shuttable(section_id) {
	return daemon.sections().filter(values => values['.type'] == 'door' && values.action != 'close' && values['.name'] != section_id)
		.map(values => values['.name']);
}

/* A field for some doors only: for doors that open ports, for doors that run commands, or for both. */
const PORTS = [ 'router', 'host', 'any' ];
const COMMANDS = [ 'router', 'host', 'nowhere' ];
const ALL = [ ...PORTS, 'nowhere' ];

function only(option, places) {
	for (const where of places)
		option.depends('_where', where);
}

return view.extend({
	load() {
		return Promise.all([
			L.resolveDefault(callHostHints(), {}),
			L.resolveDefault(network.getNetworks(), []),
			daemon.status(),
			page.load()
		]);
	},

	renderGlobals(map, networks) {
		const globals = page.globals();
		const s = map.section(form.NamedSection, globals, 'globals', _('Service'));
		/* LuCI's own list leaves out networks that this account may not see, and so would delete them. */
		const seen = L.toArray(uci.get('ketuk', globals, 'network')).every(name => networks.some(known => known.getName() == name));
		let o;

		s.tab('service', _('General'));
		s.tab('advanced', _('Advanced'));

		o = page.quiet(s.taboption('service', form.Flag, 'enabled', _('Enabled'), _('Start the service with the router. Without it no door opens.')));
		o.rmempty = false;

		o = s.taboption('service', networks.length && seen ? widgets.NetworkSelect : form.DynamicList, 'network', _('Networks'), _('The networks that knocks come from: usually the networks to the Internet.'));
		o.multiple = true;
		o.nocreate = true;

		o = page.quiet(s.taboption('advanced', form.ListValue, 'backend', _('Open doors by')));
		for (const [ value, title ] of [
			[ 'auto', _('this router’s firewall') ], [ 'fw4', _('the firewall (fw4)') ], [ 'nft', _('another nftables table') ],
			[ 'iptables', 'iptables' ], [ 'none', _('the doors’ own commands') ]
		])
			o.value(value, title);
		o.default = 'auto';

		o = page.rule(s.taboption('advanced', form.Value, 'nft_table', _('Table')), function(section_id, value) {
			return value ? rules.nft_table(value) : _('Name the table, for example: inet filter');
		});
		o.depends('backend', 'nft');
		o.placeholder = 'inet filter';

		o = page.quiet(s.taboption('advanced', form.ListValue, 'on_stop', _('When the service stops')));
		o.value('shut', _('shut open doors'));
		o.value('keep', _('leave open doors to their timers'));
		o.default = 'shut';

		o = page.quiet(s.taboption('advanced', form.ListValue, 'log_level', _('Log')));
		for (const [ value, title ] of [
			[ 'error', _('errors') ], [ 'warn', _('warnings') ], [ 'notice', _('opened doors') ],
			[ 'info', _('every knock') ], [ 'debug', _('everything') ]
		])
			o.value(value, title);
		o.default = 'notice';

		page.rule(s.taboption('advanced', form.Value, 'log_file', _('Log file'), _('Beside the system log.')),
			(section_id, value) => rules.log_file(value));

		o = page.rule(s.taboption('advanced', form.Value, 'spa_port', _('Port for packets'), _('The UDP port for users’ packets. It looks closed.')),
			(section_id, value) => rules.port(value));
		o.placeholder = '62201';

		o = page.rule(s.taboption('advanced', form.Value, 'spa_max_age', _('Clock tolerance'), _('Seconds that a user’s clock may differ from the router’s.')),
			(section_id, value) => rules.spa_max_age(value));
		o.placeholder = '120';

		o = page.rule(s.taboption('advanced', form.Value, 'totp_ports', _('Ports of changing sequences')),
			(section_id, value) => rules.totp_ports(value));
		o.placeholder = '20000-29999';

		o = page.rule(s.taboption('advanced', form.Value, 'page', _('Knock page'), _('Its address on a web server: links of invitations begin with it.')),
			(section_id, value) => rules.page(value));
		o.placeholder = 'https://home.example.org/knock.html';

		s.taboption('advanced', form.Flag, 'trust_clock', _('Trust the clock'), _('Take users’ knocks even if no time server has set the clock.'));

		o = page.line(page.rule(s.taboption('advanced', form.Value, 'trap_except', _('Never traps'),
			_('Ports near a sequence are traps: who touches one has to begin anew, as a scanner does. Name those on which anyone may use a service of yours.')),
			(section_id, value) => rules.trap_except(value)));
		o.placeholder = '51820:udp';
	},

	renderDoors(map, hosts) {
		const s = map.section(form.GridSection, 'door', _('Doors'));
		let o;

		s.addremove = true;
		s.sortable = true;
		s.nodescriptions = true;
		s.addbtntitle = _('Add door');
		s.modaltitle = section_id => _('Door') + ' » ' + section_id;
		s.tab('knock', _('Knock'));
		s.tab('opening', _('What opens'));
		s.tab('time', _('For how long'));
		s.tab('limits', _('Who and when'));
		s.tab('commands', _('Commands'));
		page.names(s);
		/* The list is made here, because it must have the doors that exist when the dialog opens. */
		page.guardDialog(s, (modal, section_id) => {
			const others = shuttable(section_id);

			if (!others.length)
				return;

			const list = page.rule(modal.taboption('opening', form.MultiValue, 'door', _('Doors'), _('They shut for the knocker alone, and stay open for others.')),
				(_section_id, value) => L.toArray(value).length ? null : _('Choose the doors to shut'));

			for (const door of others)
				list.value(door);

			list.depends('_where', 'close');
		});

		o = s.taboption('knock', form.Flag, 'enabled', _('Enabled'));
		o.default = o.enabled;
		o.editable = true;

		o = s.taboption('knock', form.DynamicList, 'sequence', _('Sequence'),
			_('The ports to knock at, in order: TCP, or UDP with :udp behind the port. Anybody who knows them gets in, so keep them secret. Without ports the door opens for users only.'));
		page.rule(o, function(section_id, value) {
			if (L.toArray(value).length && this.section.formvalue(section_id, '_where') == 'any')
				return _('A door for any port is for users only: leave the sequence empty');

			/* Users need no sequence, but a door that shuts others needs one. */
			return L.toArray(value).length ? uci.get('ketuk', section_id, 'one_time_sequences')
				? _('The door has a file of sequences for one time') : rules.sequence(value) : null;
		}, value => rules.step(value));
		/* The hint is a random port, because some people copy it. */
		[ o.placeholder ] = rules.random(1, []);
		o.textvalue = function(section_id) {
			return E('span', {}, [ this.cfgvalue(section_id).join(' ') || (uci.get('ketuk', section_id, 'one_time_sequences') ? _('one time') : _('users only')) ]);
		};
		o.load = section_id => L.toArray(uci.get('ketuk', section_id, 'sequence')).flatMap(value => value.split(/[ \t\n\r\f,]+/)).filter(step => step != '');

		o = s.taboption('knock', form.Button, '_random', _('Random sequence'), _('Takes the place of the sequence above.'));
		o.inputtitle = _('Make one');
		o.modalonly = true;
		o.onclick = function(ev, section_id) {
			const list = this.map.lookupOption('sequence', section_id)[0];
			const taken = uci.sections('ketuk', 'door').flatMap(door => ports([ ...L.toArray(door.sequence), ...L.toArray(door.dest_port), ...L.toArray(door.src_dport) ]));

			list.getUIElement(section_id).setValue(rules.random(RANDOM_STEPS, taken));
		};

		o = page.rule(s.taboption('knock', form.Value, 'seq_timeout', _('Time to knock'), _('Seconds from the first knock to the last.')),
			(section_id, value) => rules.seq_timeout(value));
		o.placeholder = '25';
		o.modalonly = true;

		o = page.rule(s.taboption('knock', form.Value, 'tcpflags', _('TCP flags'), _('Which TCP segments are knocks.')),
			(section_id, value) => rules.tcpflags(value));
		o.placeholder = 'syn';
		o.modalonly = true;

		o = page.rule(s.taboption('knock', form.Value, 'target', _('Knocked-at address'), _('If it is not one of the router’s own addresses.')),
			(section_id, value) => rules.address(value));
		o.modalonly = true;

		o = page.line(page.rule(s.taboption('knock', form.Value, 'trap_except', _('Never traps'), _('Ports that may be touched between two knocks.')),
			(section_id, value) => rules.trap_except(value)));
		o.modalonly = true;

		o = page.rule(s.taboption('opening', form.ListValue, '_where', _('It opens')),
			(section_id, value) => value == 'close' && !shuttable(section_id).length ? _('There is no other door that opens') : null);
		o.value('router', _('this router'));
		o.value('host', _('a host behind it'));
		o.value('any', _('the port that an fwknop client asks for'));
		o.value('nowhere', _('nothing, only runs commands'));
		o.value('close', _('nothing, shuts other doors'));
		o.modalonly = true;
		o.forcewrite = true;
		o.load = section_id => {
			if (uci.get('ketuk', section_id, 'action') == 'close')
				return 'close';

			if (isAny(section_id))
				return 'any';

			if (L.toArray(uci.get('ketuk', section_id, 'dest_ip')).length)
				return 'host';

			return !uci.get('ketuk', section_id, 'dest_port') && uci.get('ketuk', section_id, 'start_command') ? 'nowhere' : 'router';
		};
		o.write = (section_id, value) => {
			uci.set('ketuk', section_id, 'action', value == 'close' ? 'close' : null);
			uci.set('ketuk', section_id, 'any_port', value == 'any' ? '1' : null);
			/* Both fields for this option leave it to this field. */
			if (value != 'router' && value != 'host')
				uci.unset('ketuk', section_id, 'dest_port');
		};
		o.remove = () => {};

		o = page.line(page.rule(s.taboption('opening', form.Value, 'allow_port', _('Which ports'), _('Blanks between several: tcp/22, udp/6000-6010, or 22 for both.')),
			(section_id, value) => rules.allow_port(value)));
		o.depends('_where', 'any');
		o.placeholder = _('any');
		o.modalonly = true;

		o = s.taboption('opening', form.DynamicList, 'dest_ip', _('Host'), _('One IPv4 address, one IPv6 address, or one of each.'));
		page.rule(o, (section_id, value) => L.toArray(value).length ? rules.hosts(value) : _('Name the host'), value => rules.address(value));
		for (const [ address, title ] of hosts)
			o.value(address, title);
		o.depends('_where', 'host');
		o.modalonly = true;

		o = s.taboption('opening', form.ListValue, 'proto', _('Protocol'));
		o.value('tcp', 'TCP');
		o.value('udp', 'UDP');
		o.value('tcpudp', _('TCP and UDP'));
		o.depends('_where', 'router');
		o.depends('_where', 'host');
		o.modalonly = true;
		/* A new door has TCP, because most services use it. */
		o.default = 'tcp';
		o.rmempty = false;
		o.load = section_id => {
			const words = rules.words(uci.get('ketuk', section_id, 'proto')).map(word => word.toLowerCase());

			if (!words.length && !uci.get('ketuk', section_id, 'dest_port') && !uci.get('ketuk', section_id, 'src_dport'))
				return null;

			return words.length && words.every(word => word == words[0]) ? words[0] : 'tcpudp';
		};

		o = page.line(page.rule(s.taboption('opening', form.Value, 'src_dport', _('Ports on the router'), _('Blanks between several, a range as 8000-8010.')),
			(section_id, value) => rules.ports(value)));
		o.depends('_where', 'host');
		o.modalonly = true;

		/* The same option in two fields, each with its own help. */
		o = page.line(page.rule(s.taboption('opening', form.Value, '_host_port', _('Port of the host'), _('Or nothing, to keep each port its number.')),
			function(section_id, value) {
				const other = name => this.section.formvalue(section_id, name);

				return rules.ports(value) ?? rules.opening({ proto: other('proto'), dest_port: value, src_dport: other('src_dport'), dest_ip: other('dest_ip'), start_command: null });
			}));
		o.ucioption = 'dest_port';
		o.retain = true;
		o.depends('_where', 'host');
		o.modalonly = true;

		o = page.line(page.rule(s.taboption('opening', form.Value, 'dest_port', _('Ports'), _('Blanks between several, a range as 8000-8010.')),
			(section_id, value) => rules.words(value).length ? rules.ports(value) : _('Name the ports to open')));
		o.retain = true;
		o.depends('_where', 'router');
		o.placeholder = '22';
		o.textvalue = section_id => E('span', {}, [ uci.get('ketuk', section_id, 'action') == 'close'
			? _('shuts %s').format(L.toArray(uci.get('ketuk', section_id, 'door')).join(', '))
			: isAny(section_id) ? rules.words(uci.get('ketuk', section_id, 'allow_port')).join(' ') || _('any port') : rules.words([
			...L.toArray(uci.get('ketuk', section_id, 'src_dport') ?? uci.get('ketuk', section_id, 'dest_port')),
			...L.toArray(uci.get('ketuk', section_id, 'dest_ip')).map(host => '→ ' + host)
		]).join(' ') || _('commands') ]);

		o = page.rule(s.taboption('time', form.Value, 'open_time', _('Open for'), _('Seconds; 0 is until it is shut by hand or the service stops.')),
			(section_id, value) => rules.open_time(value));
		only(o, ALL);
		o.placeholder = String(rules.OPEN_TIME);
		/* knockd's name for the same. */
		o.load = section_id => uci.get('ketuk', section_id, 'open_time') ?? uci.get('ketuk', section_id, 'cmd_timeout');
		o.write = (section_id, value) => {
			uci.set('ketuk', section_id, 'open_time', value);
			uci.unset('ketuk', section_id, 'cmd_timeout');
		};
		o.remove = section_id => {
			uci.unset('ketuk', section_id, 'open_time');
			uci.unset('ketuk', section_id, 'cmd_timeout');
		};
		o.textvalue = function(section_id) {
			const seconds = this.cfgvalue(section_id) ?? String(rules.OPEN_TIME);

			if (uci.get('ketuk', section_id, 'action') == 'close')
				return E('span', {}, [ '-' ]);

			return E('span', {}, [ seconds == '0' ? _('until it is shut') : daemon.span(+seconds) ]);
		};

		o = page.rule(s.taboption('time', form.Value, 'max_time', _('At most'), _('The longest time that a client may ask for, in seconds; 0 means no limit.')),
			function(section_id, value) {
				return rules.max_time(value, this.section.formvalue(section_id, 'open_time'));
			});
		only(o, ALL);
		o.placeholder = _('as long as it opens for');
		o.modalonly = true;

		o = page.rule(s.taboption('time', form.ListValue, 'close', _('It shuts')), function(section_id, value) {
			return value == 'session' && +(this.section.formvalue(section_id, 'open_time') || rules.OPEN_TIME) == 0
				? _('A door that lasts as long as its connections needs a time to connect in') : null;
		});
		o.value('', _('after this time; connections live on'));
		o.value('session', _('when the last connection through it ends'));
		only(o, PORTS);
		o.modalonly = true;
		o.load = section_id => uci.get('ketuk', section_id, 'close') == 'session' ? 'session' : '';

		o = s.taboption('time', form.Flag, 'kill', _('Cut connections'), _('Shutting the door cuts the connections through it.'));
		only(o, PORTS);
		o.modalonly = true;

		o = s.taboption('time', form.ListValue, 'on_stop', _('When the service stops'));
		only(o, ALL);
		o.value('', _('as for all doors'));
		o.value('shut', _('shut it'));
		o.value('keep', _('leave it to its timer'));
		o.modalonly = true;

		o = page.line(page.rule(s.taboption('limits', form.Value, 'src', _('From'), _('The addresses and networks that may open the door.')),
			(section_id, value) => rules.src(value)));
		o.placeholder = _('everywhere');
		o.modalonly = true;

		for (const [ name, title, widest, bits ] of [ [ 'grant_prefix_4', _('Group of IPv4 addresses'), 16, 32 ], [ 'grant_prefix_6', _('Group of IPv6 addresses'), 48, 128 ] ]) {
			o = page.rule(s.taboption('limits', form.Value, name, title, _('Opens for all addresses that begin with as many bits of the knocker’s: for mobile networks that change addresses.')),
				function(section_id, value) {
					const commands = [ 'start_command', 'start_command_6', 'stop_command', 'stop_command_6' ]
						.some(command => rules.runs(this.section.formvalue(section_id, command)));

					return rules.grant_prefix(value, widest, bits, commands);
				});
			o.placeholder = String(bits);
			o.depends('_where', 'router');
			o.depends('_where', 'host');
			o.modalonly = true;
		}

		o = page.rule(s.taboption('limits', form.Value, 'start_time', _('Start time')), (section_id, value) => rules.time(value));
		o.placeholder = '00:00';
		o.modalonly = true;

		o = page.rule(s.taboption('limits', form.Value, 'stop_time', _('Stop time'), _('By the router’s clock. A stop time before the start time is on the next day.')),
			(section_id, value) => rules.time(value));
		o.placeholder = '23:59:59';
		o.modalonly = true;

		o = page.line(page.rule(s.taboption('limits', form.Value, 'weekdays', _('On which days'), _('For example: mon tue wed thu fri')),
			(section_id, value) => rules.weekdays(value)));
		o.placeholder = _('every day');
		o.modalonly = true;

		for (const [ name, title, text ] of [
			[ 'start_command', _('When it opens'), _('Run by sh; %IP% becomes the address of who knocked.') ],
			[ 'stop_command', _('When it shuts'), null ],
			[ 'start_command_6', _('When it opens, for IPv6'), _('Replaces the command above. With none, nothing is run.') ],
			[ 'stop_command_6', _('When it shuts, for IPv6'), null ]
		]) {
			o = page.rule(s.taboption('commands', form.Value, name, title, text), function(section_id, value) {
				const runs = [ 'start_command', 'start_command_6' ].some(of => rules.runs(of == name ? value : this.section.formvalue(section_id, of)));
				const nowhere = this.section.formvalue(section_id, '_where') == 'nowhere';

				return rules.command(value) ?? (name == 'start_command' && nowhere && !runs
					? _('The door opens nothing: name the ports to open, or a command to run') : null);
			});
			only(o, COMMANDS);
			o.modalonly = true;
		}
	},

	render([ hints, networks, status, readable ]) {
		return page.whole(this, _('Doors'), status, readable, () => this.renderForm(hints, networks));
	},

	renderForm(hints, networks) {
		/* This is a map of its own, so that a door's dialog does not undo unsaved changes here. */
		const service = new form.Map('ketuk', _('Doors'), _('A door is shut to everybody. It opens for the address from which somebody has knocked at the right ports in the right order, for that address alone, for a while.'));
		const map = new form.Map('ketuk');

		this.maps = [ service, map ];
		this.renderGlobals(service, networks);
		this.renderDoors(map, knownHosts(hints));

		return Promise.all(this.maps.map(part => part.render()));
	},

	handleSave() {
		return page.save(this.maps);
	}
});
