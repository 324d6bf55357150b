/* The knock page: shows the doors of the profiles, and knocks when a button is pressed. */
import { next, obstacle, open } from './attempt.js';
import { fromFragment, parse, ProfileError } from './profile.js';
import * as store from './store.js';
import { choose, TEXTS } from './texts.js';

const at = id => document.getElementById(id);
/* The kept profiles, the offered one, the problem with the last one, and the controller that stops the running knock. */
let texts, profiles, offered = null, problem = null, stopAll = new AbortController();

/* An element with properties and children. A text is never read as HTML. */
function element(name, properties = {}, ...children) {
	const made = Object.assign(document.createElement(name), properties);

	made.append(...children);

	return made;
}

/* Shows a text that screen readers read out. */
function say(text) {
	at('said').textContent = text;
}

/* A door: its button, its progress, and the next step. */
function doorCard(profile, door) {
	const button = element('button', { type: 'button', className: 'door', textContent: texts.open(door.name) });
	const bar = element('progress', { hidden: true, ariaLabel: texts.knocking });
	const state = element('p', { className: 'state' });
	const onward = element('p', { className: 'next' });
	const again = element('p', { className: 'again', hidden: true });
	const left = element('span');
	const stop = element('button', { type: 'button', textContent: texts.stop });
	let running = null, ticking = null;

	state.setAttribute('role', 'status');
	again.append(left, stop);

	function showNext() {
		const { url, say: what } = next(profile, door);

		onward.replaceChildren(url == null
			? texts[what[0]](...what.slice(1))
			: element('a', { href: url, target: '_blank', rel: 'noopener noreferrer', textContent: texts.go(url) }));
	}

	function quiet() {
		clearInterval(ticking);
		bar.hidden = again.hidden = true;
	}

	function told(what, ...values) {
		quiet();
		if (what == 'knocking') {
			const [ number, of ] = values;
			Object.assign(bar, { hidden: false, value: number, max: of, textContent: texts.progress(number, of) });
			if (number == 1)
				state.textContent = texts.knocking;
		} else if (what == 'knocked') {
			const tick = () => {
				left.textContent = texts.again(Math.max(0, Math.round((values[0] - Date.now()) / 1000)));
			};
			state.textContent = texts.knocked;
			again.hidden = false;
			tick();
			ticking = setInterval(tick, 1000);
			showNext();
		} else if (what == 'done') {
			state.textContent = texts.knockedTwice;
			at('wrong').open = true;
		} else if (what == 'blocked') {
			state.textContent = texts.blocked(...values);
		} else {
			state.textContent = texts[what];
		}
	}

	stop.addEventListener('click', () => {
		running?.abort();
		told('stopped');
		button.focus();
	});
	button.addEventListener('click', () => {
		running?.abort();
		const mine = running = new AbortController();
		stopAll.signal.addEventListener('abort', () => mine.abort());
		onward.replaceChildren();
		if (!navigator.onLine)
			return told('offline');
		open(profile, door, mine.signal, told).catch(() => {
			if (!mine.signal.aborted)
				told('failed');
		});
	});

	const why = obstacle(profile);
	if (why) {
		button.disabled = true;
		const [ key, ...about ] = why;
		state.textContent = about.length ? texts[key](...about) : texts[key];
	}

	return element('div', { className: 'card' }, button, bar, state, onward, again);
}

/* The buttons that keep or remove a profile. */
function keeping(profile) {
	const place = element('div', { className: 'keeping' });

	function show(text, ...buttons) {
		place.replaceChildren(element('p', { textContent: text }), ...buttons.map(([ label, pressed, className = '' ]) => {
			const button = element('button', { type: 'button', textContent: label, className });
			button.addEventListener('click', pressed);
			return button;
		}));
	}

	function remove() {
		profiles = profiles.filter(other => other.line != profile.line);
		store.save(profiles);
		if (offered?.line == profile.line)
			forgetFragment();
		render();
		say(texts.removed);
		at('title').focus();
	}

	function ask() {
		show(texts.removeAsk, [ texts.removeYes, remove, 'danger' ], [ texts.removeNo, kept ]);
		place.querySelector('button').focus();
	}

	function kept() {
		show(texts.kept, [ texts.remove, ask ]);
	}

	if (profiles.some(other => other.line == profile.line))
		kept();
	else
		show('', [ texts.keep, () => {
			profiles.push(profile);
			if (!store.save(profiles)) {
				profiles.pop();
				return say(texts.notKept);
			}
			forgetFragment();
			kept();
			say(texts.kept);
			place.querySelector('button').focus();
		} ]);

	return place;
}

/* Removes the secret from the address, and so from the browser's history, once it is kept or not wanted. */
function forgetFragment() {
	offered = null;
	if (location.hash)
		history.replaceState(null, '', location.pathname + location.search);
}

function section(profile, number) {
	const heading = element('h2', { id: `profile-${number}`, textContent: profile.host });
	const made = element('section', {}, heading);

	made.setAttribute('aria-labelledby', heading.id);
	if (profile.user != null)
		made.append(element('p', { className: 'as', textContent: texts.as(profile.user) }));
	made.append(...profile.doors.map(door => doorCard(profile, door)), keeping(profile));

	return made;
}

function render() {
	const shown = [ ...(offered && !profiles.some(({ line }) => line == offered.line) ? [ offered ] : []), ...profiles ];

	/* The new elements cannot show the end of an old try, so the old try is stopped. */
	stopAll.abort();
	stopAll = new AbortController();
	document.title = texts.title;
	for (const node of document.querySelectorAll('[data-text]'))
		node.textContent = texts[node.dataset.text];
	at('problem').textContent = problem == null ? '' : texts[problem];
	at('reasons').replaceChildren(...texts.reasons.map(textContent => element('li', { textContent })));
	at('empty').hidden = shown.length > 0;
	at('profiles').replaceChildren(...shown.map(section));
	at('add').open = shown.length == 0;
}

function speak(language) {
	texts = TEXTS[language];
	document.documentElement.lang = language;
	at('language').lang = language == 'en' ? 'id' : 'en';
}

/* Shows the profile that `read` finds, or the reason why it finds none. Returns whether it found one. */
function take(read) {
	problem = null;
	try {
		offered = read();
	} catch (error) {
		problem = error instanceof ProfileError ? error.code : 'failed';
	}
	render();

	return problem == null;
}

function tick() {
	at('time').textContent = new Date().toLocaleTimeString(document.documentElement.lang);
}

at('language').addEventListener('click', () => {
	const other = document.documentElement.lang == 'en' ? 'id' : 'en';
	store.language(other);
	speak(other);
	render();
	tick();
});
at('form').addEventListener('submit', event => {
	event.preventDefault();
	if (take(() => parse(at('line').value))) {
		at('line').value = '';
		at('profiles').querySelector('button').focus();
	} else {
		at('line').focus();
	}
});
addEventListener('hashchange', () => take(() => fromFragment(location.hash)));

speak(choose(store.language(), navigator.languages));
profiles = store.load();
take(() => fromFragment(location.hash));
tick();
setInterval(tick, 1000);

/* An installed page works without a network too. Service workers exist for https only, not for a file. */
if (isSecureContext && location.protocol.startsWith('http') && 'serviceWorker' in navigator) {
	document.head.append(element('link', { rel: 'manifest', href: 'knock.webmanifest' }));
	navigator.serviceWorker.register('knock-worker.js').catch(() => {});
}
