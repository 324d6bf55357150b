/* The service worker of the installed page. It keeps the page's own files, so that the page opens without a network. Knocks go to
   other hosts, and the worker does not touch them. */
const CACHE = 'ketuk-@HASH@';
const FILES = [ 'knock.html', 'knock.webmanifest', 'knock-192.png', 'knock-512.png' ];

self.addEventListener('install', event => {
	event.waitUntil(caches.open(CACHE).then(cache => cache.addAll(FILES)).then(() => self.skipWaiting()));
});

self.addEventListener('activate', event => {
	event.waitUntil(caches.keys()
		.then(names => Promise.all(names.filter(name => name.startsWith('ketuk-') && name != CACHE).map(name => caches.delete(name))))
		.then(() => self.clients.claim()));
});

self.addEventListener('fetch', event => {
	const { request } = event;

	if (request.method != 'GET' || new URL(request.url).origin != location.origin)
		return;
	event.respondWith(caches.match(request, { ignoreSearch: true }).then(kept => kept ?? fetch(request)));
});
