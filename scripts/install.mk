# make install     programs, unit, examples, documents, and the knock page if it was made, below PREFIX (/usr/local) and DESTDIR; BIN is where the programs are
# make uninstall   takes them away again; the configuration stays
# make deb         dist/ketuk_*.deb for this machine
# make dist        dist/ketuk-VERSION.tar.gz, the source of the last commit

PREFIX = /usr/local
SYSCONFDIR = /etc
BIN = target/release
INSTALLED = $(DESTDIR)$(PREFIX)
DOC = $(INSTALLED)/share/doc/ketuk
UNIT = $(INSTALLED)/lib/systemd/system/ketukd.service
PAGE = $(INSTALLED)/share/ketuk/page
DIST = dist
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

.PHONY: install uninstall deb dist

install:
	@[ -x $(BIN)/ketukd ] && [ -x $(BIN)/ketuk ] && [ -x $(BIN)/ketuk-import ] || $(MAKE) all
	install -D -m 755 $(BIN)/ketukd $(INSTALLED)/sbin/ketukd
	install -D -m 755 $(BIN)/ketuk-import $(INSTALLED)/sbin/ketuk-import
	install -D -m 755 $(BIN)/ketuk $(INSTALLED)/bin/ketuk
	install -d $(dir $(UNIT)) $(DOC)/examples
	sed 's|/usr/sbin/|$(PREFIX)/sbin/|' packaging/ketukd.service >$(UNIT)
	chmod 644 $(UNIT)
	install -m 644 README.md CHANGELOG.md LICENSE LICENSE-MIT LICENSE-APACHE docs/*.md $(DOC)
	install -m 644 uci/examples/*.uci $(DOC)/examples
	[ ! -e target/page/knock.html ] || { install -d $(PAGE) && install -m 644 target/page/* $(PAGE); }
	install -d $(DOC)/examples/fail2ban
	install -m 644 packaging/fail2ban/*.conf $(DOC)/examples/fail2ban
	[ -e $(DESTDIR)$(SYSCONFDIR)/config/ketuk ] || install -D -m 600 packaging/ketuk.host $(DESTDIR)$(SYSCONFDIR)/config/ketuk

uninstall:
	rm -f $(INSTALLED)/sbin/ketukd $(INSTALLED)/sbin/ketuk-import $(INSTALLED)/bin/ketuk $(UNIT)
	rm -rf $(DOC) $(PAGE)
	@[ ! -e $(DESTDIR)$(SYSCONFDIR)/config/ketuk ] || echo "$(DESTDIR)$(SYSCONFDIR)/config/ketuk stays"

# The knock page comes with it where npm is installed, which can make it.
NPM = $(shell command -v npm)

deb: $(if $(NPM),page)
	@[ -n "$(NPM)" ] || echo "without the knock page: npm, which makes it, is not installed"
	@scripts/need.sh cc=gcc python3=python3 dpkg-deb=dpkg
	@$(CARGO) --version
	@[ -x target/release/ketuk-import ] || echo "building ketukd and ketuk: about 2 minutes the first time"
	@$(CARGO) build --release
	@packaging/pack.py --native target/release

dist:
	@mkdir -p $(DIST)
	git archive --format=tar.gz --prefix=ketuk-$(VERSION)/ -o $(DIST)/ketuk-$(VERSION).tar.gz HEAD
