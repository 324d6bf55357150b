//! What two processes cost: no processor time when nothing happens, and little memory.

use std::fs;

use super::support::daemon::{proc_status, processor_ticks};
use super::support::{CLIENT, World};
use super::{ECHO, door, start};

#[test]
fn neither_process_wakes_up_while_nothing_happens() {
    let world = World::new();
    let (daemon, monitor) = start(&world, &door(&world, &ECHO));
    daemon.ask(&["open", "run", CLIENT]);
    daemon.wait_for_commands();
    let waited = || (proc_status(monitor, "voluntary_ctxt_switches"), processor_ticks(monitor));
    daemon.sleeps_through("two seconds", || {
        daemon.wait("the second process sleeps", |_| {
            let before = waited();
            std::thread::sleep(std::time::Duration::from_secs(1));
            waited() == before
        });
    });
}

/// Kilobytes of a process's mappings that are called `name` and have this mode, and how many of them are resident
/// (`proc_pid_smaps(5)`).
fn mapped_kb(pid: u32, mode: &str, name: &str) -> (usize, usize) {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("alive");
    let (mut is_meant, mut size, mut resident) = (false, 0, 0);
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let number = || words[1].parse::<usize>().expect("a size");
        match words[0] {
            "Size:" if is_meant => size += number(),
            "Rss:" if is_meant => resident += number(),
            word if word.ends_with(':') => {}
            _ => is_meant = words[1] == mode && line.ends_with(name),
        }
    }
    (size, resident)
}

/// The start uses most of the program and much of the stack, and the loop little. `make bench` measures the static program.
#[test]
fn both_processes_give_back_the_memory_that_the_start_used() {
    let world = World::with_firewall();
    let config = door(&world, &ECHO).replace("'none'", "'own'") + "\toption dest_port '22'\n";
    let (daemon, monitor) = start(&world, &config);
    daemon.ask(&["open", "run", CLIENT]);
    daemon.wait_for_commands();
    daemon.ask(&["reload"]);
    daemon.wait_until_idle();
    for pid in [daemon.pid(), monitor] {
        let (code, resident) = mapped_kb(pid, "r-xp", "/ketukd");
        assert!(code > 0 && resident < code / 4 * 3, "{resident} of {code} kB of code");
        let (_, stack) = mapped_kb(pid, "rw-p", "[stack]");
        assert!(stack <= 64, "{stack} kB of stack");
    }
}
