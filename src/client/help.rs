//! What `--help` prints, for the whole and for each command.

/// How `ketuk` is used: `ketuk --help`.
pub const ALL: &str = "\
ketuk knocks at a host's ports, so that its router opens a door.

usage: ketuk [options] HOST PORT[:tcp|:udp]...     knock at ports, one after the other
       ketuk [options] open PROFILE [DOOR] [-- COMMAND...]
                                                   open a door as a profile says
       ketuk [options] connect PROFILE [PORT]      open, then relay standard input and output
       ketuk add LINE|-|FILE [NAME]                keep a profile, as 'ketukd invite' prints it
       ketuk list | show PROFILE | remove PROFILE...
                                                   the profiles
       ketuk keygen                                a new key and a new secret, for the router
  -4, --ipv4           use IPv4 only
  -6, --ipv6           use IPv6 only
  -d, --delay MS       wait so many milliseconds between knocks (default is 100)
  -s, --source FROM    knock from this address or device of this host
  -u, --udp            knock with UDP at every port (default is TCP)
  -v, --verbose        say each knock
  -V, --version        print the version
  -h, --help           print this; behind a command, how it is used

examples: ketuk router.example.com 7000 8000:udp 9000
          ketuk open home -- ssh me@home.example.com
exit codes: 0 all knocks were sent, 1 one could not be or nothing answered, 2 wrong usage
";

/// How a command is used: its name, and what `ketuk NAME --help` prints.
pub const COMMANDS: [(&str, &str); 7] = [
    (
        "open",
        "\
usage: ketuk [options] open PROFILE [DOOR] [-- COMMAND...]

Opens the profile's first door, or the one that is named: by a packet if the profile has a key, else by a
changing sequence, else by a plain one. It knocks at every address of the host, over IPv4 and IPv6. With a
command it waits until the door's port answers, and then becomes the command.

  -t, --time SECONDS       ask for so long, if the door's max_time allows it
  -a, --address ADDRESS    open for this address instead of one's own, if one may
  -w, --wait PORT          wait until this TCP port answers
  -4, -6, -d MS, -s FROM, -v   as 'ketuk --help' says

example: ketuk open home -- ssh me@home.example.com
",
    ),
    (
        "connect",
        "\
usage: ketuk [options] connect PROFILE [PORT]

Opens the door that the port is behind (the profile's first door, and its port, if none is named), waits until
the port answers, and relays standard input and output to it. For ssh:

  ProxyCommand ketuk connect home %p

  -4, -6, -d MS, -s FROM, -t SECONDS, -v   as 'ketuk open --help' says
",
    ),
    (
        "add",
        "\
usage: ketuk add LINE|-|FILE [NAME]

Keeps a profile: a line that begins with ketuk://, a link to the knock page, or a file that holds such a line.
- reads the line from standard input, so that no shell remembers it. Without a name it is called after its host.
",
    ),
    ("list", "usage: ketuk list\n\nNames the profiles. It shows no secret.\n"),
    (
        "show",
        "\
usage: ketuk show PROFILE

Says what a profile sends where, and in which file it is. It shows no secret.
",
    ),
    ("remove", "usage: ketuk remove PROFILE...\n\nDeletes profiles.\n"),
    (
        "keygen",
        "\
usage: ketuk keygen

Prints a new key and a new secret as options of a user, for the router's configuration.
",
    ),
];
