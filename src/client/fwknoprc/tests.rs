//! Stanzas that are read, and stanzas that are refused.

use super::*;

const STANZAS: &str = "\
# .fwknoprc
[default]
SPA_SERVER_PORT     62201
VERBOSE             N

[ssh]
SPA_SERVER:         home.example.org   # the router
ACCESS              tcp/22,udp/51820
ALLOW_IP            source
FW_TIMEOUT          60
SPOOF_USER          alice
KEY_BASE64          c3BhLXRlc3Q=
HMAC_KEY_BASE64     aG1hYy10ZXN0
USE_HMAC            Y

[web]
SPA_SERVER          192.0.2.1
SPA_SERVER_PORT     443
ACCESS              tcp/8080
ALLOW_IP            192.0.2.9
NAT_ACCESS          192.168.1.10:80
KEY                 spa-test
HMAC_KEY            hmac-test
HMAC_DIGEST_TYPE    SHA512
";

fn read_one(text: &str) -> Result<Vec<Named>, String> {
    read("rc", text, None, Some("me"))
}

#[test]
fn stanzas_become_profiles() {
    let lines = |wanted| {
        let read = read("rc", STANZAS, wanted, Some("me")).unwrap();
        read.iter().map(|named| (named.name.clone(), named.profile.to_line().to_string())).collect::<Vec<_>>()
    };
    let ssh = "ketuk://alice@home.example.org/tcp_22:22?fwknop_key=c3BhLXRlc3Q&fwknop_hmac_key=aG1hYy10ZXN0\
               &access=tcp/22,udp/51820&seconds=60";
    let web = "ketuk://me@192.0.2.1/tcp_8080:8080?fwknop_key=c3BhLXRlc3Q&fwknop_hmac_key=aG1hYy10ZXN0\
               &fwknop_hmac_type=sha512&access=tcp/8080&nat=192.168.1.10,80&address=192.0.2.9&port=443";
    let both = [("ssh".to_owned(), ssh.to_owned()), ("web".to_owned(), web.to_owned())];
    assert_eq!(lines(None), both);
    assert_eq!(lines(Some("WEB")), both[1..]);
    for (_, line) in both {
        assert_eq!(line.parse::<Profile>().unwrap().to_line().as_str(), line);
    }
    let none = read("rc", STANZAS, Some("nas"), None).unwrap_err();
    assert_eq!(none, "rc has no stanza 'nas'; it has: ssh, web");
}

#[test]
fn what_cannot_be_carried_over_is_named_with_its_line() {
    let fine = "[a]\nSPA_SERVER h\nACCESS tcp/22\nKEY k\nHMAC_KEY h\n";
    assert!(read_one(fine).is_ok());
    for (more, why) in [
        ("USE_GPG Y", "USE_GPG: ketuk encrypts with KEY only"),
        ("ALLOW_IP resolve", &format!("ALLOW_IP: {RESOLVE}")),
        ("RESOLVE_IP_HTTPS y", &format!("RESOLVE_IP_HTTPS: {RESOLVE}")),
        ("ALLOW_IP 2001:db8::1", "ALLOW_IP: that is no IPv4 address"),
        ("SPA_SERVER_PROTO tcp", "SPA_SERVER_PROTO: ketuk sends fwknop's packet over UDP only"),
        ("ENCRYPTION_MODE CTR", "ENCRYPTION_MODE: ketuk encrypts in CBC mode only"),
        ("SPA_SERVER -h", "SPA_SERVER: that is no host"),
        ("SPA_SERVER_PORT 0", "SPA_SERVER_PORT: that is no port"),
        ("ACCESS tcp/22,", "ACCESS: 1 to 8 ports, as in tcp/22,udp/51820"),
        ("ACCESS tcp/22, udp/53", "the value of ACCESS is one word, without spaces"),
        ("NAT_ACCESS nas", "NAT_ACCESS: a host and a port, as in 192.168.1.10,22"),
        ("NAT_RAND_PORT Y", "NAT_RAND_PORT: ketuk asks for the ports that the stanza names"),
        ("FW_TIMEOUT 65537", "FW_TIMEOUT: that is no number of seconds up to 65536"),
        ("SPOOF_USER a:b", "SPOOF_USER: that is no name"),
        ("HMAC_DIGEST_TYPE sha3_256", "HMAC_DIGEST_TYPE: md5, sha1, sha256, sha384 or sha512"),
        ("TIME_OFFSET 60", "TIME_OFFSET: set this machine's clock"),
        ("KEY_BASE64 x", "KEY_BASE64: a key has 1 to 32 bytes in base 64"),
        ("KEY 123456789012345678901234567890123", "KEY: a key has 1 to 32 bytes"),
        ("CLIENT_TIMEOUT 60", "CLIENT_TIMEOUT: ketuk does not know this"),
        ("ACCESS", "the key has no value"),
    ] {
        let error = read_one(&format!("{fine}{more}\n")).unwrap_err();
        assert_eq!(error.lines().next(), Some(format!("rc:6: {why}").as_str()));
    }
    for unset in ["USE_GPG N", "TIME_OFFSET 0", "NAT_PORT 0", "RAND_PORT n"] {
        assert!(read_one(&format!("{fine}{unset}\n")).is_ok(), "{unset}");
    }
    let (lacks, two) = ("[a]\nSPA_SERVER h\n", "[b]\nUSE_GPG_AGENT Y\n");
    assert_eq!(
        read_one(&format!("{lacks}{two}")).unwrap_err(),
        "rc:1: stanza [a] lacks ACCESS, the ports to ask for\n\
         rc:1: stanza [a] lacks KEY_BASE64, the key that encrypts the packet\n\
         rc:1: stanza [a] lacks HMAC_KEY_BASE64: no packet is accepted without an HMAC\n\
         rc:4: USE_GPG_AGENT: ketuk encrypts with KEY only\n\
         rc:3: stanza [b] lacks SPA_SERVER, the host to send to\n\
         rc:3: stanza [b] lacks ACCESS, the ports to ask for\n\
         rc:3: stanza [b] lacks KEY_BASE64, the key that encrypts the packet\n\
         rc:3: stanza [b] lacks HMAC_KEY_BASE64: no packet is accepted without an HMAC\n\
         nothing was added; 'ketuk add rc NAME' takes one stanza"
    );
    assert!(read_one("[default]\nVERBOSE Y\n").unwrap_err().contains("names no host"));
}
