'use strict';
'require baseclass';
'require ketuk.daemon as daemon';

return baseclass.extend({
	title: _('Open doors'),

	load() {
		return daemon.status();
	},

	render(status) {
		/* While the service is switched off, the overview does not show it. */
		if (status.running == null || (!status.running && !status.enabled))
			return null;

		const titles = [ _('Door'), _('Address'), _('Time left') ];
		const rows = (status.grants ?? []).map(grant => [
			grant.door,
			grant.address,
			grant.seconds_left != null ? daemon.span(grant.seconds_left) : _('until it is shut')
		]);
		const trouble = daemon.troubles(status).find(([ error ]) => error);

		return E('div', {}, [
			trouble ? E('div', { 'class': 'alert-message danger' }, [ E('p', {}, [ trouble[1] ]) ]) : '',
			E('table', { 'class': 'table', 'id': 'ketuk-widget' }, [
				E('tr', { 'class': 'tr table-titles' }, titles.map(title => E('th', { 'class': 'th' }, [ title ]))),
				...rows.map(cells => E('tr', { 'class': 'tr' }, cells.map((cell, n) => E('td', { 'class': 'td', 'data-title': titles[n] }, [ cell ])))),
				...(rows.length ? [] : [ E('tr', { 'class': 'tr placeholder' }, [ E('td', { 'class': 'td' }, [ E('em', {}, [ _('Nobody is in.') ]) ]) ]) ])
			])
		]);
	}
});
