//! The frames of the repair protocol on a libp2p stream: a length, then as many bytes.

use std::io;

use bytes::Bytes;
use libp2p::futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{StreamProtocol, request_response};

use anode_shared::repair::{MAX_ANSWER, MAX_QUESTION};

/// How much is made room for before it has come: a length alone is a promise of whoever sent it.
const FIRST: usize = 64 << 10;

/// Reads and writes frames; what is in them is the repair protocol's business.
#[derive(Debug, Clone, Default)]
pub(super) struct Frames;

impl request_response::Codec for Frames {
    type Protocol = StreamProtocol;
    type Request = Bytes;
    type Response = Bytes;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, MAX_QUESTION).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, MAX_ANSWER).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, frame: Bytes) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &frame).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, frame: Bytes) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &frame).await
    }
}

/// Reads one frame of at most `most` bytes; memory grows with what has come, not with what was promised.
async fn read<T: AsyncRead + Unpin + Send>(io: &mut T, most: usize) -> io::Result<Bytes> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length) as usize;
    if length > most {
        let why = format!("a frame of {length} bytes; at most {most} are taken");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut frame = Vec::with_capacity(length.min(FIRST));
    let came = io.take(length as u64).read_to_end(&mut frame).await?;
    if came < length {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a frame was cut short"));
    }
    Ok(frame.into())
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    io.write_all(&length.to_le_bytes()).await?;
    io.write_all(frame).await?;
    io.close().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::futures::executor::block_on;
    use libp2p::futures::io::Cursor;

    #[test]
    fn it_reads_whole_frames_within_their_bound_only() {
        for (bytes, most, read_back) in [
            (vec![3, 0, 0, 0, 1, 2, 3], 3, Some(vec![1, 2, 3])),
            (vec![0, 0, 0, 0], 3, Some(vec![])),
            (vec![4, 0, 0, 0, 1, 2, 3, 4], 3, None),
            (vec![3, 0, 0, 0, 1, 2], 3, None),
            (vec![0xff, 0xff, 0xff, 0xff], 1 << 20, None),
            (vec![3, 0], 3, None),
        ] {
            let frame = block_on(read(&mut Cursor::new(&bytes), most)).ok().map(|frame| frame.to_vec());
            assert_eq!(frame, read_back, "{bytes:?}");
        }
    }

    #[test]
    fn it_reads_what_it_wrote() {
        let mut out = Cursor::new(Vec::new());
        block_on(write(&mut out, b"frame")).unwrap();
        assert_eq!(block_on(read(&mut Cursor::new(out.into_inner()), 5)).unwrap(), "frame");
    }
}
