'use strict';
'require view';
'require dom';
'require poll';
'require request';
'require ui';
'require ketuk.daemon as daemon';
'require ketuk.findings as findings';
'require ketuk.page as page';

/* The counters that matter to a router's owner. `ketukd status` shows the others too. */
const COUNTERS = {
	opened: _('Doors opened'),
	wrong_step: _('Steps out of order'),
	trap: _('Scans caught'),
	timed_out: _('Sequences not finished in time'),
	open_rate: _('Refused: too many at once'),
	firewall_error: _('Firewall errors'),
	socket_drops: _('Packets lost under load')
};

/* The points of `ketukd doctor`, by their names. */
const POINTS = {
	'configuration': _('Configuration'),
	'rights': _('Rights'),
	'daemon': _('Service'),
	'devices': _('Devices'),
	'addresses': _('Addresses'),
	'services': _('Services at the ports of knocks'),
	'traps': _('Services at traps'),
	'open_ports': _('Ports open to everybody'),
	'firewall': _('Firewall'),
	'hosts': _('Hosts behind the router'),
	'clock': _('Clock'),
	'knocks': _('Knocks')
};

/* The address of this browser; empty if the router cannot tell. */
function browserAddress() {
	return request.get(L.url('admin/services/ketuk/address'))
		.then(response => response.ok ? response.json()?.address ?? '' : '')
		.catch(() => '');
}

function table(id, titles, rows, empty) {
	return E('table', { 'class': 'table', 'id': id }, [
		titles ? E('tr', { 'class': 'tr table-titles' }, titles.map(title => E('th', { 'class': 'th' }, [ title ]))) : '',
		...rows.map(cells => E('tr', { 'class': 'tr' }, cells.map((cell, n) =>
			E('td', { 'class': 'td', 'data-title': titles?.[n] || null }, [ cell ])))),
		...(rows.length ? [] : [ E('tr', { 'class': 'tr placeholder' }, [ E('td', { 'class': 'td' }, [ E('em', {}, [ empty ]) ]) ]) ])
	]);
}

return view.extend({
	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	load() {
		return Promise.all([ daemon.status(), browserAddress() ]);
	},

	/* Asks again, but not while the page is hidden. */
	refresh() {
		return document.hidden ? Promise.resolve() : daemon.status().then(status => this.update(status));
	},

	update(status) {
		this.status = status;
		this.asked = Date.now();
		dom.content(this.banner, page.banners(status));
		this.form.querySelector('#ketuk-open-button').disabled = !status.running || !L.hasViewPermission();
		dom.content(this.open, this.renderGrants(status.grants ?? []));
		dom.content(this.recent, this.renderRecents(status.recents ?? []));
		dom.content(this.counters, this.renderCounters(status));
		this.fillDoors(status.doors ?? []);
		this.count();
	},

	/* A call that changes something, and its result. */
	act(call) {
		return call.then(() => this.refresh()).catch(error =>
			ui.addNotification(null, [ E('p', {}, [ error.message ]) ], 'danger'));
	},

	renderGrants(grants) {
		/* A value that only some versions or doors have gets a column only if there is a value to show. */
		const named = grants.some(grant => grant.user);
		const counted = grants.some(grant => grant.sessions != null);
		const titles = [ _('Door'), _('Address'), named && _('User'), _('Time left'), counted && _('Sessions'), '' ];
		const rows = grants.map(grant => [
			grant.door,
			grant.address + (grant.port ? ' (%s)'.format(grant.port) : ''),
			named && (grant.user ?? '-'),
			E('span', { 'class': 'ketuk-left', 'data-seconds': grant.seconds_left ?? '', 'data-held': grant.held ? '' : null }, []),
			counted && String(grant.sessions ?? '-'),
			E('button', {
				'class': 'btn cbi-button cbi-button-remove',
				'data-door': grant.door,
				'data-address': grant.address,
				'disabled': L.hasViewPermission() ? null : 'disabled',
				'click': ui.createHandlerFn(this, () => this.act(daemon.close(grant.door, grant.address)))
			}, [ _('Shut') ])
		].filter((cell, n) => titles[n] !== false));

		return table('ketuk-open', titles.filter(title => title !== false), rows, _('Nobody is in.'));
	},

	renderRecents(recents) {
		return table('ketuk-recent', [ _('When'), _('Address'), _('Door'), _('Knock'), _('Result') ], recents.map(recent => [
			_('%s ago').format(daemon.span(recent.seconds_ago)),
			recent.address + (recent.user ? ' (%s)'.format(recent.user) : ''),
			recent.door ?? '-',
			(recent.port ?? '-') + (recent.stage > 0 ? ' (%d/%d)'.format(recent.stage, recent.steps) : ''),
			daemon.sentence(recent) + (recent.times > 1 ? ' (%d×)'.format(recent.times) : '')
		]), _('Nobody has knocked since the service started.'));
	},

	renderCounters(status) {
		const rows = Object.keys(COUNTERS).filter(name => status.counters?.[name] != null)
			.map(name => [ COUNTERS[name], String(status.counters[name]) ]);

		if (status.daemon)
			rows.unshift(
				[ _('Version'), status.daemon.version ],
				[ _('Running for'), daemon.span(status.daemon.uptime_seconds) ],
				[ _('Listening on'), (status.devices ?? []).map(device => device.name).join(', ') || '-' ],
				[ _('Doors are opened by'), status.daemon.backend ]);

		return table('ketuk-counters', null, rows, _('The service is not running.'));
	},

	renderPoints(points) {
		const said = {
			fine: () => _('fine'),
			wrong: point => E('strong', {}, [ findings.sentence(point) ]),
			not_known: point => _('not known: %s').format(findings.sentence(point))
		};

		return table('ketuk-points', [ _('Point'), _('Finding') ], points.map(point => [
			POINTS[point.point] ?? point.point,
			E('span', { 'data-state': point.state, 'style': 'white-space:pre-wrap' }, [ said[point.state]?.(point) ?? point.text ])
		]));
	},

	handleDoctor() {
		return daemon.doctor()
			.then(answer => dom.content(this.points, this.renderPoints(answer.points ?? [])))
			.catch(error => ui.addNotification(null, [ E('p', {}, [ error.message ]) ], 'danger'));
	},

	/* Keeps the form's input between two polls. */
	fillDoors(doors) {
		const select = this.form.querySelector('select');
		const chosen = select.value;

		if (doors.map(door => door.name).join() == Array.from(select.options).map(option => option.value).join())
			return;

		dom.content(select, doors.map(door => E('option', { 'value': door.name }, [ door.name ])));

		if (doors.some(door => door.name == chosen))
			select.value = chosen;
	},

	/* Counts down between two polls. */
	count() {
		const passed = Math.floor((Date.now() - this.asked) / 1000);

		for (const node of this.open.querySelectorAll('.ketuk-left')) {
			const seconds = node.getAttribute('data-seconds');
			node.textContent = node.hasAttribute('data-held') ? _('until its last connection ends')
				: seconds === '' ? _('until it is shut') : daemon.span(Math.max(0, +seconds - passed));
		}
	},

	handleOpen() {
		const [ door, address, seconds ] = [ 'select', '#ketuk-address', '#ketuk-seconds' ].map(selector => this.form.querySelector(selector).value.trim());

		if (!door || !address)
			return ui.addNotification(null, [ E('p', {}, [ _('Name a door and an address.') ]) ], 'warning');

		if (seconds != '' && !/^[0-9]{1,7}$/.test(seconds))
			return ui.addNotification(null, [ E('p', {}, [ _('Write a number of seconds, digits only') ]) ], 'warning');

		return this.act(daemon.open(door, address, seconds != '' ? +seconds : null));
	},

	render([ status, address ]) {
		const [ banner, open, recent, counters, points ] = [ 0, 1, 2, 3, 4 ].map(() => E('div', {}, []));
		const row = (id, title, field) => E('div', { 'class': 'cbi-value' }, [
			E('label', { 'class': 'cbi-value-title', 'for': id }, [ title ]),
			E('div', { 'class': 'cbi-value-field' }, field)
		]);
		const form = E('div', { 'class': 'cbi-section', 'id': 'ketuk-open-form' }, [
			E('h3', {}, [ _('Open a door') ]),
			row('ketuk-door', _('Door'), [ E('select', { 'class': 'cbi-input-select', 'id': 'ketuk-door' }, []) ]),
			row('ketuk-address', _('Address'), [
				E('input', { 'class': 'cbi-input-text', 'id': 'ketuk-address', 'type': 'text', 'value': address }),
				E('div', { 'class': 'cbi-value-description' }, [ address ? _('Your browser comes from %s.').format(address) : _('The address to open for.') ])
			]),
			row('ketuk-seconds', _('Seconds'), [
				E('input', { 'class': 'cbi-input-text', 'id': 'ketuk-seconds', 'type': 'text', 'inputmode': 'numeric', 'placeholder': _('as the door says') })
			]),
			E('div', { 'class': 'right' }, [
				E('button', { 'class': 'btn cbi-button cbi-button-action', 'id': 'ketuk-open-button',
					'click': ui.createHandlerFn(this, 'handleOpen') }, [ _('Open') ])
			])
		]);

		Object.assign(this, { banner, open, recent, counters, points, form });
		this.update(status);
		poll.add(() => this.refresh());
		document.addEventListener('visibilitychange', () => this.refresh());
		window.setInterval(() => this.count(), 1000);

		return E('div', {}, [
			E('h2', {}, [ _('Port Knocking') ]),
			banner,
			E('div', { 'class': 'cbi-section' }, [ E('h3', {}, [ _('Open doors') ]), open ]),
			form,
			E('div', { 'class': 'cbi-section' }, [ E('h3', {}, [ _('Recent knocks') ]), recent ]),
			E('div', { 'class': 'cbi-section' }, [ E('h3', {}, [ _('Service') ]), counters ]),
			E('div', { 'class': 'cbi-section' }, [
				E('h3', {}, [ _('What may be wrong') ]),
				E('p', {}, [ _('Looks at the configuration, the network, the firewall and the service for what goes wrong in practice. It takes up to 10 seconds.') ]),
				E('button', { 'class': 'btn cbi-button cbi-button-action', 'id': 'ketuk-doctor',
					'click': ui.createHandlerFn(this, 'handleDoctor') }, [ _('Look') ]),
				points
			])
		]);
	}
});
