//! Compresses the named files and writes the folder that the node embeds.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::dist::budget::Size;
use crate::dist::manifest::{self, Entry};
use crate::dist::names::{Files, Named};

/// A file with its compressed forms, each only where it is smaller than the file.
#[derive(Debug)]
pub(crate) struct Packed {
    named: Named,
    brotli: Option<Vec<u8>>,
    gzip: Option<Vec<u8>>,
}

impl Packed {
    /// What the file weighs in each form.
    pub(crate) fn size(&self) -> Size {
        let plain = self.named.content.len();
        let or_plain = |form: &Option<Vec<u8>>| form.as_ref().map_or(plain, Vec::len);
        Size {
            path: self.named.path.clone(),
            plain,
            gzip: or_plain(&self.gzip),
            brotli: or_plain(&self.brotli),
        }
    }

    fn entry(&self) -> Result<Entry> {
        let has = |form: &Option<Vec<u8>>, name| form.as_ref().map(|_| name);
        let encodings = [has(&self.brotli, "br"), has(&self.gzip, "gzip")];
        Entry::new(&self.named, encodings.into_iter().flatten().collect())
    }

    /// The files to write: name and content.
    fn forms(&self) -> impl Iterator<Item = (String, &[u8])> {
        let path = &self.named.path;
        let brotli = self.brotli.as_deref().map(|content| (format!("{path}.br"), content));
        let gzip = self.gzip.as_deref().map(|content| (format!("{path}.gz"), content));
        [Some((path.clone(), self.named.content.as_slice())), brotli, gzip].into_iter().flatten()
    }
}

/// Reads all files below a folder into `files`, by their path from it.
///
/// # Errors
/// Fails where the folder cannot be read, or a file of that path is there already.
pub(crate) fn read(folder: &Path, below: &str, files: &mut Files) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let entry = entry?;
        let path = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            read(&entry.path(), &format!("{path}/"), files)?;
        } else if files.insert(path.clone(), fs::read(entry.path())?).is_some() {
            return Err(anyhow!("{} has the name of a generated file", entry.path().display()));
        }
    }
    Ok(())
}

/// Compresses all files, each on its own thread.
///
/// # Errors
/// Fails where a compressor does.
pub(crate) fn compress(files: Vec<Named>) -> Result<Vec<Packed>> {
    let tasks: Vec<_> = files.into_iter().map(|named| thread::spawn(move || compress_one(named))).collect();
    tasks.into_iter().map(|task| task.join().map_err(|_| anyhow!("a compressor panicked"))?).collect()
}

fn compress_one(named: Named) -> Result<Packed> {
    let smaller = |form: Vec<u8>| (form.len() < named.content.len()).then_some(form);
    let (brotli, gzip) = (smaller(brotli(&named.content)?), smaller(gzip(&named.content)?));
    Ok(Packed { named, brotli, gzip })
}

fn brotli(content: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let params =
        BrotliEncoderParams { quality: 11, lgwin: 22, size_hint: content.len(), ..Default::default() };
    brotli::BrotliCompress(&mut &*content, &mut out, &params)?;
    Ok(out)
}

fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    Ok(encoder.finish()?)
}

/// Writes the folder, its manifest last; leaves it alone where it holds the same already, so that the node
/// is not compiled anew.
///
/// # Errors
/// Fails where the folder cannot be written.
pub(crate) fn write(files: &[Packed], folder: &Path) -> Result<()> {
    let entries = files.iter().map(Packed::entry).collect::<Result<Vec<_>>>()?;
    let manifest = manifest::write(&entries);
    let is_there = |(path, content): (String, &[u8])| {
        fs::metadata(folder.join(path)).is_ok_and(|data| usize::try_from(data.len()) == Ok(content.len()))
    };
    let same = fs::read_to_string(folder.join(manifest::FILE)).is_ok_and(|old| old == manifest);
    if same && files.iter().flat_map(Packed::forms).all(is_there) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    for (path, content) in files.iter().flat_map(Packed::forms) {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        fs::write(&file, content).with_context(|| file.display().to_string())?;
    }
    Ok(fs::write(folder.join(manifest::FILE), manifest)?)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::dist::names::name_all;

    fn packed(content: &str) -> Vec<Packed> {
        let files = [("index.html".to_owned(), content.as_bytes().to_vec())];
        compress(name_all(files.into_iter().collect()).unwrap()).unwrap()
    }

    #[test]
    fn it_compresses_what_gets_smaller_by_it() {
        let text = "a mesh of nodes ".repeat(50);
        let packed_text = &packed(&text)[0];
        let mut plain = String::new();
        let mut gzip = flate2::read::GzDecoder::new(packed_text.gzip.as_deref().unwrap());
        gzip.read_to_string(&mut plain).unwrap();
        assert_eq!(plain, text);
        let mut plain = Vec::new();
        brotli::BrotliDecompress(&mut packed_text.brotli.as_deref().unwrap(), &mut plain).unwrap();
        assert_eq!(plain, text.as_bytes());
        let tiny = &packed("a")[0];
        assert!(tiny.brotli.is_none() && tiny.gzip.is_none());
        assert_eq!(tiny.size().brotli, 1);
    }

    #[test]
    fn it_writes_the_folder_only_when_something_changed() {
        let folder = std::env::temp_dir().join(format!("xtask-pack-{}", std::process::id()));
        let manifest = folder.join(manifest::FILE);
        let mut times = Vec::new();
        for content in ["a page of text, a page of text, a page of text", "another", "another"] {
            write(&packed(content), &folder).unwrap();
            times.push(fs::metadata(&manifest).unwrap().modified().unwrap());
            assert_eq!(fs::read_to_string(folder.join("index.html")).unwrap(), content);
        }
        assert!(!folder.join("index.html.br").exists(), "a form of an older page stayed");
        assert!(times[0] < times[1] && times[1] == times[2]);
        let mut files = Files::new();
        read(&folder, "", &mut files).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["index.html", manifest::FILE]);
        assert!(read(&folder, "", &mut files).is_err(), "a name was taken twice");
        fs::remove_dir_all(&folder).unwrap();
    }
}
