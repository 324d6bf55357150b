//! Backend `own` beside other firewalls, by their own programs: ufw and firewalld.
#![cfg(target_os = "linux")]

mod support;

use std::path::Path;

use support::daemon::{Daemon, Start};
use support::{ROUTER, ROUTER_6, World, is_root_of_the_machine, wait_until};

const DOORS: &str = "
config globals
	option backend 'auto'
config door 'ssh'
	list sequence '7000'
	option proto 'tcp'
	option dest_port '22'
	option open_time '60'
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
    let daemon = Start::new(&world.router, &world.scratch, DOORS).go();
    assert_eq!(daemon.status()["daemon"]["backend"], "own");
    daemon
}

/// What the daemon says that the firewall of the host keeps shut.
const BLOCKED: &str = "door 'ssh': tcp port 22 stays shut on wan0 even after a knock";

/// The firewall lets nobody in at port 22, which is said with its advice; `heed` does what the advice says, and from then
/// on a knock opens, for the knocker alone.
fn a_door_beside(world: &World, daemon: &Daemon<'_>, advice: &str, heed: &dyn Fn()) {
    daemon.wait_for_log(BLOCKED);
    let log = daemon.log();
    let said = log.lines().find(|line| line.contains(BLOCKED)).expect("just seen");
    assert!(said.contains(advice), "{said}");
    let knock = |address: &str, port: u16| {
        let six = if address.contains(':') { "-6" } else { "-4" };
        world.client.shell(&format!("knock {six} {address} {port}"));
    };
    knock(ROUTER, 7000);
    daemon.wait_for_log("ssh: OPEN SESAME");
    assert_eq!(world.client.greeted_by(ROUTER, 22), None, "as was said");
    heed();
    daemon.wait_for_log("door 'ssh': tcp port 22 is right again");
    daemon.ask(&["close", "ssh"]);
    for address in [ROUTER, ROUTER_6] {
        assert_eq!(world.client.greeted_by(address, 22), None, "the door shuts what the firewall lets in");
        knock(address, 7000);
        wait_until("a knock opens", || world.client.greeted_by(address, 22).is_some());
        assert_eq!(world.stranger.greeted_by(address, 22), None, "for the knocker alone");
    }
}

/// A folder of the configuration, copied, so that the host's own stays as it is.
fn copy(world: &World, from: &str, name: &str) -> String {
    let to = world.scratch.path(name);
    let to = to.to_str().expect("a plain path").to_owned();
    assert!(Path::new(from).exists(), "{from} is missing; `make test` installs what the tests need");
    world.router.shell(&format!("cp -a {from} {to}"));
    to
}

#[test]
fn ufw() {
    if !is_root_of_the_machine("ufw, whose configuration only root may read") {
        return;
    }
    let world = world();
    let etc = copy(&world, "/etc/ufw", "ufw");
    let default = copy(&world, "/etc/default", "default");
    let ufw = |what: &str| {
        let line = format!("mount --bind {etc} /etc/ufw; mount --bind {default} /etc/default; ufw {what}");
        world.router.stdout("unshare", &["--mount", "bash", "-ec", &line]);
    };
    ufw("--force enable");
    ufw("limit 2222/tcp");
    let daemon = start(&world);
    // ufw has no limit for IPv6, and says so; for IPv4 the port is open to all but the door.
    assert!(
        !daemon
            .log()
            .contains("tcp port 2222 stays shut on wan0 even after a knock: chain INPUT of table ip filter")
    );
    a_door_beside(&world, &daemon, "run 'ufw allow 22/tcp'", &|| ufw("allow 22/tcp"));
    // A reload of ufw takes nothing of ketuk's.
    ufw("reload");
    assert!(world.client.greeted_by(ROUTER, 22).is_some());
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None);
    // Without ketuk's table it would be open to all.
    world.router.stdout(support::ketukd().to_str().expect("a plain path"), &["unload"]);
    daemon.wait_for_log("it is made again");
}

#[test]
fn firewalld() {
    if !is_root_of_the_machine("firewalld, whose configuration only root may read") {
        return;
    }
    let world = world();
    let etc = copy(&world, "/etc/firewalld", "firewalld");
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
        let arguments = [
            &environment[..],
            "firewalld",
            "--nofork",
            "--nopid",
            "--log-target",
            "console",
            "--system-config",
            &etc,
        ];
        support::Process::start("env", &arguments)
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
    a_door_beside(&world, &daemon, "run 'firewall-cmd --permanent --add-port=22/tcp'", &|| {
        assert!(command("--permanent --add-port=22/tcp").status.success());
        assert!(command("--reload").status.success());
    });
    assert!(command("--reload").status.success());
    assert!(world.client.greeted_by(ROUTER, 22).is_some(), "a reload of firewalld takes nothing of ketuk's");
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None);
}

/// A published port of a container: Docker translates it, and its rules accept it, before any chain for input sees it.
/// Docker is no package of the tests': these are the rules that it makes.
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
