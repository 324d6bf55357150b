# make test-ansible    tries the Ansible role on a new Debian, over ssh, and OpenWrt's tasks with stand-ins
# make test-openwisp   has netjsonconfig (from PyPI, in target/netjsonconfig) render the OpenWISP template, and checks the result

.PHONY: test-ansible test-openwisp

test-ansible: deb
	tests/ansible.sh "$$(ls -t $(DIST)/ketuk_*.deb | head -1)"

test-openwisp:
	@scripts/need.sh cc=gcc python3=python3 /usr/lib/python3*/ensurepip=python3-venv
	$(CARGO) build
	[ -x target/netjsonconfig/bin/python ] || python3 -m venv target/netjsonconfig
	target/netjsonconfig/bin/pip -q install netjsonconfig
	target/netjsonconfig/bin/python tests/openwisp.py target/debug/ketukd
