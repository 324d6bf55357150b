//! How a door shuts: `close` and `kill`.

use std::time::Duration;

use super::options::SectionOptions;
use super::value::{boolean, choice};
use crate::config::error::Fault;
use crate::config::{Close, Door};

/// Reads both options into a door whose ports and times are read already.
pub(super) fn read(options: &SectionOptions<'_>, door: &mut Door) -> Result<(), Fault> {
    if let Some(value) = options.one("close")?
        && choice(value, &[("timeout", false), ("session", true)])?
    {
        if !door.opens_ports() {
            return Err(value
                .fault("close 'session' in a door that opens no port")
                .help("name the ports with dest_port: only connections to them can be counted"));
        }
        if door.open_time.is_none() {
            return Err(value
                .fault("close 'session' in a door that stays open")
                .help("open_time is the time to connect in, and cannot be 0"));
        }
        // A session ends at `max_time` only if the file gives one. (The time that a client asks for is always bounded.)
        let max: Option<Duration> = options.one("max_time")?.and(door.max_time);
        door.close = Close::Session { max };
    }
    if let Some(value) = options.one("kill")? {
        door.kill = boolean(value)?;
        if door.kill && !door.opens_ports() {
            return Err(value
                .fault("kill in a door that opens no port")
                .help("name the ports with dest_port: only connections to them can be cut"));
        }
    }
    Ok(())
}
