//! What the dashboard may weigh on the wire.

use anyhow::{Result, ensure};

use crate::screen::{bytes, table};

/// The limit for all files together, as browsers fetch them: 250 KB load within a second on a phone's 3G.
const LIMIT: usize = 250_000;

/// The size of one file in each form.
#[derive(Clone, Debug)]
pub(crate) struct Size {
    /// The file's path.
    pub(crate) path: String,
    /// As it is.
    pub(crate) plain: usize,
    /// By gzip.
    pub(crate) gzip: usize,
    /// By brotli.
    pub(crate) brotli: usize,
}

/// Lays out all sizes, largest first, with their sums.
pub(crate) fn report(sizes: &[Size]) -> String {
    let mut sizes = sizes.to_vec();
    sizes.sort_by_key(|size| usize::MAX - size.brotli);
    let row = |size: &Size| vec![size.path.clone(), bytes(size.plain), bytes(size.gzip), bytes(size.brotli)];
    let head = ["file (bytes)", "plain", "gzip", "brotli"].map(str::to_owned).to_vec();
    let rows: Vec<_> = [head].into_iter().chain(sizes.iter().map(row)).chain([row(&sum(&sizes))]).collect();
    table(&rows)
}

fn sum(sizes: &[Size]) -> Size {
    let total = |form: fn(&Size) -> usize| sizes.iter().map(form).sum();
    Size {
        path: "total".to_owned(),
        plain: total(|size| size.plain),
        gzip: total(|size| size.gzip),
        brotli: total(|size| size.brotli),
    }
}

/// Checks the sum, as brotli sends it, against the limit.
///
/// # Errors
/// Fails where it is above.
pub(crate) fn check(sizes: &[Size]) -> Result<()> {
    let total = sum(sizes).brotli;
    let (shown, limit) = (bytes(total), bytes(LIMIT));
    ensure!(total <= LIMIT, "the dashboard is {shown} bytes on the wire, above its budget of {limit}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(path: &str, brotli: usize) -> Size {
        Size { path: path.to_owned(), plain: brotli * 4, gzip: brotli + 10, brotli }
    }

    #[test]
    fn it_shows_the_largest_first_and_the_sums() {
        assert_eq!(
            report(&[size("a.css", 100), size("b.wasm", 2_000)]),
            "  file (bytes)  plain   gzip  brotli\n\
             \x20 b.wasm        8 000  2 010   2 000\n\
             \x20 a.css           400    110     100\n\
             \x20 total         8 400  2 120   2 100"
        );
    }

    #[test]
    fn it_fails_above_the_limit_only() {
        assert!(check(&[size("a", LIMIT - 1), size("b", 1)]).is_ok());
        let error = check(&[size("a", LIMIT), size("b", 1)]).unwrap_err().to_string();
        assert_eq!(error, "the dashboard is 250 001 bytes on the wire, above its budget of 250 000");
    }
}
