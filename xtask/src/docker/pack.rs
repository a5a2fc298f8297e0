//! Packs files of this machine into an image, so that no registry is needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::client::Client;
use crate::command::{output, run};

/// What an image is made of.
#[derive(Debug, Default)]
pub(super) struct Pack {
    /// Files and folders of this machine, which have the same places in the image.
    files: BTreeSet<PathBuf>,
    /// A folder whose content is the image's root.
    layout: Option<PathBuf>,
    /// Lines of a Dockerfile, as `docker import --change` takes them.
    lines: Vec<String>,
}

impl Pack {
    /// Adds a file or a folder, if it is there; links are followed.
    pub(super) fn with(mut self, file: &str) -> Self {
        self.files.extend(Some(PathBuf::from(file)).filter(|file| file.exists()));
        self
    }

    /// Adds the shared libraries of a program, and the loader that finds them.
    ///
    /// # Errors
    /// Fails where they cannot be listed.
    pub(super) fn with_libraries_of(mut self, program: &Path) -> Result<Self> {
        let listed =
            output(Command::new("ldd").arg(program)).with_context(|| program.display().to_string())?;
        // What lies in a folder that is packed comes with it: tar would write a second mention as a link to itself.
        let packed = |path: &PathBuf| self.files.iter().any(|file| path.starts_with(file));
        let new: Vec<PathBuf> = libraries(&listed).filter(|path| !packed(path)).collect();
        self.files.extend(new);
        Ok(self)
    }

    /// Adds a library that lies where the C library does, if it is there. What programs unpack as they run is not listed
    /// with their own libraries, and may be linked with parts of the C library that are empty today.
    pub(super) fn with_beside_libc(self, library: &str) -> Self {
        let libc = self.files.iter().find(|file| file.ends_with("libc.so.6"));
        let Some(beside) = libc.map(|libc| libc.with_file_name(library)) else { return self };
        match beside.to_str() {
            Some(file) => self.with(file),
            None => self,
        }
    }

    /// Adds the content of a folder, from the root on.
    pub(super) fn with_layout(self, folder: &Path) -> Self {
        Self { layout: Some(folder.to_owned()), ..self }
    }

    /// Adds a line of a Dockerfile.
    pub(super) fn with_line(mut self, line: String) -> Self {
        self.lines.push(line);
        self
    }

    /// Makes the image.
    ///
    /// # Errors
    /// Fails where a file cannot be read or the engine refuses.
    pub(super) fn import(&self, client: &Client, scratch: &Path, name: &str) -> Result<()> {
        let archive = scratch.join("image.tar");
        let list = scratch.join("files");
        let lines =
            self.files.iter().map(|file| format!("{}\n", file.display().to_string().trim_start_matches('/')));
        fs::write(&list, lines.collect::<String>())?;
        let mut tar = Command::new("tar");
        // Java's package has a link to sources that another one would bring.
        tar.args(["--create", "--dereference", "--exclude=src.zip", "--file"]);
        tar.arg(&archive).args(["--directory", "/", "--files-from"]).arg(&list);
        if let Some(layout) = &self.layout {
            tar.arg("--directory").arg(layout).arg(".");
        }
        run(&mut tar)?;
        let mut import = client.docker(["import"]);
        for line in &self.lines {
            import.args(["--change", line]);
        }
        import.arg(&archive).arg(name).stdout(Stdio::null());
        let status = import.status().context("docker could not be started")?;
        ensure!(status.success(), "the image {name} could not be imported: {status}");
        fs::remove_file(archive).map_err(Into::into)
    }
}

/// Reads the paths out of what `ldd` says. Those that lead through other folders are of what the program brought itself.
fn libraries(listed: &str) -> impl Iterator<Item = PathBuf> {
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    let plain = |path: &PathBuf| !path.components().any(|part| part == Component::ParentDir);
    listed.lines().filter_map(path).filter(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_a_program_is_linked_with() {
        let said = "\tlinux-vdso.so.1 (0x00007ffd)\n\
            \tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f)\n\
            \tlibnone.so => not found\n\
            \tlibjli.so => /opt/java/bin/../lib/libjli.so (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found: Vec<_> = libraries(said).map(|path| path.display().to_string()).collect();
        assert_eq!(found, ["/lib/x86_64-linux-gnu/libgcc_s.so.1", "/lib64/ld-linux-x86-64.so.2"]);
    }
}
