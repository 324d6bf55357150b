# make test-luci     tries the router's pages in headless Chromium, with the real ketukd and a stand-in for LuCI;
#                    with LUCI=DIRECTORY it uses the modules of a checkout of LuCI
# make pictures-luci LUCI=DIRECTORY   makes the pictures of docs/luci.md
# make lint-luci     runs ESLint with LuCI's rules, and checks the translations

.PHONY: test-luci pictures-luci lint-luci

LUCI_TESTS = tests/luci

# This is the debug build of the other tests.
test-luci: $(LUCI_TESTS)/node_modules/.package-lock.json
	@scripts/need.sh /usr/bin/chromium=chromium
	@$(CARGO) build --quiet
	cd $(LUCI_TESTS) && KETUKD=$(abspath target/debug/ketukd) node --test pages.test.mjs

pictures-luci: $(LUCI_TESTS)/node_modules/.package-lock.json
	@$(CARGO) build --quiet
	cd $(LUCI_TESTS) && KETUKD=$(abspath target/debug/ketukd) node pictures.mjs

lint-luci: $(LUCI_TESTS)/node_modules/.package-lock.json
	$(LUCI_TESTS)/node_modules/.bin/eslint --config $(LUCI_TESTS)/eslint.config.mjs openwrt/luci-app-ketuk/htdocs '$(LUCI_TESTS)/*.js' '$(LUCI_TESTS)/*.mjs'
	node $(LUCI_TESTS)/messages.mjs --check

$(LUCI_TESTS)/node_modules/.package-lock.json: $(LUCI_TESTS)/package-lock.json
	@scripts/need.sh node=nodejs npm=npm
	cd $(LUCI_TESTS) && npm ci --no-audit --no-fund
	@touch $@
