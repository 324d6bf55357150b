//! A user's doors shut when the user loses the right to them, also if the daemon was restarted in between. Doors that the
//! operator opened stay open.

use nix::sys::signal::Signal;

use super::support::daemon::{Daemon, Start};
use super::support::{CLIENT, ROUTER, World};
use super::{CONFIG, KEY_TEXT, a_second_later, alices, grant, grants, now, send, wait_for_counter};

const SET: &str = "set inet fw4 ketuk_ssh_4";

/// Alice's packet opens the door, and `meanwhile` happens. Then the configuration is `after`, by a reload or at the next start.
fn is_shut(
    after: &str,
    crash: bool,
    meanwhile: impl Fn(&World, &Daemon<'_>),
) -> Vec<(String, String, String)> {
    let world = World::with_firewall();
    let plain =
        "config door 'plain'\n\tlist sequence '7000'\n\tlist sequence '8000'\n\toption dest_port '23'\n";
    let with_sequence = CONFIG
        .replace("config door 'ssh'", "config door 'ssh'\n\tlist sequence '7100'\n\tlist sequence '7200'");
    let mut daemon = Daemon::start(&world.router, &world.scratch, &(with_sequence.clone() + plain));
    a_second_later();
    send(&world.client, ROUTER, &alices(1, now(), None));
    wait_for_counter(&daemon, "opened", 1);
    assert!(world.router.nft_list(SET).contains("comment \"user alice\""), "{}", world.router.nft_list(SET));
    meanwhile(&world, &daemon);
    let after = after.replace("{config}", &with_sequence) + plain;
    if crash {
        daemon.end(Signal::SIGKILL);
        daemon = Start::new(&world.router, &world.scratch, &after).go();
    } else {
        daemon.write_config(&after);
        daemon.ask(&["reload"]);
    }
    let (left, set) = (grants(&daemon), world.router.nft_list(SET));
    assert_eq!(set.contains(CLIENT), !left.is_empty(), "the kernel and the daemon agree");
    let names_her = after.contains("config user 'alice'") || !set.contains("user alice");
    assert!(names_her, "she is gone, and the kernel still names her: {set}");
    left
}

/// The configuration without alice, or with her under another key.
fn without_her() -> String {
    CONFIG.replace("config user 'alice'", "config user 'zoe'")
}

fn with_another_key() -> String {
    CONFIG.replace(KEY_TEXT, &KEY_TEXT.replacen('A', "B", 1))
}

fn nothing(_: &World, _: &Daemon<'_>) {}

#[test]
fn a_user_who_is_deleted_or_has_another_key_is_shut_out_also_after_a_crash() {
    for after in [without_her(), with_another_key()] {
        for crash in [false, true] {
            assert_eq!(is_shut(&after, crash, nothing), [], "crash: {crash}");
        }
    }
}

#[test]
fn a_user_who_is_still_there_stays_in_also_after_a_crash() {
    for crash in [false, true] {
        assert_eq!(is_shut(CONFIG, crash, nothing), [grant("ssh", CLIENT, "alice")], "crash: {crash}");
    }
}

#[test]
fn a_plain_knock_from_a_users_address_does_not_take_the_users_name_off() {
    for crash in [false, true] {
        let left = is_shut("{config}", crash, |world, daemon| {
            world.client.stdout("knock", &["-d", "150", ROUTER, "7100", "7200"]);
            daemon.wait("it is renewed", |daemon| daemon.counter("opened") == 2);
        });
        assert_eq!(left, [grant("ssh", CLIENT, "alice")], "crash: {crash}");
        let without = without_her();
        let left = is_shut(&without, crash, |world, daemon| {
            world.client.stdout("knock", &["-d", "150", ROUTER, "7100", "7200"]);
            daemon.wait("it is renewed", |daemon| daemon.counter("opened") == 2);
        });
        assert_eq!(left, [], "crash: {crash}");
    }
}

#[test]
fn what_the_operator_opened_stays_when_the_user_goes() {
    for crash in [false, true] {
        let left = is_shut(&without_her(), crash, |world, daemon| {
            daemon.ask(&["open", "ssh", CLIENT, "3000"]);
            assert!(world.router.nft_list(SET).contains("comment \"hand\""));
        });
        assert_eq!(left.len(), 1, "crash: {crash}");
    }
}

/// Alice's time is longer than the operator's, so the kernel has her name and her time until she goes.
#[test]
fn the_kernel_gets_the_operators_time_when_the_user_goes() {
    let left = is_shut(&without_her(), false, |_, daemon| {
        daemon.ask(&["open", "ssh", CLIENT, "20"]);
    });
    assert_eq!(left.len(), 1);
}
