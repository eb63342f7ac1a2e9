//! Who is refused before their body was read is heard out, so that they read why; but only so many at a time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use tok_tests::environment::Environment;
use tok_tests::wait::until_true;

/// As tokd has them.
const PLACES: usize = 256;

/// A request without a credential whose body does not come.
fn asked(environment: &Environment, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(environment.address()).unwrap();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

/// The status of the answer, if it is there.
fn answered(stream: &TcpStream) -> Option<String> {
    let mut answer = [0; 12];
    // Not taken away: it is looked at time after time.
    let length = stream.peek(&mut answer).unwrap_or(0);
    (length == answer.len()).then(|| String::from_utf8_lossy(&answer[9..]).into_owned())
}

#[test]
fn so_many_at_a_time_are_heard_out_and_whoever_comes_then_is_answered_at_once() {
    let environment = Environment::dev();
    for path in ["/acme/app.git/git-receive-pack", "/v1/tokens"] {
        let all: Vec<TcpStream> = (0..PLACES + 44).map(|_| asked(&environment, path)).collect();
        let over = |streams: &[TcpStream]| streams.iter().filter_map(answered).count();
        until_true(&format!("{path}: those beyond are answered"), || over(&all) == 44);
        let (beyond, mut waiting): (Vec<_>, Vec<_>) = all.into_iter().partition(|stream| answered(stream).is_some());
        for mut stream in beyond {
            // And their connections are over.
            stream.set_nonblocking(false).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        }
        for stream in &mut waiting {
            assert_eq!(answered(stream), None, "{path}: nobody else is");
            stream.write_all(b"{\"name\":1}").unwrap();
        }
        until_true(&format!("{path}: the others are when they have said all"), || over(&waiting) == PLACES);
        assert!(waiting.iter().all(|stream| answered(stream).as_deref() == Some("401")), "{path}");
    }
}
