//! Tests of what the daemon makes of the names of devices.

use std::io::Write as _;

use super::*;

#[test]
fn refused_filters_are_tried_again_when_that_is_due() {
    let due = Instant::from_millis(10);
    let devices = Devices { devices: Vec::new(), retry_at: Some(due) };
    assert_eq!(devices.next_deadline(), Some(due));
}

#[test]
fn a_devices_name_says_where_packets_come_from_and_which_addresses_can_be_knocked_at() {
    let names = [ANY, "lo", "wan0"].map(str::to_owned);
    let Ok(devices) = Devices::open(&names) else {
        // Not `eprintln!`, whose output the test runner hides.
        let _ = writeln!(io::stderr(), "NOT TESTED without CAP_NET_RAW: where a device's packets come from");
        return;
    };
    let via: Vec<_> = devices.devices.iter().map(Device::via).collect();
    assert_eq!(via, [Via::Any, Via::Loopback, Via::Network]);

    let on = |listened: &[String], device: &str, is_loopback| {
        let devices = Devices::open(listened).expect("packet sockets");
        let address = [192, 0, 2, 1].into();
        devices.own(&DeviceAddress { device: device.to_owned(), is_loopback, address, prefix: 24 }).on
    };
    let [any, _, wan] = names.each_ref().map(std::slice::from_ref);
    assert_eq!(on(wan, "wan0", false), On::Listened);
    assert_eq!(on(wan, "lan0", false), On::Other);
    assert_eq!(on(any, "lan0", false), On::Listened);
    assert_eq!(on(&[], "wan0", false), On::Other);
    assert_eq!(on(any, "lo", true), On::Loopback);
}
