//! Starts processes that end when this one does, however it ends.

use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use anyhow::{Context as _, Result};

struct Order {
    command: Command,
    reply: SyncSender<io::Result<Child>>,
}

/// A command that the kernel kills once the thread that started it is gone.
pub(crate) fn bound(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Starts a command from a thread that lives as long as this process.
///
/// To the kernel the parent is the thread that forked, and a test's own thread ends with the test.
///
/// # Errors
/// Fails where the program cannot be started.
pub(crate) fn spawn(command: Command) -> Result<Child> {
    static ORDERS: OnceLock<SyncSender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, ordered) = mpsc::sync_channel(1);
        thread::spawn(move || serve(&ordered));
        orders
    });
    let (reply, replied) = mpsc::sync_channel(1);
    orders.send(Order { command, reply }).ok().context("the thread that starts processes is gone")?;
    let started = replied.recv().context("the thread that starts processes is gone")?;
    started.context("setpriv (of util-linux), which binds Cassandra to this process, could not be started")
}

fn serve(orders: &Receiver<Order>) {
    for mut order in orders {
        let _ = order.reply.send(order.command.spawn());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead as _, BufReader};
    use std::path::PathBuf;
    use std::process::Stdio;
    use std::time::Duration;

    use super::*;

    const NAME: &str = "spawner::tests::it_starts_what_ends_with_its_parent_and_not_with_a_thread";
    const ROLE: &str = "CASSANDRA_DEV_TEST_PARENT";

    /// The other process of the test below: starts a child from a thread that ends, says its id, and stays.
    #[expect(clippy::print_stdout, reason = "the other process reads it")]
    fn play_the_parent() {
        let started = thread::spawn(|| {
            let mut sleep = bound(Path::new("sleep"));
            sleep.arg("30");
            spawn(sleep).unwrap().id()
        });
        println!("\nchild {}", started.join().unwrap());
        thread::sleep(Duration::from_secs(30));
    }

    fn is_asleep(process: &Path) -> bool {
        let alive = fs::read_to_string(process.join("stat")).is_ok_and(|stat| !stat.contains(") Z "));
        alive && fs::read_to_string(process.join("comm")).is_ok_and(|name| name == "sleep\n")
    }

    fn wait(process: &Path, until: bool) -> bool {
        for _ in 0..300 {
            if is_asleep(process) == until {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    #[test]
    fn it_starts_what_ends_with_its_parent_and_not_with_a_thread() {
        if std::env::var_os(ROLE).is_some() {
            return play_the_parent();
        }
        let mut parent = Command::new(std::env::current_exe().unwrap());
        parent.args(["--exact", "--nocapture", NAME]).env(ROLE, "1");
        let mut parent = parent.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
        let said = lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("child ")?.to_owned()));
        let child = PathBuf::from("/proc").join(said.unwrap());
        let began = wait(&child, true);
        thread::sleep(Duration::from_millis(200));
        let stayed = is_asleep(&child);
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert!(began && stayed, "the child ended with the thread that asked for it");
        assert!(wait(&child, false), "the child outlived its parent");
    }
}
