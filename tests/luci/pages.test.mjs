/* The pages, used as a person uses them. The real `ketukd check` checks the files that they save. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { launch, Person, what } from './browser.mjs';
import { luci, Router, run } from './router.mjs';

const DOOR = `config globals 'globals'
	option enabled '1'
	list network 'wan'
	list network 'wan6'

config door 'ssh'
	list sequence '7000'
	list sequence '8000:udp'
	option proto 'tcp'
	option dest_port '22'
	option open_time '30'
`;

const RUNNING = [
	'daemon {"version":"1.2.3","uptime_seconds":3700,"config":"/etc/config/ketuk","backend":"fw4","table":"inet fw4","knocking":0,"commands_pending":false}',
	'device {"name":"pppoe-wan","state":"listening"}',
	'door {"name":"ssh","steps":2,"open_time":30,"open":1,"firewall":"ready"}',
	'door {"name":"nas","steps":3,"open_time":null,"open":1,"firewall":"ready"}',
	'grant {"door":"ssh","address":"192.0.2.7","seconds_left":25,"in_firewall":true}',
	'grant {"door":"nas","address":"2001:db8::7","seconds_left":null,"in_firewall":true}',
	'recent {"door":"ssh","address":"198.51.100.9","port":"7001:tcp","stage":1,"steps":2,"reason":"trap","text":"a second foreign port, as in a scan: begin again","failed":true,"times":3,"seconds_ago":65}',
	'recent {"door":null,"user":"alice","address":"198.51.100.10","port":"62201:udp","stage":0,"steps":0,"reason":"auth_age","text":"not opened: its time is too far from this host\'s: are both clocks right?","failed":true,"times":1,"seconds_ago":90}',
	'recent {"door":"ssh","address":"198.51.100.8","port":null,"stage":1,"steps":2,"reason":"timed_out","text":"step 2 of 2 is 8000/udp, and did not come in time","failed":true,"times":1,"seconds_ago":70}',
	'counter {"name":"opened","value":4}',
	'counter {"name":"trap","value":17}',
	'counter {"name":"not_ours","value":9}'
];

let browser, router, context, person;

before(async () => {
	console.log(`# tried with: ${what}; ketukd is real`);
	browser = await launch();
});

after(() => browser.close());

beforeEach(async () => {
	router = await new Router().listen();
	router.write(DOOR);
	router.daemon(RUNNING);
	context = await browser.newContext();
	person = new Person(await context.newPage(), router);
});

afterEach(async () => {
	await context.close();
	router.close();
	/* If a page was not saved, LuCI leaves a rejected promise that nothing catches. */
	const others = person.errors.filter(error => !person.refused.some(text => error.message.includes(text)));
	assert.deepEqual(others, [], 'no script failed');
});

/* The daemon's answer about the file on the router. */
async function checked() {
	const { code, errors } = await run([ 'check', '--config', router.config ]);
	assert.equal(code, 0, `${errors}\n${router.saved}`);
	return router.saved;
}

test('status: who is in, counting down, and why others are not', async () => {
	router.pollinterval = 60;
	await person.goto('ketuk/status');
	const rows = await person.page.locator('#ketuk-open tr').evaluateAll(trs => trs.map(tr => Array.from(tr.children, td => td.innerText)));
	assert.deepEqual(rows[0].slice(0, 3), [ 'Door', 'Address', 'Time left' ]);
	assert.deepEqual(rows[2].slice(0, 3), [ 'nas', '2001:db8::7', 'until it is shut' ]);
	assert.deepEqual(rows[1].slice(0, 2), [ 'ssh', '192.0.2.7' ]);
	/* The daemon said 25 once. A smaller number shows that the page counts down. */
	await person.until(async () => /^2[1-4] s$/.test((await person.texts('.ketuk-left'))[0]));

	const recent = await person.texts('#ketuk-recent tr');
	assert.match(recent[1], /1 min 5 s ago.*198\.51\.100\.9.*ssh.*7001:tcp \(1\/2\)\s+a second foreign port, as in a scan: begin again \(3×\)/s);
	assert.match(recent[2], /198\.51\.100\.10 \(alice\)\s+-\s+62201:udp\s+not opened: its time is too far from this host's: are both clocks right\?/s);
	assert.match(recent[3], /198\.51\.100\.8.*- \(1\/2\)\s+step 2 of 2 is 8000\/udp, and did not come in time/s);

	const counters = (await person.texts('#ketuk-counters tr')).join('\n');
	assert.match(counters, /Version\s+1\.2\.3/);
	assert.match(counters, /Running for\s+1 h 1 min/);
	assert.match(counters, /Scans caught\s+17/);
	assert.equal(await person.page.locator('.alert-message.danger').count(), 0);
});

test('status: a sentence of the daemon in Indonesian, or its own words', { skip: luci != null && 'LuCI takes translations from the router' }, async () => {
	const po = fs.readFileSync(new URL('../../openwrt/luci-app-ketuk/po/id/ketuk.po', import.meta.url), 'utf8');
	const translations = Object.fromEntries([ ...po.matchAll(/^msgid (".*")\nmsgstr (".*")$/gm) ].map(([ , id, text ]) => [ JSON.parse(id), JSON.parse(text) ]));
	const recent = (reason, text) => `recent ${JSON.stringify({ door: 'ssh', address: '198.51.100.9', port: '9000:tcp', stage: 1, steps: 3, reason, text, failed: true, times: 1, seconds_ago: 5 })}`;

	await context.addInitScript(translations => { window.translations = translations; }, translations);
	router.daemon([ ...RUNNING.filter(line => !line.startsWith('recent')),
		recent('wrong_step', 'step 2 of 3 is 8000/udp, 9000/tcp came: begin again'),
		recent('auth_ports', 'not opened: it asks for more than 8 ports, or for others than TCP and UDP'),
		recent('wrong_step', 'a newer daemon says it otherwise'),
		recent('later', 'not known here') ]);
	await person.goto('ketuk/status');
	const rows = await person.page.locator('#ketuk-recent tr').evaluateAll(trs => trs.map(tr => tr.lastElementChild.innerText));
	assert.deepEqual(rows.slice(1), [
		'langkah 2 dari 3 adalah 8000/udp, yang datang 9000/tcp: mulai lagi',
		'tidak dibuka: meminta lebih dari 8 port, atau selain TCP dan UDP',
		'a newer daemon says it otherwise',
		'not known here'
	]);

	await person.page.locator('#ketuk-doctor').click();
	await person.until(async () => (await person.texts('#ketuk-points tr')).length > 10);
	const points = (await person.texts('#ketuk-points tr')).join('\n');
	assert.match(points, /tidak ada perangkat 'pppoe-wan': 'ip link' menampilkan daftar perangkat; daemon mendengarkan begitu perangkat itu ada/);
	assert.match(points, /yang berjalan versi 1\.2\.3, yang terpasang versi \d[^:]*: mulai ulang/);
	assert.match(points, /memuat urutan pintu, dan orang lain boleh membacanya: chmod 600/, 'a value is translated too');
});

test('status: what may be wrong is looked for, and said', async () => {
	await person.goto('ketuk/status');
	assert.equal(await person.page.locator('#ketuk-points').count(), 0, 'nothing is looked for before the button is pressed');
	await person.page.locator('#ketuk-doctor').click();
	await person.until(async () => (await person.texts('#ketuk-points tr')).length > 10);
	const rows = (await person.texts('#ketuk-points tr')).join('\n');
	/* The stand-in's version is not the program's version, and its file is another one. */
	assert.match(rows, /Service\s+version 1\.2\.3 runs, and .* is installed: restart it/);
	assert.match(rows, /Devices\s+there is no device 'pppoe-wan'/);
	assert.match(rows, /Hosts behind the router\s+fine/);
	const states = await person.page.locator('#ketuk-points span').evaluateAll(spans => spans.map(span => span.getAttribute('data-state')));
	assert.ok(states.every(state => [ 'fine', 'wrong', 'not_known' ].includes(state)), states.join());

	router.write(DOOR.replace('dest_port', 'dest_prot'));
	await person.page.locator('#ketuk-doctor').click();
	await person.until(async () => /Configuration\s+.*:10:\d+: unknown option 'dest_prot'/s.test((await person.texts('#ketuk-points tr')).join('\n')));
});

test('status: shut a door', async () => {
	await person.goto('ketuk/status');
	await person.page.locator('button[data-address="2001:db8::7"]').click();
	await person.until(() => router.requests.length == 1);
	assert.deepEqual(router.requests, [ { request: 'close', door: 'nas', address: '2001:db8::7' } ]);
});

test('status: open a door for the browser’s address, or for another', async () => {
	await person.goto('ketuk/status');
	assert.equal(await person.page.locator('#ketuk-address').inputValue(), '127.0.0.1');
	await person.page.locator('#ketuk-door').selectOption('nas');
	await person.page.locator('#ketuk-open-button').click();
	await person.until(() => router.requests.length == 1);
	await person.page.locator('#ketuk-address').fill('2001:DB8::8');
	await person.page.locator('#ketuk-seconds').fill('90');
	await person.page.locator('#ketuk-open-button').click();
	await person.until(() => router.requests.length == 2);
	assert.deepEqual(router.requests, [
		{ request: 'open', door: 'nas', address: '127.0.0.1' },
		{ request: 'open', door: 'nas', address: '2001:db8::8', seconds: 90 }
	]);
	assert.equal(await person.page.locator('#ketuk-door').inputValue(), 'nas', 'a poll leaves the choice alone');
});

test('status: what is refused is said, as text', async () => {
	router.noAddress = true;
	await person.goto('ketuk/status');
	const say = text => person.page.locator('#maincontent > .alert-message', { hasText: text }).first().waitFor();
	assert.equal(await person.page.locator('#ketuk-address').inputValue(), '');
	await person.page.locator('#ketuk-open-button').click();
	await say('Name a door and an address');
	await person.page.locator('#ketuk-address').fill('<img src=x onerror=document.title=1>');
	await person.page.locator('#ketuk-open-button').click();
	await say("'<img src=x onerror=document.title=1>' is no address");
	await person.page.locator('#ketuk-address').fill('192.0.2.1');
	await person.page.locator('#ketuk-seconds').fill('soon');
	await person.page.locator('#ketuk-open-button').click();
	await say('Write a number of seconds');
	await person.page.locator('#ketuk-seconds').fill('');
	router.refusal = 'error {"code":1,"message":"too many doors were opened just now"}\n';
	await person.page.locator('#ketuk-open-button').click();
	await say('too many doors were opened just now');
	assert.deepEqual(router.requests, [ { request: 'open', door: 'ssh', address: '192.0.2.1' } ]);
	assert.notEqual(await person.page.title(), '1');
});

test('status: banners', async () => {
	const banners = async () => {
		await person.goto('ketuk/status');
		return (await person.texts('#view .alert-message')).join('\n');
	};
	assert.equal((await banners()).trim(), '');

	router.daemon(RUNNING.map(line => line.replace('"name":"ssh","steps":2,"open_time":30,"open":1,"firewall":"ready"', '"name":"ssh","steps":2,"open_time":30,"open":1,"firewall":"missing"').replace('listening', 'waiting')));
	let text = await banners();
	assert.match(text, /The firewall lacks the sets of these doors, so they do not open: ssh\./);
	assert.match(text, /These devices are down, so no knock is heard there: pppoe-wan\./);
	router.daemon(RUNNING.map(line => line.replace('listening', 'refused')));
	assert.match(await banners(), /The kernel refuses the packet filter of these devices, so new knocks may not be heard there: pppoe-wan\./);

	router.daemon(RUNNING.map(line => line.replace('"open":1,"firewall":"ready"', '"open":1,"firewall":"ready","warning":"door \'ssh\': tcp port 22 can be reached"')));
	text = await banners();
	assert.match(text, /The firewall does not do what these doors promise: ssh, nas\./);
	assert.match(text, /door 'ssh': tcp port 22 can be reached/);

	router.write(DOOR.replace('dest_port', 'dest_prot'));
	router.daemon(RUNNING);
	text = await banners();
	assert.match(text, /The configuration has an error\. The daemon goes on with the previous one\./);
	assert.match(text, /did you mean 'dest_port'\?/);

	router.write('config door <img/src=x/onerror=document.title=1>\n');
	assert.match(await banners(), /<img\/src=x/);
	assert.notEqual(await person.page.title(), '1');

	router.write(DOOR);
	router.daemon(null);
	assert.match(await banners(), /The service is not running: no knock is heard\.\s+no daemon answers at[^]*Start it/);
	await person.page.locator('#view .alert-message button').click();
	await person.until(() => router.executed?.length == 1, 'started');
	assert.deepEqual(router.executed, [ [ '/etc/init.d/ketuk', 'restart' ] ]);
	router.write(DOOR.replace("enabled '1'", "enabled '0'"));
	assert.match(await banners(), /The service is switched off/);
	router.write(DOOR.replace('dest_port', 'dest_prot'));
	assert.match(await banners(), /so the service does not start/);

	router.fail['ketuk.status'] = 6;
	assert.match(await banners(), /The router gives no answer about the service/);
});

test('status: a port of a bridge hears nothing', async () => {
	router.daemon(RUNNING.map(line => line.replace('"state":"listening"', '"state":"port","text":"is a port of bridge br0, which takes its packets: listen on br0"')));
	await person.goto('ketuk/status');
	const said = await person.page.locator('#view').innerText();
	assert.match(said, /These devices are ports of others, so no knock is heard there: \S+\./);
	assert.match(said, /is a port of bridge br0, which takes its packets: listen on br0/);
});

test('status: a clock that nobody has set', async () => {
	for (const [ trusted, banner ] of [ [ null, null ], [ false, '.danger' ], [ true, null ] ]) {
		router.daemon(RUNNING.map(line => line.replace('"commands_pending":false', `"commands_pending":false,"clock_trusted":${trusted}`)));
		await person.goto('ketuk/status');
		assert.equal(await person.page.locator('#view .alert-message').count(), banner ? 1 : 0);
		if (banner)
			assert.match(await person.page.locator(`#view ${banner}`).innerText(), /The clock is not set: users’ knocks are refused/);
	}
});

test('every page: a file that cannot be read is shown with its place', async () => {
	router.write(DOOR.replace('config door', 'config dor'));
	/* The answer of rpcd's UCI in this case. */
	router.fail['uci.get'] = 9;
	for (const name of [ 'status', 'doors', 'users' ]) {
		await person.goto(`ketuk/${name}`);
		assert.match((await person.texts('#view .alert-message')).join(), /The configuration has an error[^]*unknown section type 'dor'/, name);
	}
	assert.match(await person.page.locator('#view').innerText(), /nothing to change here/);
	assert.equal(await person.page.locator('.cbi-page-actions button').count(), 0);
});

test('status: a service that is off is switched on', async () => {
	router.write(DOOR.replace("enabled '1'", "enabled '0'"));
	router.daemon(null);
	await person.goto('ketuk/status');
	assert.ok(await person.page.locator('#ketuk-open-button').isDisabled());
	await person.page.locator('#view .alert-message button').click();
	await person.until(() => router.saved.includes("option enabled '1'"), 'switched on');
	router.readonly = true;
	router.write(DOOR.replace("enabled '1'", "enabled '0'"));
	await person.goto('ketuk/status');
	assert.equal(await person.page.locator('#view .alert-message button').count(), 0);
});

test('doors: networks that the account may not see are not lost', async () => {
	router.networks = [];
	await person.goto('ketuk/doors');
	await person.check('globals', 'trust_clock', true);
	await person.saveAndApply();
	assert.match(await checked(), /list network 'wan'/);
	assert.deepEqual(await person.items('globals', 'network'), [ 'wan', 'wan6' ]);
});

test('status: a page that is not shown does not ask', async () => {
	await person.goto('ketuk/status');
	const asked = () => router.calls.filter(call => call == 'ketuk.status').length;
	await person.until(() => asked() >= 3, 'polls');
	await person.page.evaluate(() => Object.defineProperty(document, 'hidden', { value: true, configurable: true }));
	/* One call may be under way. */
	await new Promise(resolve => setTimeout(resolve, 500));
	const before = asked();
	await new Promise(resolve => setTimeout(resolve, 2500));
	assert.equal(asked(), before);
	await person.page.evaluate(() => {
		delete document.hidden;
		document.dispatchEvent(new Event('visibilitychange'));
	});
	await person.until(() => asked() > before, 'a poll when it is shown again');
});

test('who may only look gets no buttons that change anything', async () => {
	router.readonly = true;
	await person.goto('ketuk/status');
	for (const button of await person.page.locator('#view button:not(#ketuk-doctor)').all())
		assert.ok(await button.isDisabled());
	assert.ok(await person.page.locator('#ketuk-doctor').isEnabled(), 'looking for faults changes nothing');
});

test('overview: who is in, what is wrong, and silence where ketuk is not used', async () => {
	await person.goto('overview');
	assert.match((await person.texts('#ketuk-widget')).join(), /ssh\s+192\.0\.2\.7\s+25 s[^]*nas\s+2001:db8::7\s+until it is shut/);
	assert.equal(await person.page.locator('.alert-message').count(), 0);
	router.daemon(RUNNING.filter(line => !line.startsWith('grant')));
	await person.goto('overview');
	assert.match((await person.texts('#ketuk-widget')).join(), /Nobody is in/);
	router.daemon(null);
	await person.goto('overview');
	assert.match((await person.texts('.alert-message')).join(), /The service is not running/);
	router.write(DOOR.replace("enabled '1'", "enabled '0'"));
	await person.goto('overview');
	assert.equal(await person.page.locator('#view').innerText(), '');
});

test('doors: from nothing to a door, without a shell', async () => {
	router.write("config globals 'globals'\n\toption enabled '0'\n\tlist network 'wan'\n");
	router.daemon(null);
	await person.goto('ketuk/doors');
	await person.check('globals', 'enabled', true);
	await person.newSection('door', 'ssh');
	await person.modal().waitFor();
	await person.select('ssh', '_where', 'close');
	await person.press('ssh', '_random');
	assert.match(await person.saveDialog(), /There is no other door that opens/);
	await person.select('ssh', '_where', 'router');
	const first = await person.items('ssh', 'sequence');
	assert.equal(first.length, 4);
	await person.press('ssh', '_random');
	const steps = await person.items('ssh', 'sequence');
	assert.notDeepEqual(steps, first);
	assert.match(await person.saveDialog(), /Name the ports to open/);
	await person.fill('ssh', 'dest_port', '22');
	await person.fill('ssh', 'open_time', '60');
	assert.equal(await person.saveDialog(), null);
	const row = await person.page.locator('tr[data-sid="ssh"]').innerText();
	assert.match(row, new RegExp(`${steps.join(' ')}\\s+22\\s+1 min`));
	await person.saveAndApply();
	const text = await checked();
	assert.match(text, /option enabled '1'/);
	assert.match(text, new RegExp(steps.map(step => `list sequence '${step}'`).join('\\s+')));
	assert.match(text, /option dest_port '22'/);
	assert.match(text, /option proto 'tcp'/);
	assert.match(text, /option open_time '60'/);
	assert.match(text, /list network 'wan'/);
	assert.doesNotMatch(text, /_where|_random|src_dport|dest_ip|max_time|on_stop|backend/);
});

test('doors: a new door changes what its maker wrote, and nothing else', async () => {
	const before = "config globals 'globals'\n\toption enabled '0'\n\tlist network 'wan'\n";
	router.write(before);
	await person.goto('ketuk/doors');
	await person.newSection('door', 'ssh');
	await person.modal().waitFor();
	for (const port of [ '7001', '8000:udp', '9000' ])
		await person.add('ssh', 'sequence', port);
	/* Without a host, the help about hosts is not shown. */
	const shown = async name => (await person.show('ssh', name)).evaluate(node => !node.classList.contains('hidden'));
	assert.ok(await shown('dest_port'));
	for (const name of [ '_host_port', 'dest_ip', 'src_dport' ])
		assert.equal(await shown(name), false, name);
	assert.doesNotMatch(await person.field('ssh', 'dest_port').innerText(), /host/);
	await person.fill('ssh', 'dest_port', '22');
	assert.equal(await person.saveDialog(), null);
	await person.saveAndApply();
	assert.equal(await checked(), `${before}\nconfig door 'ssh'\n\tlist sequence '7001'\n\tlist sequence '8000:udp'\n\tlist sequence '9000'\n\toption proto 'tcp'\n\toption dest_port '22'\n`);
	/* A value that replaces another one is written, also if it is the default. */
	router.write(before.replace("'0'\n", "'0'\n\toption backend 'nft'\n\toption nft_table 'filter'\n"));
	await person.goto('ketuk/doors');
	await person.select('globals', 'backend', 'auto');
	person.refused.push('without a #');
	await person.fill('globals', 'page', 'https://home.example.org/knock.html#x');
	await person.page.locator('.cbi-page-actions .cbi-button-apply').first().click();
	await person.modal().waitFor();
	assert.match(await person.modal().innerText(), /without a #/);
	await person.dismiss();
	await person.fill('globals', 'page', 'https://home.example.org/knock.html');
	await person.saveAndApply();
	const text = await checked();
	assert.match(text, /option page 'https:\/\/home\.example\.org\/knock\.html'/);
	assert.doesNotMatch(text, /backend 'nft'|nft_table/);
});

test('every page: no level of headings is left out', async () => {
	const levels = () => person.page.evaluate(() => Array.from(document.querySelectorAll('#view h1, #view h2, #view h3, #view h4, .modal h1, .modal h2, .modal h3, .modal h4, .modal h5'))
		.filter(node => node.textContent.trim() != '' && node.checkVisibility()).map(node => +node.tagName.slice(1)));

	for (const name of [ 'status', 'doors', 'users' ]) {
		await person.goto(`ketuk/${name}`);
		const seen = await levels();
		assert.equal(seen[0], 2, `${name}: ${seen}`);
		assert.ok(seen.every((level, n) => n == 0 || level <= seen[n - 1] + 1), `${name}: ${seen}`);
		assert.equal(seen.filter(level => level == 2).length, 1, `${name}: ${seen}`);
	}
});

test('doors: a forward to a known host', async () => {
	await person.goto('ketuk/doors');
	await person.edit('ssh');
	await person.select('ssh', '_where', 'host');
	assert.match(await person.saveDialog(), /Name the host/);
	await person.add('ssh', 'dest_ip', '192.168.1.10');
	await person.add('ssh', 'dest_ip', 'fd00::10');
	await person.fill('ssh', 'src_dport', '8000-8001');
	await person.fill('ssh', '_host_port', '443 8443');
	assert.match(await person.saveDialog(), /Forward to one port/);
	await person.fill('ssh', '_host_port', '443');
	assert.equal(await person.saveDialog(), null);
	assert.match(await person.page.locator('tr[data-sid="ssh"]').innerText(), /8000-8001 → 192\.168\.1\.10 → fd00::10/);
	await person.saveAndApply();
	assert.match(await checked(), /option src_dport '8000-8001'/);

	/* And back: the forward's options are removed. */
	await person.edit('ssh');
	await person.select('ssh', '_where', 'router');
	assert.equal(await person.saveDialog(), null);
	await person.saveAndApply();
	assert.doesNotMatch(await checked(), /dest_ip|src_dport/);
});

test('doors: one that only runs commands', async () => {
	await person.goto('ketuk/doors');
	await person.edit('ssh');
	await person.select('ssh', '_where', 'nowhere');
	assert.match(await person.saveDialog(), /The door opens nothing/);
	await person.fill('ssh', 'start_command', "logger 'open to %IP%'");
	await person.fill('ssh', 'start_command_6', 'none');
	assert.equal(await person.saveDialog(), null);
	await person.saveAndApply();
	const text = await checked();
	assert.match(text, /option start_command 'logger '\\''open to %IP%'\\'''/);
	assert.doesNotMatch(text, /dest_port|proto/);
	await person.edit('ssh');
	assert.equal(await person.field('ssh', '_where').locator('select').inputValue(), 'nowhere');
});

test('doors: any port that an fwknop client asks for', async () => {
	await person.goto('ketuk/doors');
	await person.edit('ssh');
	await person.select('ssh', '_where', 'any');
	assert.match(await person.saveDialog(), /leave the sequence empty/);
	await person.clear('ssh', 'sequence');
	await person.fill('ssh', 'allow_port', 'icmp/8');
	assert.match(await person.saveDialog(), /Write ports or ranges, with tcp/);
	await person.fill('ssh', 'allow_port', 'tcp/22 udp/6000-6010 443');
	assert.equal(await person.saveDialog(), null);
	assert.match(await person.page.locator('tr[data-sid="ssh"]').innerText(), /users only\s+tcp\/22 udp\/6000-6010 443\s+30 s/);
	await person.saveAndApply();
	let text = await checked();
	assert.match(text, /option any_port '1'/);
	assert.match(text, /option allow_port 'tcp\/22 udp\/6000-6010 443'/);
	assert.doesNotMatch(text, /dest_port|proto|sequence/);

	/* And back: its options are removed. */
	await person.edit('ssh');
	assert.equal(await person.field('ssh', '_where').locator('select').inputValue(), 'any');
	await person.select('ssh', '_where', 'router');
	await person.fill('ssh', 'dest_port', '22');
	assert.equal(await person.saveDialog(), null);
	await person.saveAndApply();
	text = await checked();
	assert.match(text, /option dest_port '22'/);
	assert.doesNotMatch(text, /any_port|allow_port/);
});

test('doors: one for users only', async () => {
	await person.goto('ketuk/doors');
	await person.edit('ssh');
	await person.clear('ssh', 'sequence');
	assert.equal(await person.saveDialog(), null);
	assert.match(await person.page.locator('tr[data-sid="ssh"]').innerText(), /users only\s+22/);
	await person.saveAndApply();
	assert.doesNotMatch(await checked(), /sequence/);
});

test('doors: disable, remove, and names', async () => {
	await person.goto('ketuk/doors');
	await person.page.locator('tr[data-sid="ssh"] [data-name="enabled"] input[type="checkbox"]').setChecked(false, { force: true });
	await person.saveAndApply();
	assert.match(await checked(), /config door 'ssh'[^]*option enabled '0'/);

	for (const name of [ 'globals', 'ssh' ]) {
		await person.newSection('door', name);
		await person.page.locator('.alert-message', { hasText: `The name ${name} is taken` }).first().waitFor();
	}
	assert.equal(await person.page.locator('#cbi-ketuk-door .cbi-section-create input').getAttribute('maxlength'), '32');

	await person.page.locator('tr[data-sid="ssh"] .cbi-button-remove').click();
	await person.page.locator('tr[data-sid="ssh"]').waitFor({ state: 'detached' });
	await person.saveAndApply();
	assert.doesNotMatch(await checked(), /config door/);
});

test('doors: leaving the dialog leaves nothing behind', async () => {
	await person.goto('ketuk/doors');
	await person.newSection('door', 'other');
	await person.modal().waitFor();
	await person.add('other', 'sequence', '1000');
	await person.dismiss();
	await person.edit('ssh');
	await person.fill('ssh', 'open_time', '99');
	await person.dismiss();
	await person.page.locator('tr[data-sid="other"]').waitFor({ state: 'detached' });
	await person.saveAndApply();
	assert.equal(await checked(), DOOR);
});

test('doors: Reset takes back what is not saved', async () => {
	await person.goto('ketuk/doors');
	await person.check('globals', 'enabled', false);
	await person.page.locator('.cbi-page-actions .cbi-button-reset').first().click();
	await person.until(() => person.field('globals', 'enabled').locator('input[type="checkbox"]').isChecked());
	await person.saveAndApply();
	assert.equal(await checked(), DOOR);
});

test('doors: every field refuses what the daemon would refuse', async () => {
	await person.goto('ketuk/doors');
	await person.edit('ssh');
	for (const [ name, bad, good ] of [
		[ 'seq_timeout', [ '0', '3601', 'soon', '1.5', '-1', ' 5' ], '15' ],
		[ 'tcpflags', [ 'sin', 'syn,!syn', 'syn ack', ',' ], 'syn,!ack' ],
		[ 'target', [ '192.0.2.0/24', '0.0.0.0', '224.0.0.1', 'router', '1.2.3', '::', 'ff02::1' ], '2001:db8::1' ],
		[ 'trap_except', [ '0', '65536', '5000:icmp', '9-8', 'x' ], '51820:udp 5000-5010' ],
		[ 'dest_port', [ '0', '70000', '22,23', '22 22', '30-20', 'ssh', '20-30 25', Array.from({ length: 17 }, (_, n) => n + 1).join(' ') ], '22 8000-8010' ],
		[ 'open_time', [ '2678401', '1m', '-5' ], '0' ],
		[ 'open_time', [ '-' ], '120' ],
		[ 'max_time', [ '119', '2678401', 'x' ], '600' ],
		[ 'src', [ '192.0.2.0/33', 'lan', '2001:db8::/129' ], '192.0.2.0/24 2001:db8::1' ],
		[ 'grant_prefix_4', [ '8', 'x' ], '24' ],
		[ 'grant_prefix_6', [ '32' ], '64' ],
		[ 'start_time', [ '24:00', '8:', '08:60' ], '08:00' ],
		[ 'stop_time', [ '08:00:60' ], '18:00:30' ],
		[ 'weekdays', [ 'm', 'mon !mon', 'Montag' ], '!sat sun' ],
		[ 'start_command', [ 'é'.repeat(513) ], 'true' ],
		[ 'stop_command', [ 'x'.repeat(1025) ], 'true' ],
		[ 'start_command_6', [ 'x'.repeat(1025) ], 'none' ],
		[ 'stop_command_6', [ 'x'.repeat(1025) ], 'none' ]
	]) {
		for (const value of bad) {
			await person.fill('ssh', name, value);
			assert.match(await person.saveDialog() ?? 'saved', /contains an invalid input value/, `${name} '${value.slice(0, 40)}'`);
		}
		await person.fill('ssh', name, good);
	}
	/* A text that is no step is not added to the list. */
	const steps = await person.items('ssh', 'sequence');
	for (const value of [ '0', '70000', 'http', '80:icmp', '80:tcp:udp', ':udp' ])
		await person.add('ssh', 'sequence', value);
	assert.deepEqual(await person.items('ssh', 'sequence'), steps);
	assert.match(await person.saveDialog(), /opens for one address/);
	await person.fill('ssh', 'grant_prefix_4', '32');
	await person.fill('ssh', 'grant_prefix_6', '');
	await person.fill('ssh', 'sequence', '9000:TCP');
	await person.field('ssh', 'sequence').locator('.add-item input').press('Enter');
	await person.select('ssh', 'on_stop', 'keep');
	await person.fill('ssh', 'open_time', '0');
	await person.fill('ssh', 'max_time', '0');
	await person.select('ssh', 'close', 'session');
	assert.match(await person.saveDialog(), /needs a time to connect in/);
	await person.fill('ssh', 'open_time', '120');
	await person.fill('ssh', 'max_time', '600');
	await person.check('ssh', 'kill', true);
	assert.equal(await person.saveDialog(), null);
	assert.equal(router.saved, DOOR, 'nothing is applied yet');
	await person.saveAndApply();
	const text = await checked();
	for (const line of [
		"seq_timeout '15'", "tcpflags 'syn,!ack'", "target '2001:db8::1'", "trap_except '51820:udp 5000-5010'", "dest_port '22 8000-8010'",
		"open_time '120'", "max_time '600'", "start_command 'true'", "stop_command_6 'none'", "sequence '9000:TCP'", "on_stop 'keep'",
		"close 'session'", "kill '1'", "src '192.0.2.0/24 2001:db8::1'", "start_time '08:00'", "stop_time '18:00:30'", "weekdays '!sat sun'"
	])
		assert.ok(text.includes(line), `${line} in ${text}`);
});

test('doors: what only the whole shows, the daemon says in the dialog', async () => {
	const doors = Array.from({ length: 64 }, (_, n) => `config door 'd${n}'\n\tlist sequence '${1000 + n}'\n\toption dest_port '22'\n`).join('\n');
	router.write(DOOR.slice(0, DOOR.indexOf('config door')) + doors);
	await person.goto('ketuk/doors');
	await person.newSection('door', 'ssh');
	await person.modal().waitFor();
	await person.add('ssh', 'sequence', '7000');
	await person.fill('ssh', 'dest_port', '22');
	assert.match(await person.saveDialog(), /more than 64 doors[^]*config door 'ssh'/);
	await person.dismiss();
	await person.saveAndApply();
	assert.doesNotMatch(await checked(), /'ssh'/);
});

test('doors: what the form does not know is left to the daemon, before anything is applied', async () => {
	router.write(DOOR + "\toption colour 'red'\n");
	await person.goto('ketuk/doors');
	await person.page.locator('.cbi-page-actions .cbi-button-apply').first().click();
	await person.modal().waitFor();
	assert.match(await person.modal().innerText(), /unknown option 'colour' in door 'ssh'/);
	person.refused.push("unknown option 'colour'");
	assert.equal(router.applied, undefined);
});

test('doors: knockd’s name for the time, and a list written as one option', async () => {
	router.write(DOOR.replace("option open_time '30'", "option cmd_timeout '10'").replace("list sequence '7000'\n\tlist sequence '8000:udp'", "option sequence '7000,8000:udp'")
		.replace("option dest_port '22'", "list dest_port '22'\n\tlist dest_port '80'"));
	await person.goto('ketuk/doors');
	assert.match(await person.page.locator('tr[data-sid="ssh"]').innerText(), /7000 8000:udp\s+22 80\s+10 s/);
	await person.edit('ssh');
	assert.deepEqual(await person.items('ssh', 'sequence'), [ '7000', '8000:udp' ]);
	await person.fill('ssh', 'open_time', '20');
	assert.equal(await person.saveDialog(), null);
	await person.saveAndApply();
	const text = await checked();
	assert.match(text, /option open_time '20'/);
	assert.doesNotMatch(text, /cmd_timeout/);
});

test('doors: the service’s own options', async () => {
	person.refused.push('contains an invalid input value');
	await person.goto('ketuk/doors');
	await person.select('globals', 'backend', 'nft');
	await person.page.locator('.cbi-page-actions .cbi-button-save').first().click();
	await person.modal().waitFor();
	assert.match(await person.modal().innerText(), /Name the table/);
	await person.dismiss();
	for (const [ name, bad, good ] of [
		[ 'nft_table', [ 'bridge filter', 'inet a b', '9x', 'inet a b' ], 'inet filter' ],
		[ 'log_file', [ 'ketuk.log' ], '/var/log/ketuk.log' ],
		[ 'spa_port', [ '0', '65536', 'x' ], '62202' ],
		[ 'spa_max_age', [ '4', '241' ], '60' ],
		[ 'totp_ports', [ '1-2', '20000', '30000-20000' ], '30000-39999' ],
		[ 'trap_except', [ 'x', '1-65535' ], '5000' ]
	]) {
		for (const value of bad) {
			await person.fill('globals', name, value);
			await person.page.locator('.cbi-page-actions .cbi-button-save').first().click();
			await person.modal().waitFor();
			assert.match(await person.modal().innerText(), /contains an invalid input value/, `${name} '${value}'`);
			await person.dismiss();
		}
		await person.fill('globals', name, good);
	}
	await person.select('globals', 'on_stop', 'keep');
	await person.select('globals', 'log_level', 'debug');
	await person.check('globals', 'trust_clock', true);
	await person.saveAndApply();
	const text = await checked();
	for (const line of [ "backend 'nft'", "nft_table 'inet filter'", "log_file '/var/log/ketuk.log'", "trap_except '5000'", "on_stop 'keep'", "log_level 'debug'", "spa_port '62202'", "spa_max_age '60'", "totp_ports '30000-39999'", "trust_clock '1'", "list network 'wan6'" ])
		assert.ok(text.includes(line), `${line} in ${text}`);
});

test('doors: one that shuts others', async () => {
	await person.goto('ketuk/doors');
	await person.newSection('door', 'ssh_out');
	await person.modal().waitFor();
	await person.add('ssh_out', 'sequence', '9000');
	await person.select('ssh_out', '_where', 'close');
	assert.match(await person.saveDialog(), /Choose the doors to shut/);
	await person.choose('ssh_out', 'door', 'ssh');
	assert.equal(await person.saveDialog(), null);
	assert.match(await person.page.locator('tr[data-sid="ssh_out"]').innerText(), /9000\s+shuts ssh\s+-/);
	await person.saveAndApply();
	assert.match(await checked(), /config door 'ssh_out'\n\tlist sequence '9000'\n\toption action 'close'\n\tlist door 'ssh'\n$/);

	/* Then it becomes a door that opens. */
	await person.edit('ssh_out');
	await person.select('ssh_out', '_where', 'router');
	await person.fill('ssh_out', 'dest_port', '80');
	assert.equal(await person.saveDialog(), null);
	await person.saveAndApply();
	assert.match(await checked(), /config door 'ssh_out'\n\tlist sequence '9000'\n\toption proto 'tcp'\n\toption dest_port '80'\n$/);
});

/* Whether this ketukd has users at all. */
async function knowsUsers() {
	const file = `${router.dir}/users`;
	fs.writeFileSync(file, `${DOOR}\nconfig user 'alice'\n\tlist key 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n\tlist door 'ssh'\n`);
	return (await run([ 'check', '--config', file ])).code == 0;
}

test('users: a key made on the router, doors, and a last day', async () => {
	const known = await knowsUsers();
	await person.goto('ketuk/users');
	await person.newSection('user', 'alice');
	await person.modal().waitFor();
	await person.press('alice', '_keygen');
	await person.until(async () => (await person.items('alice', 'key')).length == 1);
	const [ key ] = await person.items('alice', 'key');
	assert.match(key, /^[A-Za-z0-9+/]{43}=$/);
	for (const [ name, bad ] of [ [ 'key', [ 'secret', 'A'.repeat(44), 'A'.repeat(42) + 'B=' ] ], [ 'totp', [ 'JBSWY3DPEHPK3PXP', '1'.repeat(26), 'A'.repeat(27) ] ] ])
		for (const value of bad) {
			const before = await person.items('alice', name);
			await person.add('alice', name, value);
			assert.deepEqual(await person.items('alice', name), before, `${name} ${value}`);
			await person.fill('alice', name, '');
		}
	await person.add('alice', 'totp', 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP');
	await person.choose('alice', 'door', 'ssh');
	for (const bad of [ '2027-02-30', '31.1.2027', '27-01-31', '1969-12-31' ]) {
		await person.fill('alice', 'expires', bad);
		assert.match(await person.saveDialog(), /Write a date/, bad);
	}
	await person.fill('alice', 'expires', '2028-02-29');
	if (!known) {
		assert.match(await person.saveDialog(), /users are not available in this version of ketuk/);
		return;
	}
	assert.equal(await person.saveDialog(), null);
	await person.saveAndApply();
	const text = await checked();
	for (const line of [ `list key '${key}'`, "list totp 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'", "list door 'ssh'", "option expires '2028-02-29'" ])
		assert.ok(text.includes(line), `${line} in ${text}`);

	/* Revoked: the section goes. */
	await person.page.locator('tr[data-sid="alice"] .cbi-button-remove').click();
	await person.page.locator('tr[data-sid="alice"]').waitFor({ state: 'detached' });
	await person.saveAndApply();
	assert.doesNotMatch(await checked(), /alice/);
});

test('users: where there is no door yet', async () => {
	router.write(DOOR.slice(0, DOOR.indexOf('config door')));
	await person.goto('ketuk/users');
	await person.newSection('user', 'alice');
	await person.modal().waitFor();
	assert.match(await person.field('alice', 'door').innerText(), /There is no door yet/);
	await person.dismiss();
});

test('users: the invitation, as a link and as a picture, or why there is none', async () => {
	const uri = 'ketuk://alice@home.example.org/ssh?key=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
	const asked = [];
	const real = router.ketuk;
	/* A stand-in for the daemon's answer, which depends on its version. */
	router.ketuk = function(method, args) {
		if (method != 'invite')
			return real.call(this, method, args);
		asked.push(args);
		return Promise.resolve(this.invitation);
	};
	router.write(DOOR + "\nconfig user 'alice'\n\tlist door 'ssh'\n");
	router.invitation = [ 0, { ok: true, uri } ];
	const show = async host => {
		await person.page.locator('button[data-user="alice"]').click();
		await person.modal().locator('#ketuk-host').fill(host);
		await person.modal().locator('.cbi-button-positive').click();
	};
	await person.goto('ketuk/users');
	await show('home.example.org');
	await person.page.locator('#ketuk-uri').waitFor();
	assert.equal(await person.page.locator('#ketuk-uri').innerText(), uri);
	assert.equal(await person.page.locator('#ketuk-qr svg').count(), 1);
	await person.dismiss();
	await show('');
	await person.page.locator('#ketuk-uri').waitFor();
	assert.deepEqual(asked.map(({ user, host }) => [ user, host ]), [ [ 'alice', 'home.example.org' ], [ 'alice', undefined ] ]);
	await person.dismiss();

	/* With a page: the link, which can be copied, and a large picture. */
	const link = `https://page.example.org/knock.html#${uri}`;
	router.invitation = [ 0, { ok: true, uri, link } ];
	await person.page.locator('button[data-user="alice"]').click();
	await person.modal().locator('#ketuk-page').fill('https://page.example.org/knock.html');
	await person.modal().locator('.cbi-button-positive').click();
	await person.page.locator('#ketuk-uri').waitFor();
	assert.equal(await person.page.locator('#ketuk-uri').innerText(), link);
	assert.equal(asked.at(-1).page, 'https://page.example.org/knock.html');
	const { width } = await person.page.locator('#ketuk-qr svg').boundingBox();
	assert.ok(width >= 300, `${width} pixels`);
	/* The drawing in it is large too. */
	const drawn = await person.page.locator('#ketuk-qr svg path').boundingBox();
	assert.ok(drawn.width >= 0.8 * width, `${drawn.width} of ${width} pixels`);
	await person.page.context().grantPermissions([ 'clipboard-read', 'clipboard-write' ]);
	await person.page.locator('#ketuk-copy').click();
	await person.page.locator('#ketuk-copy', { hasText: 'Copied' }).waitFor();
	assert.equal(await person.page.evaluate(() => navigator.clipboard.readText()), link);
	await person.dismiss();

	router.invitation = [ 0, { ok: false, error: "user 'alice' has neither <b>a key</b> nor a secret" } ];
	await show('');
	await person.page.locator('.alert-message', { hasText: 'has neither <b>a key</b> nor a secret' }).first().waitFor();

	/* A LuCI that cannot draw still shows the link. */
	router.noPicture = true;
	router.invitation = [ 0, { ok: true, uri } ];
	await person.goto('ketuk/users');
	await show('');
	await person.page.locator('#ketuk-uri').waitFor();
	if (!luci)
		assert.equal(await person.page.locator('#ketuk-qr svg').count(), 0);
});

test('users: when they were last seen', async () => {
	router.write(DOOR + "\nconfig user 'alice'\n\tlist door 'ssh'\n");
	const real = router.ketuk;
	/* A stand-in for the texts of a later daemon. */
	router.ketuk = async function(method, args) {
		const answer = await real.call(this, method, args);
		return method == 'status' ? [ 0, { ...answer[1], users: [ { name: 'alice', seen_seconds_ago: 65 } ] } ] : answer;
	};
	await person.goto('ketuk/users');
	assert.match(await person.page.locator('tr[data-sid="alice"]').innerText(), /1 min 5 s ago/);
});

test('the rules of the form are the rules of the daemon', async () => {
	const ports = [ '', '0', '1', '65535', '65536', '022', '22 80', '22,80', '22  80', '80 22', '22 22', '20-30 25', '20-30 31', '30-20', '5-5', '1-', '-1', '1-2-3', '0x16', '+5', '5 ', ' 5', '22\t23',
		Array.from({ length: 16 }, (_, n) => n + 1).join(' '), Array.from({ length: 17 }, (_, n) => n + 1).join(' ') ];
	const seconds = [ '', '0', '1', '3600', '3601', '2678400', '2678401', '007', '4294967296', '99999999999999999999', '1.0', '1e3', '-1', '+1', ' 1', '1 ', '٣', 'x' ];
	const addresses = [ '', '192.0.2.1', '0.0.0.0', '255.255.255.255', '224.0.0.1', '239.255.255.255', '240.0.0.1', '192.0.2.01', '192.0.2', '192.0.2.1.1', '256.1.1.1', '192.0.2.1/32', '::', '::1', '2001:db8::1',
		'2001:DB8::1', 'ff02::1', 'fe80::1%eth0', '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7::', '1::2::3', '12345::', '::ffff:192.0.2.1', '::192.0.2.256', '[::1]', '::0', '0:0:0:0:0:0:0:0', 'fd00::10', 'localhost', '1', '::1 ' ];
	const cases = [
		...ports.map(value => [ 'dest_port', value, `dest_port '${value}'`, 'ports' ]),
		...seconds.map(value => [ 'seq_timeout', value ]), ...seconds.map(value => [ 'open_time', value ]),
		...seconds.map(value => [ 'max_time', value ]),
		...addresses.map(value => [ 'target', value, null, 'address' ]),
		...[ '', 'syn', 'SYN', 'syn,ack', 'syn, !ack', ' syn ', '! ack', 'syn,', ',', 'syn,!syn', '!syn,syn', 'syn,syn', 'ecn', 'syn ack', '!', '!!ack', 'fin,syn,rst,psh,ack,urg' ].map(value => [ 'tcpflags', value ]),
		...[ '', '5000', '5000:udp', '5000:UDP', '5000:icmp', '5000:', ':udp', '1-2047', '1-2048', '1-2049', '1-4096:tcp', '1-4097:tcp', '5000 5000', '5000-4000', '5000:tcp:udp', 'x' ].map(value => [ 'trap_except', value ]),
		...[ '', 'none', 'true', 'x'.repeat(1024), 'x'.repeat(1025), 'é'.repeat(512), 'é'.repeat(513) ].map(value => [ 'stop_command', value, null, 'command' ]),
		...[ '', '192.0.2.0/24', '192.0.2.1', '192.0.2.1/0', '192.0.2.1/33', '192.0.2.1/', '/24', '192.0.2.1/24/1', '192.0.2.1/024', '192.0.2.1/+8', '::/0', '2001:db8::/129', '0.0.0.0', 'ff02::1', 'lan', '10.0.0.0/8 fd00::/8',
			Array(64).fill('10.0.0.1').join(' '), Array(65).fill('10.0.0.1').join(' ') ].map(value => [ 'src', value ]),
		...[ '', '8:0', '08:00', '23:59:59', '24:00', '08:60', '08:00:60', '8', '08:00:00:00', ' 08:00', '008:00', '-1:00', '08:' ].flatMap(value => [ [ 'start_time', value, null, 'time' ], [ 'stop_time', value, null, 'time' ] ]),
		...[ '', 'mon', 'MON', 'monday', 'mond', 'mo', 'mondays', '!mon', 'mon !mon', 'mon tue !tue', '!sun !mon !tue !wed !thu !fri !sat', '!sun mon tue wed thu fri sat', '! sun', '!sat sun', 'sat !sun', 'm', '!', '!!mon', 'mon,tue' ].map(value => [ 'weekdays', value ]),
		...[ '1', '65535', '0', '65536', '7000:udp', '7000:TCP', '7000:', ':', '7000:sctp', '7000:tcp:', '7000,8000', '7000,', ',7000', '7000 8000', '7000, 8000:udp', 'ssh', '-1', Array.from({ length: 32 }, (_, n) => n + 1).join(), Array.from({ length: 33 }, (_, n) => n + 1).join() ].map(value => [ 'sequence', value ])
	];
	const globals = [ '', 'inet filter', 'filter', 'ip6 x', 'bridge x', 'inet a b', 'a/b.c-d_e', '9a', '_a', 'ip', 'inet  x', ' x', `inet ${'x'.repeat(255)}`, `inet ${'x'.repeat(256)}` ].map(value => [ 'nft_table', value ])
		.concat([ '', '/x', 'x', ' /x' ].map(value => [ 'log_file', value ]),
			[ '', 'https://h/k.html', 'http://h', 'file:///k.html', 'file://k', 'https://', 'ftp://h/', 'https://h/#x', 'https://h/a b', 'https://hé/', 'h', 'HTTPS://h' ].map(value => [ 'page', value ]),
			[ '', '1', '0', '65536', 'x' ].map(value => [ 'spa_port', value, null, 'port' ]), [ '', '4', '5', '240', '241' ].map(value => [ 'spa_max_age', value ]),
			[ '', '1-4095', '1-4096', '0-5000', '61440-65535', '61441-65535', '20000', 'x' ].map(value => [ 'totp_ports', value ]));

	await person.goto('ketuk/status');
	/* The form's answer: null or a sentence. */
	const says = list => person.page.evaluate(async list => {
		const rules = await L.require('ketuk.rules');
		return list.map(([ rule, ...args ]) => rules[rule](...args));
	}, list);
	const file = `${router.dir}/rules`;
	/* The daemon's answer: whether it accepts the configuration. */
	const takes = async text => {
		fs.writeFileSync(file, text);
		return (await run([ 'check', '--config', file ])).code == 0;
	};
	const agree = async (what, form, text) => assert.equal(form == null, await takes(text), `${what}: the form says ${form}`);
	const quoted = value => `'${value.replace(/'/g, "'\\''")}'`;

	const answers = await says([ ...cases, ...globals ].map(([ option, value, , rule ]) => [ rule ?? option, value ]));
	for (const [ n, [ option, value ] ] of cases.entries()) {
		const others = [ "sequence '1000'", "dest_port '22'" ].filter(line => !line.startsWith(option));
		/* The form refuses an empty dest_port. For the daemon the option is not given. */
		if (value == '' && option == 'dest_port')
			continue;
		await agree(`${option} '${value}'`, answers[n], `config door 'd'\n${others.map(line => `\toption ${line}\n`).join('')}\toption ${option} ${quoted(value)}\n`);
	}
	for (const [ n, [ option, value ] ] of globals.entries())
		await agree(`${option} '${value}'`, answers[cases.length + n], `config globals\n\toption ${option} ${quoted(value)}\n`);

	const groups = [ '', '15', '16', '24', '32', '33', '024', '+24', 'x', '47', '48', '64', '128', '129' ]
		.flatMap(value => [ [ 4, 16, 32 ], [ 6, 48, 128 ] ].flatMap(bounds => [ false, true ].map(commands => [ value, ...bounds, commands ])));
	const grouped = await says(groups.map(([ value, , widest, bits, commands ]) => [ 'grant_prefix', value, widest, bits, commands ]));
	for (const [ n, [ value, version, , , commands ] ] of groups.entries())
		await agree(`grant_prefix_${version} '${value}', commands ${commands}`, grouped[n],
			`config door 'd'\n\toption sequence '1000'\n\toption dest_port '22'\n\toption grant_prefix_${version} '${value}'\n${commands ? "\toption start_command 'true'\n" : ''}`);

	/* Options that have to fit each other. */
	const together = [];
	for (const dest_port of [ '', '22', '22 23', '8000-8001', '23 22' ])
		for (const src_dport of [ '', '22', '22 23', '8000-8001', '22-22' ])
			for (const dest_ip of [ '', '192.168.1.2', 'fd00::2', '192.168.1.2 fd00::2' ])
				for (const proto of [ '', 'tcp' ])
					for (const start_command of [ '', 'none', 'true' ])
						together.push({ dest_port, src_dport, dest_ip, proto, start_command });
	const verdicts = await says(together.map(options => [ 'opening', options ]));
	for (const [ n, options ] of together.entries())
		await agree(JSON.stringify(options), verdicts[n], `config door 'd'\n\toption sequence '1000'\n${Object.entries(options).map(([ name, value ]) => `\toption ${name} '${value}'\n`).join('')}`);

	const allowed = [ '', '22', 'tcp/22', 'UDP/53', '22:tcp', '6000-6010:udp', 'tcp/20-80 53:udp', 'icmp/8', 'tcp/', '/22', '22:', 'tcp/22:udp', '0', '80-20', 'tcp/22,443', 'x',
		...[ [ 32, '' ], [ 33, '' ], [ 64, ':tcp' ], [ 65, ':udp' ] ].map(([ length, protocol ]) => Array.from({ length }, (_, n) => n + 1 + protocol).join(' ')) ];
	const asked = await says(allowed.map(value => [ 'allow_port', value ]));
	for (const [ n, value ] of allowed.entries())
		await agree(`allow_port '${value}'`, asked[n], `config door 'd'\n\toption any_port '1'\n${value ? `\toption allow_port '${value}'\n` : ''}`);

	const hosts = [ '', '192.168.1.2', '192.168.1.2 192.168.1.3', 'fd00::2 192.168.1.2', 'fd00::2 fd00::3', '0.0.0.0', 'x', 'fd00::2 192.168.1.2 10.0.0.1' ];
	const judged = await says(hosts.map(value => [ 'hosts', value ]));
	for (const [ n, value ] of hosts.entries())
		await agree(`dest_ip '${value}'`, judged[n], `config door 'd'\n\toption sequence '1000'\n\toption dest_port '22'\n\toption dest_ip '${value}'\n`);

	const times = [ '', '0', '10', '30', '60' ].flatMap(open => [ '', '0', '9', '29', '30', '60' ].map(max => [ max, open ]));
	const bounds = await says(times.map(pair => [ 'max_time', ...pair ]));
	for (const [ n, [ max, open ] ] of times.entries())
		await agree(`max_time '${max}', open_time '${open}'`, bounds[n], `config door 'd'\n\toption sequence '1000'\n\toption dest_port '22'\n\toption open_time '${open}'\n\toption max_time '${max}'\n`);

	const names = [ 'a', 'A_9', 'x'.repeat(32), 'x'.repeat(33), 'a-b', 'a b', 'ä', '' ];
	const named = await says(names.map(name => [ 'name', name ]));
	for (const [ n, name ] of names.entries())
		await agree(`name '${name}'`, named[n], `config door '${name}'\n\toption sequence '1000'\n\toption dest_port '22'\n`);

	if (!await knowsUsers())
		return;
	const key = 'A'.repeat(43);
	const secrets = [
		...[ key, key + '=', key + '==', 'A'.repeat(42) + 'B=', 'A'.repeat(42), 'A'.repeat(44), 'A'.repeat(42) + '_' ].map(value => [ 'key', value ]),
		...[ 25, 26, 27, 28, 29, 30, 31, 32, 103, 104 ].map(n => [ 'totp', 'A'.repeat(n) ]),
		...[ 'a'.repeat(26) + '======', 'A'.repeat(25) + 'B', 'A'.repeat(25) + 'E', 'AAAA-'.repeat(8), '1'.repeat(32) ].map(value => [ 'totp', value ]),
		...[ '2027-01-31', '2028-02-29', '2027-02-29', '2027-13-01', '2027-00-01', '2027-01-00', '1970-01-01', '1969-12-31', '9999-12-31', '2027-1-31', '27-01-31', '2027/01/31' ].map(value => [ 'expires', value, null, 'date' ])
	];
	const kept = await says(secrets.map(([ option, value, , rule ]) => [ rule ?? option, value ]));
	for (const [ n, [ option, value ] ] of secrets.entries())
		await agree(`${option} '${value}'`, kept[n], `config door 'd'\n\toption sequence '1000'\n\toption dest_port '22'\nconfig user 'u'\n\tlist door 'd'\n\toption ${option} '${value}'\n`);
});
