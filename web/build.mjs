/* Builds the page. knock.html contains everything that it needs. usage: node build.mjs DIRECTORY

   Beside it are the files that only an installed page needs, which must lie on the same https host. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url));
const to = process.argv[2];
const read = name => fs.readFileSync(path.join(here, name));
const hash = text => createHash('sha256').update(text).digest('base64');

if (to == null) {
	console.error('usage: node build.mjs DIRECTORY');
	process.exit(2);
}

async function bundle(name) {
	const { outputFiles: [ file ] } = await build({
		entryPoints: [ path.join(here, 'src', name) ], bundle: true, minify: true, write: false, format: 'iife', target: 'es2021', charset: 'utf8', legalComments: 'inline'
	});

	/* The end tag of the element around the text. */
	if (/<\/(script|style)/i.test(file.text))
		throw new Error(`${name} would end its own element`);

	return file.text;
}

const [ script, style ] = await Promise.all([ bundle('main.js'), bundle('style.css') ]);
/* The licences of the libraries in the page require their notices. */
const licences = [ '@noble/hashes', '@scure/base' ].map(name => `${name}\n${read(`node_modules/${name}/LICENSE`).toString().trim()}`).join('\n\n');
if (licences.includes('--'))
	throw new Error('a licence would end its comment');

const values = {
	SCRIPT: script, SCRIPT_HASH: hash(script), STYLE: style, STYLE_HASH: hash(style),
	LICENCES: licences, ICON: encodeURIComponent(read('icon.svg').toString().trim()), PNG: read('knock-192.png').toString('base64')
};
const fill = (text, known) => text.replace(/@([A-Z_]+)@/g, (_, name) => known[name]);
const page = fill(read('knock.html.in').toString(), values);

fs.mkdirSync(to, { recursive: true });
fs.writeFileSync(path.join(to, 'knock.html'), page);
fs.writeFileSync(path.join(to, 'knock-worker.js'), fill(read('knock-worker.js').toString(), { HASH: hash(page).replace(/\W/g, '').slice(0, 16) }));
for (const name of [ 'knock.webmanifest', 'knock-192.png', 'knock-512.png' ])
	fs.copyFileSync(path.join(here, name), path.join(to, name));
console.log(`${path.join(to, 'knock.html')}: ${page.length} bytes`);
