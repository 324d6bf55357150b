/* Debian's Chromium and Firefox, both driven over WebDriver BiDi. */
import fs from 'node:fs';
import puppeteer from 'puppeteer-core';

export const BROWSERS = {
	chromium: {
		browser: 'chrome', executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
		args: [ '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync' ]
	},
	firefox: {
		browser: 'firefox', executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
		/* Firefox itself asks some servers. These requests are not the page's. */
		extraPrefsFirefox: { 'network.captive-portal-service.enabled': false, 'network.connectivity-service.enabled': false }
	}
};

export async function launch(name) {
	const { executablePath } = BROWSERS[name];

	if (!fs.existsSync(executablePath))
		throw new Error(`${executablePath} is missing: 'make test-page' installs it`);

	return puppeteer.launch({ ...BROWSERS[name], headless: true, protocol: 'webDriverBiDi' });
}
