/* A headless Chromium, and functions that use LuCI's fields as a person does. They work with LuCI and with its stand-in. */
import { chromium } from 'playwright-core';
import { luci } from './router.mjs';

export async function launch() {
	return chromium.launch({
		executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
		args: [ '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync' ]
	});
}

export class Person {
	constructor(page, router) {
		Object.assign(this, { page, router });
		this.errors = [];
		this.refused = [];
		page.on('pageerror', error => this.errors.push(error));
		page.setDefaultTimeout(10000);
	}

	async goto(view) {
		await this.page.goto(`${this.router.url}/page/${view}`);
		await this.page.waitForSelector(view == 'overview' ? '#view[data-ready]' : '#view h2', { state: view == 'overview' ? 'attached' : 'visible' });
	}

	modal() {
		return this.page.locator('#modal_overlay .modal');
	}

	field(sid, name) {
		return this.page.locator(`[data-field="cbid.ketuk.${sid}.${name}"]`).last();
	}

	/* Brings a field's tab to the front, if there are tabs. */
	async show(sid, name) {
		const field = this.field(sid, name);
		const tab = await field.evaluate(node => node.closest('[data-tab][data-tab-active="false"]')?.getAttribute('data-tab') ?? null);

		if (tab != null)
			await this.page.locator(`ul.cbi-tabmenu li[data-tab="${tab}"] a`).last().click();

		return field;
	}

	async fill(sid, name, value) {
		const input = (await this.show(sid, name)).locator('input[type="text"], input:not([type]), textarea').first();
		await input.fill(value);
		await input.press('End');
		await input.blur();
	}

	async select(sid, name, value) {
		const field = await this.show(sid, name);
		await field.locator('select').selectOption(value);
	}

	async check(sid, name, on) {
		await (await this.show(sid, name)).locator('input[type="checkbox"]').setChecked(on, { force: true });
	}

	async press(sid, name) {
		await (await this.show(sid, name)).locator('button').click();
	}

	/* Types an item into a list and adds it. A refused item stays in the input. */
	async add(sid, name, value) {
		const field = await this.show(sid, name);
		const choices = field.locator('.add-item .cbi-dropdown');

		if (await choices.count()) {
			await choices.click();
			const input = choices.locator('.create-item-input:visible');
			await input.fill(value);
			await input.press('Enter');
			return;
		}

		const input = field.locator('.add-item input');
		await input.fill('');
		await input.pressSequentially(value);
		await input.press('Enter');
	}

	async items(sid, name) {
		return this.field(sid, name).locator('.item > input[type="hidden"]').evaluateAll(nodes => nodes.map(node => node.value));
	}

	async clear(sid, name) {
		await this.field(sid, name).evaluate(node => {
			(node.widget ?? L.dom.findClassInstance(node.querySelector('.cbi-dynlist'))).setValue([]);
		});
	}

	/* Chooses in a list of boxes. */
	async choose(sid, name, value) {
		const box = (await this.show(sid, name)).locator('.cbi-dropdown');
		await box.click();
		await box.locator(`ul.dropdown li[data-value="${value}"]`).last().click();
		await this.modal().locator('h4').click();
	}

	async newSection(type, name) {
		const create = this.page.locator(`#cbi-ketuk-${type} .cbi-section-create`);
		await create.locator('input').fill('');
		await create.locator('input').pressSequentially(name);
		await create.locator('button').click();
	}

	async edit(sid) {
		await this.page.locator(`tr[data-sid="${sid}"] .cbi-button-edit`).click();
		await this.modal().waitFor();
	}

	/* Saves the dialog. Returns null if it closed, else its complaint. */
	async saveDialog() {
		await this.page.evaluate(() => { document.querySelector('.ketuk-complaint')?.remove(); });
		await this.modal().locator('.cbi-button-positive').click();
		await this.page.waitForFunction(() => !document.body.classList.contains('modal-overlay-active') || document.querySelector('.ketuk-complaint'));

		return await this.page.locator('.ketuk-complaint').count() ? this.page.locator('.ketuk-complaint').innerText() : null;
	}

	async dismiss() {
		await this.modal().locator('button', { hasText: 'Dismiss' }).click();
		await this.page.waitForFunction(() => !document.body.classList.contains('modal-overlay-active'));
	}

	async saveAndApply() {
		const before = this.router.applied ?? 0;
		await this.page.locator('.cbi-page-actions .cbi-button-apply').first().click();
		const loaded = luci ? this.page.waitForEvent('load') : null;
		await this.until(() => (this.router.applied ?? 0) > before);
		/* LuCI shows the page again. */
		await loaded;
		await this.page.locator('#view h2').first().waitFor();
	}

	async until(condition, what = String(condition)) {
		const end = Date.now() + 10000;
		while (!await condition()) {
			if (Date.now() > end)
				throw new Error(`waited 10 s in vain for ${what}`);
			await new Promise(resolve => setTimeout(resolve, 20));
		}
	}

	texts(selector) {
		return this.page.locator(selector).allInnerTexts();
	}
}

export const what = luci ? `LuCI at ${luci}, a stand-in for the router` : 'stand-ins for LuCI and for the router';
