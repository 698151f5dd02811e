//! Files that are plain or gzip, detected by content.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

const MAGIC: &[u8] = &[0x1f, 0x8b];

/// How files of other compression formats begin, and how they are unpacked.
const OTHERS: [(&[u8], &str, &str); 3] = [
    (b"BZh", "bzip2", "bunzip2"),
    (b"\xfd7zXZ\0", "xz", "unxz"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
];

/// Bytes that any gzip file may unpack to.
const ALWAYS: u64 = 1 << 26;
/// How many more bytes for each byte of the file. Data sets shrink to a tenth; a file that shrinks to a thousandth, as
/// gzip can, is made to fill memory.
const RATIO: u64 = 100;

/// A compression format that is not read here, or a file that holds too much.
#[derive(Debug, thiserror::Error)]
enum Packing {
    #[error("packed by {0}, expected a file that is plain or gzip; unpack it by {1}")]
    Other(&'static str, &'static str),
    #[error(
        "{packed} bytes of gzip data that unpack to {unpacked} and more, expected at most {RATIO} times as many \
         and 64 MiB; fetch the file again, or, if it is the right one, unpack it by gunzip"
    )]
    Bomb { packed: u64, unpacked: u64 },
}

/// How many bytes a file, or a part of it, of `packed` bytes may unpack to.
pub(super) fn most_unpacked(packed: u64) -> u64 {
    packed.saturating_mul(RATIO).saturating_add(ALWAYS)
}

/// Whether reading failed because of the compression; the text of the error ends with the remedy.
pub(super) fn is_packing(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Packing>())
}

/// The bytes of `source` or, if it begins like gzip, those inside it; and whether it does.
///
/// From inside gzip at most [`RATIO`] bytes for each packed one, and [`ALWAYS`], are read.
pub(super) fn open<'a>(mut source: impl BufRead + 'a) -> io::Result<(Box<dyn BufRead + 'a>, bool)> {
    let mut start = Vec::new();
    source.by_ref().take(6).read_to_end(&mut start)?;
    for (magic, packer, cure) in OTHERS {
        if start.starts_with(magic) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, Packing::Other(packer, cure)));
        }
    }
    let zipped = start.starts_with(MAGIC);
    let whole = Cursor::new(start).chain(source);
    Ok(if zipped {
        let packed = Rc::new(Cell::new(0));
        // The multi-member decoder reads to the end of the source, so it notices what follows the gzip data.
        let decoder = MultiGzDecoder::new(Counted { source: whole, packed: packed.clone() });
        (Box::new(BufReader::new(Bounded { decoder, packed, unpacked: 0 })), true)
    } else {
        (Box::new(whole), false)
    })
}

/// Whether reading from inside gzip failed because of the gzip data, and not of the disk.
pub(super) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// Counts the bytes read from a source.
struct Counted<R> {
    source: R,
    packed: Rc<Cell<u64>>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(room)?;
        self.packed.set(self.packed.get() + read as u64);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.packed.set(self.packed.get() + amount as u64);
        self.source.consume(amount);
    }
}

/// Unpacks as much as the packed bytes allow.
struct Bounded<R> {
    decoder: R,
    packed: Rc<Cell<u64>>,
    unpacked: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(room)?;
        self.unpacked += read as u64;
        let (packed, unpacked) = (self.packed.get(), self.unpacked);
        if unpacked > most_unpacked(packed) {
            let kind = io::ErrorKind::FileTooLarge;
            return Err(io::Error::new(kind, Packing::Bomb { packed, unpacked }));
        }
        Ok(read)
    }
}
