/* The pictures of docs/luci.md: `make pictures-luci LUCI=DIRECTORY`. The daemon behind the socket is a stand-in. */
import fs from 'node:fs';
import path from 'node:path';
import { launch, Person } from './browser.mjs';
import { luci, Router } from './router.mjs';

if (luci == null)
	throw new Error('these pictures are of LuCI itself: LUCI=DIRECTORY');

const docs = path.resolve(import.meta.dirname, '../../docs');
const CONFIG = `config globals 'globals'
	option enabled '1'
	list network 'wan'
	list network 'wan6'
	option page 'https://home.example.org/knock.html'

config door 'ssh'
	list sequence '41877'
	list sequence '9214:udp'
	list sequence '22840'
	list sequence '60117:udp'
	option proto 'tcp'
	option dest_port '22'

config door 'nas'
	option src_dport '8443'
	option dest_ip '192.168.1.10'
	option dest_port '443'
	option proto 'tcp'
	option open_time '600'
	option close 'session'

config user 'alice'
	option totp 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'
	list door 'ssh'
	list door 'nas'

config user 'bob'
	option key 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='
	list door 'ssh'
	option expires '2026-01-31'
`;
const RUNNING = [
	'daemon {"version":"0.1.0","uptime_seconds":93660,"config":"/etc/config/ketuk","backend":"fw4","table":"inet fw4","knocking":0,"commands_pending":false,"clock_trusted":true}',
	'device {"name":"pppoe-wan","state":"listening"}',
	'door {"name":"ssh","steps":4,"open_time":30,"open":1,"firewall":"ready"}',
	'door {"name":"nas","steps":0,"open_time":600,"open":1,"firewall":"ready"}',
	'grant {"door":"ssh","address":"203.0.113.77","seconds_left":27,"in_firewall":true,"sessions":1}',
	'grant {"door":"nas","address":"2001:db8:51::7","user":"alice","seconds_left":null,"held":true,"in_firewall":true,"sessions":2}',
	'recent {"door":"ssh","address":"203.0.113.77","port":"60117:udp","stage":4,"steps":4,"reason":"opened","text":"right: the door is open","failed":false,"times":1,"seconds_ago":3}',
	'recent {"door":"ssh","address":"198.51.100.23","port":"41878:tcp","stage":1,"steps":4,"reason":"trap","text":"a second foreign port, as in a scan: begin again","failed":true,"times":14,"seconds_ago":65}',
	'recent {"door":null,"user":"bob","address":"198.51.100.40","port":"62201:udp","stage":0,"steps":0,"reason":"auth_expired","text":"not opened: the user has expired","failed":true,"times":1,"seconds_ago":420}',
	...[ [ 'opened', 12 ], [ 'wrong_step', 3 ], [ 'trap', 211 ], [ 'timed_out', 5 ], [ 'open_rate', 0 ], [ 'firewall_error', 0 ], [ 'socket_drops', 0 ] ]
		.map(([ name, value ]) => `counter {"name":"${name}","value":${value}}`),
	'user {"name":"alice","seen_seconds_ago":130}'
];
/* The doctor's answer on that router. It is a stand-in, because the real doctor would look at this machine. */
const POINTS = [ 'configuration', 'rights', 'daemon', 'devices', 'addresses', 'services', 'traps', 'open_ports', 'firewall', 'hosts', 'clock', 'knocks' ]
	.map(point => ({ point, state: 'fine', text: '', advice: '' }));
Object.assign(POINTS.find(({ point }) => point == 'hosts'), { state: 'wrong',
	text: "door 'nas': 192.168.1.10 is there, and no program listens at its TCP port 443", advice: 'start the service there, or correct dest_port' });
const DESKTOP = { viewport: { width: 1100, height: 900 } };
const PHONE = { viewport: { width: 390, height: 844 }, screen: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

const browser = await launch();

/* Shows a page, does something with it, and makes the picture `name` of the screen, of the whole page, or of a part. */
async function picture(name, view, size, { dark = false, whole = true, part = null, config = CONFIG, daemon = RUNNING } = {}, act = async () => {}) {
	const router = await new Router().listen();
	router.address = '192.168.1.23';
	const ketuk = router.ketuk;
	router.ketuk = (method, args) => method == 'doctor' ? [ 0, { ok: true, wrong: true, points: POINTS } ] : ketuk.call(router, method, args);
	router.write(config);
	router.daemon(daemon);
	const context = await browser.newContext(size);
	const person = new Person(await context.newPage(), router);
	await person.goto(`ketuk/${view}${dark ? '?dark' : ''}`);
	await act(person);
	/* In this test the file has another path. */
	await person.page.evaluate(config => {
		const texts = document.createTreeWalker(document.body, window.NodeFilter.SHOW_TEXT);
		while (texts.nextNode())
			texts.currentNode.nodeValue = texts.currentNode.nodeValue.replaceAll(config, '/etc/config/ketuk');
	}, router.config);
	/* A dialog fades in. */
	fs.writeFileSync(path.join(docs, `luci-${name}.png`), await (part ? person.page.locator(part) : person.page).screenshot({ fullPage: whole && !part, animations: 'disabled' }));
	await context.close();
	router.close();
}

const invite = async person => {
	await person.page.locator('button[data-user="alice"]').click();
	await person.modal().locator('#ketuk-host').fill('home.example.org');
	await person.modal().locator('.cbi-button-positive').click();
	await person.page.locator('#ketuk-qr svg').waitFor();
};

const look = async person => {
	await person.page.locator('#ketuk-doctor').click();
	await person.page.locator('#ketuk-points').waitFor();
};

await picture('status-desktop-light', 'status', DESKTOP);
await picture('status-phone-dark', 'status', PHONE, { dark: true });
await picture('doctor-desktop-light', 'status', DESKTOP, { part: '.cbi-section:has(#ketuk-doctor)' }, look);
await picture('doors-desktop-dark', 'doors', DESKTOP, { dark: true, whole: false });
await picture('door-phone-light', 'doors', PHONE, { whole: false }, person => person.edit('ssh'));
await picture('users-phone-light', 'users', PHONE, { whole: false });
await picture('invitation-desktop-dark', 'users', DESKTOP, { dark: true, whole: false }, invite);
await picture('banners-phone-dark', 'status', PHONE, { dark: true, config: CONFIG.replace("option dest_port '22'", "option dest_prot '22'"), daemon: null });
await browser.close();
