/*
 * A stand-in for the router: it serves the pages, and answers LuCI's calls. Its ketukd is real: every
 * call of the object `ketuk` goes to `ketukd rpcd call`, as with rpcd. The rest (sessions, UCI with its
 * unsaved changes, known hosts, networks) is imitated.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, '../..');
const app = path.join(root, 'openwrt/luci-app-ketuk');

/* A checkout of LuCI, instead of the stand-in for its modules. */
export const luci = process.env.LUCI || null;
export const ketukd = process.env.KETUKD || path.join(root, 'target/debug/ketukd');

/* Reads the UCI that these tests write. Each value is one word or one quoted string. */
function parse(text) {
	const sections = [];
	const value = word => word.replace(/'\\''/g, '\0').replace(/^'|'$/gs, '').replace(/\0/g, "'");

	for (const line of text.match(/(?:'[^']*'|\\'|[^\n'])+/g) ?? []) {
		const [ , keyword, name, rest ] = line.match(/^\s*(config|option|list)\s+(\S+)\s*(.*)$/s) ?? [];

		if (keyword == 'config')
			sections.push({ '.type': name, '.name': rest ? value(rest) : `cfg${sections.length}`, '.anonymous': !rest });
		else if (keyword == 'option')
			sections.at(-1)[name] = value(rest);
		else if (keyword == 'list')
			(sections.at(-1)[name] ??= []).push(value(rest));
	}

	return sections;
}

function print(sections) {
	const quoted = value => `'${String(value).replace(/'/g, "'\\''")}'`;

	return sections.map(section => `config ${section['.type']}${section['.anonymous'] ? '' : ' ' + quoted(section['.name'])}\n` +
		Object.entries(section).filter(([ name ]) => name[0] != '.').map(([ name, value ]) => Array.isArray(value)
			? value.map(item => `\tlist ${name} ${quoted(item)}\n`).join('')
			: `\toption ${name} ${quoted(value)}\n`).join('')).join('\n');
}

/* Runs ketukd. Returns its exit code and its output. */
export function run(args, input = '') {
	return new Promise((resolve, reject) => {
		const child = spawn(ketukd, args, { stdio: [ 'pipe', 'pipe', 'pipe' ] });
		let output = '', errors = '';

		child.stdout.on('data', data => { output += data; });
		child.stderr.on('data', data => { errors += data; });
		child.stdin.on('error', () => {});
		child.on('error', reject);
		child.on('close', code => resolve({ code, output, errors }));
		child.stdin.end(input);
	});
}

export class Router {
	constructor() {
		this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'ketuk-luci-'));
		this.config = path.join(this.dir, 'ketuk');
		this.socket = path.join(this.dir, 'ketuk.sock');
		this.calls = [];
		this.requests = [];
		this.fail = {};
		this.readonly = false;
		this.networks = [ 'lan', 'wan', 'wan6' ];
		this.pollinterval = 1;
		this.address = '127.0.0.1';
	}

	/* The saved file, and the session's changes since then. */
	write(text) {
		fs.writeFileSync(this.config, text);
		this.staged = null;
	}

	get saved() {
		return fs.readFileSync(this.config, 'utf8');
	}

	/* A stand-in for the daemon behind the socket. It answers with these lines; null means no daemon. */
	daemon(lines) {
		this.lines = lines;
		if (lines == null) {
			this.server?.close();
			this.server = null;
			fs.rmSync(this.socket, { force: true });
		} else if (!this.server) {
			this.server = net.createServer(client => {
				client.on('error', () => {});
				client.once('data', data => {
					const request = JSON.parse(data);
					if (request.request != 'status')
						this.requests.push(request);
					client.end(request.request == 'status' ? (this.lines ?? []).join('\n') + '\nok null\n' : this.refusal ?? 'ok null\n');
				});
			}).listen(this.socket);
		}
	}

	async ketuk(method, args) {
		const input = JSON.stringify(Object.assign({ ubus_rpc_session: '0'.repeat(32) }, args));
		const { code, output } = await run([ 'rpcd', 'call', method, '--config', this.config, '--socket', this.socket ], input);

		return code == 0 ? [ 0, JSON.parse(output) ] : [ 2 ];
	}

	uci(method, args = {}) {
		const sections = this.staged ??= parse(this.saved);
		const find = () => sections.find(section => section['.name'] == args.section);

		if (args.config != 'ketuk' && method != 'apply' && method != 'changes')
			return method == 'get' ? [ 0, { values: {} } ] : [ 6 ];

		switch (method) {
		case 'get':
			return [ 0, { values: Object.fromEntries(sections.map((section, n) => [ section['.name'], Object.assign({ '.index': n }, section) ])) } ];
		case 'add':
			args.section = args.name;
			if (!find())
				sections.push({ '.type': args.type, '.name': args.name, '.anonymous': false });
			Object.assign(find(), args.values ?? {});
			return [ 0, { section: args.name } ];
		case 'set':
			Object.assign(find(), args.values);
			return [ 0 ];
		case 'delete':
			if (args.options)
				args.options.forEach(name => delete find()[name]);
			else if (args.option)
				delete find()[args.option];
			else
				sections.splice(sections.indexOf(find()), 1);
			return [ 0 ];
		case 'order':
			sections.sort((a, b) => args.sections.indexOf(a['.name']) - args.sections.indexOf(b['.name']));
			return [ 0 ];
		case 'changes':
			return [ 0, { changes: print(sections) == print(parse(this.saved)) ? {} : { ketuk: [ [ 'set' ] ] } } ];
		case 'apply':
			this.write(print(sections));
			this.applied = (this.applied ?? 0) + 1;
			return [ 0 ];
		default:
			return [ 0 ];
		}
	}

	/* The calls of ubus that come through uhttpd. */
	async call([ , object, method, args ]) {
		this.calls.push(`${object}.${method}`);

		if (this.fail[`${object}.${method}`])
			return [ this.fail[`${object}.${method}`] ];

		switch (object) {
		case 'ketuk':
			return this.ketuk(method, args);
		case 'uci':
			return this.uci(method, args);
		case 'session':
			return [ 0, { access: true } ];
		case 'file':
			if (method != 'exec')
				return [ 0, {} ];
			(this.executed ??= []).push([ args.command, ...args.params ]);
			return [ 0, { code: 0 } ];
		case 'luci-rpc':
			return [ 0, method == 'getHostHints' ? {
				'02:00:00:00:00:10': { name: 'nas', ipaddrs: [ '192.168.1.10' ], ip6addrs: [ 'fe80::1', 'fd00::10' ] },
				'02:00:00:00:00:11': { ipaddrs: [ '192.168.1.11' ] }
			} : {} ];
		case 'network.interface':
			return [ 0, { interface: this.networks.map(name => ({ interface: name, up: true, device: `eth-${name}`, l3_device: `eth-${name}`, proto: 'dhcp', data: {}, 'ipv4-address': [], 'ipv6-address': [] })) } ];
		default:
			return [ 0, {} ];
		}
	}

	page(view, dark) {
		const standin = [ 'standin.js', 'standin-form.js' ].map(name => `<script src="/${name}"></script>`).join('\n');
		const env = {
			media: '/luci-static/bootstrap', resource: '/luci-static/resources', scriptname: '/cgi-bin/luci', ubuspath: '/ubus/',
			pathinfo: `/admin/services/${view}`, requestpath: [ 'admin', 'services', ...view.split('/') ], dispatchpath: [ 'admin', 'services', ...view.split('/') ],
			pollinterval: this.pollinterval, sessionid: '0'.repeat(32), token: 'token', nodespec: { readonly: this.readonly, satisfied: true, action: {} },
			apply_rollback: 90, apply_holdoff: 1, apply_timeout: 5, apply_display: 0.1
		};
		const widget = view == 'overview' && luci == null;
		const start = luci
			? `<script src="/luci-static/resources/cbi.js"></script><script src="/luci-static/resources/luci.js"></script>
				<script>L = new LuCI(${JSON.stringify(env)});
				${view == 'overview' ? 'window.widget("view.status.include.75_ketuk")' : `L.require('ui').then(ui => ui.instantiateView('${view.replace('/', '.')}'))`};
				L.require('menu-bootstrap');</script>`
			: `${standin}<script>Object.assign(L.env, ${JSON.stringify({ readonly: this.readonly, networks: this.networks, pollinterval: this.pollinterval })});
				${widget ? 'window.widget("view.status.include.75_ketuk")' : `L.require('view.${view.replace('/', '.')}').then(view => view.show())`};</script>`;

		return `<!DOCTYPE html><html lang="en" data-darkmode="${!!dark}"><head><meta charset="utf-8"><title>ketuk</title>
			<meta name="viewport" content="width=device-width, initial-scale=1">
			<link rel="stylesheet" href="/luci-static/bootstrap/cascade.css">
			<link rel="stylesheet" media="only screen and (max-device-width: 854px)" href="/luci-static/bootstrap/mobile.css">
			<script>window.widget = name => L.require(name).then(async module => {
				document.querySelector('#view').replaceChildren(module.render(await module.load()) ?? '');
				document.querySelector('#view').setAttribute('data-ready', module.title);
			});</script></head>
			<body class="lang_en" data-page="admin-services-ketuk"><header><a class="brand" href="/">${luci ? 'router' : 'stand-in for LuCI'}</a><ul class="nav" id="topmenu"></ul><div id="indicators" class="pull-right"></div></header>
			<div id="maincontent" class="container"><div id="tabmenu"></div><div id="view"></div></div><footer><ul class="breadcrumb pull-right" id="modemenu"></ul></footer>${start}</body></html>`;
	}

	async serve(request, response) {
		const url = new URL(request.url, 'http://router');
		const reply = (type, body, code = 200) => response.writeHead(code, { 'Content-Type': type }).end(body);

		if (request.method == 'POST') {
			let body = '';
			for await (const piece of request)
				body += piece;
			if (url.pathname.startsWith('/cgi-bin/luci/admin/uci/apply')) {
				this.uci('apply');
				return reply('application/json', '{"token":"token"}');
			}
			if (!url.pathname.startsWith('/ubus'))
				return reply('application/json', '{}');
			const calls = [].concat(JSON.parse(body));
			const replies = await Promise.all(calls.map(async ({ id, method, params }) => ({
				jsonrpc: '2.0', id, result: method == 'list' ? {} : await this.call(params)
			})));
			return reply('application/json', JSON.stringify(Array.isArray(JSON.parse(body)) ? replies : replies[0]));
		}

		if (url.pathname == '/cgi-bin/luci/admin/services/ketuk/address')
			return this.noAddress ? reply('text/html', 'no such page', 404) : reply('application/json', JSON.stringify({ address: this.address }));
		if (url.pathname == '/cgi-bin/luci/admin/menu')
			return reply('application/json', JSON.stringify(this.menu()));
		if (url.pathname.startsWith('/page/'))
			return reply('text/html', this.page(url.pathname.slice(6), url.searchParams.has('dark')));
		if (url.pathname == '/uqr.js' || url.pathname == '/luci-static/resources/uqr.js' && luci == null)
			return this.noPicture ? reply('text/html', '', 404) : reply('text/javascript', uqr);

		const places = luci
			? [ 'modules/luci-base/htdocs', 'themes/luci-theme-bootstrap/htdocs', 'libs/luci-lib-uqr/htdocs', 'modules/luci-mod-status/htdocs' ].map(name => path.join(luci, name))
			: [];
		const file = [ path.join(app, 'htdocs'), ...places, here ].map(place => path.join(place, path.normalize(url.pathname)))
			.find(name => fs.existsSync(name) && fs.statSync(name).isFile());
		const type = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml', png: 'image/png' }[url.pathname.split('.').pop()];

		return file ? reply(type ?? 'text/plain', fs.readFileSync(file)) : reply('text/plain', 'no such file', 404);
	}

	/* The menu that LuCI makes from menu.d. */
	menu() {
		const tree = { children: { admin: { title: 'Administration', satisfied: true, action: { type: 'firstchild', recurse: true }, children: {} } } };

		tree.children.admin.children.services = { title: 'Services', order: 40, satisfied: true, action: { type: 'firstchild', recurse: true }, children: {} };
		for (const [ name, node ] of Object.entries(JSON.parse(fs.readFileSync(path.join(app, 'root/usr/share/luci/menu.d/luci-app-ketuk.json')))))
			name.split('/').reduce((above, key) => (above.children ??= {})[key] ??= Object.assign({ satisfied: true }, node), tree);

		return tree;
	}

	listen() {
		this.http = http.createServer((request, response) => this.serve(request, response).catch(error => response.writeHead(500).end(String(error))));

		return new Promise(resolve => this.http.listen(0, '127.0.0.1', () => {
			this.url = `http://127.0.0.1:${this.http.address().port}`;
			resolve(this);
		}));
	}

	close() {
		this.daemon(null);
		this.http.closeAllConnections();
		this.http.close();
		fs.rmSync(this.dir, { recursive: true, force: true });
	}
}

/* The library from which LuCI's module of this name is made. The picture has a size, as in OpenWrt 24.10. */
const uqr = `
'require baseclass';
${fs.readFileSync(path.join(here, 'node_modules/uqr/dist/index.mjs'), 'utf8').replace(/^export .*$/m, '').replace('viewBox="0 0 ${width} ${height}"', 'width="${width}" height="${height}"')}
return baseclass.extend({ renderSVG });
`;
