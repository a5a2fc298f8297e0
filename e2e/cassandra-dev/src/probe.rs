//! Asks a Cassandra one question by hand, in the native protocol's fourth version, to know whether it serves.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::plan::Login;

/// Long enough for a busy machine; whoever asks goes on asking.
const PATIENCE: Duration = Duration::from_secs(2);
/// Answers are some hundred bytes; more is not from a Cassandra.
const LONGEST: u32 = 1 << 20;

const ERROR: u8 = 0x00;
const STARTUP: u8 = 0x01;
const READY: u8 = 0x02;
const AUTHENTICATE: u8 = 0x03;
const QUERY: u8 = 0x07;
const RESULT: u8 = 0x08;
const AUTH_RESPONSE: u8 = 0x0F;
const AUTH_SUCCESS: u8 = 0x10;

/// Logs in where that is asked for, and reads a row.
///
/// # Errors
/// Fails where nobody listens, the login is refused or no row comes.
pub(crate) fn ask(port: u16, login: Option<Login>) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut answer = exchange(&mut stream, STARTUP, b"\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0")?;
    if answer == AUTHENTICATE {
        let Login { user, password } = login.unwrap_or(Login { user: "", password: "" });
        let token = format!("\0{user}\0{password}");
        answer = exchange(&mut stream, AUTH_RESPONSE, &long(token.as_bytes())?)?;
    }
    ensure!([READY, AUTH_SUCCESS].contains(&answer), "opcode {answer} in place of a welcome");
    // Consistency ONE, no flags.
    let question = [&long(b"SELECT key FROM system.local")?[..], b"\x00\x01\x00"].concat();
    let answer = exchange(&mut stream, QUERY, &question)?;
    ensure!(answer == RESULT, "opcode {answer} in place of a row");
    Ok(())
}

/// Bytes behind their length.
fn long(bytes: &[u8]) -> Result<Vec<u8>> {
    Ok([&u32::try_from(bytes.len())?.to_be_bytes(), bytes].concat())
}

/// Sends a frame and gives the opcode of the answer.
fn exchange(stream: &mut TcpStream, opcode: u8, body: &[u8]) -> Result<u8> {
    let header = [0x04, 0, 0, 0, opcode];
    stream.write_all(&[&header, &long(body)?[..]].concat())?;
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let [_, _, _, _, answer, length @ ..] = head;
    let length = u32::from_be_bytes(length);
    ensure!(length <= LONGEST, "an answer of {length} bytes");
    let mut body = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut body)?;
    if answer == ERROR {
        // A number of four bytes and the text's length of two stand before it.
        bail!("{}", String::from_utf8_lossy(body.get(6..).unwrap_or_default()));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Serves one connection with answers of these opcodes and bodies; gives the bodies of all questions.
    fn serve(answers: Vec<(u8, &'static [u8])>) -> (u16, thread::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            for (opcode, body) in answers {
                let mut head = [0; 9];
                stream.read_exact(&mut head).unwrap();
                let mut question = vec![0; usize::from(head[8])];
                stream.read_exact(&mut question).unwrap();
                asked.append(&mut question);
                stream.write_all(&[&[0x84, 0, 0, 0, opcode], &long(body).unwrap()[..]].concat()).unwrap();
            }
            asked
        });
        (port, served)
    }

    #[test]
    fn it_believes_only_a_row() {
        let login = Some(Login { user: "u", password: "p" });
        for (answers, login, expected) in [
            (vec![(READY, &b""[..]), (RESULT, b"row")], None, ""),
            (vec![(AUTHENTICATE, b"x"), (AUTH_SUCCESS, b""), (RESULT, b"row")], login, ""),
            (vec![(AUTHENTICATE, b"x"), (ERROR, b"\0\0\x01\0\0\x03bad")], login, "bad"),
            (vec![(READY, b""), (ERROR, b"\0\0\0\0\0\x04busy")], None, "busy"),
            (vec![(RESULT, b"")], None, "opcode 8 in place of a welcome"),
            (vec![(READY, b""), (READY, b"")], None, "opcode 2 in place of a row"),
        ] {
            let (port, served) = serve(answers.clone());
            let said = ask(port, login).map_or_else(|error| error.to_string(), |()| String::new());
            assert_eq!(said, expected, "{answers:?}");
            let asked = served.join().unwrap();
            assert_eq!(asked.windows(4).any(|part| part == b"\0u\0p"), login.is_some(), "{asked:?}");
        }
        assert!(ask(1, None).is_err());
    }
}
