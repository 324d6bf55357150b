/* The stand-in's forms; see standin.js. */
'use strict';

(function() {
	const { builtin, uci, ui } = window.standin;

	class Option {
		constructor(section, option, title, description) {
			Object.assign(this, { section, map: section.map, option, title, description, deps: [], choices: [], rmempty: true });
		}

		value(key, title) { this.choices.push([ String(key), title ?? key ]); }
		depends(field, value) { this.deps.push([ field, value ]); }
		cbid(sid) { return `cbid.${this.map.config}.${sid}.${this.option}`; }
		load(sid) { return uci.get(this.map.config, sid, this.ucioption ?? this.option); }
		cfgvalue(sid) { return this.data?.[sid]; }
		write(sid, value) { uci.set(this.map.config, sid, this.ucioption ?? this.option, value); }
		remove(sid) { uci.unset(this.map.config, sid, this.ucioption ?? this.option); }
		validate() { return true; }
		textvalue(sid) {
			const value = this.cfgvalue(sid) ?? this.default;
			return value == null ? null : '%h'.format([].concat(value).join(' '));
		}
		field(sid) { return this.map.root.querySelector(`[data-field="${this.cbid(sid)}"]`); }
		getUIElement(sid) { return this.field(sid)?.widget ?? null; }
		formvalue(sid) { return this.getUIElement(sid)?.getValue() ?? null; }
		isActive(sid) {
			const field = this.field(sid);
			return field != null && !field.classList.contains('hidden');
		}
		triggerValidation(sid) {
			const input = this.field(sid)?.querySelector('input[type="text"]');
			return input ? this.judge(sid, input) : true;
		}
		isValid(sid) { return this.triggerValidation(sid); }
		getValidationError() { return ''; }
		judge(sid, input) {
			const verdict = this.validate(sid, input.value);
			input.classList.toggle('cbi-input-invalid', verdict !== true);
			if (verdict !== true)
				input.setAttribute('data-error', verdict);
			return verdict === true;
		}
		async fetch(sid) {
			(this.data ??= {})[sid] = await this.load(sid);
		}

		async parse(sid) {
			if (!this.isActive(sid))
				return this.retain ? undefined : this.remove(sid);
			if (!this.isValid(sid))
				throw new TypeError(`Option "${this.title}" contains an invalid input value. ${this.getValidationError(sid)}`);

			const value = this.formvalue(sid);
			const empty = value == null || value === '' || value.length === 0;

			/* LuCI of 24.10 writes the default of every field but a Flag. A later LuCI removes it. */
			if (empty || (this instanceof Flag && value == this.default && this.rmempty)) {
				if (!this.rmempty)
					throw new TypeError(`Option "${this.title}" must not be empty.`);
				return this.remove(sid);
			}
			if (this instanceof Flag || String(this.cfgvalue(sid) ?? '') !== String(value) || this.forcewrite)
				return this.write(sid, value);
		}

		frame(sid) {
			const field = E('div', { 'class': 'cbi-value', 'data-field': this.cbid(sid), 'data-name': this.option }, [
				E('label', { 'class': 'cbi-value-title' }, [ this.title ]),
				E('div', { 'class': 'cbi-value-field' }, [ this.widget(sid), this.description ? E('div', { 'class': 'cbi-value-description' }, [ this.description ]) : '' ])
			]);
			field.widget = this.control;
			field.addEventListener('change', () => this.map.checkDepends());
			return field;
		}

		input(sid, value) {
			const input = E('input', { 'type': 'text', 'class': 'cbi-input-text', 'value': value ?? '', 'placeholder': this.placeholder }, []);
			for (const event of [ 'blur', 'keyup' ])
				input.addEventListener(event, () => this.judge(sid, input));
			return input;
		}
	}

	class Value extends Option {
		widget(sid) {
			const input = this.input(sid, this.cfgvalue(sid) ?? this.default);
			this.control = { getValue: () => input.value, setValue: value => { input.value = value; this.judge(sid, input); } };
			return input;
		}
	}

	class Flag extends Option {
		constructor(...args) {
			super(...args);
			Object.assign(this, { enabled: '1', disabled: '0', default: '0' });
		}
		widget(sid) {
			const box = E('input', { 'type': 'checkbox' }, []);
			box.checked = [ '1', 'on', 'true', 'yes', 'enabled' ].includes(this.cfgvalue(sid) ?? this.default);
			this.control = { getValue: () => box.checked ? this.enabled : this.disabled, setValue: value => { box.checked = value == this.enabled; } };
			return E('div', { 'class': 'cbi-checkbox' }, [ box ]);
		}
	}

	class ListValue extends Option {
		widget(sid) {
			const value = this.cfgvalue(sid) ?? this.default ?? '';
			const select = E('select', { 'class': 'cbi-input-select' }, this.choices.map(([ key, title ]) => E('option', { 'value': key }, [ title ])));
			select.value = value;
			this.control = { getValue: () => select.value, setValue: chosen => { select.value = chosen; } };
			return select;
		}
	}

	class DynamicList extends Option {
		widget(sid) {
			const list = E('div', { 'class': 'cbi-dynlist' }, []);
			const input = this.input(sid, '');
			const item = value => {
				const node = E('div', { 'class': 'item' }, [ E('span', {}, [ value ]), E('input', { 'type': 'hidden', 'value': value }, []) ]);
				node.addEventListener('click', () => { node.remove(); });
				list.insertBefore(node, list.lastElementChild);
			};
			const add = () => {
				if (input.value === '' || !this.judge(sid, input))
					return;
				item(input.value);
				input.value = '';
			};
			input.addEventListener('keydown', ev => { if (ev.key == 'Enter') { ev.preventDefault(); add(); } });
			list.appendChild(E('div', { 'class': 'add-item' }, [ input, E('div', { 'class': 'btn cbi-button cbi-button-add', 'click': add }, [ '+' ]) ]));
			L.toArray(this.cfgvalue(sid)).forEach(item);
			this.control = {
				getValue: () => Array.from(list.querySelectorAll('.item input'), node => node.value),
				setValue: values => {
					list.querySelectorAll('.item').forEach(node => node.remove());
					values.forEach(item);
				}
			};
			return list;
		}
	}

	class MultiValue extends Option {
		widget(sid) {
			if (!this.choices.length)
				throw new TypeError('LuCI cannot show a choice of nothing');
			const chosen = L.toArray(this.cfgvalue(sid));
			const box = E('div', { 'class': 'cbi-dropdown', 'multiple': '' }, [ E('ul', { 'class': 'dropdown' }, this.choices.map(([ key, title ]) =>
				E('li', { 'data-value': key, 'selected': chosen.includes(key) ? '' : null }, [ title ]))) ]);
			box.addEventListener('click', ev => {
				if (box.hasAttribute('open'))
					ev.target.closest('li')?.toggleAttribute('selected');
				else
					box.setAttribute('open', '');
			});
			this.control = { getValue: () => Array.from(box.querySelectorAll('li[selected]'), li => li.getAttribute('data-value')) };
			return box;
		}
	}

	class NetworkSelect extends MultiValue {
		widget(sid) {
			this.choices = L.env.networks.map(name => [ name, name ]);
			return super.widget(sid);
		}
	}

	class Button extends Option {
		widget(sid) {
			this.control = { getValue: () => null };
			return E('button', { 'class': 'btn cbi-button', 'type': 'button', 'click': ui.createHandlerFn(this, ev => this.onclick(ev, sid)) }, [ this.inputtitle ]);
		}
		parse() {}
	}

	class DummyValue extends Option {
		widget(sid) {
			this.control = { getValue: () => null };
			return E('div', {}, [ this.cfgvalue(sid) ?? this.default ?? '' ]);
		}
		parse() {}
	}

	class Section {
		constructor(map, type, title) {
			Object.assign(this, { map, sectiontype: type, title, children: [] });
		}
		tab() {}
		option(Class, name, title, description) {
			const option = new Class(this, name, title, description);
			this.children.push(option);
			return option;
		}
		taboption(tab, ...args) { return this.option(...args); }
		formvalue(sid, name) { return this.children.find(option => option.option == name)?.formvalue(sid) ?? null; }
		cfgsections() { return uci.sections(this.map.config, this.sectiontype).map(section => section['.name']); }
		load() { return Promise.all(this.cfgsections().flatMap(sid => this.children.map(option => option.fetch(sid)))); }
		async parse() {
			for (const sid of this.cfgsections())
				for (const option of this.children)
					await option.parse(sid);
		}
	}

	class NamedSection extends Section {
		constructor(map, name, type, title) {
			super(map, type, title);
			this.section = name;
		}
		cfgsections() { return [ this.section ]; }
		render() {
			return E('div', { 'class': 'cbi-section', 'data-sid': this.section }, [ E('h3', {}, [ this.title ]), ...this.children.map(option => option.frame(this.section)) ]);
		}
	}

	class GridSection extends Section {
		async parse() {
			for (const sid of this.cfgsections())
				for (const option of this.children.filter(option => option.editable && !option.modalonly))
					await option.parse(sid);
		}
		columns() { return this.children.filter(option => !option.modalonly); }
		render() {
			const rows = this.cfgsections().map(sid => E('tr', { 'class': 'tr cbi-section-table-row', 'data-sid': sid }, [
				E('td', { 'class': 'td cbi-section-table-cell cbi-section-table-titles' }, [ sid ]),
				...this.columns().map(option => {
					if (option.editable) {
						const field = option.frame(sid);
						return E('td', { 'class': 'td cbi-value-field', 'data-name': option.option }, [ field ]);
					}
					return E('td', { 'class': 'td cbi-value-field', 'data-name': option.option }, option.textvalue(sid) ?? '');
				}),
				E('td', { 'class': 'td cbi-section-actions' }, [
					E('button', { 'class': 'btn cbi-button cbi-button-edit', 'click': ui.createHandlerFn(this, 'renderMoreOptionsModal', sid) }, [ 'Edit' ]),
					E('button', { 'class': 'btn cbi-button cbi-button-remove', 'click': ui.createHandlerFn(this, 'handleRemove', sid) }, [ 'Delete' ])
				])
			]));
			return E('div', { 'class': 'cbi-section', 'id': `cbi-${this.map.config}-${this.sectiontype}` }, [
				E('table', { 'class': 'table cbi-section-table' }, rows), this.renderSectionAdd()
			]);
		}
		renderSectionAdd() {
			const input = E('input', { 'type': 'text', 'class': 'cbi-section-create-name' }, []);
			return E('div', { 'class': 'cbi-section-create' }, [ input,
				E('button', { 'class': 'cbi-button cbi-button-add', 'click': ui.createHandlerFn(this, ev => this.handleAdd(ev, input.value)) }, [ this.addbtntitle ?? 'Add' ]) ]);
		}
		handleAdd(ev, name) {
			this.added = uci.add(this.map.config, this.sectiontype, name);
			return this.renderMoreOptionsModal(this.added);
		}
		handleRemove(sid) {
			uci.remove(this.map.config, sid);
			return this.map.save(null, true);
		}
		async renderMoreOptionsModal(sid) {
			const map = new FormMap(this.map.config);
			const section = map.section(NamedSection, sid, this.sectiontype);
			for (const option of this.children.filter(option => option.modalonly !== false)) {
				const copy = section.option(option.constructor, option.option, option.title, option.description);
				for (const key of Object.keys(option))
					if (![ 'map', 'section', 'option', 'title', 'description' ].includes(key))
						copy[key] = option[key];
			}
			await this.addModalOptions?.(section, sid);
			const node = await map.render();
			ui.showModal(typeof(this.modaltitle) == 'function' ? this.modaltitle(sid) : sid, [
				node,
				E('div', { 'class': 'button-row' }, [
					E('button', { 'class': 'btn cbi-button', 'click': () => {
						if (this.added == sid)
							uci.remove(this.map.config, sid);
						this.added = null;
						ui.hideModal();
					} }, [ 'Dismiss' ]),
					E('button', { 'class': 'btn cbi-button cbi-button-positive important', 'click': ui.createHandlerFn(this, async () => {
						try {
							await map.save(null, true);
						} catch (error) {
							return;
						}
						this.added = null;
						ui.hideModal();
						await this.map.load();
						await this.map.reset();
					}) }, [ 'Save' ])
				])
			]);
		}
	}

	class FormMap {
		constructor(config, title, description) {
			Object.assign(this, { config, title, description, children: [] });
		}
		section(Class, ...args) {
			const section = new Class(this, ...args);
			this.children.push(section);
			return section;
		}
		lookupOption(name, sid) {
			const option = this.children.flatMap(section => section.children).find(option => option.option == name);
			return option ? [ option, sid ] : null;
		}
		async load() {
			await uci.load(this.config);
			await Promise.all(this.children.map(section => section.load()));
		}
		async parse() {
			for (const section of this.children)
				await section.parse();
		}
		checkDepends() {
			for (const section of this.children)
				for (const sid of section.cfgsections())
					for (const option of section.children.filter(option => option.deps.length))
						option.field(sid)?.classList.toggle('hidden', !option.deps.some(([ field, value ]) => section.formvalue(sid, field) == value));
		}
		async save(callback, silent) {
			this.checkDepends();
			try {
				await this.parse();
				await callback?.();
				await uci.save();
				await this.load();
			} catch (error) {
				if (!silent)
					ui.showModal('Save error', [ E('p', {}, [ E('em', {}, [ error.message ]) ]), E('button', { 'class': 'cbi-button', 'click': ui.hideModal }, [ 'Dismiss' ]) ]);
				throw error;
			}
			return this.reset();
		}
		reset() {
			this.root ??= E('div', { 'class': 'cbi-map', 'id': `cbi-${this.config}` }, []);
			this.root.replaceChildren(this.title ? E('h2', {}, [ this.title ]) : '', ...this.children.map(section => section.render()));
			this.checkDepends();
			return this.root;
		}
		render() { return this.load().then(() => this.reset()); }
	}

	builtin.form = { Map: FormMap, NamedSection, GridSection, Value, Flag, ListValue, DynamicList, MultiValue, Button, DummyValue };
	builtin['tools.widgets'] = { NetworkSelect };
	/* LuCI finds only the networks that the account may see. */
	builtin.network = { getNetworks: async () => L.env.networks.map(name => ({ getName: () => name })) };
})();
