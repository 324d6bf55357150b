//! The statements of the table, and for which programs each is true.

use super::stage::{Program, SEQUENCE, Stage, send};
use super::support::wire::Wire;
use super::support::{CLIENT, ROUTER, ROUTER_6, frames};
use Program::{Fwknopd, Ketukd, Knockd};

/// A statement about programs that open doors.
pub(super) struct Statement {
    /// The words of the table.
    pub(super) text: &'static str,
    /// Tries the statement with a program.
    pub(super) holds: fn(Program) -> bool,
    /// The programs that the statement applies to, and whether it is true of each.
    pub(super) expected: &'static [(Program, bool)],
}

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    Statement {
        text: "the right knocks open the port, for the knocker alone",
        holds: opens_for_the_knocker_alone,
        expected: &[(Knockd, true), (Ketukd, true)],
    },
    Statement {
        text: "one packet of fwknop's client opens the port",
        holds: packet_opens,
        expected: &[(Fwknopd, true), (Ketukd, true)],
    },
    Statement {
        text: "the same packet sent again, by anybody, opens nothing",
        holds: replay_opens_nothing,
        expected: &[(Fwknopd, true), (Ketukd, true)],
    },
    Statement {
        text: "knocks open the port over IPv6",
        holds: opens_over_ipv6,
        expected: &[(Knockd, true), (Ketukd, true)],
    },
    Statement {
        text: "the wrong order opens nothing",
        holds: wrong_order_opens_nothing,
        expected: &[(Knockd, true), (Ketukd, true)],
    },
    Statement {
        text: "knocks that the network delivers twice open the port",
        holds: doubled_knocks_open,
        expected: &[(Knockd, false), (Ketukd, true)],
    },
    Statement {
        text: "after a wrong attempt the right knocks open the port at once",
        holds: second_attempt_opens,
        expected: &[(Knockd, true), (Ketukd, true)],
    },
    Statement {
        text: "a step that comes too early does no harm before the right knocks",
        holds: early_step_is_forgiven,
        expected: &[(Knockd, true), (Ketukd, true)],
    },
    Statement {
        text: "TCP segments that are no SYN open nothing",
        holds: answers_open_nothing,
        expected: &[(Knockd, false), (Ketukd, true)],
    },
    Statement {
        text: "a scan of all ports, upwards, opens nothing",
        holds: scan_opens_nothing,
        expected: &[(Knockd, false), (Ketukd, true)],
    },
    Statement {
        text: "the port shuts by itself",
        holds: shuts_by_itself,
        expected: &[(Knockd, true), (Fwknopd, true), (Ketukd, true)],
    },
    Statement {
        text: "the port shuts on time even if all processes of the daemon were killed",
        holds: shuts_without_the_daemon,
        expected: &[(Knockd, false), (Fwknopd, false), (Ketukd, true)],
    },
    Statement {
        text: "knocking again while the port is open makes no second rule",
        holds: second_knock_makes_no_second_rule,
        expected: &[(Knockd, false), (Ketukd, true)],
    },
    Statement {
        text: "the daemon goes on when it is told to read a wrong configuration",
        holds: survives_a_wrong_file,
        expected: &[(Knockd, false), (Fwknopd, false), (Ketukd, true)],
    },
    Statement {
        text: "the daemon waits for a device that does not exist at its start",
        holds: waits_for_its_device,
        expected: &[(Knockd, false), (Fwknopd, false), (Ketukd, true)],
    },
    Statement {
        text: "the daemon hears knocks at an address that is added after its start",
        holds: hears_a_new_address,
        expected: &[(Knockd, false), (Ketukd, true)],
    },
];

fn opens_for_the_knocker_alone(program: Program) -> bool {
    let stage = Stage::ready(program);
    let was_shut = stage.world.client.greeted_by(ROUTER, 22).is_none();
    stage.knock(ROUTER);
    was_shut && stage.opens() && stage.world.stranger.greeted_by(ROUTER, 22).is_none()
}

fn packet_opens(program: Program) -> bool {
    let stage = Stage::ready(program);
    stage.world.client.enter(|| send(&stage.packet("packet")));
    stage.opens()
}

fn replay_opens_nothing(program: Program) -> bool {
    let stage = Stage::ready(program);
    let packet = stage.packet("packet");
    stage.world.stranger.enter(|| send(&packet));
    let was_open = (0..30).any(|_| stage.world.stranger.greeted_by(ROUTER, 22).is_some());
    stage.world.client.enter(|| send(&packet));
    was_open && !stage.opens()
}

fn opens_over_ipv6(program: Program) -> bool {
    let stage = Stage::ready(program);
    stage.knock(ROUTER_6);
    stage.opens_at(ROUTER_6)
}

/// Puts knocks of the client on the wire, as [`Wire::knock`] writes them, and returns whether they open the door.
fn frames_open(program: Program, knocks: &str) -> bool {
    let stage = Stage::ready(program);
    let mut wire = Wire::new(&stage.world);
    wire.knock(CLIENT, knocks);
    wire.send();
    stage.opens()
}

fn wrong_order_opens_nothing(program: Program) -> bool {
    let [first, second, third] = SEQUENCE;
    !frames_open(program, &format!("{first} {third} {second}"))
}

fn doubled_knocks_open(program: Program) -> bool {
    let [first, second, third] = SEQUENCE;
    frames_open(program, &format!("{first} = {second} = {third} ="))
}

fn second_attempt_opens(program: Program) -> bool {
    let [first, second, third] = SEQUENCE;
    frames_open(program, &format!("{first} {third} {first} {second} {third}"))
}

fn early_step_is_forgiven(program: Program) -> bool {
    let [first, second, third] = SEQUENCE;
    frames_open(program, &format!("{third} {first} {second} {third}"))
}

fn answers_open_nothing(program: Program) -> bool {
    let [first, second, third] = SEQUENCE;
    !frames_open(program, &format!("{first}:sa {second}:sa {third}:sa"))
}

fn scan_opens_nothing(program: Program) -> bool {
    let mut stage = Stage::new(program);
    stage.sequence.sort_unstable();
    stage.start();
    stage.wait_until_it_hears();
    let router = stage.world.router.mac("wan0");
    let scan: Vec<_> = (1..=u16::MAX)
        .map(|port| {
            frames::ethernet(router, None, &frames::tcp(CLIENT, ROUTER, (40_000, port), u32::from(port), 2))
        })
        .collect();
    // The packets are sent in parts, as fast as knockd can read them.
    for part in scan.chunks(2_000) {
        frames::send(&stage.world.isp, "router0", &stage.world.scratch, part);
    }
    !stage.opens()
}

fn shuts_by_itself(program: Program) -> bool {
    let stage = opened(program);
    stage.shuts()
}

fn shuts_without_the_daemon(program: Program) -> bool {
    let stage = opened(program);
    stage.kill_all_processes();
    stage.shuts()
}

/// A stage on which the door is open for the client.
fn opened(program: Program) -> Stage {
    let stage = Stage::ready(program);
    match program {
        Fwknopd => stage.world.client.enter(|| send(&stage.packet("packet"))),
        Knockd | Ketukd => stage.knock(ROUTER),
    }
    assert!(stage.opens(), "{program:?} has opened for a stranger before");
    stage
}

fn second_knock_makes_no_second_rule(program: Program) -> bool {
    let stage = opened(program);
    stage.knock(ROUTER);
    // If a second rule comes, it comes at once.
    !(0..10).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        stage.entries_of_the_client() > 1
    })
}

fn survives_a_wrong_file(program: Program) -> bool {
    let mut stage = Stage::ready(program);
    stage.reload_a_wrong_file();
    !stage.ends()
}

fn waits_for_its_device(program: Program) -> bool {
    let mut stage = Stage::new(program);
    stage.device = "late0";
    stage.start();
    if stage.ends() {
        return false;
    }
    let router = &stage.world.router;
    for change in ["link set wan0 down", "link set wan0 name late0", "link set late0 up"] {
        router.ip(change);
    }
    router.ip("route add default via 203.0.113.254");
    stage.knock(ROUTER);
    stage.opens()
}

fn hears_a_new_address(program: Program) -> bool {
    let stage = Stage::ready(program);
    let new = "203.0.113.77";
    stage.world.router.addresses("wan0", &["203.0.113.77/24"]);
    stage.knock(new);
    stage.opens() || {
        stage.knock(new);
        stage.opens()
    }
}
