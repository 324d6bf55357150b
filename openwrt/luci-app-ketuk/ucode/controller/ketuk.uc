// The address that the browser comes from: only the web server knows it.

'use strict';

return {
	address: function() {
		// An IPv4 browser on an IPv6 socket is still an IPv4 browser.
		const address = replace(http.getenv('REMOTE_ADDR') ?? '', /^::ffff:/, '');

		http.prepare_content('application/json');
		http.write_json({ address });
	}
};
