//! The user's own commands. As in knockd, `%IP%` is replaced, then `sh -c` runs the command.

use std::net::IpAddr;

use crate::config::Commands;

/// The only token, as in knockd.
const ADDRESS: &str = "%IP%";

/// The command for a door that opens to `address`, or `None` if there is none.
pub fn start(commands: &Commands, address: IpAddr) -> Option<Vec<String>> {
    argv(commands.start.as_ref(), commands.start_6.as_ref(), address)
}

/// The command for a door that shuts to `address`, or `None` if there is none.
pub fn stop(commands: &Commands, address: IpAddr) -> Option<Vec<String>> {
    argv(commands.stop.as_ref(), commands.stop_6.as_ref(), address)
}

fn argv(v4: Option<&String>, v6: Option<&String>, address: IpAddr) -> Option<Vec<String>> {
    let command = if address.is_ipv6() { v6.or(v4) } else { v4 }?;
    if command.trim().is_empty() {
        return None;
    }
    // An address is printed as hexadecimal digits, dots and colons, none of which is special in a shell.
    let command = command.replace(ADDRESS, &address.to_string());
    Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), command])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(command: &str) -> Vec<String> {
        vec!["/bin/sh".to_owned(), "-c".to_owned(), command.to_owned()]
    }

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7));

    #[test]
    fn the_address_is_filled_in_everywhere() {
        let commands =
            Commands { start: Some("a %IP% b=%IP%; echo '%ip% %%IP%%'".to_owned()), ..Commands::default() };
        assert_eq!(start(&commands, V4), Some(shell("a 192.0.2.7 b=192.0.2.7; echo '%ip% %192.0.2.7%'")));
        assert_eq!(stop(&commands, V4), None);
    }

    #[test]
    fn ipv6_falls_back_when_unset_and_does_nothing_when_empty() {
        let mut commands = Commands {
            start: Some("four %IP%".to_owned()),
            stop: Some("shut %IP%".to_owned()),
            ..Commands::default()
        };
        assert_eq!(start(&commands, V6), Some(shell("four 2001:db8::7")));
        assert_eq!(stop(&commands, V6), Some(shell("shut 2001:db8::7")));
        commands.start_6 = Some("six %IP%".to_owned());
        commands.stop_6 = Some(String::new());
        assert_eq!(start(&commands, V6), Some(shell("six 2001:db8::7")));
        assert_eq!(stop(&commands, V6), None);
        assert_eq!(start(&commands, V4), Some(shell("four 192.0.2.7")));
        assert_eq!(stop(&commands, V4), Some(shell("shut 192.0.2.7")));
    }

    #[test]
    fn an_ipv6_command_is_not_for_ipv4() {
        let commands = Commands { start_6: Some("six".to_owned()), ..Commands::default() };
        assert_eq!(start(&commands, V4), None);
        assert!(commands.any());
    }

    #[test]
    fn blank_commands_are_none() {
        let commands =
            Commands { start: Some("  ".to_owned()), stop: Some(String::new()), ..Commands::default() };
        assert_eq!(start(&commands, V4), None);
        assert!(!commands.any());
        assert!(!Commands::default().any());
    }

    #[test]
    fn no_address_means_anything_to_a_shell() {
        for address in ["::ffff:192.0.2.1", "fe80::1", "::", "255.255.255.255"] {
            let text = address.parse::<IpAddr>().unwrap().to_string();
            assert!(text.bytes().all(|byte| byte.is_ascii_hexdigit() || b".:".contains(&byte)), "{text}");
        }
    }
}
