# make install     installs programs, unit, manual pages, completion for shells, examples, documents, and the knock page if it was made,
#                  below PREFIX (/usr/local) and DESTDIR; BIN is the directory of the programs
# make uninstall   removes them; the configuration stays
# make deb         makes dist/ketuk_*.deb for this machine
# make dist        makes dist/ketuk-VERSION.tar.gz, the source of the last commit

PREFIX = /usr/local
SYSCONFDIR = /etc
BIN = target/release
INSTALLED = $(DESTDIR)$(PREFIX)
DOC = $(INSTALLED)/share/doc/ketuk
UNIT = $(INSTALLED)/lib/systemd/system/ketukd.service
PAGE = $(INSTALLED)/share/ketuk/page
MAN = $(INSTALLED)/share/man
BASH_DIR = $(INSTALLED)/share/bash-completion/completions
FISH_DIR = $(INSTALLED)/share/fish/vendor_completions.d
# Debian's zsh reads site-functions below /usr/local, and vendor-completions below /usr.
ZSH_DIR = $(INSTALLED)/share/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
COMPLETE = $(INSTALLED)/share/ketuk/complete
DIST = dist
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

.PHONY: install uninstall deb dist

install:
	@scripts/need.sh python3=python3
	@[ -x $(BIN)/ketukd ] && [ -x $(BIN)/ketuk ] && [ -x $(BIN)/ketuk-import ] || $(MAKE) all
	install -D -m 755 $(BIN)/ketukd $(INSTALLED)/sbin/ketukd
	install -D -m 755 $(BIN)/ketuk-import $(INSTALLED)/sbin/ketuk-import
	install -D -m 755 $(BIN)/ketuk $(INSTALLED)/bin/ketuk
	install -d $(dir $(UNIT)) $(DOC)/examples
	sed 's|/usr/sbin/|$(PREFIX)/sbin/|' packaging/ketukd.service >$(UNIT)
	chmod 644 $(UNIT)
	install -m 644 README.md CHANGELOG.md LICENSE LICENSE-MIT LICENSE-APACHE $(filter-out docs/README.md,$(wildcard docs/*.md)) $(DOC)
	install -m 644 uci/examples/*.uci $(DOC)/examples
	[ ! -e target/page/knock.html ] || { install -d $(PAGE) && install -m 644 target/page/* $(PAGE); }
	packaging/man.py $(MAN)
	install -D -m 755 packaging/completion/complete $(COMPLETE)
	install -d $(BASH_DIR) $(FISH_DIR) $(ZSH_DIR)
	sed 's|/usr/share/|$(PREFIX)/share/|' packaging/completion/ketuk.bash >$(BASH_DIR)/ketuk
	sed 's|/usr/share/|$(PREFIX)/share/|' packaging/completion/ketuk.fish >$(FISH_DIR)/ketuk.fish
	sed 's|/usr/share/|$(PREFIX)/share/|' packaging/completion/_ketuk >$(ZSH_DIR)/_ketuk
	chmod 644 $(BASH_DIR)/ketuk $(FISH_DIR)/ketuk.fish $(ZSH_DIR)/_ketuk
	ln -sf ketuk $(BASH_DIR)/ketukd
	ln -sf ketuk.fish $(FISH_DIR)/ketukd.fish
	install -d $(DOC)/id
	install -m 644 README.id.md docs/id/*.md $(DOC)/id
	install -d $(DOC)/examples/fail2ban $(DOC)/examples/fleet
	install -m 644 packaging/fail2ban/*.conf $(DOC)/examples/fail2ban
	install -m 644 packaging/fleet/* $(DOC)/examples/fleet
	[ -e $(DESTDIR)$(SYSCONFDIR)/config/ketuk ] || install -D -m 600 packaging/ketuk.host $(DESTDIR)$(SYSCONFDIR)/config/ketuk

uninstall:
	rm -f $(INSTALLED)/sbin/ketukd $(INSTALLED)/sbin/ketuk-import $(INSTALLED)/bin/ketuk $(UNIT)
	rm -f $(MAN)/man1/ketuk.1.gz $(MAN)/man5/ketuk.5.gz $(MAN)/man8/ketukd.8.gz
	rm -f $(COMPLETE) $(BASH_DIR)/ketuk $(BASH_DIR)/ketukd $(FISH_DIR)/ketuk.fish $(FISH_DIR)/ketukd.fish $(ZSH_DIR)/_ketuk
	rm -rf $(DOC) $(PAGE)
	@[ ! -e $(DESTDIR)$(SYSCONFDIR)/config/ketuk ] || echo "$(DESTDIR)$(SYSCONFDIR)/config/ketuk stays"

# If npm is installed, the package also contains the knock page.
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
