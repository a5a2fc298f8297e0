//! Damage to the store's files: the node starts, says so, and loses no more than what was damaged.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use e2e::checker::{Owed, Seen, ensure_sound};
use e2e::history;
use e2e::node::{Node, Plan};
use e2e::place::{Form, Place};
use e2e::process::files;
use e2e::reader::read_until_live;

/// What the damage may cost.
#[derive(Clone, Copy, Debug)]
enum Cost {
    /// Nothing: what is derived is made anew.
    Nothing,
    /// Some records, so many at most, each in a gap `corrupt`.
    Gap(usize),
    /// The same, or none where what was hit is written down elsewhere too.
    Perhaps(usize),
    /// Records at the end of the newest file, which nothing proves to have been there.
    Tail(usize),
}

/// The files that hold records, oldest first, and those that are derived from them.
fn store_files(data: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let has = |path: &PathBuf, text: &[u8]| {
        fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text))
    };
    let (segments, others): (Vec<_>, Vec<_>) =
        files(data)?.into_iter().partition(|path| has(path, b"\"pad\":"));
    let kind = |path: &PathBuf| path.extension().map(std::ffi::OsStr::to_owned);
    let known = segments.first().and_then(|path| path.parent().map(Path::to_owned)).context("no segments")?;
    let inside =
        |path: &&PathBuf| path.starts_with(known.parent().unwrap_or(&known)) && path.parent() != Some(data);
    let derived =
        others.iter().filter(inside).filter(|path| segments.iter().all(|one| kind(one) != kind(path)));
    Ok((segments.clone(), derived.cloned().collect()))
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let mut bytes = fs::read(path)?;
    change(&mut bytes);
    Ok(fs::write(path, bytes)?)
}

type Damage = (&'static str, Cost, fn(&[PathBuf], &[PathBuf]) -> Result<()>);

const DAMAGES: [Damage; 10] = [
    ("a flipped bit in a record", Cost::Gap(600), |segments, _| {
        change(&segments[1], |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
        })
    }),
    ("zeros over a page", Cost::Gap(900), |segments, _| {
        change(&segments[2], |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle..middle + 4096].fill(0);
        })
    }),
    ("a flipped bit in a segment's first entry", Cost::Perhaps(1400), |segments, _| {
        change(&segments[1], |bytes| bytes[20] ^= 1)
    }),
    ("a truncated segment in the middle", Cost::Gap(900), |segments, _| {
        change(&segments[1], |bytes| bytes.truncate(bytes.len() / 2))
    }),
    ("a missing segment", Cost::Gap(1400), |segments, _| Ok(fs::remove_file(&segments[1])?)),
    ("a truncated newest segment", Cost::Tail(600), |segments, _| {
        let last = segments.last().context("none")?;
        change(last, |bytes| bytes.truncate(bytes.len() - 50))
    }),
    ("a missing index", Cost::Nothing, |_, derived| {
        ensure!(!derived.is_empty(), "no derived files");
        derived.iter().try_for_each(|path| Ok(fs::remove_file(path)?))
    }),
    ("a torn index", Cost::Nothing, |_, derived| {
        derived.iter().try_for_each(|path| change(path, |bytes| bytes.truncate(bytes.len() / 2)))
    }),
    ("a stale index", Cost::Nothing, |_, derived| {
        derived.windows(2).try_for_each(|pair| fs::copy(&pair[0], &pair[1]).map(drop).map_err(Into::into))
    }),
    ("a flipped bit in each index file", Cost::Nothing, |_, derived| {
        derived.iter().try_for_each(|path| {
            change(path, |bytes| {
                let middle = bytes.len() / 2;
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 16;
                }
            })
        })
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_what_is_damaged_and_keeps_the_rest() -> Result<()> {
    let mut node = Plan::new().args(&["--segment-bytes", "1MiB"]).start().await?;
    let mut owed = Owed::default();
    for part in 0..5 {
        owed.acked.extend(
            node.http()?.publish_numbered("damage.a", "d", part * 1000..(part + 1) * 1000, 1000).await?,
        );
    }
    node.kill()?;
    node.start().await?;
    owed.acked.extend(node.http()?.publish_numbered("damage.a", "e", 0..1000, 1000).await?);
    node.stop().await?;
    let whole = node.dir().join("whole");
    copy(&node.data_dir(), &whole)?;
    let mut faults = Vec::new();
    for (what, cost, damage) in DAMAGES {
        fs::remove_dir_all(node.data_dir())?;
        copy(&whole, &node.data_dir())?;
        let (segments, derived) = store_files(&node.data_dir())?;
        ensure!(segments.len() >= 5, "{} segments", segments.len());
        damage(&segments, &derived).context(what)?;
        if let Err(fault) = judge(&mut node, &owed, cost).await {
            faults.push(format!("{what}: {fault:#}"));
            let _ = node.kill();
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

async fn judge(node: &mut Node, owed: &Owed, cost: Cost) -> Result<()> {
    node.start().await?;
    let mut place = Place::new(Form::Opaque);
    let mut socket = node.door()?.open("/feed?start=earliest").await?;
    read_until_live(&mut socket, &mut place).await?;
    let paged = history::read(node.http()?, "limit=700").await?;
    paged.ensure_order(false)?;
    let status = node.http()?.get("/api/v1/status").await?;
    let store = &status["components"]["store"];
    for (reader, seen) in [("feed", place.seen()), ("history", paged.seen()?)] {
        let lost = lost(&seen);
        match cost {
            Cost::Nothing => ensure!(lost == 0, "{reader}: {lost} records lost"),
            Cost::Gap(most) => ensure!((1..=most).contains(&lost), "{reader}: {lost} records in gaps"),
            Cost::Perhaps(most) => ensure!(lost <= most, "{reader}: {lost} records in gaps"),
            Cost::Tail(most) => {
                let seen = seen.iter().filter(|one| matches!(one, Seen::Record(..))).count();
                ensure!(owed.acked.len() - seen <= most, "{reader}: {} gone", owed.acked.len() - seen);
                continue;
            }
        }
        ensure_sound(reader, owed, &seen)?;
    }
    if matches!(cost, Cost::Gap(_)) {
        ensure!(store["state"] == "degraded" && store["detail"].is_string(), "status says nothing: {store}");
    }
    let fresh = node.http()?.publish_numbered("damage.b", "f", 0..10, 10).await?;
    let kept = history::read(node.http()?, "topic=damage.b").await?;
    ensure!(kept.records.len() == fresh.len(), "new records after damage");
    node.stop().await
}

/// How many records are in gaps, all of which must say `corrupt`.
fn lost(seen: &[Seen]) -> usize {
    let gap = |one: &Seen| match one {
        Seen::Gap { from, to, reason, .. } if reason == "corrupt" => {
            usize::try_from(to - from + 1).unwrap_or(usize::MAX)
        }
        Seen::Gap { .. } => usize::MAX / 2,
        Seen::Record(..) => 0,
    };
    seen.iter().map(gap).sum()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for file in files(from)? {
        let target = to.join(file.strip_prefix(from)?);
        fs::create_dir_all(target.parent().context("no folder")?)?;
        fs::copy(&file, target)?;
    }
    Ok(())
}
