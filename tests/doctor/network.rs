//! The points about devices, addresses, services and the firewall.

use super::support::{FIREWALL, Process, World, ketukd, wait_until};
use super::{CONFIG, Said, doctor, router};

#[test]
fn what_is_wrong_with_devices_and_addresses() {
    let world = World::new();
    let daemon = router(&world, CONFIG);
    let router = &world.router;
    router.ip("link add br0 type bridge");
    router.ip("link set wan0 master br0");
    doctor(&daemon, &[])
        .expect("devices: WRONG: 'wan0' is a port of bridge br0, which takes its packets: listen on br0");
    router.ip("link set wan0 nomaster");

    for (address, expected) in [
        ("100.100.7.7/24", "'wan0' has 100.100.7.7, an address behind the provider's NAT"),
        (
            "192.168.7.7/24",
            "'wan0' has 192.168.7.7, a private address: a NAT is in front of it: forward the ports",
        ),
    ] {
        router.ip("-4 address flush dev wan0");
        router.addresses("wan0", &[address]);
        doctor(&daemon, &[]).expect(&format!("addresses: WRONG: {expected}"));
    }
    router.ip("-4 address flush dev wan0");
    doctor(&daemon, &[]).expect("addresses: fine");
    router.ip("-6 address flush dev wan0");
    doctor(&daemon, &[]).expect("addresses: WRONG: the daemon listens on no device that has an address");

    router.ip("link set wan0 down");
    doctor(&daemon, &[]).expect("devices: WRONG: 'wan0' is down: run 'ip link set wan0 up'");
    router.ip("link delete wan0");
    doctor(&daemon, &[]).expect("devices: WRONG: there is no device 'wan0': ");
}

#[test]
fn services_at_knocks_and_at_traps() {
    let world = World::new();
    let daemon = router(&world, CONFIG);
    let serves = |line: &str| {
        let server = world.router.enter(|| Process::start("socat", &[line, "PIPE"]));
        let protocol = if line.starts_with("UDP") { "--udp" } else { "--tcp" };
        wait_until("it listens", || {
            let sockets = world.router.stdout("ss", &["-H", "-n", "--listening", protocol]);
            line.split([':', ',']).nth(1).is_some_and(|port| sockets.contains(&format!(":{port} ")))
        });
        server
    };
    for (line, expected) in [
        ("TCP-LISTEN:9482,fork", "services: WRONG: a program answers everybody at 9482/tcp, to which knocks"),
        (
            "UDP-RECVFROM:62201,fork",
            "services: WRONG: a program answers everybody at 62201/udp, to which knocks",
        ),
        ("TCP-LISTEN:9483,fork", "traps: WRONG: a program answers everybody at 9483/tcp, a trap: "),
    ] {
        let _server = serves(line);
        doctor(&daemon, &[]).expect(expected);
        // The firewall keeps everybody out, so no client gets an answer.
        world
            .router
            .nft("table inet other { chain input { type filter hook input priority 5; policy drop; }; }");
        let said = doctor(&daemon, &[]);
        world.router.nft("delete table inet other");
        said.expect("services: fine");
        said.expect("traps: fine");
    }
    let _server = serves("TCP-LISTEN:9483,fork");
    let excepted = CONFIG.replace("option trust_clock", "list trap_except '9483:tcp'\n	option trust_clock");
    daemon.write_config(&excepted);
    doctor(&daemon, &[]).expect("traps: fine");
}

#[test]
fn what_is_wrong_with_the_firewall() {
    let world = World::with_firewall();
    let config = CONFIG.replace("backend 'own'", "backend 'fw4'");
    let daemon = router(&world, &config);
    let ruleset = world.router.stdout(
        ketukd().to_str().expect("a plain path"),
        &["ruleset", "--config", daemon.config().to_str().expect("a plain path")],
    );
    doctor(&daemon, &[])
        .expect("firewall: WRONG: door 'ssh' cannot open: table inet fw4 has no set ketuk_ssh_4: ");
    world.router.nft(&ruleset);
    let said = doctor(&daemon, &[]);
    said.expect("open ports: fine");
    said.expect("firewall: fine");

    world.router.nft("insert rule inet fw4 input_wan tcp dport 22 accept");
    doctor(&daemon, &[]).expect(
        "open ports: WRONG: door 'ssh': tcp port 22 can be reached without a knock on wan0: close it in the firewall",
    );
    world.router.nft("flush chain inet fw4 input_wan");
    doctor(&daemon, &[])
        .expect("firewall: WRONG: door 'ssh': tcp port 22 stays shut on wan0 even after a knock: ");
    world.router.nft("delete table inet fw4");
    doctor(&daemon, &[]).expect("firewall: WRONG: there is no table inet fw4: no door can open: ");

    let iptables = config.replace("backend 'fw4'", "backend 'iptables'");
    daemon.write_config(&iptables);
    doctor(&daemon, &[]).expect("firewall: fine");
    let socket = daemon.socket().to_str().expect("a plain path");
    let config = daemon.config().to_str().expect("a plain path");
    // A mount namespace without these programs.
    let hidden = format!(
        "mount -t tmpfs none /usr/sbin && exec {} doctor --config {config} --socket {socket}",
        ketukd().display()
    );
    let output = world.router.run("unshare", &["--mount", "env", "PATH=/usr/bin:/bin", "sh", "-c", &hidden]);
    Said::of(&output).expect("firewall: WRONG: there is no program iptables: no door can open: ");
    world.router.nft(FIREWALL);
}
