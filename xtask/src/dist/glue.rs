//! Makes a WASM module and the JavaScript that loads it smaller together: names of a hash's length, which no
//! compressor takes back, become two letters in both, and what only readers of the script need goes.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

/// Sections of a module that hold the names by which both sides know each other.
const IMPORTS: u8 = 2;
const EXPORTS: u8 = 7;

/// How the generated names that end in a hash begin.
const STARTS: [&str; 3] = ["__wbg_", "__wbindgen_cast_", "wasm_bindgen__"];
/// The length of a hash.
const HASH: usize = 16;

/// Shortens the names in a script and its module, and the script's text.
///
/// # Errors
/// Fails where the module cannot be read.
pub(crate) fn shrink(script: &str, module: &[u8]) -> Result<(String, Vec<u8>)> {
    let names = Names::of(script);
    let module = names.in_module(module).context("the module's imports and exports")?;
    Ok((without_comments(&names.in_script(script)), module))
}

/// The long names with their short ones.
struct Names(BTreeMap<String, String>);

impl Names {
    fn of(script: &str) -> Self {
        let mut names = BTreeMap::new();
        for word in words(script).filter(|word| is_long(word)) {
            let next = short(names.len());
            names.entry(word.to_owned()).or_insert(next);
        }
        Self(names)
    }

    fn in_script(&self, script: &str) -> String {
        let mut out = String::with_capacity(script.len());
        let mut rest = script;
        while let Some(start) = rest.find(is_part) {
            let (before, from) = rest.split_at(start);
            let (word, after) = from.split_at(from.find(|char| !is_part(char)).unwrap_or(from.len()));
            out.push_str(before);
            out.push_str(self.0.get(word).map_or(word, String::as_str));
            rest = after;
        }
        out + rest
    }

    fn in_module(&self, module: &[u8]) -> Result<Vec<u8>> {
        let mut read = Read(module);
        let mut out = read.take(8)?.to_vec();
        ensure!(out.starts_with(b"\0asm"), "this is no WASM module");
        while !read.0.is_empty() {
            let id = read.byte()?;
            let length = read.number()?;
            let body = read.take(length)?;
            let body = match id {
                IMPORTS => self.in_section(body, true)?,
                EXPORTS => self.in_section(body, false)?,
                _ => body.to_vec(),
            };
            out.push(id);
            write_number(&mut out, body.len());
            out.extend(body);
        }
        Ok(out)
    }

    fn in_section(&self, section: &[u8], are_imports: bool) -> Result<Vec<u8>> {
        let mut read = Read(section);
        let mut out = Vec::with_capacity(section.len());
        let count = read.number()?;
        write_number(&mut out, count);
        for _ in 0..count {
            if are_imports {
                write_text(&mut out, read.text()?);
            }
            let name = read.text()?;
            write_text(&mut out, self.0.get(name).map_or(name, String::as_str));
            let rest = read.0;
            if are_imports {
                read.import()?;
            } else {
                read.export()?;
            }
            out.extend(&rest[..rest.len() - read.0.len()]);
        }
        Ok(out)
    }
}

/// A name that nothing else in a script has: `$aa`, `$ab`, ….
fn short(place: usize) -> String {
    let letter = |place: usize| char::from(b'a' + u8::try_from(place % 26).unwrap_or_default());
    format!("${}{}", letter(place / 26), letter(place))
}

fn is_part(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_' || char == '$'
}

fn words(script: &str) -> impl Iterator<Item = &str> {
    script.split(|char| !is_part(char)).filter(|word| !word.is_empty())
}

fn is_long(word: &str) -> bool {
    let ends_in_hash =
        word.len() > HASH && word.bytes().rev().take(HASH).all(|byte| byte.is_ascii_hexdigit());
    ends_in_hash && STARTS.iter().any(|start| word.starts_with(start))
}

/// Drops comments that fill whole lines, indents and empty lines. Lines stay lines: their ends may end statements.
fn without_comments(script: &str) -> String {
    let mut out = String::with_capacity(script.len());
    let mut in_comment = false;
    for line in script.lines().map(str::trim) {
        in_comment |= line.starts_with("/*");
        if !in_comment && !line.is_empty() && !line.starts_with("//") {
            out.push_str(line);
            out.push('\n');
        }
        in_comment &= !line.ends_with("*/");
    }
    out
}

/// What is left to read of a module.
struct Read<'module>(&'module [u8]);

impl<'module> Read<'module> {
    fn take(&mut self, count: usize) -> Result<&'module [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).context("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A number in LEB128.
    fn number(&mut self) -> Result<usize> {
        let mut number = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        anyhow::bail!("a number is too long")
    }

    fn text(&mut self) -> Result<&'module str> {
        let length = self.number()?;
        Ok(std::str::from_utf8(self.take(length)?)?)
    }

    fn limits(&mut self) -> Result<()> {
        let has_most = self.byte()? & 1 == 1;
        self.number()?;
        if has_most {
            self.number()?;
        }
        Ok(())
    }

    fn import(&mut self) -> Result<()> {
        match self.byte()? {
            0 => self.number().map(drop),
            1 => self.byte().and_then(|_| self.limits()),
            2 => self.limits(),
            3 => self.take(2).map(drop),
            kind => anyhow::bail!("an import of kind {kind}"),
        }
    }

    fn export(&mut self) -> Result<()> {
        self.byte()?;
        self.number().map(drop)
    }
}

fn write_number(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_number(out, text.len());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "__wbg_focus_128ff465f65677cc";
    const CLOSURE: &str = "wasm_bindgen__closure__destroy__h526528dba3630e01";

    fn section(id: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![id];
        write_number(&mut out, body.len());
        out.extend(body);
        out
    }

    fn module(import: &str, export: &str) -> Vec<u8> {
        let mut imports = vec![2];
        for (name, what) in [(import, &[0, 5][..]), ("memory", &[2, 1, 1, 200, 1])] {
            write_text(&mut imports, "./x.js");
            write_text(&mut imports, name);
            imports.extend(what);
        }
        let mut exports = vec![1];
        write_text(&mut exports, export);
        exports.extend([0, 200, 1]);
        let code = vec![7; 300];
        [b"\0asm\x01\0\0\0".to_vec(), section(2, &imports), section(7, &exports), section(10, &code)].concat()
    }

    #[test]
    fn it_shortens_names_in_both() {
        let script =
            format!("const i = {{\n    {LONG}: f,\n    g: wasm.{CLOSURE},\n    __wbg_ptr: 1,\n}};\n");
        let (script, short) = shrink(&script, &module(LONG, CLOSURE)).unwrap();
        assert_eq!(script, "const i = {\n$aa: f,\ng: wasm.$ab,\n__wbg_ptr: 1,\n};\n");
        assert_eq!(short, module("$aa", "$ab"));
    }

    #[test]
    fn it_leaves_other_modules_as_they_are() {
        let module = module("alert", "main");
        assert_eq!(shrink("alert(1)", &module).unwrap().1, module);
        for broken in [&b"\0asm\x01\0\0\0\x02\x05\x01"[..], b"MZ", b"\0asm\x01\0\0\0\x07\x02\x09\x01"] {
            assert!(shrink("", broken).is_err());
        }
    }

    #[test]
    fn it_drops_what_only_readers_need() {
        let script = "/**\n * Words.\n */\nfunction a() {\n    // Why.\n\n    return \"// no comment\"; }\n    /** One line. */\nb()\n";
        assert_eq!(without_comments(script), "function a() {\nreturn \"// no comment\"; }\nb()\n");
    }

    #[test]
    fn it_gives_every_name_another() {
        let all: std::collections::BTreeSet<String> = (0..600).map(short).collect();
        assert_eq!(all.len(), 600);
    }
}
