// The browser's address. Only the web server knows it.

'use strict';

return {
	address: function() {
		// On an IPv6 socket an IPv4 address is written as an IPv6 address.
		const address = replace(http.getenv('REMOTE_ADDR') ?? '', /^::ffff:/, '');

		http.prepare_content('application/json');
		http.write_json({ address });
	}
};
