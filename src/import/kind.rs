//! Finds out which program a configuration file belongs to.

use super::lines::Line;
use super::outcome::ImportError;

/// The kind of a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// knockd.conf.
    Knockd,
    /// fwknopd's access.conf.
    Access,
    /// fwknopd.conf.
    Fwknopd,
    /// OpenWrt's UCI configuration of knockd or fwknopd.
    Uci,
}

/// Keys of fwknopd.conf. Every file has at least one of them, at least in a comment.
const FWKNOPD: &[&str] = &[
    "PCAP_INTF",
    "PCAP_FILTER",
    "ENABLE_PCAP_PROMISC",
    "ENABLE_SPA_PACKET_AGING",
    "MAX_SPA_PACKET_AGE",
    "ENABLE_UDP_SERVER",
    "UDPSERV_PORT",
    "ENABLE_TCP_SERVER",
    "TCPSERV_PORT",
    "ACCESS_FILE",
    "FWKNOP_RUN_DIR",
    "SYSLOG_IDENTITY",
    "VERBOSE",
    "ENABLE_IPT_FORWARDING",
    "ENABLE_IPT_LOCAL_NAT",
    "FLUSH_IPT_AT_INIT",
    "FIREWALL_EXE",
    "ENABLE_DIGEST_PERSISTENCE",
];

/// The kind of a file.
///
/// # Errors
/// The file is of no kind that can be imported. The error names its kind if it is known.
pub(super) fn of(lines: &[Line]) -> Result<FileKind, ImportError> {
    let content = || {
        lines.iter().map(|line| line.text.trim()).filter(|text| !text.is_empty() && !text.starts_with('#'))
    };
    let key = |text: &str| {
        let key = text.split(|c: char| c.is_whitespace() || c == '=').next().unwrap_or_default();
        key.trim_end_matches(':').to_owned()
    };
    let has = |keys: &[&str]| content().any(|text| keys.contains(&key(text).as_str()));
    if content().next().is_some_and(|text| matches!(key(text).as_str(), "config" | "package")) {
        return Ok(FileKind::Uci);
    }
    let is_section = |text: &str| text.starts_with('[') && text.ends_with(']') && text.len() > 2;
    if content().any(is_section) {
        if content().any(|text| key(text).starts_with("SPA_SERVER")) {
            return Err(ImportError::Other(
                "this is the .fwknoprc of a client: ketuk takes the server's access.conf",
            ));
        }
        if content()
            .any(|text| text.eq_ignore_ascii_case("[Definition]") || text.eq_ignore_ascii_case("[DEFAULT]"))
        {
            return Err(ImportError::Other("this is a configuration of fail2ban"));
        }
        return Ok(FileKind::Knockd);
    }
    if has(&["SOURCE"]) || has(&["%include", "%include_folder"]) {
        return Ok(FileKind::Access);
    }
    if has(FWKNOPD) {
        return Ok(FileKind::Fwknopd);
    }
    if has(&["START_KNOCKD", "KNOCKD_OPTS"]) {
        return Err(ImportError::Other(
            "this is /etc/default/knockd: ketuk takes the knockd.conf, and the device behind -i as 'list device'",
        ));
    }
    if content()
        .any(|text| text.starts_with("*filter") || text.starts_with("table inet ") || text.starts_with("-A "))
    {
        return Err(ImportError::Other(
            "this is a firewall's rules, not the configuration of a knock daemon",
        ));
    }
    if lines.first().is_some_and(|line| line.text.starts_with("#!")) {
        return Err(ImportError::Other("this is a script, not a configuration"));
    }
    // Debian's fwknopd.conf sets nothing, and shows each setting in a comment.
    let shown =
        |line: &Line| line.text.strip_prefix('#').is_some_and(|text| FWKNOPD.contains(&key(text).as_str()));
    if content().next().is_none() && lines.iter().any(shown) {
        return Ok(FileKind::Fwknopd);
    }
    Err(ImportError::Unknown)
}
