/* Knocks: a browser that has to fetch https://HOST:PORT/ sends a SYN to that port at once. */

/* Time from one knock to the next, in milliseconds. Chromium and Firefox connect a second time after 250 to 300 ms
   without an answer, over the other family if the name has both. The next knock must not overtake this second SYN. */
export const PAUSE_MS = 400;
/* The same for the second try. It is longer than one second, after which the system sends a lost SYN again. */
export const SLOW_PAUSE_MS = 1300;

/* The ports that a browser refuses to connect to: "bad ports" of the Fetch standard. */
const BLOCKED = new Set([
	1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
	111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540,
	548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566,
	6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080
]);

export function isBlocked(port) {
	return BLOCKED.has(port);
}

/* Waits, or throws when `signal` aborts. */
export function sleep(ms, signal) {
	return new Promise((resolve, reject) => {
		const timer = setTimeout(done, Math.max(0, ms));

		function done() {
			clearTimeout(timer);
			signal.removeEventListener('abort', done);
			if (signal.aborted)
				reject(signal.reason);
			else
				resolve();
		}

		signal.addEventListener('abort', done);
		if (signal.aborted)
			done();
	});
}

/* Knocks at the ports in order. Calls `told` with the number of each knock, from 1. The answer does
   not matter, because the SYN has been sent before it. */
export async function knock(host, ports, pause_ms, signal, told) {
	for (const [ at, port ] of ports.entries()) {
		const connection = new AbortController();
		told(at + 1);
		fetch(`https://${host}:${port}/`, {
			mode: 'no-cors', cache: 'no-store', credentials: 'omit', referrerPolicy: 'no-referrer', signal: connection.signal
		}).catch(() => {});
		try {
			await sleep(pause_ms, signal);
		} finally {
			connection.abort();
		}
	}
}
