/* The knock page in Debian's Chromium and Firefox, on a phone in a network namespace, against ketukd on a router in
   another. KETUK_ROUNDS is the number of tries of each kind. From 20 on there are tries over a bad line, too. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { BROWSERS, launch } from './browser.mjs';
import { TEXTS } from '../../web/src/texts.js';
import { NAMES, PAGE, PHONE, PORT, ROUTER, until, World } from './world.mjs';

const ROUNDS = Number(process.env.KETUK_ROUNDS ?? 1);
/* A user's sequence opens once in half a minute. There are more users than knocks in that time. */
const USERS = 64;
const AXE = createRequire(import.meta.url).resolve('axe-core');

let world, server, user = 0;

/* The page on a web server: its address by plain http, and by a name that browsers trust like https. */
function serve() {
	const types = { html: 'text/html', js: 'text/javascript', png: 'image/png', webmanifest: 'application/manifest+json' };
	const made = http.createServer((request, response) => {
		const file = path.join(path.dirname(PAGE), path.basename(new URL(request.url, 'http://x').pathname));

		if (fs.existsSync(file) && fs.statSync(file).isFile())
			response.writeHead(200, { 'Content-Type': types[file.split('.').pop()] }).end(fs.readFileSync(file));
		else
			response.writeHead(404).end();
	});

	return new Promise(resolve => made.listen(0, '0.0.0.0', () => resolve(made)));
}

before(async () => {
	server = await serve();
	world = await new World(USERS).start();
});
after(() => {
	server?.close();
	server?.closeAllConnections();
	world?.stop();
});

test('every text is there in both languages', () => {
	const shape = texts => Object.entries(texts).map(([ key, text ]) => [ key, typeof text, Array.isArray(text) ? text.length : 1 ]);

	assert.deepEqual(shape(TEXTS.id), shape(TEXTS.en));
});

for (const name of (process.env.KETUK_BROWSER ?? Object.keys(BROWSERS).join()).split(','))
	describe(name, () => {
		let browser;

		after(() => browser?.close());

		/* A browser that has just been started. One that has knocked goes on sending its knocks again for a minute, which
		   is no matter of one person's, but would be of twenty in a row. */
		async function restart() {
			await browser?.close();
			browser = await launch(name);
		}

		/* Opens the page and hands it to `body`, which finds its errors and its requests in it. */
		async function show(address, body, language = 'en') {
			const page = await browser.newPage();
			const seen = { errors: [], requests: [] };

			page.setDefaultTimeout(10000);
			page.on('pageerror', error => seen.errors.push(error.message));
			page.on('request', request => seen.requests.push(request.url()));
			await page.goto(address);
			await page.waitForFunction(() => document.querySelector('#time').textContent != '');
			if (await page.$eval('html', node => node.lang) != language)
				await page.click('#language');
			try {
				await body(page, seen);
				assert.deepEqual(seen.errors, []);
			} finally {
				await page.close();
			}
		}

		const text = (page, selector) => page.$eval(selector, node => node.textContent);
		const fromFile = profile => `file://${PAGE}#${profile}`;

		/* Has the page open a door, goes through it, and shuts it. Whether it opened: at the first try, or at the second, in
		   the next window. */
		async function opens(family, door = 'web', patience_ms = 45000) {
			let open = false;

			await restart();
			await show(fromFile(world.profile(user++ % USERS, family, door)), async page => {
				await page.click('button.door');
				open = await until('the door is open', () => world.open(door).length, patience_ms).then(() => true, () => false);
				if (!open)
					return;
				/* The connection uses the family that the door opened for. Its packets may get lost, too. */
				assert.equal(await until('it is reached', () => world.reach(ROUTER[world.open(door)[0] ?? 'v4'])), 'inside');
				if (family != 'both')
					assert.deepEqual(world.open(door), [ family ]);
			});
			world.close(door);

			return open;
		}

		for (const firewall of [ 'drop', 'reject' ])
			for (const family of Object.keys(NAMES))
				test(`opens a door, ${ROUNDS} of ${ROUNDS}: the firewall ${firewall}s, ${family}`, async () => {
					world.firewall(firewall);
					let opened = 0;
					for (let round = 0; round < ROUNDS; round++)
						opened += await opens(family) ? 1 : 0;
					console.log(`# ${name}: ${firewall}, ${family}: ${opened} of ${ROUNDS}`);
					assert.equal(opened, ROUNDS, world.log);
				});

		test('knocks a plain sequence', async () => {
			for (const firewall of [ 'drop', 'reject' ]) {
				world.firewall(firewall);
				for (const family of Object.keys(NAMES))
					assert.ok(await opens(family, 'plain'), world.log);
			}
		});

		beforeEach(restart);

		test('speaks to nobody but the host, and knocks at it alone', async () => {
			world.firewall('drop');
			await show(fromFile(world.profile(user++ % USERS, 'v4')), async (page, { requests, errors }) => {
				await page.click('button.door');
				await until('it has knocked', async () => (await text(page, '.state')).startsWith('Knocked'));
				const others = requests.filter(url => !url.startsWith('file:') && !url.startsWith('data:'));
				assert.equal(others.length, 4, String(others));
				assert.ok(others.every(url => /^https:\/\/four\.example\.org:2\d{4}\/$/.test(url)), String(others));
				/* The page's policy works: nothing else can be fetched, and no script can be added. */
				assert.equal(await page.evaluate(url => fetch(url).then(() => 'fetched', () => 'refused'), `http://${PHONE.v4}:${server.address().port}/knock.html`), 'refused');
				assert.equal(await page.evaluate(() => {
					document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.added = true' }));
					return window.added === true;
				}), false);
				/* The page shows what to do next, and that it tries again. */
				assert.equal(await page.$eval('.next a', node => node.href), `https://four.example.org:${PORT}/`);
				assert.match(await text(page, '.again'), /^Knocks once more in \d+ s/);
				await page.click('.again button');
				assert.equal(await text(page, '.state'), 'Stopped.');
				/* Firefox reports the refusals of the policy as errors. */
				assert.ok(errors.every(message => message.startsWith('Content-Security-Policy: ')), String(errors));
				errors.length = 0;
			});
			world.close('web');
		});

		test('tries once more, in the next window', async () => {
			world.firewall('drop');
			const mine = user++ % USERS;
			await show(fromFile(world.profile(mine, 'v4')), async page => {
				/* The first try meets nobody. */
				await world.spoil(0, 100);
				await page.click('button.door');
				await until('it has knocked', async () => (await text(page, '.state')).startsWith('Knocked'));
				await world.spoil(0, 0);
				assert.deepEqual(world.open('web'), []);
				await until('the door is open', () => world.open('web').length, 50000);
				/* A SYN that the kernel sends again may complete the first try: the page knocks a second time all the same. */
				await until('it says so', async () => (await text(page, '.state')).startsWith('Knocked twice'), 50000);
				assert.ok(await page.$eval('#wrong', node => node.open));
			});
			world.close('web');
		});

		test('keeps profiles if it is asked to, takes pasted ones, and forgets them', async () => {
			const one = world.profile(1, 'v4'), two = world.profile(2, 'v6');
			const hosts = page => page.$$eval('#profiles h2', nodes => nodes.map(node => node.textContent));

			await show(fromFile(one), async page => {
				assert.deepEqual(await hosts(page), [ NAMES.v4 ]);
				await page.reload();
				assert.deepEqual(await hosts(page), [ NAMES.v4 ]);
				await page.click('.keeping button');
				await until('it is kept', async () => (await text(page, '.keeping p')).startsWith('Kept'));
				/* The secret is no longer in the address. */
				assert.equal(await page.evaluate(() => location.hash), '');
				await page.reload();
				assert.deepEqual(await hosts(page), [ NAMES.v4 ]);
				await page.$eval('#add', node => { node.open = true; });
				await page.type('#line', `Here: https://page.example.org/knock.html#${two}`);
				await page.click('#form button');
				await until('both are there', async () => (await hosts(page)).length == 2);
				await page.click('.keeping button');
				await page.reload();
				assert.deepEqual(await hosts(page), [ NAMES.v4, NAMES.v6 ]);
				for (let left = 2; left > 0; left--) {
					await page.click('.keeping button');
					await page.click('.keeping .danger');
					assert.equal((await hosts(page)).length, left - 1);
				}
				await page.reload();
				assert.deepEqual(await hosts(page), []);
				assert.equal(await page.$eval('#empty', node => node.hidden), false);
			});
		});

		test('says what is wrong, in both languages', async () => {
			const secret = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP';
			for (const [ line, english, indonesian, where ] of [
				[ 'ketuk://home.example.org/ssh:22?key=AAAA', /needs a packet/, /memerlukan paket/, '.state' ],
				[ 'ketuk://fred@home.example.org/tcp_22:22?fwknop_key=AAAA&access=tcp/22', /needs a packet/, /memerlukan paket/, '.state' ],
				[ 'ketuk://home.example.org/ssh?sequence=7000,8000:udp', /UDP knock/, /ketukan UDP/, '.state' ],
				[ 'ketuk://home.example.org/ssh?sequence=7000,6000', /refuse to connect to port 6000/, /menolak menyambung ke porta 6000/, '.state' ],
				[ `ketuk://home.example.org/ssh?totp=${secret.slice(5)}1`, /secret of the invitation is wrong/, /Rahasia dalam undangan salah/, '#problem' ],
				[ `ketuk://home.example.org?totp=${secret}`, /names no host/, null, '#problem' ],
				[ `ketuk://home.example.org/ssh?totp=${secret}&ports=1-9`, /port of the invitation is wrong/, null, '#problem' ],
				[ 'ketuk://home.example.org/ssh', /nothing to knock with/, null, '#problem' ],
				[ 'https://example.org/', /no invitation in this text/, null, '#problem' ]
			]) {
				await show(fromFile(line), async page => {
					assert.match(await text(page, where), english);
					if (where == '.state')
						assert.equal(await page.$eval('button.door', node => node.disabled), true);
					if (indonesian) {
						await page.click('#language');
						assert.equal(await page.$eval('html', node => node.lang), 'id');
						assert.match(await text(page, where), indonesian);
					}
				});
			}
			/* The language that was chosen is kept. */
			await show(fromFile(world.profile(1, 'v4')), async page => {
				assert.equal(await text(page, 'button.door'), 'Buka “web”');
				await page.click('#language');
			}, 'id');
		});

		test('says that there is no network, and knocks at nothing', async () => {
			await show(fromFile(world.profile(user++ % USERS, 'v4')), async (page, { requests }) => {
				await page.setOfflineMode(true);
				await page.click('button.door');
				assert.match(await text(page, '.state'), /^This phone has no network/);
				assert.deepEqual(requests.filter(url => url.startsWith('https:')), []);
			});
		});

		test('says what to do next, by the door’s port', async () => {
			world.firewall('drop');
			for (const [ port, expected ] of [
				[ ':22', 'Now connect with ssh to four.example.org.' ],
				[ ':5900', 'Now connect with your app to four.example.org, port 5900.' ],
				[ '', 'Now connect to four.example.org.' ],
				[ ':8080', 'Go to http://four.example.org:8080/' ]
			])
				await show(fromFile(`ketuk://four.example.org/plain${port}?sequence=7000,8000,9000`), async page => {
					await page.click('button.door');
					await until('it has knocked', async () => (await text(page, '.state')).startsWith('Knocked'));
					assert.equal(await text(page, '.next'), expected);
				});
			world.close('plain');
		});

		test('from the router by plain http, where browsers have no crypto.subtle', async () => {
			world.firewall('drop');
			await show(`http://${PHONE.v4}:${server.address().port}/knock.html#${world.profile(user++ % USERS, 'v4')}`, async page => {
				assert.equal(await page.evaluate(() => typeof crypto.subtle), 'undefined');
				await page.click('button.door');
				await until('the door is open', () => world.open('web').length, 10000);
			});
			world.close('web');
		});

		test('installed, it opens without its server', async () => {
			const gone = await serve();
			const url = `http://localhost:${gone.address().port}/knock.html`;
			await show(url, async page => {
				assert.equal(await page.evaluate(async () => {
					const { active, installing, waiting } = await navigator.serviceWorker.ready;
					return (active ?? waiting ?? installing).scriptURL;
				}), new URL('knock-worker.js', url).href);
				const manifest = await page.$eval('link[rel=manifest]', node => node.href);
				assert.equal(JSON.parse(fs.readFileSync(path.join(path.dirname(PAGE), path.basename(manifest)))).start_url, 'knock.html');
				gone.closeAllConnections();
				await new Promise(resolve => gone.close(resolve));
				await page.reload();
				assert.notEqual(await text(page, '#time'), '');
			});
		});

		test('axe finds nothing', async () => {
			const axe = fs.readFileSync(AXE, 'utf8');
			for (const scheme of [ 'light', 'dark' ])
				for (const line of [ '', world.profile(1, 'both'), 'ketuk://home.example.org/ssh?key=AAAA' ])
					await show(fromFile(line), async page => {
						if (name == 'chromium')
							await page.emulateMediaFeatures([ { name: 'prefers-color-scheme', value: scheme } ]);
						await page.$$eval('details', nodes => nodes.forEach(node => { node.open = true; }));
						await page.evaluate(axe);
						const { violations } = await page.evaluate(() => window.axe.run());
						assert.deepEqual(violations.map(({ id, nodes }) => [ id, nodes.map(({ html }) => html) ]), []);
					});
		});

		test('fits a phone of 320 pixels, and is pressed with a thumb', async () => {
			await restart();
			await show(fromFile(world.profile(user++ % USERS, 'both')), async page => {
				await page.setViewport({ width: 320, height: 640 });
				await page.$$eval('details', nodes => nodes.forEach(node => { node.open = true; }));
				assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
				const sizes = await page.$$eval('button, summary', nodes => nodes.map(node => [ node.textContent, node.getBoundingClientRect().height ]));
				/* What is hidden has none. */
				assert.deepEqual(sizes.filter(([ , height ]) => height > 0 && height < 48), []);
				/* By the keyboard alone. */
				await page.focus('button.door');
				await page.keyboard.press('Enter');
				await until('it knocks', async () => await text(page, '.state') != '');
				/* At the second try, if the first comes to nothing. */
				await until('the door is open', () => world.open('web').length, 50000);
			});
			world.close('web');
		});

		test('300 ms there and back, and 5 % of it lost', { skip: ROUNDS < 20 && 'only with many rounds' }, async () => {
			world.firewall('drop');
			await world.spoil(300, 5);
			try {
				let opened = 0;
				for (let round = 0; round < 20; round++)
					opened += await opens('both') ? 1 : 0;
				console.log(`# ${name}: ${opened} of 20 over a bad line`);
				assert.ok(opened >= 18, `${opened} of 20\n${world.log}`);
			} finally {
				await world.spoil(0, 0);
			}
		});
	});
