//! Reads a trace made by `strace -f -y -s N -o FILE` and proves when each acknowledgement was written.
//!
//! strace writes a line when it sees a call begin and, where others come between, a second one when it ends.
//! So the lines' order is an order of begins and ends: what matters here, and no clock is needed.

use std::collections::HashMap;
use std::fmt;

/// One system call with the lines on which it began and ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The call's name.
    pub name: String,
    /// The file of the first argument, where that is a descriptor.
    pub path: String,
    /// The arguments as strace shows them.
    pub args: String,
    /// The line of the begin.
    pub begin: usize,
    /// The line of the end; `None` where the trace ends before.
    pub end: Option<usize>,
    /// What it returned; -1 for an error.
    pub result: i64,
}

/// A record whose acknowledgement is to be judged.
#[derive(Clone, Debug)]
pub struct Acked {
    /// A text in the record's bytes that no other record has.
    pub marker: String,
    /// A text in the acknowledgement and in no other write to a socket.
    pub needle: String,
}

/// Why a trace does not prove an acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No write to the store holds the record.
    NotWritten(String),
    /// No write to a socket holds the acknowledgement.
    NotAcked(String),
    /// The acknowledgement's write began before the record was written.
    AckBeforeWrite(String),
    /// No successful sync of the file began after the write and ended before the acknowledgement.
    AckBeforeSync(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWritten(marker) => write!(out, "{marker}: no write to the store"),
            Self::NotAcked(marker) => write!(out, "{marker}: no acknowledgement"),
            Self::AckBeforeWrite(marker) => write!(out, "{marker}: acknowledged before it was written"),
            Self::AckBeforeSync(marker) => {
                write!(out, "{marker}: acknowledged without a sync after its write")
            }
        }
    }
}

/// Reads all calls of a trace, in the order of their begins.
#[must_use]
pub fn parse(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: HashMap<(&str, &str), usize> = HashMap::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, rest)) = text.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some((name, tail)) = resumed.split_once(" resumed>") else { continue };
            if let Some(index) = open.remove(&(thread, name)) {
                calls[index].end = Some(line);
                calls[index].result = result(tail);
                calls[index].args.push_str(tail);
            }
            continue;
        }
        let Some((name, args)) = rest.split_once('(') else { continue };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let unfinished = args.ends_with("<unfinished ...>");
        if unfinished {
            open.insert((thread, name), calls.len());
        }
        calls.push(Call {
            name: name.to_owned(),
            path: path(args),
            args: args.to_owned(),
            begin: line,
            end: (!unfinished).then_some(line),
            result: if unfinished { -1 } else { result(args) },
        });
    }
    calls
}

/// The file in `9</path>, …`.
fn path(args: &str) -> String {
    let named = args.split_once('<').filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
    named.and_then(|(_, rest)| rest.split_once('>')).map_or(String::new(), |(path, _)| path.to_owned())
}

/// The number after the last `=`.
fn result(tail: &str) -> i64 {
    let value = tail.rsplit_once(") ").map_or(tail, |(_, value)| value);
    let value = value.trim_start().trim_start_matches('=').trim_start();
    value.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(-1)
}

impl Call {
    fn writes(&self) -> bool {
        let names = ["write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg"];
        names.contains(&self.name.as_str())
    }

    fn syncs(&self, path: &str) -> bool {
        ["fdatasync", "fsync"].contains(&self.name.as_str()) && self.result == 0 && self.path == path
    }
}

/// Judges every acknowledgement; `stored` says which paths are the store's.
pub fn prove(calls: &[Call], acks: &[Acked], stored: impl Fn(&str) -> bool) -> Vec<Fault> {
    let (files, sockets): (Vec<&Call>, Vec<&Call>) =
        calls.iter().filter(|call| call.writes()).partition(|call| call.path.starts_with('/'));
    let judge = |ack: &Acked| -> Option<Fault> {
        let marker = || ack.marker.clone();
        let writes = || files.iter().filter(|call| stored(&call.path) && call.args.contains(&ack.marker));
        if writes().next().is_none() {
            return Some(Fault::NotWritten(marker()));
        }
        let Some(answer) = sockets.iter().find(|call| call.args.contains(&ack.needle)) else {
            return Some(Fault::NotAcked(marker()));
        };
        // The last write before the answer: where a write was short, the rest came in another.
        let done = |call: &&&Call| call.result > 0 && call.end.is_some_and(|end| end < answer.begin);
        let Some((write, end)) =
            writes().filter(done).filter_map(|call| call.end.map(|end| (call, end))).last()
        else {
            return Some(Fault::AckBeforeWrite(marker()));
        };
        let between = |call: &Call| call.begin > end && call.end.is_some_and(|end| end < answer.begin);
        let synced = calls.iter().any(|call| call.syncs(&write.path) && between(call));
        (!synced).then(|| Fault::AckBeforeSync(marker()))
    };
    acks.iter().filter_map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: &str = r#"10 pwrite64(9</d/seg-1>, "..m1..", 6, 0) = 6"#;
    const SYNC: &str = "11 fdatasync(9</d/seg-1>) = 0";
    const ACK: &str = r#"10 write(7<socket:[5]>, "{\"id\":\"o/l/1\"}", 15) = 15"#;

    fn faults(lines: &[&str]) -> String {
        let ack = Acked { marker: "m1".to_owned(), needle: r#"o/l/1\""#.to_owned() };
        let calls = parse(&lines.join("\n"));
        let faults = prove(&calls, &[ack], |path| path.starts_with("/d/"));
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn it_judges_acknowledgements() {
        let begin = "11 fdatasync(9</d/seg-1> <unfinished ...>";
        let end = "11 <... fdatasync resumed>)            = 0";
        let early = "m1: acknowledged without a sync after its write";
        for (what, lines, expected) in [
            ("in order", vec![WRITE, SYNC, ACK], ""),
            ("a sync in two lines", vec![WRITE, begin, "12 getpid() = 1", end, ACK], ""),
            ("another record's answer before", vec![WRITE, &ACK.replace("l/1", "l/11"), SYNC, ACK], ""),
            ("no sync", vec![WRITE, ACK], early),
            ("sync after the answer", vec![WRITE, ACK, SYNC], early),
            ("sync before the write", vec![SYNC, WRITE, ACK], early),
            ("sync begun before the write ended", vec![begin, WRITE, end, ACK], early),
            ("sync ended after the answer", vec![WRITE, begin, ACK, end], early),
            (
                "sync that failed",
                vec![WRITE, "11 fdatasync(9</d/seg-1>) = -1 EIO (Input/output error)", ACK],
                early,
            ),
            ("sync of another file", vec![WRITE, "11 fdatasync(8</d/seg-0>) = 0", ACK], early),
            (
                "write that ended after the sync began",
                vec![
                    r#"10 pwrite64(9</d/seg-1>, "..m1..", 6, 0 <unfinished ...>"#,
                    begin,
                    "10 <... pwrite64 resumed>) = 6",
                    end,
                    ACK,
                ],
                early,
            ),
            ("a short write, and its rest", vec![WRITE, SYNC, WRITE, ACK], early),
            ("written elsewhere", vec![&WRITE.replace("/d/", "/x/"), SYNC, ACK], "m1: no write to the store"),
            ("nothing written", vec![SYNC, ACK], "m1: no write to the store"),
            ("no answer", vec![WRITE, SYNC], "m1: no acknowledgement"),
            ("answer first", vec![ACK, WRITE, SYNC], "m1: acknowledged before it was written"),
            (
                "write that failed",
                vec![r#"10 pwrite64(9</d/seg-1>, "..m1..", 6, 0) = -1 ENOSPC (No space left)"#, SYNC, ACK],
                "m1: acknowledged before it was written",
            ),
        ] {
            assert_eq!(faults(&lines), expected, "{what}");
        }
    }

    #[test]
    fn it_reads_the_ways_in_which_strace_writes_calls() {
        let calls = parse(concat!(
            "7  writev(3</d/a>, [{iov_base=\"x) = 9\", iov_len=6}, {iov_base=\"y\", iov_len=1}], 2) = 7\n",
            "7 --- SIGTERM {si_signo=SIGTERM} ---\n",
            "8 sendto(4<socket:[1]>, \"z\", 1, MSG_NOSIGNAL, NULL, 0) = -1 EPIPE (Broken pipe)\n",
            "8 fsync(3</d/a>) = ?\n",
            "7 +++ exited with 0 +++\n",
            "9 fdatasync(3</d/a> <unfinished ...>\n",
        ));
        let short: Vec<_> = calls
            .iter()
            .map(|call| (call.name.as_str(), call.path.as_str(), call.result, call.end.is_some()))
            .collect();
        assert_eq!(
            short,
            [
                ("writev", "/d/a", 7, true),
                ("sendto", "socket:[1]", -1, true),
                ("fsync", "/d/a", -1, true),
                ("fdatasync", "/d/a", -1, false),
            ]
        );
    }
}
