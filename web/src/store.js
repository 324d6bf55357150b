/* The profiles that this browser keeps: their lines are in localStorage. A browser may forbid this, or delete them. */
import { parse } from './profile.js';

const KEY = 'ketuk.profiles';

export function load() {
	try {
		return JSON.parse(localStorage.getItem(KEY) ?? '[]').flatMap(line => {
			try {
				return [ parse(line) ];
			} catch {
				return [];
			}
		});
	} catch {
		return [];
	}
}

/* Returns whether the browser has kept them. */
export function save(profiles) {
	try {
		if (profiles.length)
			localStorage.setItem(KEY, JSON.stringify(profiles.map(profile => profile.line)));
		else
			localStorage.removeItem(KEY);
		return true;
	} catch {
		return false;
	}
}

/* The chosen language, or null. */
export function language(chosen) {
	try {
		if (chosen)
			localStorage.setItem('ketuk.language', chosen);
		return localStorage.getItem('ketuk.language');
	} catch {
		return null;
	}
}
