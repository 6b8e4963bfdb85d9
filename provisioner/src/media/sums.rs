// SPDX-License-Identifier: Apache-2.0
//! Lists of SHA-256 checksums, in the notations in which distributions publish them. Knows text only.

/// A line of such a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    /// 64 hex digits, in lower case.
    pub(super) sha256: String,
    /// What it is of, without folders.
    pub(super) name: String,
}

/// What a list says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// It lists this very content.
    Same,
    /// It lists other content under this name.
    Other,
    /// It does not list it.
    Nothing,
}

/// What a list says of the file of this name with this checksum.
///
/// One name may stand there for several files (Debian has a `netboot.tar.gz` in two folders), and a file may have been
/// renamed when it was fetched: the content decides.
pub(super) fn says(list: &str, name: &str, sha256: &str) -> Says {
    let sums = read(list);
    if sums.iter().any(|sum| sum.sha256 == sha256) {
        Says::Same
    } else if sums.iter().any(|sum| sum.name == name) {
        Says::Other
    } else {
        Says::Nothing
    }
}

/// Whether a word is a SHA-256 checksum.
pub(super) fn is_sha256(word: &str) -> bool {
    word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Every line that has a checksum and a name; the others are headings, or sums of other kinds.
fn read(list: &str) -> Vec<Sum> {
    list.lines().filter_map(line).collect()
}

/// `HASH  NAME` and `HASH *NAME` (coreutils), `SHA256 (NAME) = HASH` (BSD), ` HASH SIZE NAME` (Debian's Release).
fn line(line: &str) -> Option<Sum> {
    let sum = |sha256: &str, name: &str| {
        is_sha256(sha256).then(|| Sum {
            sha256: sha256.to_ascii_lowercase(),
            name: name.rsplit('/').next().unwrap_or_default().to_owned(),
        })
    };
    if let Some(rest) = line.trim().strip_prefix("SHA256 (") {
        let (name, sha256) = rest.rsplit_once(") = ")?;
        return sum(sha256, name);
    }
    let (sha256, rest) = line.trim().split_once([' ', '\t'])?;
    let rest = rest.trim_start();
    let name = match rest.split_once(' ') {
        Some((size, name)) if size.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => rest.strip_prefix('*').unwrap_or(rest),
    };
    sum(sha256, name.trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "499e4609976bfd47c1b3025382fb5dddeb023350921142b919c89c4d24bd7f9b";
    const TWO: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn all_notations_are_understood() {
        for list in [
            format!("# comment\n{ONE} *u.iso\n{TWO} *v.iso\n"),
            format!("{ONE}  ./netboot/u.iso\n{TWO}  ./netboot/gtk/v.iso\n"),
            format!("# u.iso: 3 bytes\nSHA256 (u.iso) = {ONE}\nSHA256 (v.iso) = {TWO}\n"),
            format!("SHA256:\n {ONE}   101 main/u.iso\n {TWO} 7 main/v.iso\n"),
            format!("{}  u.iso\r\n{TWO}  v.iso\r\n", ONE.to_uppercase()),
        ] {
            assert_eq!(says(&list, "u.iso", ONE), Says::Same, "{list}");
            assert_eq!(says(&list, "renamed.iso", ONE), Says::Same, "{list}");
            assert_eq!(says(&list, "v.iso", &TWO.replace('9', "8")), Says::Other, "{list}");
            assert_eq!(says(&list, "w.iso", &TWO.replace('9', "8")), Says::Nothing, "{list}");
        }
    }

    #[test]
    fn sums_of_other_kinds_count_for_nothing() {
        let sha512 = format!("{ONE}{ONE}  u.iso\n");
        assert_eq!(says(&sha512, "u.iso", ONE), Says::Nothing);
        assert_eq!(says("SHA512 (u.iso) = 00\n", "u.iso", ONE), Says::Nothing);
    }

    proptest! {
        #[test]
        fn no_list_is_too_strange(list in "(\\PC{0,90}\n){0,5}", name in "\\PC{0,20}") {
            let _ = says(&list, &name, ONE);
        }
    }
}
