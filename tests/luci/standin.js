/*
 * A stand-in for LuCI's modules, so that ketuk's pages run without LuCI. It has the functions that these pages use, and makes
 * elements with LuCI's classes and attributes. A function that it lacks is an error. It does not try looks, translations,
 * sorting and tabs. `make test-luci LUCI=DIRECTORY` runs the same tests against a checkout of LuCI.
 */
'use strict';

(function() {
	const modules = {};
	const isElem = node => node instanceof Node;

	String.prototype.format = function(...args) {
		return this.replace(/%([%sdh])/g, (match, kind) => {
			if (kind == '%')
				return '%';
			if (!args.length)
				throw new Error(`too few arguments for "${this}"`);

			const arg = args.shift();

			return kind == 'd' ? String(Math.floor(Number(arg))) : kind == 's' ? String(arg)
				: String(arg).replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`);
		});
	};

	window._ = text => window.translations?.[text] ?? text;

	/* The same as in LuCI: children in an array are text, a bare string is HTML. */
	function append(node, children) {
		if (Array.isArray(children))
			for (const child of children)
				append2(node, child);
		else if (isElem(children))
			node.appendChild(children);
		else if (children != null)
			node.innerHTML = String(children);
		return node;
	}

	function append2(node, child) {
		if (isElem(child))
			node.appendChild(child);
		else if (Array.isArray(child))
			append(node, child);
		else if (child != null)
			node.appendChild(document.createTextNode(String(child)));
	}

	window.E = function(tag, attributes, children) {
		if (typeof(tag) != 'string')
			return append(document.createDocumentFragment(), attributes ?? tag);
		if (children === undefined && (Array.isArray(attributes) || typeof(attributes) == 'string' || isElem(attributes)))
			[ attributes, children ] = [ {}, attributes ];

		const node = document.createElement(tag);

		for (const [ name, value ] of Object.entries(attributes ?? {}))
			if (typeof(value) == 'function')
				node.addEventListener(name, value);
			else if (value != null)
				node.setAttribute(name, value);

		return append(node, children);
	};

	class Base {
		static extend(properties) {
			const Sub = class extends this {};
			Object.defineProperties(Sub.prototype, Object.getOwnPropertyDescriptors(properties));
			return Sub;
		}
	}

	/* Loads a module as LuCI does: the values that its leading 'require' lines name become a function's arguments. */
	async function load(name) {
		const response = await fetch(`/luci-static/resources/${name.replace(/\./g, '/')}.js`);

		if (!response.ok)
			throw new Error(`no module ${name}: the stand-in has ${Object.keys(builtin).join(', ')}`);

		const source = await response.text();
		const requires = [ ...source.matchAll(/^'require ([\w.-]+)(?: as (\w+))?';$/gm) ];
		const values = await Promise.all(requires.map(([ , module ]) => L.require(module)));
		const names = requires.map(([ , module, as ]) => as ?? module.replace(/[^\w]/g, '_'));
		const Module = new Function('window', 'document', 'L', ...names, `${source}\n//# sourceURL=${name}.js`)(window, document, L, ...values);

		return new Module();
	}

	window.L = {
		env: { readonly: false },
		require: name => modules[name] ??= builtin[name] ? Promise.resolve(builtin[name]) : load(name),
		resolveDefault: (value, fallback) => Promise.resolve(value).catch(() => fallback),
		toArray: value => Array.isArray(value) ? value : value == null || String(value).trim() === '' ? []
			: typeof(value) == 'object' ? [ value ] : String(value).trim().split(/\s+/),
		bind: (fn, self, ...args) => fn.bind(self, ...args),
		url: (...parts) => '/cgi-bin/luci/' + parts.join('/'),
		hasViewPermission: () => !L.env.readonly,
		error: (type, text) => { throw new Error(text); }
	};

	let id = 1;

	const rpc = {
		declare: ({ object, method, params, expect }) => async (...args) => {
			const named = {};
			(params ?? []).forEach((name, n) => { if (args[n] !== undefined) named[name] = args[n]; });
			const body = JSON.stringify({ jsonrpc: '2.0', id: id++, method: 'call', params: [ '0'.repeat(32), object, method, named ] });
			const reply = await (await fetch('/ubus/', { method: 'POST', body })).json();
			const [ code, data ] = reply.result ?? [ -1 ];

			if (code != 0)
				throw new Error(`RPC call to ${object}/${method} failed with ubus code ${code}`);
			for (const key in expect ?? {})
				return (key === '' ? data : data?.[key]) ?? expect[key];
			return data;
		}
	};

	/* /etc/config for the forms: the loaded sections with the unsaved changes. */
	const call = Object.fromEntries([ 'get', 'add', 'set', 'delete', 'order', 'apply' ].map(method =>
		[ method, (args) => rpc.declare({ object: 'uci', method, params: Object.keys(args) })(...Object.values(args)) ]));
	const configs = {};
	const operations = [];
	let deleted = {};

	const uci = {
		async load(config) {
			configs[config] ??= (await call.get({ config })).values;
		},
		apply: () => call.apply({ timeout: 90, rollback: false }),
		unload: config => { delete configs[config]; },
		sections: (config, type) => Object.values(configs[config] ?? {}).filter(section => !type || section['.type'] == type)
			.sort((a, b) => a['.index'] - b['.index'])
			/* As in LuCI, a deleted section is listed until the change is saved. */
			.map(section => Object.assign({}, deleted[`${config}.${section['.name']}`], section)),
		get: (config, section, option) => option == null ? configs[config]?.[section] ?? null : configs[config]?.[section]?.[option] ?? null,
		set(config, section, option, value) {
			if (value == null || value === '')
				return this.unset(config, section, option);
			configs[config][section][option] = value;
			operations.push([ 'set', { config, section, values: { [option]: value } } ]);
		},
		unset(config, section, option) {
			if (configs[config][section][option] == null)
				return;
			(deleted[`${config}.${section}`] ??= {})[option] = configs[config][section][option];
			delete configs[config][section][option];
			operations.push([ 'delete', { config, section, options: [ option ] } ]);
		},
		add(config, type, name) {
			name ??= 'new%d'.format(id++);
			configs[config][name] = { '.type': type, '.name': name, '.anonymous': false, '.index': 1000 + id++ };
			operations.push([ 'add', { config, type, name } ]);
			return name;
		},
		remove(config, section) {
			delete configs[config][section];
			operations.push([ 'delete', { config, section } ]);
		},
		async save() {
			for (const [ method, args ] of operations.splice(0))
				await call[method](args);
			deleted = {};
			for (const config of Object.keys(configs)) {
				delete configs[config];
				await this.load(config);
			}
		}
	};

	const ui = {
		showModal(title, children) {
			ui.hideModal();
			document.body.appendChild(E('div', { 'id': 'modal_overlay' }, [ E('div', { 'class': 'modal', 'role': 'dialog' }, [ E('h4', {}, [ title ]), ...[].concat(children) ]) ]));
			document.body.classList.add('modal-overlay-active');
			return document.querySelector('#modal_overlay .modal');
		},
		hideModal() {
			document.querySelector('#modal_overlay')?.remove();
			document.body.classList.remove('modal-overlay-active');
		},
		addNotification(title, children, ...classes) {
			const node = E('div', { 'class': [ 'alert-message', ...classes ].join(' ') }, children);
			document.querySelector('#maincontent').prepend(node);
			return node;
		},
		createHandlerFn: (self, fn, ...args) => ev => {
			const button = ev.currentTarget;
			button.disabled = true;
			return Promise.resolve((typeof(fn) == 'function' ? fn : self[fn]).call(self, ...args, ev)).finally(() => { button.disabled = false; });
		}
	};

	const dom = {
		content(node, children) {
			node.replaceChildren();
			return append(node, children);
		},
		append
	};

	const poll = {
		add(fn) {
			window.setInterval(fn, 1000 * L.env.pollinterval);
			return true;
		}
	};

	const request = {
		get: url => fetch(url).then(async response => {
			const text = await response.text();
			return { ok: response.ok, json: () => JSON.parse(text) };
		})
	};

	class View extends Base {
		handleSave() { throw new Error('no handleSave'); }
		handleSaveApply(ev) {
			return this.handleSave(ev).then(() => call.apply({ timeout: 90, rollback: false }));
		}
		handleReset() {
			return Promise.all(this.maps.map(map => map.reset()));
		}
		async show() {
			const node = await this.render(await this.load?.());
			const footer = E('div', { 'class': 'cbi-page-actions' }, []);

			for (const [ name, title, style ] of [ [ 'handleSaveApply', 'Save & Apply', 'apply' ], [ 'handleSave', 'Save', 'save' ], [ 'handleReset', 'Reset', 'reset' ] ])
				if (this[name])
					footer.appendChild(E('button', { 'class': 'cbi-button cbi-button-' + style, 'click': ui.createHandlerFn(this, name) }, [ title ]));

			dom.content(document.querySelector('#view'), [ node, footer.childNodes.length ? footer : '' ]);
		}
	}

	const fs = { exec: rpc.declare({ object: 'file', method: 'exec', params: [ 'command', 'params' ] }) };
	const builtin = { baseclass: Base, dom, fs, poll, request, rpc, uci, ui, view: View };

	window.standin = { Base, builtin, dom, uci, ui };
})();
