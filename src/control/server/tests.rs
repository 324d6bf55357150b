use super::*;

/// The answer to a connection so far; empty if there is none.
fn answer(stream: &mut UnixStream) -> String {
    let mut text = String::new();
    // The error is that there is nothing more, or not yet.
    let _ = stream.read_to_string(&mut text);
    text
}

#[test]
fn a_turn_accepts_a_bounded_number_of_connections() {
    let path = std::env::temp_dir().join(format!("ketuk-server-{}", std::process::id()));
    let mut server = Server::open(&path).expect("a socket");
    let mut clients: Vec<_> = (0..MAX_CLIENTS + 2 * MAX_ACCEPTED)
        .map(|_| {
            let client = UnixStream::connect(&path).expect("the kernel's queue has room");
            client.set_nonblocking(true).expect("a socket");
            client
        })
        .collect();
    // The first turns fill the places, and each later turn refuses as many as it accepts.
    let mut turns = Vec::new();
    for _ in 0..clients.len() {
        assert!(server.receive(Instant::from_millis(0)).is_empty(), "nobody has asked anything");
        let answers = clients.iter_mut().map(answer);
        turns.push(answers.filter(|answer| answer.contains("too many connections")).count());
    }
    let full = MAX_CLIENTS.div_ceil(MAX_ACCEPTED);
    assert_eq!(turns[..full], vec![0; full]);
    assert_eq!(turns[full..full + 3], [MAX_ACCEPTED, MAX_ACCEPTED, 0]);
    // Who was accepted is still served.
    clients[0].write_all(b"{\"request\":\"status\"}\n").expect("written");
    let complete = server.receive(Instant::from_millis(0));
    assert_eq!(complete.iter().map(Client::request).collect::<Vec<_>>(), [b"{\"request\":\"status\"}"]);
}
