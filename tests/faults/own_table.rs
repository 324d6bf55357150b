//! The daemon's own table, where the kernel refuses it.

use std::time::{Duration, Instant};

use super::support::daemon::Start;
use super::support::{ROUTER, World};
use super::{SSH, tables};

/// A `sendto` that refuses the first three changes of the firewall (`NFNL_MSG_BATCH_BEGIN`), as a kernel without memory may do.
const NO_CHANGES: &str = "
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
ssize_t sendto(int fd, const void *message, size_t len, int flags, const struct sockaddr *to, socklen_t to_len) {
	static int refused;
	uint16_t type = 0;
	if (to && to->sa_family == AF_NETLINK && len > 6) memcpy(&type, (const char *)message + 4, 2);
	if (type == 16 && refused < 3) return refused++, errno = ENOMEM, -1;
	return syscall(SYS_sendto, fd, message, len, flags, to, to_len);
}
";

#[test]
fn ports_that_could_not_be_shut_are_not_said_to_be_and_are_shut_as_soon_as_they_can_be() {
    let world = World::with_servers();
    let mut start = Start::new(&world.router, &world.scratch, &SSH.replace("'fw4'", "'own'"));
    start.command().env("LD_PRELOAD", tables::library(&world, NO_CHANGES));
    let began = Instant::now();
    let daemon = start.go();
    let said = "the doors' ports are NOT shut";
    daemon.wait_for_log(said);
    daemon.wait_for_log("table inet ketuk is made");
    assert!(began.elapsed() >= Duration::from_millis(500), "it has tried again once that was due");
    let log = daemon.log();
    assert_eq!(log.matches(said).count(), 1, "{log}");
    assert!(!log.contains("is shut on"), "{log}");
    assert_eq!(world.stranger.greeted_by(ROUTER, 22), None);
}
