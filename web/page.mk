# make page          builds the knock page: target/page/knock.html, the other files of an installed page, and a copy for the LuCI
#                    package, which puts it at /ketuk/ on the router
# make test-page     tries the page in Debian's Chromium and Firefox, against ketukd in network namespaces
# make test-page-all tries every firewall and family 20 times, and over a bad line
# make lint-page     runs ESLint

.PHONY: page test-page test-page-all lint-page

PAGE_TESTS = tests/page

page: target/page/knock.html

target/page/knock.html: web/node_modules/.package-lock.json $(wildcard web/src/*) $(wildcard web/knock*) web/build.mjs web/icon.svg
	node web/build.mjs target/page
	install -D -m 644 $@ openwrt/luci-app-ketuk/htdocs/ketuk/index.html

web/node_modules/.package-lock.json: web/package-lock.json
	@scripts/need.sh node=nodejs npm=npm
	cd web && npm ci --no-audit --no-fund
	@touch $@

# This is the debug build of the other tests.
test-page: page $(PAGE_TESTS)/node_modules/.package-lock.json
	@scripts/need.sh /usr/bin/chromium=chromium /usr/bin/firefox-esr=firefox-esr ip=iproute2 nft=nftables unshare=util-linux python3=python3
	@$(CARGO) build --quiet
	scripts/root.sh $(PAGE_TESTS)/run.sh node --test $(PAGE_TESTS)/page.test.mjs

test-page-all: export KETUK_ROUNDS = 20
test-page-all: test-page

$(PAGE_TESTS)/node_modules/.package-lock.json: $(PAGE_TESTS)/package-lock.json
	@scripts/need.sh node=nodejs npm=npm
	cd $(PAGE_TESTS) && npm ci --no-audit --no-fund
	@touch $@

lint-page: tests/luci/node_modules/.package-lock.json
	tests/luci/node_modules/.bin/eslint --config tests/luci/eslint.config.mjs 'web/*.js' 'web/*.mjs' 'web/src/*.js' '$(PAGE_TESTS)/*.mjs'
