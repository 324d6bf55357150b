/* Changing sequences (docs/protocol.md, "Changing sequences"). The library computes the MAC, because browsers
   have no crypto.subtle on a page that came over plain http, as from the router itself. */
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';

export const WINDOW_S = 30;
export const STEPS = 4;

/* The window that a moment lies in, given in milliseconds since 1970. */
export function windowOf(time_ms) {
	return Math.floor(time_ms / 1000 / WINDOW_S);
}

/* The four ports to knock at, in order. */
export function sequence(secret, door, window, { first, last }) {
	const size = last - first + 1;
	const fair = 65536 - 65536 % size;
	const name = new TextEncoder().encode(door);
	const message = new Uint8Array(9 + name.length);
	const ports = [];

	new DataView(message.buffer).setBigUint64(0, BigInt(window));
	message.set(name, 9);
	for (let block = 0; block < 256; block++) {
		message[8] = block;
		const mac = new DataView(hmac(sha256, secret, message).buffer);
		for (let at = 0; at < mac.byteLength; at += 2) {
			const number = mac.getUint16(at);
			const port = first + number % size;
			if (number >= fair || ports.includes(port))
				continue;
			ports.push(port);
			if (ports.length == STEPS)
				return ports;
		}
	}
	throw new Error('4,096 numbers of which half are passed over');
}
