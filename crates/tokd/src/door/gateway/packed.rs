//! Bodies that come packed (gzip, RFC 1952), unpacked before git sees them.
//!
//! git would unpack them itself. But git-http-backend that finds one cut or broken leaves without a word to its client, and
//! without waiting for the children that still collect the push: what they got would stay behind, and nobody would know
//! whose it is. Here it is known while git still waits for more, and can be told to clean up.

use std::io::Write as _;

use bytes::{Buf as _, Bytes};
use flate2::write::GzDecoder;

/// A body that says it is gzip and is not, or not all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request's body is no whole gzip: it is cut or broken")]
pub struct NotWhole;

/// A body being unpacked, in pieces of at most some 32 KiB however small it was packed.
///
/// The newest piece waits for the next one, and the last for the end of it all: git acts when it has the last byte, and must
/// not have it before that is known to be right.
pub(super) struct Unpacking {
    decoder: GzDecoder<Vec<u8>>,
    newest: Bytes,
    /// Its last byte was seen; what follows is no part of it, and git ignores it, too.
    ended: bool,
}

impl Unpacking {
    pub(super) fn begin() -> Self {
        Self { decoder: GzDecoder::new(Vec::new()), newest: Bytes::new(), ended: false }
    }

    /// Takes what it can from the front of what came, until that is empty. The piece that it gives may be empty.
    pub(super) fn unpack(&mut self, packed: &mut Bytes) -> Result<Bytes, NotWhole> {
        if self.ended {
            packed.clear();
            return Ok(Bytes::new());
        }
        match self.decoder.write(packed) {
            Ok(0) => self.ended = true,
            Ok(taken) => packed.advance(taken),
            Err(_) => return Err(NotWhole),
        }
        let part = std::mem::take(self.decoder.get_mut());
        Ok(if part.is_empty() { Bytes::new() } else { std::mem::replace(&mut self.newest, part.into()) })
    }

    /// The last of it, if all of it was there.
    pub(super) fn end(mut self) -> Result<Bytes, NotWhole> {
        self.decoder.try_finish().map_err(|_| NotWhole)?;
        Ok([&self.newest[..], self.decoder.get_ref()].concat().into())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// Everything, in pieces of this many packed bytes, and how large the largest unpacked one was.
    fn unpacked(packed: &[u8], at_a_time: usize) -> Result<(Vec<u8>, usize), NotWhole> {
        let mut content = Vec::new();
        unpack_into(&mut content, packed, at_a_time).map(|largest| (content, largest))
    }

    fn unpack_into(content: &mut Vec<u8>, packed: &[u8], at_a_time: usize) -> Result<usize, NotWhole> {
        let (mut unpacking, mut largest) = (Unpacking::begin(), 0);
        for piece in packed.chunks(at_a_time) {
            let mut piece = Bytes::copy_from_slice(piece);
            while !piece.is_empty() {
                let part = unpacking.unpack(&mut piece)?;
                largest = largest.max(part.len());
                content.extend_from_slice(&part);
            }
        }
        content.extend_from_slice(&unpacking.end()?);
        Ok(largest)
    }

    #[test]
    fn what_was_packed_comes_out_in_small_pieces() {
        let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        for at_a_time in [1, 7, 1000, 1 << 20] {
            assert!(unpacked(&packed(&content), at_a_time).unwrap().0 == content, "{at_a_time} bytes at a time");
        }
        assert_eq!(unpacked(&packed(b""), 10).unwrap().0, b"");
        // What is packed a thousandfold is not all there at once.
        let (zeros, largest) = unpacked(&packed(&vec![0; 50 << 20]), 1 << 20).unwrap();
        assert_eq!(zeros.len(), 50 << 20);
        assert!(largest <= 128 * 1024, "{largest} bytes at once");
        // As git does: what follows is not looked at.
        let followed = [packed(b"content"), b"more".to_vec()].concat();
        assert_eq!(unpacked(&followed, 5).unwrap().0, b"content");
    }

    #[test]
    fn what_is_cut_anywhere_or_broken_is_not_taken_for_whole() {
        let content: Vec<u8> = (0..500_u32).flat_map(|number| (number * number).to_le_bytes()).collect();
        let whole = packed(&content);
        for length in 0..whole.len() {
            for at_a_time in [1, 64, whole.len()] {
                let (mut given, place) = (Vec::new(), format!("{length} of {} bytes", whole.len()));
                assert_eq!(unpack_into(&mut given, &whole[..length], at_a_time).unwrap_err(), NotWhole, "{place}");
                assert!(given.len() < content.len(), "all of it was given away: {place}");
            }
        }
        // The header's time, flags and system (bytes 4 to 9) say nothing about the content.
        for at in (0..3).chain(10..whole.len()) {
            let mut broken = whole.clone();
            broken[at] ^= 0x10;
            // Some bits mean nothing: those that fill up the last byte before the sum, for one.
            let noticed = unpacked(&broken, 64).map_or(true, |(same, _)| same == content);
            assert!(noticed, "byte {at} of {}", whole.len());
        }
        for at in (0..3).chain(whole.len() - 8..whole.len()) {
            let mut broken = whole.clone();
            broken[at] ^= 0x10;
            assert_eq!(unpacked(&broken, 64).map(|(content, _)| content.len()), Err(NotWhole), "byte {at}");
        }
        assert_eq!(unpacked(b"0000", 64).unwrap_err(), NotWhole);
    }
}
