//! Checks the loaded firewall for [`super::watch`].

use super::porter::Porter;
use crate::config::Config;
use crate::core::counters::{CountedEvent, Counter};
use crate::core::time::Instant;
use crate::firewall::exposure;

impl Porter<'_> {
    /// Checks the loaded rules and sets, and logs new findings.
    pub(super) fn look_at_firewall(&mut self, now: Instant, config: &Config, devices: &[String]) {
        let missing = self.missing_sets();
        let backend = self.gate.backend().kind();
        let findings = exposure::look_at(config, backend, devices).map_err(|error| error.to_string());
        let lasting = self.watch.looked(now, missing, findings);
        self.audience.counters.add(Counter::Event(CountedEvent::FirewallError), lasting);
    }

    /// The doors that cannot open because the firewall lacks their sets.
    fn missing_sets(&mut self) -> Vec<String> {
        let Self { household, gate, .. } = self;
        // The gate has logged already that it could not make the daemon's own chains.
        if gate.backend().iptables().is_some() {
            return Vec::new();
        }
        let doors = household.slots.iter().filter(|(_, door)| door.opens_ports());
        doors
            .filter_map(|(_, door)| match gate.missing(door) {
                Ok(None) => None,
                Ok(Some(what)) => Some(format!(
                    "{}: {what} does not exist: reload the firewall, or run 'ketukd ruleset | nft -f -'; then the door \
                     opens",
                    door.name
                )),
                Err(error) => Some(format!("{}: {error}", door.name)),
            })
            .collect()
    }
}
