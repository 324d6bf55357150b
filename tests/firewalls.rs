//! Backend `own` beside other firewalls, ufw and firewalld, which their own programs set up. The door is the one of the guides
//! to knockd, imported without a change.
#![cfg(all(target_os = "linux", feature = "import"))]

mod support;

use std::path::Path;

use support::daemon::Daemon;
use support::tutorial::{self, TIMED, Way, imported};
use support::{CLIENT, OWN_RUN, ROUTER, ROUTER_6, World, wait_until};

const SSH: Way = Way { knocked: ROUTER, address: ROUTER, port: 22 };
const SSH_6: Way = Way { knocked: ROUTER_6, address: ROUTER_6, port: 22 };

/// A second door.
const ALT: &str = "
config door 'alt'
	list sequence '7100'
	option proto 'tcp'
	option dest_port '2222'
	option open_time '60'
";

fn world() -> World {
    let world = World::new();
    for port in [22, 2222] {
        world.router.serve(port);
        for address in [ROUTER, ROUTER_6] {
            wait_until("the hosts reach each other", || world.client.greeted_by(address, port).is_some());
        }
    }
    world
}

fn start(world: &World) -> Daemon<'_> {
    tutorial::start(world, &(imported(world, TIMED) + ALT))
}

/// The doors that the daemon names as kept shut by the host's firewall.
const BLOCKED: &str = "door 'ssh': tcp port 22 stays shut on wan0 even after a knock";

/// The firewall lets nobody in at port 22, and the daemon says so with advice. `heed` does what the advice says. Then the door
/// works as it does without another firewall.
fn a_door_beside(world: &World, daemon: &Daemon<'_>, advice: &str, heed: &dyn Fn()) {
    daemon.wait_for_log(BLOCKED);
    let log = daemon.log();
    let said = log.lines().find(|line| line.contains(BLOCKED)).expect("just seen");
    assert!(said.contains(&format!("run '{advice}")), "{said}");
    assert!(include_str!("../docs/debian.md").contains(&format!("`{advice}")), "the document says so too");
    SSH.knock(world, "7000 8000 9000");
    daemon.wait_for_log("ssh: OPEN SESAME");
    assert!(!SSH.lets_in(&world.client), "as was said");
    heed();
    daemon.wait_for_log("door 'ssh': tcp port 22 is right again");
    daemon.ask(&["close", "ssh"]);
    for way in [SSH, SSH_6] {
        way.is_shut_and_opens(world);
    }
}

/// The knocker stays in, and nobody else gets in.
fn a_reload_takes_nothing(world: &World, daemon: &Daemon<'_>, reload: &dyn Fn()) {
    daemon.ask(&["open", "ssh", CLIENT, "60"]);
    reload();
    assert!(SSH.lets_in(&world.client));
    assert!(!SSH.lets_in(&world.stranger));
    daemon.ask(&["close", "ssh"]);
}

#[test]
fn ufw() {
    let world = world();
    let folder = world.scratch.path("etc");
    let folder = folder.to_str().expect("a plain path");
    // Only root may read the rules in /etc/ufw. The package has made them from these files.
    assert!(
        Path::new("/usr/share/ufw/iptables/before.rules").exists(),
        "this test needs ufw: `make test` installs it"
    );
    world.router.shell(&format!(
        "mkdir -p {folder}/default && cp -rL /usr/share/ufw {folder}/ufw && cp /etc/default/ufw {folder}/default/
         cp -r /etc/ufw/sysctl.conf /etc/ufw/applications.d {folder}/ufw/"
    ));
    let ufw = |what: &str| {
        let line = format!(
            "mount --bind {folder}/ufw /etc/ufw; mount --bind {folder}/default /etc/default; ufw {what}"
        );
        let words: Vec<_> = OWN_RUN.into_iter().chain(["sh", "-ec", &line]).collect();
        world.router.stdout(words[0], &words[1..]);
    };
    ufw("--force enable");
    ufw("limit 2222/tcp");
    let daemon = start(&world);
    // ufw has no limit for IPv6, and says so. For IPv4 only the door shuts the port.
    assert!(
        !daemon
            .log()
            .contains("tcp port 2222 stays shut on wan0 even after a knock: chain INPUT of table ip filter")
    );
    a_door_beside(&world, &daemon, "ufw allow 22/tcp", &|| ufw("allow 22/tcp"));
    a_reload_takes_nothing(&world, &daemon, &|| ufw("reload"));
    // Without ketuk's table the port would be open to all.
    world.router.stdout(support::ketukd().to_str().expect("a plain path"), &["unload"]);
    daemon.wait_for_log("it is made again");
    // A flush, which deletes ufw's rules too, does not open it either.
    SSH.survives_a_flush(&world);
    SSH.is_shut_without_the_daemon(&world, daemon);
}

#[test]
fn firewalld() {
    let world = world();
    // Without a configuration of the host, firewalld uses its own in /usr/lib/firewalld.
    let etc = world.scratch.path("firewalld");
    std::fs::create_dir(&etc).expect("a folder");
    let etc = etc.to_str().expect("a plain path");
    let bus = world.scratch.path("bus").to_str().expect("a plain path").to_owned();
    let config = world.scratch.write(
        "bus.conf",
        &format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">
             <busconfig><type>system</type><listen>unix:path={bus}</listen><auth>EXTERNAL</auth>
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>
             <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>"
        ),
    );
    let environment = format!("DBUS_SYSTEM_BUS_ADDRESS=unix:path={bus}");
    let file = format!("--config-file={}", config.to_str().expect("a plain path"));
    let _bus = world.router.enter(|| support::Process::start("dbus-daemon", &[&file, "--nofork"]));
    wait_until("the bus is there", || Path::new(&bus).exists());
    let _firewalld = world.router.enter(|| {
        let firewalld = ["env", &environment, "firewalld", "--nofork", "--nopid", "--log-target", "console"];
        let words: Vec<_> = OWN_RUN.into_iter().chain(firewalld).chain(["--system-config", etc]).collect();
        support::Process::start(words[0], &words[1..])
    });
    let command = |what: &str| {
        let words = std::iter::once(&environment[..]).chain(["firewall-cmd"]).chain(what.split(' '));
        world.router.run("env", &words.collect::<Vec<_>>())
    };
    wait_until("firewalld runs", || command("--state").status.success());
    // Its first zone lets ssh in.
    assert!(command("--permanent --remove-service=ssh").status.success());
    assert!(command("--reload").status.success());
    let daemon = start(&world);
    a_door_beside(&world, &daemon, "firewall-cmd --permanent --add-port=22/tcp", &|| {
        assert!(command("--permanent --add-port=22/tcp").status.success());
        assert!(command("--reload").status.success());
    });
    a_reload_takes_nothing(&world, &daemon, &|| assert!(command("--reload").status.success()));
    SSH.survives_a_flush(&world);
    SSH.is_shut_without_the_daemon(&world, daemon);
}

/// A published port of a container: Docker translates it, and its rules accept it, before any chain for input sees it.
/// The tests do not install Docker: these are the rules that it makes.
#[test]
fn a_port_that_docker_publishes() {
    let world = world();
    world.lan.serve(80);
    world.router.shell(
        "iptables -t nat -N DOCKER
         iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
         iptables -t nat -A DOCKER ! -i lan0 -p tcp -m tcp --dport 2222 -j DNAT --to-destination 192.168.1.10:80
         iptables -N DOCKER-USER
         iptables -N DOCKER
         iptables -P FORWARD DROP
         iptables -A FORWARD -j DOCKER-USER
         iptables -A FORWARD -o lan0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
         iptables -A FORWARD -o lan0 -j DOCKER
         iptables -A FORWARD -i lan0 ! -o lan0 -j ACCEPT
         iptables -A DOCKER -d 192.168.1.10/32 ! -i lan0 -o lan0 -p tcp -m tcp --dport 80 -j ACCEPT
         iptables -A DOCKER-USER -j RETURN",
    );
    wait_until("the container answers", || world.client.greeted_by(ROUTER, 2222).as_deref() == Some("lan"));
    let daemon = start(&world);
    assert_eq!(world.client.greeted_by(ROUTER, 2222), None, "shut");
    world.client.shell(&format!("knock {ROUTER} 7100"));
    daemon.wait_for_log("alt: OPEN SESAME");
    wait_until("it opens", || world.client.greeted_by(ROUTER, 2222).as_deref() == Some("lan"));
    assert_eq!(world.stranger.greeted_by(ROUTER, 2222), None, "for the knocker alone");
    assert!(!daemon.ask(&["status"]).contains("WARNING"), "{}", daemon.ask(&["status"]));
}
