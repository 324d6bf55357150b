//! Turns fwknopd's `CMD_CYCLE_OPEN` and `CMD_CYCLE_CLOSE` into a door's commands.

/// A stanza's settings for commands.
pub(super) struct Cycle<'a> {
    /// `CMD_CYCLE_OPEN`.
    pub(super) open: &'a str,
    /// `CMD_CYCLE_CLOSE`.
    pub(super) close: Option<&'a str>,
    /// `CMD_CYCLE_TIMER`, in seconds.
    pub(super) timer: Option<i64>,
}

/// The start command, the stop command and the seconds between them, for one port.
pub(super) fn read(
    cycle: &Cycle<'_>,
    protocol: &str,
    port: u16,
) -> Result<(String, Option<String>, u32), &'static str> {
    let start = command(cycle.open, protocol, port)?;
    let close = cycle.close.ok_or("there is no CMD_CYCLE_CLOSE, without which fwknopd does not start")?;
    if close.starts_with("NONE") {
        return Ok((start, None, 1));
    }
    let seconds = cycle.timer.and_then(|timer| u32::try_from(timer).ok()).filter(|timer| *timer > 0);
    let seconds = seconds.ok_or("there is no CMD_CYCLE_TIMER, without which fwknopd does not start")?;
    Ok((start, Some(command(close, protocol, port)?), seconds))
}

/// The command with fwknopd's variables filled in. The knocker's address becomes ketuk's `%IP%`.
fn command(text: &str, protocol: &str, port: u16) -> Result<String, &'static str> {
    // fwknopd runs the command without a shell, and ketukd with one. So characters that are special in a shell are refused.
    if text.contains(|c: char| "|&;<>`\\*?~!#()[]{}\n".contains(c)) || text.contains("%IP%") {
        return Err(
            "it has characters that are special in a shell, and fwknopd runs it without a shell: put it into a script",
        );
    }
    let number = if protocol == "udp" { "17" } else { "6" };
    let mut rest = text;
    let mut command = String::new();
    while let Some((before, behind)) = rest.split_once('$') {
        command.push_str(before);
        let (value, left) =
            if let Some(left) = behind.strip_prefix("IP").or_else(|| behind.strip_prefix("SRC")) {
                ("%IP%".to_owned(), left)
            } else if let Some(left) = behind.strip_prefix("PORT") {
                (port.to_string(), left)
            } else if let Some(left) = behind.strip_prefix("PROTO") {
                (number.to_owned(), left)
            } else {
                return Err("only $SRC, $IP, $PORT and $PROTO are carried over");
            };
        command.push_str(&value);
        rest = left;
    }
    command.push_str(rest);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in() {
        let read = |open, close, timer| read(&Cycle { open, close, timer }, "udp", 1194);
        assert_eq!(
            read("/srv/open $SRC $PORT $PROTO", Some("/srv/close $IP"), Some(9)),
            Ok(("/srv/open %IP% 1194 17".to_owned(), Some("/srv/close %IP%".to_owned()), 9))
        );
        assert_eq!(read("/srv/open", Some("NONE"), None), Ok(("/srv/open".to_owned(), None, 1)));
        for (open, close, timer) in [
            ("/srv/open $DST", Some("x"), Some(1)),
            ("/srv/open; reboot", Some("x"), Some(1)),
            ("/srv/open", None, Some(1)),
            ("/srv/open", Some("x"), None),
            ("/srv/open", Some("x | y"), Some(1)),
        ] {
            assert!(read(open, close, timer).is_err(), "{open}");
        }
    }
}
