//! Files that come plain or inside gzip, told apart by their content.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The bytes of `source` or, where it begins as gzip does, those inside it; and whether it does.
pub(super) fn open<'a>(mut source: impl BufRead + 'a) -> io::Result<(Box<dyn BufRead + 'a>, bool)> {
    let mut start = Vec::new();
    source.by_ref().take(2).read_to_end(&mut start)?;
    let zipped = start == MAGIC;
    let whole = Cursor::new(start).chain(source);
    Ok(if zipped {
        // The multi-member decoder reads to the end of the source, so it notices what trails the gzip data.
        (Box::new(BufReader::new(MultiGzDecoder::new(whole))), true)
    } else {
        (Box::new(whole), false)
    })
}

/// Whether reading from inside gzip failed for the gzip data, and not for the disk.
pub(super) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}
