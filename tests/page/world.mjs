/* A phone and a router in network namespaces, joined by a wire. This process is the phone: it runs in a namespace of
   its own (see run.sh), so that the browser that it starts is on the phone too.

     phone  198.51.100.10, 2001:db8:c::10 ---- wan0  router  203.0.113.1, 2001:db8:1::1 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const PAGE = process.env.KETUK_PAGE ?? path.join(root, 'target/page/knock.html');
const ketukd = process.env.KETUKD ?? path.join(root, 'target/debug/ketukd');

export const ROUTER = { v4: '203.0.113.1', v6: '2001:db8:1::1' };
export const PHONE = { v4: '198.51.100.10', v6: '2001:db8:c::10' };
/* Names of the router, for each set of address families. */
export const NAMES = { v4: 'four.example.org', v6: 'six.example.org', both: 'home.example.org' };
/* The ports that the doors open. */
export const PORT = 8443;

const DOORS = { plain: [ 7000, 8000, 9000 ] };

export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

export async function until(what, done, limit_ms = 20000) {
	const end = Date.now() + limit_ms;

	for (;;) {
		const value = await done();
		if (value)
			return value;
		if (Date.now() > end)
			throw new Error(`not within ${limit_ms} ms: ${what}`);
		await sleep(50);
	}
}

const run = (program, ...words) => execFileSync(program, words, { encoding: 'utf8' });
const ip = text => run('ip', ...text.split(' '));

/* A secret in base 32 for one user. */
function secret(user) {
	return String(user).padStart(3, '0').replace(/\d/g, digit => 'ABCDEFGHIJ'[digit]) + 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3'.padEnd(29, 'A');
}

export class World {
	/* `users` is the number of users. Each has a changing sequence of his own, so that no test waits for the next window. */
	constructor(users) {
		Object.assign(this, { users });
		this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'ketuk-page-'));
		this.socket = path.join(this.dir, 'ketuk.sock');
		ip('link set lo up');
		ip('netns add router');
	}

	/* Connects the line. */
	async plug() {
		this.line = spawn('python3', [ path.join(path.dirname(fileURLToPath(import.meta.url)), 'line.py'), '/proc/self/ns/net', 'eth0', '/run/netns/router', 'wan0' ], { stdio: [ 'pipe', 'pipe', 'inherit' ] });
		await once(this.line.stdout, 'data');
		for (const [ where, words ] of [ [ [], 'eth0' ], [ [ '-n', 'router' ], 'wan0' ] ]) {
			const [ v4, v6 ] = words == 'eth0' ? [ PHONE.v4, PHONE.v6 ] : [ ROUTER.v4, ROUTER.v6 ];
			run('ip', ...where, 'link', 'set', 'lo', 'up');
			run('ip', ...where, 'addr', 'add', `${v4}/24`, 'dev', words);
			run('ip', ...where, 'addr', 'add', `${v6}/64`, 'dev', words, 'nodad');
			run('ip', ...where, 'link', 'set', words, 'up');
		}
		/* Browsers ask for IPv6 addresses only if there is a way to the Internet. */
		ip(`route add ${ROUTER.v4} dev eth0`);
		ip('route add default dev eth0');
		ip('-6 route add default dev eth0');
		run('ip', '-n', 'router', 'route', 'add', 'default', 'dev', 'wan0');
		run('ip', '-n', 'router', '-6', 'route', 'add', 'default', 'dev', 'wan0');
		fs.writeFileSync('/etc/hosts', `127.0.0.1 localhost\n${ROUTER.v4} ${NAMES.v4} ${NAMES.both}\n${ROUTER.v6} ${NAMES.v6} ${NAMES.both}\n`);
	}

	async start() {
		await this.plug();
		const config = path.join(this.dir, 'ketuk.uci');
		const ruleset = path.join(this.dir, 'ruleset.nft');
		let text = `config globals 'globals'\n\toption backend 'nft'\n\toption nft_table 'inet filter'\n\toption trust_clock '1'\n`;

		text += `config door 'web'\n\toption proto 'tcp'\n\toption dest_port '${PORT}'\n\toption open_time '300'\n`;
		text += `config door 'plain'\n\toption proto 'tcp'\n\toption dest_port '${PORT}'\n\toption open_time '300'\n${DOORS.plain.map(port => `\tlist sequence '${port}'\n`).join('')}`;
		for (let user = 0; user < this.users; user++)
			text += `config user 'u${user}'\n\toption totp '${secret(user)}'\n\tlist door 'web'\n`;
		fs.writeFileSync(config, text);
		const rules = run(ketukd, 'ruleset', '--config', config, '--table', 'inet filter', '--zone', 'none');
		fs.writeFileSync(ruleset, `table inet filter {
			chain refuse { }
			chain input {
				type filter hook input priority filter; policy drop;
				meta l4proto icmpv6 accept
				ct state established,related accept
			}
		}
		${rules}
		add rule inet filter input jump refuse
		`);
		fs.chmodSync(config, 0o600);
		run('ip', 'netns', 'exec', 'router', 'nft', '-f', ruleset);
		this.children = [
			spawn('ip', [ 'netns', 'exec', 'router', ketukd, 'run', '--config', config, '--socket', this.socket, '--device', 'wan0' ], { stdio: [ 'ignore', 'ignore', fs.openSync(path.join(this.dir, 'log'), 'w') ] }),
			spawn('ip', [ 'netns', 'exec', 'router', process.execPath, '-e', `require('net').createServer(c => c.end('inside')).listen(${PORT}, '::')` ], { stdio: 'inherit' })
		];
		await until('ketukd listens', () => {
			try {
				return this.status();
			} catch {
				return false;
			}
		});
		/* A window that began before the daemon's start opens nothing. */
		const window_ms = 30000, begun = Date.now();
		await sleep((Math.floor(begun / window_ms) + 1) * window_ms - begun + 100);
		return this;
	}

	/* Whether the router's firewall drops or rejects packets to shut ports. */
	firewall(kind) {
		const rules = kind == 'drop' ? '' : 'add rule inet filter refuse meta l4proto tcp reject with tcp reset';

		execFileSync('ip', [ 'netns', 'exec', 'router', 'nft', '-f', '-' ], { input: `flush chain inet filter refuse\n${rules}\n` });
	}

	get log() {
		return fs.readFileSync(path.join(this.dir, 'log'), 'utf8');
	}

	status() {
		return JSON.parse(execFileSync(ketukd, [ 'status', '--json', '--socket', this.socket ], { encoding: 'utf8', stdio: [ 'ignore', 'pipe', 'ignore' ] }));
	}

	/* The families that a door is open for. */
	open(door) {
		const grants = this.status().grants.filter(grant => grant.door == door && grant.in_firewall);

		return Object.keys(PHONE).filter(family => grants.some(({ address }) => address == PHONE[family]));
	}

	close(door) {
		execFileSync(ketukd, [ 'close', door, '--socket', this.socket ], { stdio: 'ignore' });
	}

	/* The greeting of the service behind the door, or null if the door is shut. */
	reach(address) {
		return new Promise(resolve => {
			const socket = net.connect(PORT, address);
			socket.setTimeout(1000, () => socket.destroy());
			socket.on('data', data => resolve(String(data)));
			socket.on('error', () => {});
			socket.on('close', () => resolve(null));
		});
	}

	profile(user, family, door = 'web') {
		return door == 'plain'
			? `ketuk://${NAMES[family]}/plain:${PORT}?sequence=${DOORS.plain}`
			: `ketuk://u${user}@${NAMES[family]}/web:${PORT}?totp=${secret(user)}`;
	}

	/* A bad line: the delay there and back is `delay_ms`, and this share of the packets gets lost each way. 0, 0 is a good line. */
	async spoil(delay_ms, loss_percent) {
		this.line.stdin.write(`${delay_ms} ${loss_percent}\n`);
		await once(this.line.stdout, 'data');
	}

	stop() {
		for (const child of [ this.line, ...this.children ?? [] ])
			child?.kill('SIGKILL');
		ip('netns del router');
		fs.rmSync(this.dir, { recursive: true, force: true });
	}
}
