//! Loading and unloading of the chains, without a daemon.

use ketuk::config;
use ketuk::firewall::iptables::Iptables;
use ketuk::firewall::own::Plan;
use ketuk::firewall::own_chain::{self, OwnChains};
use nix::sys::signal::Signal;

use super::support::host::Host;
use super::support::{is_root_of_the_machine, ketukd};
use super::{DOORS, rules, start, without_nf_tables, world};

#[test]
fn removing_the_package_takes_the_chains_away() {
    let world = world();
    let before = rules(&world);
    start(&world, DOORS).end(Signal::SIGTERM);
    assert_ne!(rules(&world), before);
    let programs = world.scratch.path("bin");
    std::fs::create_dir(&programs).expect("a folder");
    let programs = programs.to_str().expect("a plain path").to_owned();
    // The script must not reach a service of this machine.
    world.router.shell(&format!(
        "cd {programs}; printf '#!/bin/sh\n' >systemctl
         printf '#!/bin/sh\n[ $1 = unload ] && exec {} unload\n' >ketukd; chmod +x ketukd systemctl",
        ketukd().display()
    ));
    let prerm = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/debian/prerm");
    let line = format!("PATH={programs}:$PATH; exec sh {prerm} remove");
    let mut words = without_nf_tables();
    words.extend(["sh", "-c", &line]);
    world.router.stdout(words[0], &words[1..]);
    assert_eq!(rules(&world), before);
}

/// Both kinds of iptables accept the daemon's rules for doors of every kind.
#[test]
fn both_kinds_of_iptables_load_and_unload_the_chains() {
    const ALL: &str = "
config door 'one'
	option dest_port '22'
config door 'many'
	option proto 'tcp'
	list dest_port '1-5'
	list dest_port '80'
config door 'nas'
	option src_dport '8443'
	list dest_ip '192.168.1.10'
	list dest_ip '2001:db8:2::10'
	option dest_port '443'
config user 'any'
	option fwknop_key 'YSBzZWNyZXQgdGhhdCBpcyBsb25nIGVub3VnaA=='
	option fwknop_hmac_key 'YW5vdGhlciBzZWNyZXQgdGhhdCBpcyBsb25n'
	list door 'asked'
config door 'asked'
	option any_port '1'
";
    let config = config::parse("test", ALL.as_bytes()).expect("a configuration");
    let doors: Vec<_> = config.doors.iter().collect();
    for kind in ["", "-legacy"] {
        if !kind.is_empty()
            && !is_root_of_the_machine("iptables-legacy in the test's own process, for want of its lock")
        {
            continue;
        }
        let host = Host::new("host");
        let iptables = Iptables {
            ipv4: format!("iptables{kind}"),
            ipv6: format!("ip6tables{kind}"),
            ..Iptables::default()
        };
        let listed = || host.shell(&format!("iptables{kind} -w -S; ip6tables{kind} -w -S"));
        let before = listed();
        let devices = ["wan0".to_owned(), "ppp0".to_owned()];
        let plan = Plan { doors: &doors, shut: Some(&devices) };
        host.enter(|| {
            let mut chains = OwnChains::new(&iptables);
            for _ in 0..2 {
                chains.load(&plan).unwrap_or_else(|fault| panic!("{fault}"));
                assert!(chains.is_intact());
            }
        });
        let loaded = listed();
        assert_eq!(loaded.matches("-A INPUT -j ketuk_input\n").count(), 2, "{loaded}");
        assert!(loaded.contains("--ctorigdstport 1:5"), "{loaded}");
        host.enter(|| own_chain::unload().unwrap_or_else(|fault| panic!("{fault}")));
        assert_eq!(listed(), before);
    }
}
