/* One press of a door's button: knocks now, and once more in a while, in case a knock got lost. */
import { isBlocked, knock, PAUSE_MS, sleep, SLOW_PAUSE_MS } from './knock.js';
import { sequence, windowOf, WINDOW_S } from './sequence.js';

/* Least time between the two tries, in milliseconds. A plain sequence is tried again after it. */
const AGAIN_MS = 6000;
/* A second try that comes later than this, in milliseconds, is left out: the phone has slept meanwhile. */
const TOO_LATE_MS = 5000;

/* The reason why the page cannot knock at a door: the key of a text, and the text's argument. Null if it can. */
export function obstacle(profile) {
	if (profile.secret == null && profile.sequence == null)
		return [ 'needsPacket' ];
	if (profile.secret == null) {
		if (profile.sequence.some(({ udp }) => udp))
			return [ 'needsUdp' ];
		const blocked = profile.sequence.find(({ port }) => isBlocked(port));
		if (blocked)
			return [ 'blocked', blocked.port ];
	}
	return null;
}

/* The ports to knock at now. */
function ports(profile, door) {
	return profile.secret == null
		? profile.sequence.map(({ port }) => port)
		: sequence(profile.secret, door.name, windowOf(Date.now()), profile.range);
}

/* The time of the second try, in milliseconds since 1970: in the next window, in which the sequence is another. */
function again_ms(profile) {
	const soon = Date.now() + AGAIN_MS;

	return profile.secret == null ? soon : Math.max(soon, (windowOf(Date.now()) + 1) * WINDOW_S * 1000);
}

/* Opens a door. Calls `told` with each event: `knocking`, with the number of the knock and of all knocks; `knocked` and
   when the next try is due; `done`. Throws when `signal` aborts. */
export async function open(profile, door, signal, told) {
	for (const pause_ms of [ PAUSE_MS, SLOW_PAUSE_MS ]) {
		const steps = ports(profile, door);
		const blocked = steps.find(isBlocked);
		if (blocked)
			return told('blocked', blocked);
		const due_ms = again_ms(profile);
		await knock(profile.host, steps, pause_ms, signal, at => told('knocking', at, steps.length));
		if (pause_ms == SLOW_PAUSE_MS)
			break;
		told('knocked', due_ms);
		await sleep(due_ms - Date.now(), signal);
		if (Date.now() > due_ms + TOO_LATE_MS)
			return told('stopped');
	}
	told('done');
}

/* The next step after the door is open: a link or a text. */
export function next({ host }, { port }) {
	if (port == null)
		return { say: [ 'connect', host ] };
	if (port == 22)
		return { say: [ 'ssh', host ] };
	if ([ 443, 8443, 4443, 9443, 10443 ].includes(port))
		return { url: new URL(`https://${host}:${port}/`).href };
	if ([ 80, 8000, 8080, 8081, 8123, 8888 ].includes(port))
		return { url: new URL(`http://${host}:${port}/`).href };
	return { say: [ 'port', host, port ] };
}
