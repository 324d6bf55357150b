'use strict';
'require baseclass';
'require form';
'require fs';
'require uci';
'require ui';
'require ketuk.daemon as daemon';
'require ketuk.rules as rules';

/*
 * The parts that all pages with a form share: fields that are checked when they are saved, and the daemon's own check before
 * anything is saved.
 */

/* Shows why nothing was saved, and scrolls to the message. */
function complain(node, error) {
	node.querySelector('.ketuk-complaint')?.remove();

	if (error == null)
		return;

	const box = E('div', { 'class': 'alert-message danger ketuk-complaint' }, [ E('pre', {}, [ error.message ]) ]);

	node.appendChild(box);
	box.scrollIntoView({ block: 'nearest' });
}

/* The name of the section of the service's own options. */
function globals() {
	return uci.sections('ketuk', 'globals')[0]?.['.name'] ?? uci.add('ketuk', 'globals', 'globals');
}

/* Starts the service, now and with the router: OpenWrt's triggers do so when the configuration is applied. */
function switchOn() {
	return uci.load('ketuk').then(() => {
		uci.set('ketuk', globals(), 'enabled', '1');

		return uci.save();
	}).then(() => uci.apply()).catch(error => ui.addNotification(null, [ E('p', {}, [ error.message ]) ], 'danger'));
}

/* Starts a service that is switched on but does not run: procd gives up a service that has ended several times. */
function start() {
	return fs.exec('/etc/init.d/ketuk', [ 'restart' ]).then(({ code, stderr }) => {
		if (code != 0)
			throw new Error(stderr || _('The service did not start'));
	}).catch(error => ui.addNotification(null, [ E('p', {}, [ error.message ]) ], 'danger'));
}

/* The buttons of a banner. */
const REMEDIES = {
	enable: [ _('Switch it on'), switchOn ],
	start: [ _('Start it'), start ]
};

return baseclass.extend({
	globals,

	/* The banners that stand above every page. */
	banners: status => daemon.troubles(status).map(([ error, text, words, remedy ]) =>
		E('div', { 'class': 'alert-message ' + (error ? 'danger' : 'warning') }, [
			E('p', {}, [ text ]),
			words != null ? E('pre', {}, [ words ]) : '',
			remedy && L.hasViewPermission() ? E('button', { 'class': 'btn cbi-button cbi-button-apply', 'click': ui.createHandlerFn(this, REMEDIES[remedy][1]) }, [ REMEDIES[remedy][0] ]) : ''
		])),

	/* Loads the configuration, and returns whether LuCI can read it. LuCI names no place of an error; the daemon's banner does. */
	load: () => uci.load('ketuk').then(() => true, () => false),

	/* The page of a form, below the banners; without the form if LuCI cannot read the configuration. */
	whole(shown, title, status, readable, render) {
		const banners = E('div', { 'id': 'ketuk-banners' }, this.banners(status));

		if (readable)
			return render().then(parts => E('div', {}, [ banners, ...L.toArray(parts) ]));

		shown.handleSave = shown.handleSaveApply = shown.handleReset = null;

		return E('div', {}, [ E('h2', {}, [ title ]), banners,
			E('p', {}, [ _('The configuration cannot be read, so there is nothing to change here. Correct the file on the router: /etc/config/ketuk.') ]) ]);
	},

	/*
	 * Gives a field its rule: problem(section_id, value) is null or a sentence. LuCI checks a field when it
	 * changes. A field whose rule looks at other fields has to be checked again when the form is saved. In a list,
	 * `item` checks each item as it is typed, and the rule checks the whole list when it is saved.
	 */
	rule(option, problem, item) {
		option.validate = function(section_id, value) {
			return (item && value !== '' ? item.call(this, value) : item ? null : problem.call(this, section_id, value)) ?? true;
		};

		option.isValid = function(section_id) {
			this.triggerValidation(section_id);
			this.problem = problem.call(this, section_id, this.formvalue(section_id));

			return this.problem == null;
		};

		option.getValidationError = function() {
			return this.problem;
		};

		return option;
	},

	/* A field that shows the default if the file has no value, and writes the default only if it replaces another value. */
	quiet(option) {
		option.write = function(section_id, value) {
			const name = this.ucioption ?? this.option;

			if ((uci.get('ketuk', section_id, name) ?? this.default) != value)
				uci.set('ketuk', section_id, name, value);
		};

		return option;
	},

	/* Several values with blanks between them: one line to type, also if the file has a list. */
	line(option) {
		option.load = function(section_id) {
			return L.toArray(uci.get('ketuk', section_id, this.ucioption ?? this.option)).join(' ');
		};

		option.write = function(section_id, value) {
			uci.set('ketuk', section_id, this.ucioption ?? this.option, value.trim());
		};

		return option;
	},

	/* Names of new sections, by the daemon's rules. In UCI doors and users share one namespace. */
	names(section) {
		const { handleAdd, renderSectionAdd } = Object.getPrototypeOf(section);

		section.renderSectionAdd = function() {
			const node = renderSectionAdd.apply(this, arguments);

			node.querySelector('input')?.setAttribute('maxlength', rules.MAX_NAME);

			return node;
		};

		section.handleAdd = function(ev, name) {
			const problem = rules.name(name) ?? (daemon.sections().some(values => values['.name'] == name) ? _('The name %s is taken').format(name) : null);

			if (problem == null)
				return handleAdd.apply(this, arguments);

			ui.addNotification(null, [ E('p', {}, [ problem ]) ], 'danger');
		};
	},

	/* Saves a section's dialog only if the daemon accepts the whole configuration. */
	guardDialog(section, extra) {
		section.addModalOptions = function(modal, section_id) {
			const options = () => daemon.sections().find(values => values['.name'] == section_id) ?? {};
			const before = options();

			modal.map.save = function() {
				const node = this.root.parentNode;

				complain(node, null);

				return form.Map.prototype.save.call(this, () => daemon.checkPending().catch(error => {
					/* Restores the section, so that closing the dialog changes nothing. */
					for (const name of new Set([ ...Object.keys(before), ...Object.keys(options()) ]))
						if (name.charAt(0) != '.')
							uci.set('ketuk', section_id, name, before[name] ?? null);

					throw error;
				}), true).catch(error => {
					complain(node, error);
					throw error;
				});
			};

			return extra?.call(this, modal, section_id);
		};
	},

	/* The same for the page, which has one map or several. */
	save(maps) {
		const [ first, ...others ] = maps;

		return first.save(() => Promise.all(others.map(map => {
			map.checkDepends();
			return map.parse();
		})).then(() => daemon.checkPending()))
			.then(() => Promise.all(others.map(map => map.load().then(() => map.reset()))));
	}
});
