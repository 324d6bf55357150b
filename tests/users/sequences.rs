//! Sequences that open once: changing sequences, and those of a list.

use ketuk::protocol::totp;

use super::*;

#[test]
fn a_changing_sequence_opens_once() {
    let world = World::with_firewall();
    world.router.serve(22);
    let daemon = Daemon::start(&world.router, &world.scratch, CONFIG);
    invite(&world, &daemon, "tom");
    let recording = Recording::start(&world.router);
    // The first window that begins after the daemon's start opens. It may take half a minute, and ketuk knocks again.
    let opened = client(&world, &world.client, &["open", "tom", "--", "echo", "inside"]);
    assert_eq!(succeeded("ketuk", &["open"], &opened), "inside\n");
    assert_eq!(grants(&daemon), [grant("ssh", CLIENT, "tom")]);
    let ports = recording.end().ports;
    let last: Vec<String> = ports[ports.len() - totp::STEPS..].iter().map(u16::to_string).collect();
    daemon.ask(&["close", "ssh"]);
    for from in [&world.stranger, &world.client] {
        let before = daemon.counter("auth_replay");
        // Another knock comes first, because the client's last four knocks are already this sequence.
        let arguments: Vec<_> =
            [ROUTER, "20001"].into_iter().chain(last.iter().map(String::as_str)).collect();
        from.stdout(ketuk(), &arguments);
        wait_for_counter(&daemon, "auth_replay", before + 1);
    }
    assert_eq!(grants(&daemon), []);
}

#[test]
fn sequences_for_one_time() {
    let world = World::with_firewall();
    let file = world.scratch.write("once", " 7000,8000\n 7100,8100\n");
    let config = format!(
        "config globals\n\toption backend 'fw4'\nconfig door 'ssh'\n\toption one_time_sequences '{}'\n\toption dest_port '22'\n",
        file.display()
    );
    let daemon = Daemon::start(&world.router, &world.scratch, &config);
    let steps = || daemon.status()["doors"][0]["steps"].as_u64();
    assert_eq!(steps(), Some(2), "of the line that opens now");
    let knock = |from: &Host, ports: [&str; 2]| {
        from.stdout(ketuk(), &[ROUTER, ports[0], ports[1]]);
    };
    knock(&world.client, ["7000", "8000"]);
    daemon.wait_for_log(&format!("{CLIENT}: ssh: OPEN SESAME"));
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "#7000,8000\n 7100,8100\n");
    knock(&world.stranger, ["7000", "8000"]);
    knock(&world.stranger, ["7100", "8100"]);
    daemon.wait_for_log(&format!("{STRANGER}: ssh: OPEN SESAME"));
    daemon.wait_for_log("no sequence is left");
    assert_eq!(daemon.counter("opened"), 2);
    assert_eq!(steps(), Some(0), "only users open it now");
    // A new line is changed before the daemon can mark it.
    std::fs::write(&file, "#7000,8000\n#7100,8100\n 7200,8200\n").expect("written");
    daemon.ask(&["reload"]);
    daemon.ask(&["close", "ssh"]);
    std::fs::write(&file, "#7000,8000\n#7100,8100\n 7300,8300\n").expect("written");
    knock(&world.client, ["7200", "8200"]);
    daemon.wait_for_log("not marked as used, so the door stays shut");
    assert_eq!(grants(&daemon), []);
}
