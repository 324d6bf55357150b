/*
 * The texts to translate. `messages.mjs` writes po/templates/ketuk.pot anew. `messages.mjs --check` checks that it has the texts
 * of the pages, and that every translation is complete.
 */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const app = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../openwrt/luci-app-ketuk');
const template = path.join(app, 'po/templates/ketuk.pot');
const places = new Map();

const note = (text, place) => places.set(text, [ ...places.get(text) ?? [], place ]);

for (const name of fs.readdirSync(path.join(app, 'htdocs'), { recursive: true }).filter(name => name.endsWith('.js')).sort())
	fs.readFileSync(path.join(app, 'htdocs', name), 'utf8').split('\n').forEach((line, n) => {
		for (const [ , text ] of line.matchAll(/\b_\('((?:[^'\\]|\\.)*)'\)/g))
			note(text.replace(/\\(.)/g, '$1'), `htdocs/${name}:${n + 1}`);
	});
for (const node of Object.values(JSON.parse(fs.readFileSync(path.join(app, 'root/usr/share/luci/menu.d/luci-app-ketuk.json')))))
	if (node.title)
		note(node.title, 'root/usr/share/luci/menu.d/luci-app-ketuk.json');
for (const group of Object.values(JSON.parse(fs.readFileSync(path.join(app, 'root/usr/share/rpcd/acl.d/luci-app-ketuk.json')))))
	note(group.description, 'root/usr/share/rpcd/acl.d/luci-app-ketuk.json');

const quoted = text => JSON.stringify(text);
const pot = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"\n' + [ ...places ].sort(([ a ], [ b ]) => a < b ? -1 : 1)
	.map(([ text, where ]) => `\n${where.map(place => `#: ${place}\n`).join('')}msgid ${quoted(text)}\nmsgstr ""\n`).join('');

if (!process.argv.includes('--check')) {
	fs.writeFileSync(template, pot);
	console.log(`${places.size} texts`);
	process.exit(0);
}

const problems = [];
/* Line numbers change with every edit, so they are not compared. */
const bare = text => text.replace(/^#:.*\n/gm, '');

if (bare(fs.readFileSync(template, 'utf8')) != bare(pot))
	problems.push('po/templates/ketuk.pot is not what the pages have: run node tests/luci/messages.mjs');

for (const language of fs.readdirSync(path.join(app, 'po')).filter(name => name != 'templates')) {
	const po = fs.readFileSync(path.join(app, 'po', language, 'ketuk.po'), 'utf8');
	const translated = new Map([ ...po.matchAll(/^msgid (".*")\nmsgstr (".*")$/gm) ].map(([ , id, text ]) => [ JSON.parse(id), JSON.parse(text) ]));
	const holes = text => (text.match(/%[sd]/g) ?? []).sort().join();

	for (const text of places.keys())
		if (!translated.get(text))
			problems.push(`${language}: not translated: ${text}`);
		else if (holes(text) != holes(translated.get(text)))
			problems.push(`${language}: other % than in: ${text}`);
	for (const text of translated.keys())
		if (text != '' && !places.has(text))
			problems.push(`${language}: nothing says any more: ${text}`);
}

problems.forEach(problem => console.error(problem));
process.exit(problems.length ? 1 : 0);
