// SPDX-License-Identifier: Apache-2.0
//! Files that the kernel sends by itself: their pages go from its cache to the card without passing through here.
//!
//! hyper knows bodies of bytes only, so the body of a file is made of stand-ins: slices of one fixed memory that say
//! no more than how many bytes of the file come next. The connection ([`FileStream`]) knows them by their address
//! when hyper writes them, and calls sendfile(2) in their place. Heads, ranges, keep-alive, timeouts and the pace of
//! the reader stay hyper's.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use futures_util::stream;
use nix::libc::MSG_MORE;
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{MsgFlags, SockaddrIn, sendmsg};
use rustix::io::ReadWriteFlags;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that one stand-in stands for at most: some milliseconds of a fast card, and what is made sure to be in memory
/// before it is sent.
const PIECE: usize = 4 << 20;
/// What stand-ins are slices of. Nobody reads it, so that it takes no memory.
static STAND_IN: [u8; PIECE] = [0; PIECE];

/// Pieces of files that a connection is to send, in the order of their stand-ins.
#[derive(Clone, Debug, Default)]
pub(super) struct FileQueue(Arc<Mutex<VecDeque<Piece>>>);

/// A piece of a file.
#[derive(Debug)]
struct Piece {
    file: Arc<File>,
    next: u64,
    left: usize,
    /// Nothing of this body comes behind it.
    last: bool,
}

impl FileQueue {
    /// The body of some bytes of a file, for an answer on this connection and on no other.
    pub(super) fn body(&self, file: File, start: u64, length: u64) -> Body {
        let pieces = (self.clone(), Arc::new(file), start, start + length);
        Body::from_stream(stream::try_unfold(pieces, |(queue, file, next, end)| async move {
            let left = usize::try_from(end - next).map_or(PIECE, |left| left.min(PIECE));
            if left == 0 {
                return Ok(None);
            }
            make_resident(&file, next, left).await?;
            let piece = Piece {
                file: Arc::clone(&file),
                next,
                left,
                last: next + left as u64 == end,
            };
            queue.lock().push_back(piece);
            metrics::counter!("gleaner_http_file_bytes_total").increment(left as u64);
            let rest = (queue, file, next + left as u64, end);
            io::Result::Ok(Some((Bytes::from_static(&STAND_IN[..left]), rest)))
        }))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Piece>> {
        // Pieces are pushed and counted down in single steps: a panic elsewhere leaves none half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes sure that sending will not wait for the disk: a thread that answers must not. Looks at both ends of a piece;
/// what lies between was read ahead with them, or costs one wait.
async fn make_resident(file: &Arc<File>, start: u64, length: usize) -> io::Result<()> {
    let last = start + length as u64 - 1;
    if is_resident(file, start) && is_resident(file, last) {
        return Ok(());
    }
    let file = Arc::clone(file);
    let read = tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; 64 << 10];
        let mut at = start;
        while at <= last {
            match file.read_at(&mut buffer, at)? {
                // Shorter than it was: sending it will find out.
                0 => break,
                length => at += length as u64,
            }
        }
        Ok(())
    });
    read.await.unwrap_or_else(|gone| Err(io::Error::other(gone)))
}

fn is_resident(file: &File, at: u64) -> bool {
    let mut byte = [0];
    let read = rustix::io::preadv2(file, &mut [io::IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT);
    // File systems that do not know the question are in memory, or will make us wait.
    !matches!(read, Err(rustix::io::Errno::AGAIN))
}

/// A TCP connection that sends a piece of a file where its stand-in is written.
#[derive(Debug)]
pub(super) struct FileStream {
    stream: TcpStream,
    queue: FileQueue,
    /// The kernel keeps what does not fill a packet until more comes.
    corked: bool,
}

impl FileStream {
    /// A connection, and the queue for the files that are to go out on it.
    pub(super) fn new(stream: TcpStream) -> (Self, FileQueue) {
        let queue = FileQueue::default();
        let files = queue.clone();
        let corked = false;
        (Self { stream, queue, corked }, files)
    }

    /// Sends of the first piece what the socket takes.
    ///
    /// The pieces of a large file are corked together: every call that ends in half a packet would cost both ends one
    /// more, a third of a fast card's rate.
    fn poll_send_file(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let mut pieces = self.queue.lock();
        let Some(piece) = pieces.front_mut() else {
            return Poll::Ready(Err(io::Error::other("a stand-in without its file")));
        };
        if !piece.last && !self.corked {
            self.corked = cork(&self.stream, true);
        }
        let count = piece.left.min(most);
        let mut at = i64::try_from(piece.next).map_err(io::Error::other)?;
        let sent = loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let call = || Ok(sendfile64(&self.stream, &piece.file, Some(&mut at), count)?);
            match self.stream.try_io(Interest::WRITABLE, call) {
                // The length was promised: the connection is cut.
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(sent) => break sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        };
        piece.next += sent as u64;
        piece.left -= sent;
        if piece.left == 0 {
            if piece.last && self.corked {
                self.corked = cork(&self.stream, false);
            }
            pieces.pop_front();
        }
        Poll::Ready(Ok(sent))
    }

    /// Sends the head of an answer whose file follows at once, so that both share a packet.
    fn poll_send_more(&self, cx: &mut Context<'_>, head: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL | MsgFlags::from_bits_retain(MSG_MORE);
            let call = || Ok(sendmsg::<SockaddrIn>(self.stream.as_raw_fd(), head, &[], flags, None)?);
            match self.stream.try_io(Interest::WRITABLE, call) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

/// Corks a connection or opens it, and says how it is then. One that cannot be corked sends all the same.
fn cork(stream: &TcpStream, close: bool) -> bool {
    SockRef::from(stream).set_tcp_cork(close).is_ok() && close
}

fn is_stand_in(bytes: &[u8]) -> bool {
    STAND_IN.as_ptr_range().contains(&bytes.as_ptr()) && !bytes.is_empty()
}

impl AsyncWrite for FileStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if is_stand_in(bytes) {
            self.poll_send_file(cx, bytes.len())
        } else {
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices.iter().position(|slice| is_stand_in(slice)) {
            Some(0) => self.poll_send_file(cx, slices[0].len()),
            Some(before) => self.poll_send_more(cx, &slices[..before]),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
        }
    }

    /// Without this hyper would copy small bodies behind their heads, stand-ins among them.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for FileStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests;
