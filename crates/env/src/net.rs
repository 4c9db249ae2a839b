//! TCP sockets: listening, connecting, and sending a file's bytes without reading them.
//!
//! [`send_file`] is the data path of a fetch: the kernel moves the bytes from the page cache to the socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::SendFlags;
use tokio::io::Interest;
pub use tokio::net::{TcpListener, TcpStream};

/// How a listening socket is made.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// How many connections may wait to be accepted.
    pub backlog: u32,
}

/// Binds `address` and listens on it.
pub fn listen(address: SocketAddr, options: ListenOptions) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// The addresses that `host:port` stands for.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

/// Prepares a connection: small answers leave at once, dead peers are noticed.
///
/// `send_buffer` and `receive_buffer` are in bytes; `None` leaves the operating system's own tuning on, which
/// is what gives the best throughput.
pub fn prepare(
    stream: &TcpStream,
    send_buffer: Option<usize>,
    receive_buffer: Option<usize>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_keepalive(true)?;
    if let Some(bytes) = send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(())
}

/// Whether more bytes of the same answer follow a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// More follows at once: the kernel may wait and fill the packet.
    Follows,
    /// Nothing follows: the bytes leave now.
    Nothing,
}

/// Sends all of `bytes`.
pub async fn send_all(stream: &TcpStream, mut bytes: &[u8], more: More) -> io::Result<()> {
    let flags = match more {
        More::Follows => SendFlags::NOSIGNAL | SendFlags::MORE,
        More::Nothing => SendFlags::NOSIGNAL,
    };
    while !bytes.is_empty() {
        let sent = stream
            .async_io(Interest::WRITABLE, || Ok(rustix::net::send(stream.as_fd(), bytes, flags)?))
            .await?;
        bytes = bytes.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// Sends `len` bytes of `file` from `position` to `stream`, by `sendfile(2)`.
///
/// Fails with [`io::ErrorKind::UnexpectedEof`] when the file ends before: the peer has then been promised more
/// than there is, and the connection must be closed.
pub async fn send_file(
    stream: &TcpStream,
    file: BorrowedFd<'_>,
    position: u64,
    len: u64,
) -> io::Result<()> {
    let mut next = position;
    let end = position.saturating_add(len);
    while next < end {
        let sent = stream
            .async_io(Interest::WRITABLE, || send_some(stream.as_fd(), file, &mut next, end))
            .await?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// One `sendfile(2)`: moves `next` on by what the socket took.
fn send_some(
    socket: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    next: &mut u64,
    end: u64,
) -> io::Result<usize> {
    // The kernel moves at most 2 GiB at a time.
    let count = usize::try_from(end - *next).unwrap_or(usize::MAX).min(1 << 30);
    loop {
        match rustix::fs::sendfile(socket, file, Some(next), count) {
            Ok(sent) => return Ok(sent),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn a_file_range_arrives_whole_and_a_short_file_is_an_error() {
        crate::task::runtime(Some(1)).unwrap().block_on(async {
            let listener =
                listen("127.0.0.1:0".parse().unwrap(), ListenOptions { backlog: 8 }).unwrap();
            let address = listener.local_addr().unwrap();
            let reader = crate::task::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.unwrap();
                all
            });
            let bytes: Vec<u8> = (0..3_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let stream = TcpStream::connect(address).await.unwrap();
            send_file(&stream, file.as_fd(), 7, 2_500_000).await.unwrap();
            let short = send_file(&stream, file.as_fd(), 2_999_990, 11).await.unwrap_err();
            assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
            drop(stream);
            let mut expected = bytes[7..2_500_007].to_vec();
            expected.extend_from_slice(&bytes[2_999_990..]);
            assert!(reader.await.unwrap() == expected);
        });
    }
}
