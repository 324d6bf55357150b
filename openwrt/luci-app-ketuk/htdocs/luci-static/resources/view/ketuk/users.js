'use strict';
'require view';
'require form';
'require uci';
'require ui';
'require ketuk.daemon as daemon';
'require ketuk.page as page';
'require ketuk.rules as rules';

/* A button with which the router makes a secret that replaces the old ones. */
function generator(section, name, title, secret) {
	const button = section.option(form.Button, name, title);

	button.inputtitle = _('Make one');
	button.modalonly = true;
	button.onclick = function(ev, section_id) {
		return daemon.keygen()
			.then(made => this.map.lookupOption(secret, section_id)[0].getUIElement(section_id).setValue([ made[secret] ]))
			.catch(error => ui.addNotification(null, [ E('p', {}, [ error.message ]) ], 'danger'));
	};
}

return view.extend({
	load() {
		return Promise.all([
			daemon.status(),
			page.load()
		]);
	},

	/* The router's name on the Internet, which only its owner knows. */
	handleInvite(section_id) {
		const host = E('input', { 'class': 'cbi-input-text', 'id': 'ketuk-host', 'type': 'text', 'placeholder': 'home.example.org' });
		const knockPage = E('input', {
			'class': 'cbi-input-text', 'id': 'ketuk-page', 'type': 'text', 'placeholder': 'https://home.example.org/knock.html',
			'value': uci.sections('ketuk', 'globals')[0]?.page ?? ''
		});

		ui.showModal(_('Invitation for %s').format(section_id), [
			E('p', {}, [ E('label', { 'for': 'ketuk-host' }, [ _('The name or address by which this router is reached from the Internet. If you leave it empty, an address of the router is taken.') ]) ]),
			E('p', {}, [ host ]),
			E('p', {}, [ E('label', { 'for': 'ketuk-page' }, [ _('For a phone without an app: the address of the knock page, on a web server that the phone reaches. A user without a TOTP secret gets one. Leave it empty for the program “ketuk”.') ]) ]),
			E('p', {}, [ knockPage ]),
			E('div', { 'class': 'right' }, [
				E('button', { 'class': 'btn cbi-button', 'click': ui.hideModal }, [ _('Dismiss') ]), ' ',
				E('button', { 'class': 'btn cbi-button cbi-button-positive important', 'click': ui.createHandlerFn(this, () =>
					this.showInvitation(section_id, host.value.trim(), knockPage.value.trim())) }, [ _('Show') ])
			])
		]);
	},

	/* Copies a text. On plain http browsers offer no clipboard, but a page can copy the selection. */
	copy(text, ev) {
		const button = ev.currentTarget;
		const selected = () => {
			getSelection().selectAllChildren(document.getElementById('ketuk-uri'));

			return document.execCommand('copy');
		};
		const copied = navigator.clipboard != null ? navigator.clipboard.writeText(text).then(() => true, selected) : Promise.resolve(selected());

		return copied.then(done => {
			button.textContent = done ? _('Copied') : _('Select and copy it by hand');
		});
	},

	/* The invitation: a link, and its QR code if LuCI can draw one. */
	showInvitation(section_id, host, knockPage) {
		return Promise.all([
			daemon.invite(section_id, host, knockPage),
			L.require('uqr').catch(() => null)
		]).then(([ { uri, link }, uqr ]) => {
			const invitation = link ?? uri;
			const picture = E('div', { 'class': 'center', 'id': 'ketuk-qr' }, []);

			if (uqr != null) {
				picture.innerHTML = uqr.renderSVG(invitation, { pixelSize: 8, ecc: 'L' });
				const svg = picture.firstElementChild;

				/* OpenWrt 24.10's picture has a size but no viewBox, so it could not be enlarged. */
				if (!svg.hasAttribute('viewBox'))
					svg.setAttribute('viewBox', '0 0 %d %d'.format(svg.getAttribute('width'), svg.getAttribute('height')));
				/* As large as the screen allows, with a white border, so that a phone can read it from an arm's length. */
				Object.assign(svg.style, { width: 'min(100%, 70vh)', height: 'auto', background: '#fff', padding: '1em', boxSizing: 'border-box' });
			}

			ui.showModal(_('Invitation for %s').format(section_id), [
				E('p', {}, [ link
					? _('Read it with the phone’s camera, or send the link: it opens the knock page. It holds the user’s secret: show it to nobody else.')
					: _('Give the line to “ketuk add” or to the knock page. It holds the user’s secret: show it to nobody else.') ]),
				picture,
				E('p', {}, [ E('code', { 'id': 'ketuk-uri', 'style': 'overflow-wrap:anywhere' }, [ invitation ]) ]),
				E('div', { 'class': 'right' }, [
					E('button', { 'class': 'btn cbi-button', 'id': 'ketuk-copy', 'click': ev => this.copy(invitation, ev) }, [ _('Copy') ]), ' ',
					E('button', { 'class': 'btn cbi-button', 'click': ui.hideModal }, [ _('Dismiss') ])
				])
			]);
		}).catch(error => {
			ui.hideModal();
			ui.addNotification(null, [ E('p', {}, [ error.message ]) ], 'danger');
		});
	},

	render([ status, readable ]) {
		return page.whole(this, _('Users'), status, readable, () => this.renderForm(status));
	},

	renderForm(status) {
		const seen = {};
		const map = new form.Map('ketuk', _('Users'), _('A user opens doors with a secret of his own, in a knock that nobody can repeat. To revoke it, delete the user.'));
		const s = map.section(form.GridSection, 'user');
		const view = this;
		let o;

		for (const user of status.users ?? [])
			seen[user.name] = user;

		s.addremove = true;
		s.nodescriptions = true;
		s.addbtntitle = _('Add user');
		s.modaltitle = section_id => _('User') + ' » ' + section_id;
		page.names(s);
		page.guardDialog(s);

		o = s.option(form.Flag, 'enabled', _('Enabled'));
		o.default = o.enabled;
		o.editable = true;

		o = s.option(form.DynamicList, 'key', _('Key'), _('For “ketuk open” and the phone: 32 random bytes, base 64. A new key replaces the old one.'));
		page.rule(o, (section_id, value) => rules.secrets(value, rules.key), value => rules.key(value));
		o.modalonly = true;

		generator(s, '_keygen', _('New key'), 'key');

		o = s.option(form.DynamicList, 'totp', _('TOTP secret'), _('For sequences that change every 30 seconds: base 32.'));
		page.rule(o, (section_id, value) => rules.secrets(value, rules.totp), value => rules.totp(value));
		o.modalonly = true;

		generator(s, '_totpgen', _('New TOTP secret'), 'totp');

		const doors = uci.sections('ketuk', 'door').filter(door => door.action != 'close');

		o = s.option(doors.length ? form.MultiValue : form.DummyValue, 'door', _('Doors'));
		o.default = doors.length ? null : _('There is no door yet.');
		for (const door of doors)
			o.value(door['.name']);

		o = s.option(form.Flag, 'other_address', _('Other addresses'), _('The user may open for an address that he does not knock from.'));
		o.modalonly = true;

		o = page.rule(s.option(form.Value, 'expires', _('Expires'), _('The last day, for example 2027-01-31; empty for never.')),
			(section_id, value) => rules.date(value));
		o.placeholder = _('never');
		o.textvalue = section_id => E('span', {}, [ uci.get('ketuk', section_id, 'expires') || _('never') ]);

		o = s.option(form.DummyValue, '_seen', _('Last seen'));
		o.modalonly = false;
		o.textvalue = section_id => E('span', {}, [ seen[section_id]?.seen_seconds_ago != null
			? _('%s ago').format(daemon.span(seen[section_id].seen_seconds_ago)) : '-' ]);

		o = s.option(form.DummyValue, '_invite', _('Invitation'));
		o.modalonly = false;
		o.textvalue = section_id => E('button', {
			'class': 'btn cbi-button cbi-button-action',
			'data-user': section_id,
			'disabled': L.hasViewPermission() ? null : 'disabled',
			'click': ui.createHandlerFn(view, 'handleInvite', section_id)
		}, [ _('Show') ]);

		this.maps = [ map ];

		return map.render();
	},

	handleSave() {
		return page.save(this.maps);
	}
});
