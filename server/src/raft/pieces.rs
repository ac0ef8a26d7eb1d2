//! Bytes that stay where they were written.

use std::convert::Infallible;

use minicbor::{
    Encode, Encoder,
    encode::{Error, Write},
};

const PIECE_BYTES: usize = 64 << 10;

/// Many bytes, in pieces. A vector that grows moves all that it has, and takes twice the room and more while it does: gigabytes,
/// for a snapshot. Encoded as one string of bytes.
#[derive(Debug, Default)]
pub struct Pieces {
    /// All but the last are full.
    pieces: Vec<Vec<u8>>,
    len: usize,
}

impl Pieces {
    /// What `write` writes; asks for a `rest` after every piece.
    pub fn filled<R: FnMut()>(write: impl FnOnce(&mut Sink<R>), rest: R) -> Pieces {
        let mut sink = Sink { pieces: Pieces::default(), rest };
        write(&mut sink);
        sink.pieces
    }
}

/// Where pieces are filled.
#[derive(Debug)]
pub struct Sink<R> {
    pieces: Pieces,
    rest: R,
}

impl<R: FnMut()> Write for Sink<R> {
    type Error = Infallible;

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Infallible> {
        let Pieces { pieces, len } = &mut self.pieces;
        *len += bytes.len();
        while !bytes.is_empty() {
            let room = pieces.last().map_or(0, |piece| PIECE_BYTES - piece.len());
            if room == 0 {
                if !pieces.is_empty() {
                    (self.rest)();
                }
                pieces.push(Vec::with_capacity(PIECE_BYTES));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(piece) = pieces.last_mut() {
                piece.extend_from_slice(now);
            }
            bytes = later;
        }
        Ok(())
    }
}

impl<C> Encode<C> for Pieces {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        e.bytes_len(self.len as u64)?;
        self.pieces.iter().try_for_each(|piece| e.writer_mut().write_all(piece).map_err(Error::write))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_pieces_is_one_string_with_a_rest_after_each() {
        let written: Vec<u8> = (0..5 * PIECE_BYTES + 7).map(|at| at as u8).collect();
        let whole = minicbor::to_vec(minicbor::bytes::ByteVec::from(written.clone())).unwrap();
        for step in [100, PIECE_BYTES, written.len()] {
            let mut rests = 0;
            let fill = |sink: &mut Sink<_>| {
                written.chunks(step).for_each(|bytes| sink.write_all(bytes).unwrap());
            };
            let pieces = Pieces::filled(fill, || rests += 1);
            assert!(minicbor::to_vec(&pieces).unwrap() == whole, "{step} bytes at a time");
            assert!(pieces.pieces.iter().all(|piece| piece.capacity() == PIECE_BYTES), "nothing was moved");
            assert_eq!(rests, 5, "{step} bytes at a time");
        }
        assert_eq!(minicbor::to_vec(Pieces::default()).unwrap(), [0x40]);
    }
}
