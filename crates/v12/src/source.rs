//! Files from a folder, a tar (gzipped or not) or a zip, within bounds.
//!
//! Whatever the source, the result is the same map of paths to contents. Archives come from
//! strangers: sizes are counted while they are unpacked, and a path that leads out of the archive
//! refuses it as a whole. Nothing is ever written.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use crate::Error;

/// Folders whose sub-folders may have any name.
const ANY_NAMES_BELOW: &[&str] = &[
    "actions",
    "content-elements",
    "content-types",
    "entities",
    "flows",
    "hooks",
    "intents",
    "libraries",
    "media",
    "node_modules",
    "qna",
];

/// Contents by path; paths are relative, with `/` between their parts.
pub type Files = BTreeMap<String, Bytes>;

/// Bounds on what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files that are kept. Default 50,000.
    pub files: usize,
    /// Bytes of one file. Default 128 MiB.
    pub file: u64,
    /// Bytes of all files that are kept. Default 1 GiB.
    pub total: u64,
    /// Files of packages (`node_modules`) that are kept; of these only scripts and JSON are read,
    /// and more are passed over. Default 20,000.
    pub package_files: usize,
    /// Whether `media` folders are read. A server that serves a folder in place reads them on
    /// demand. Default true.
    pub media: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { files: 50_000, file: 128 << 20, total: 1 << 30, package_files: 20_000, media: true }
    }
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The files.
    pub files: Files,
    /// Whether they came from an archive.
    pub is_archive: bool,
    /// What was passed over, and why; folders as a whole.
    pub passed_over: BTreeMap<String, &'static str>,
    /// `storage/core.sqlite` of a data folder.
    pub database: Option<PathBuf>,
}

impl Source {
    /// Reads a folder or an archive. Of a folder that holds `data`, that is read.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Archive`], [`Error::UnsafePath`], [`Error::TooLarge`].
    pub fn open(path: &Path, limits: &Limits) -> Result<Source, Error> {
        let unreadable = |failed| Error::Read { path: path.to_owned(), failed };
        if !path.is_dir() {
            let size = fs::metadata(path).map_err(unreadable)?.len();
            if size > limits.total {
                return Err(Error::TooLarge(format!("the archive has {size} bytes")));
            }
            return Source::unpack(&fs::read(path).map_err(unreadable)?, limits);
        }
        let data = path.join("data");
        let root = if data.join("global").is_dir() || data.join("bots").is_dir() { data } else { path.to_owned() };
        let mut reader = Reader::new(limits);
        let canonical = root.canonicalize().map_err(unreadable)?;
        walk(&canonical, &canonical, "", &mut reader)?;
        let database = root.join("storage").join("core.sqlite");
        reader.source.database = database.is_file().then_some(database);
        Ok(reader.source)
    }

    /// Unpacks an archive; its kind is recognised by its content.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn unpack(archive: &[u8], limits: &Limits) -> Result<Source, Error> {
        Source::unpack_below("", archive, limits)
    }

    /// Unpacks an archive as if it lay below a folder, given with a slash at its end.
    pub(crate) fn unpack_below(prefix: &str, archive: &[u8], limits: &Limits) -> Result<Source, Error> {
        let mut reader = Reader::new(limits);
        reader.source.is_archive = true;
        match archive {
            [0x1f, 0x8b, ..] => untar(MultiGzDecoder::new(archive), prefix, &mut reader)?,
            [b'P', b'K', 3 | 5, 4 | 6, ..] => unzip(archive, prefix, &mut reader)?,
            _ if archive.get(257..262) == Some(b"ustar") => untar(archive, prefix, &mut reader)?,
            _ => return Err(Error::Archive("neither a tar, gzipped or not, nor a zip".to_owned())),
        }
        Ok(reader.source)
    }
}

/// Collects files within the limits.
struct Reader<'a> {
    limits: &'a Limits,
    source: Source,
    total: u64,
    packages: usize,
}

impl<'a> Reader<'a> {
    fn new(limits: &'a Limits) -> Self {
        Reader { limits, source: Source::default(), total: 0, packages: 0 }
    }

    /// Whether a file or folder is wanted; if not, notes the folder that isn't.
    fn wants(&mut self, path: &str) -> bool {
        let mut end = 0;
        let mut any_name = false;
        for part in path.split('/') {
            end += part.len();
            let reason = match part {
                "models" if !any_name => "trained models are specific to the original",
                "revisions" if !any_name => "backups of bots",
                "storage" if !any_name => "",
                "media" if !any_name && !self.limits.media => "",
                ".git" | "__MACOSX" | ".DS_Store" => "",
                _ => {
                    any_name |= ANY_NAMES_BELOW.contains(&part);
                    end += 1;
                    continue;
                }
            };
            if !reason.is_empty() {
                self.source.passed_over.insert(path[..end].to_owned(), reason);
            }
            return false;
        }
        true
    }

    /// Whether a file may be kept as far as packages are concerned.
    fn wants_of_package(&mut self, path: &str) -> bool {
        let Some(at) = path.find("node_modules/").filter(|at| *at == 0 || path.as_bytes()[at - 1] == b'/') else {
            return true;
        };
        let extension = path.rsplit('.').next().unwrap_or_default();
        if !matches!(extension, "js" | "cjs" | "mjs" | "json") {
            return false;
        }
        self.packages += 1;
        if self.packages > self.limits.package_files {
            self.pass_over(path[..at + "node_modules".len()].to_owned(), "more packages than are read");
            return false;
        }
        true
    }

    /// Keeps a file; `size` is what its container says.
    fn keep(&mut self, path: String, size: u64, content: impl Read) -> Result<(), Error> {
        let too_large = |what: &str| Error::TooLarge(format!("{path} makes {what}"));
        if self.source.files.len() >= self.limits.files {
            return Err(too_large("too many files"));
        }
        let left = self.limits.file.min(self.limits.total - self.total);
        if size > left {
            return Err(too_large("too many bytes"));
        }
        let mut bytes = Vec::new();
        let unreadable = |failed: io::Error| Error::Archive(format!("{path}: {failed}"));
        content.take(left + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > left {
            return Err(too_large("too many bytes"));
        }
        self.total += bytes.len() as u64;
        if let Some(before) = self.source.files.insert(path, bytes.into()) {
            self.total -= before.len() as u64;
        }
        Ok(())
    }

    fn pass_over(&mut self, path: String, reason: &'static str) {
        self.source.passed_over.insert(path, reason);
    }
}

/// Reads a folder; links are followed as long as they stay below the root.
fn walk(root: &Path, folder: &Path, prefix: &str, reader: &mut Reader<'_>) -> Result<(), Error> {
    let unreadable = |failed| Error::Read { path: folder.to_owned(), failed };
    if prefix.split('/').count() > 32 {
        return Err(Error::TooLarge(format!("{prefix} is nested too deeply")));
    }
    let mut entries = fs::read_dir(folder).map_err(unreadable)?.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let Some(path) = name.to_str().map(|name| format!("{prefix}{name}")) else {
            reader.pass_over(format!("{prefix}{}", name.to_string_lossy()), "its name isn't UTF-8");
            continue;
        };
        if !reader.wants(&path) {
            continue;
        }
        match entry.path().canonicalize() {
            Ok(target) if !target.starts_with(root) => reader.pass_over(path, "a link that leads out of the folder"),
            Ok(target) if target.is_dir() => walk(root, &target, &format!("{path}/"), reader)?,
            Ok(_) if !reader.wants_of_package(&path) => {}
            Ok(target) => {
                let failed = |failed| Error::Read { path: target.clone(), failed };
                let file = fs::File::open(&target).map_err(failed)?;
                let size = file.metadata().map_err(failed)?.len();
                reader.keep(path, size, file)?;
            }
            Err(_) => reader.pass_over(path, "a link that leads nowhere"),
        }
    }
    Ok(())
}

fn untar(archive: impl Read, prefix: &str, reader: &mut Reader<'_>) -> Result<(), Error> {
    // Bounds what is unpacked and thrown away as well; every entry has a header and is padded.
    let frames = (reader.limits.files as u64).saturating_mul(8 * 1024);
    let bound = reader.limits.total.saturating_mul(2).saturating_add(frames);
    let broken = |failed: io::Error| Error::Archive(failed.to_string());
    let mut archive = tar::Archive::new(Bounded { inner: archive, left: bound });
    let mut seen = 0;
    for entry in archive.entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        seen += 1;
        if seen > reader.limits.files.saturating_mul(4) {
            return Err(Error::TooLarge("the archive has too many entries".to_owned()));
        }
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        let path = std::str::from_utf8(&entry.path_bytes()).map(safe).unwrap_or(None);
        let Some(path) = path else {
            return Err(Error::UnsafePath(String::from_utf8_lossy(&entry.path_bytes()).into_owned()));
        };
        let path = format!("{prefix}{path}");
        if !kind.is_file() {
            reader.pass_over(path, "not an ordinary file");
        } else if reader.wants(&path) && reader.wants_of_package(&path) {
            reader.keep(path, entry.size(), entry)?;
        }
    }
    Ok(())
}

fn unzip(archive: &[u8], prefix: &str, reader: &mut Reader<'_>) -> Result<(), Error> {
    let broken = |failed: zip::result::ZipError| Error::Archive(failed.to_string());
    let mut archive = zip::ZipArchive::new(io::Cursor::new(archive)).map_err(broken)?;
    if archive.len() > reader.limits.files.saturating_mul(4) {
        return Err(Error::TooLarge("the archive has too many entries".to_owned()));
    }
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(broken)?;
        if entry.is_dir() {
            continue;
        }
        let name = entry.name().map_err(broken)?.into_owned();
        let path = safe(&name).ok_or(Error::UnsafePath(name))?;
        let path = format!("{prefix}{path}");
        if entry.is_symlink() {
            reader.pass_over(path, "not an ordinary file");
        } else if reader.wants(&path) && reader.wants_of_package(&path) {
            reader.keep(path, entry.size(), entry)?;
        }
    }
    Ok(())
}

/// A path of an archive in our form; `None` if it could lead anywhere else.
fn safe(path: &str) -> Option<String> {
    let path = path.replace('\\', "/");
    let drive = path.as_bytes().get(1) == Some(&b':');
    if path.starts_with('/') || drive || path.len() > 1024 || path.chars().any(char::is_control) {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let leads_out = parts.is_empty() || parts.contains(&"..");
    (!leads_out).then(|| parts.join("/"))
}

/// Fails when more is read than it may.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn limits() -> Limits {
        Limits { files: 5, file: 1000, total: 2000, package_files: 1, media: true }
    }

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_ustar();
            // Written directly, since the builder refuses what is to be refused here.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (path, content) in files {
            writer.start_file(*path, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn every_kind_of_archive_gives_the_same() {
        let files: &[(&str, &[u8])] = &[
            ("./bot.config.json", b"{}"),
            ("flows\\main.flow.json", b"{}"),
            ("models/x.model", b"big"),
            ("libraries/node_modules/a/README.md", b""),
            ("libraries/node_modules/a/models/x.js", b""),
            ("libraries/node_modules/b.js", b""),
        ];
        let plain = Source::unpack(&tar(files), &limits()).unwrap();
        assert_eq!(
            plain.files.keys().collect::<Vec<_>>(),
            ["bot.config.json", "flows/main.flow.json", "libraries/node_modules/a/models/x.js"]
        );
        assert_eq!(plain.passed_over.keys().collect::<Vec<_>>(), ["libraries/node_modules", "models"]);
        assert_eq!(Source::unpack(&gzip(&tar(files)), &limits()).unwrap(), plain);
        assert_eq!(Source::unpack(&zip(files), &limits()).unwrap(), plain);
        assert!(matches!(Source::unpack(b"hello", &limits()), Err(Error::Archive(_))));
        assert!(matches!(Source::unpack(&gzip(b"no tar in here at all"), &limits()), Err(Error::Archive(_))));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind in 0..3_usize, bytes: Vec<u8>) {
            let magic: [&[u8]; 3] = [&[0x1f, 0x8b, 8, 0], b"PK\x03\x04", b""];
            let archive = [magic[kind], &bytes].concat();
            let _ = Source::unpack(&archive, &limits());
        }
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for path in ["../x", "a/../../x", "/etc/passwd", "C:/x", "..\\x", "a/..", "a\u{1}b"] {
            let refused = |archive: &[u8]| matches!(Source::unpack(archive, &limits()), Err(Error::UnsafePath(_)));
            assert!(refused(&tar(&[(path, b"x")])), "{path}");
            assert!(refused(&zip(&[(path, b"x")])), "{path}");
        }
    }

    #[test]
    fn bombs_are_stopped() {
        let too_large =
            |archive: &[u8]| matches!(Source::unpack(archive, &limits()), Err(Error::TooLarge(_) | Error::Archive(_)));
        let zeros = vec![0; 100_000];
        assert!(too_large(&tar(&[("a", &zeros)])));
        assert!(too_large(&gzip(&tar(&[("a", &zeros)]))));
        assert!(too_large(&zip(&[("a", &zeros)])));
        // Also in what isn't kept.
        assert!(too_large(&gzip(&tar(&[("models/a", &zeros)]))));
        let many: Vec<(String, &[u8])> = (0..6).map(|index| (format!("f{index}"), &b""[..])).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|(path, content)| (path.as_str(), *content)).collect();
        assert!(too_large(&tar(&many)));
        // Files that are small, but too much together.
        assert!(too_large(&tar(&[("a", &zeros[..900]), ("b", &zeros[..900]), ("c", &zeros[..900])])));
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_within_the_folder() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret.json"), "{}").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir_all(data.join("bots/b/media")).unwrap();
        fs::create_dir_all(data.join("storage")).unwrap();
        fs::write(data.join("storage/core.sqlite"), "").unwrap();
        fs::write(data.join("bots/b/bot.config.json"), "{}").unwrap();
        fs::write(data.join("bots/b/media/x.png"), "png").unwrap();
        std::os::unix::fs::symlink(outside.path(), data.join("bots/out")).unwrap();
        std::os::unix::fs::symlink(data.join("bots/b/bot.config.json"), data.join("bots/b/in.json")).unwrap();
        let source = Source::open(folder.path(), &Limits { media: false, ..limits() }).unwrap();
        assert_eq!(source.files.keys().collect::<Vec<_>>(), ["bots/b/bot.config.json", "bots/b/in.json"]);
        assert_eq!(source.passed_over["bots/out"], "a link that leads out of the folder");
        assert!(source.database.is_some() && !source.is_archive);
    }
}
