//! Unix sockets: messages that carry descriptors, and who is at the other end. Of those of TCP, how much
//! went over them.

use crate::errno::{Errno, Result, cvt, retry};
use crate::fd::{Fd, beyond_standard};
use core::ffi::CStr;
use core::mem::MaybeUninit;

/// Most descriptors in one message.
pub const MOST: usize = 4;

/// Bytes of the control message that carries them.
// SAFETY: CMSG_SPACE computes with a number.
const SPACE: usize = unsafe { libc::CMSG_SPACE((MOST * size_of::<i32>()) as u32) } as usize;

/// Room for the control message, aligned as its header wants.
#[repr(C, align(8))]
struct Control([u8; SPACE]);

/// Which kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    Stream,
    /// Messages that arrive whole and in order; the end of the other side is seen.
    Messages,
}

/// Makes two sockets that are each other's other end; close-on-exec, never in the place of a
/// standard descriptor.
///
/// # Errors
/// As socketpair(2).
pub fn pair(kind: Kind) -> Result<(Fd, Fd)> {
    let kind = match kind {
        Kind::Stream => libc::SOCK_STREAM,
        Kind::Messages => libc::SOCK_SEQPACKET,
    };
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for two descriptors.
    cvt(unsafe {
        libc::socketpair(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr())
    })?;
    let (a, b) = (Fd::from_raw(ends[0]), Fd::from_raw(ends[1]));
    Ok((beyond_standard(a)?, beyond_standard(b)?))
}

/// Fills in the address of a socket; a path that begins with NUL is no file's but a bare name.
fn address(path: &[u8]) -> Result<(libc::sockaddr_un, libc::socklen_t)> {
    // SAFETY: a sockaddr_un is numbers.
    let mut address: libc::sockaddr_un = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sun_family = libc::AF_UNIX as _;
    // A file's path keeps a NUL behind it; a bare name ends where it ends.
    let bare = path.first() == Some(&0);
    let room = address.sun_path.len() - usize::from(!bare);
    if path.is_empty() || path.len() > room {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    for (place, byte) in address.sun_path.iter_mut().zip(path) {
        *place = *byte as libc::c_char;
    }
    let len = core::mem::offset_of!(libc::sockaddr_un, sun_path) + path.len() + usize::from(!bare);
    Ok((address, len as _))
}

fn new(kind: i32) -> Result<Fd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket takes three numbers and touches no memory.
    beyond_standard(Fd::from_raw(cvt(unsafe { libc::socket(libc::AF_UNIX, kind, 0) })?))
}

/// Makes a stream socket at `path`, where nothing is, that listens and never waits; its mode is what
/// the umask leaves of 0777.
///
/// # Errors
/// `EADDRINUSE` where something is there; `ENAMETOOLONG`; else as bind(2).
pub fn listen(path: &CStr) -> Result<Fd> {
    /// Who waits to be let in; more are turned away at once.
    const WAITING: i32 = 64;
    let socket = new(libc::SOCK_STREAM)?;
    let (address, len) = address(path.to_bytes())?;
    // SAFETY: `address` is a socket address of `len` bytes.
    cvt(unsafe { libc::bind(socket.raw(), (&raw const address).cast(), len) })?;
    // SAFETY: listen takes two numbers and touches no memory.
    cvt(unsafe { libc::listen(socket.raw(), WAITING) })?;
    Ok(socket)
}

/// Connects to the stream socket at `path`; the connection never waits, and nor does this.
///
/// # Errors
/// As connect(2): `ECONNREFUSED` where nobody listens, `EAGAIN` where too many wait to be let in.
pub fn connect(path: &CStr) -> Result<Fd> {
    let socket = new(libc::SOCK_STREAM)?;
    let (address, len) = address(path.to_bytes())?;
    // SAFETY: `address` is a socket address of `len` bytes.
    cvt(unsafe { libc::connect(socket.raw(), (&raw const address).cast(), len) })?;
    Ok(socket)
}

/// Sends one datagram to the socket at `path`, or with a bare name where it begins with NUL. It never
/// waits.
///
/// # Errors
/// As sendto(2).
pub fn tell(path: &[u8], bytes: &[u8]) -> Result<()> {
    let socket = new(libc::SOCK_DGRAM)?;
    let (address, len) = address(path)?;
    // SAFETY: `bytes` is valid for reads, `address` is a socket address of `len` bytes.
    cvt(unsafe {
        let (bytes, count) = (bytes.as_ptr().cast(), bytes.len());
        let to = (&raw const address).cast();
        libc::sendto(socket.raw(), bytes, count, libc::MSG_NOSIGNAL, to, len)
    })?;
    Ok(())
}

/// Takes the next connection of a listening socket: close-on-exec, without waiting when it is used.
///
/// # Errors
/// As accept4(2): `EAGAIN` where nobody waits.
pub fn accept(listening: i32) -> Result<Fd> {
    let (none, len) = (core::ptr::null_mut(), core::ptr::null_mut());
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: null asks for no address.
    retry(|| unsafe { libc::accept4(listening, none, len, flags) }).map(Fd::from_raw)
}

/// Sends one message with up to [`MOST`] descriptors, which the other end gets copies of. Raises no
/// signal.
///
/// # Errors
/// As sendmsg(2); `EINVAL` for more descriptors.
pub fn send(socket: i32, bytes: &[u8], fds: &[i32]) -> Result<()> {
    if fds.len() > MOST {
        return Err(Errno(libc::EINVAL));
    }
    let mut control = Control([0; SPACE]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut message = header(&mut part);
    if !fds.is_empty() {
        let len = size_of_val(fds) as u32;
        message.msg_control = (&raw mut control).cast();
        // SAFETY: CMSG_SPACE computes with a number.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(len) } as _;
        // SAFETY: the buffer is aligned and has room for the header and `MOST` descriptors.
        unsafe {
            let first = libc::CMSG_FIRSTHDR(&raw const message);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(len) as _;
            let data = libc::CMSG_DATA(first);
            core::ptr::copy_nonoverlapping(fds.as_ptr().cast(), data, size_of_val(fds));
        }
    }
    // SAFETY: the message points to one piece and a control buffer that outlive the call.
    retry(|| unsafe { libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL) })?;
    Ok(())
}

/// Receives one message into `bytes`, and its descriptors, close-on-exec. Returns its length: 0
/// where the other end is gone, more than fits where it was cut. It never waits.
///
/// # Errors
/// As recvmsg(2): `EAGAIN` where there is none.
pub fn receive(socket: i32, bytes: &mut [u8]) -> Result<(usize, [Option<Fd>; MOST])> {
    let mut control = Control([0; SPACE]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut message = header(&mut part);
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = SPACE as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC | libc::MSG_TRUNC;
    // SAFETY: the message points to one piece and a control buffer, valid for writes.
    let len = retry(|| unsafe { libc::recvmsg(socket, &raw mut message, flags) })?;
    let mut fds = [const { None }; MOST];
    // SAFETY: the kernel filled the control buffer up to `msg_controllen`.
    let first = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    if !first.is_null() {
        // SAFETY: not null, so a whole header.
        let found = unsafe { first.read() };
        if found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: CMSG_LEN computes with a number.
            let head = unsafe { libc::CMSG_LEN(0) } as usize;
            let count = (found.cmsg_len as usize).saturating_sub(head) / size_of::<i32>();
            for (i, place) in fds.iter_mut().enumerate().take(count) {
                let mut fd = [0; size_of::<i32>()];
                // SAFETY: the header says that there are `count` descriptors behind it.
                unsafe {
                    let data = libc::CMSG_DATA(first).add(i * fd.len());
                    core::ptr::copy_nonoverlapping(data, fd.as_mut_ptr(), fd.len());
                }
                *place = Some(Fd::from_raw(i32::from_ne_bytes(fd)));
            }
        }
    }
    Ok((len as usize, fds))
}

fn header(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: a msghdr is pointers that may be null and numbers.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut *part;
    message.msg_iovlen = 1;
    message
}

/// Who is at the other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process that connected, or made the pair.
    pub pid: i32,
    /// Its user then.
    pub uid: u32,
    /// Its primary group then.
    pub gid: u32,
}

/// Asks the kernel who is at the other end.
///
/// # Errors
/// As getsockopt(2).
pub fn peer(socket: i32) -> Result<Peer> {
    let mut found = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `found` is valid for writes of `len` bytes.
    cvt(unsafe {
        let place = (&raw mut found).cast();
        libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_PEERCRED, place, &raw mut len)
    })?;
    Ok(Peer { pid: found.pid, uid: found.uid, gid: found.gid })
}

/// Returns how many bytes have gone over a TCP connection so far: those that came, and those that the
/// other end has acknowledged.
///
/// # Errors
/// As getsockopt(2).
pub fn moved(socket: i32) -> Result<u64> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` is valid for writes of `len` bytes.
    cvt(unsafe {
        let place = info.as_mut_ptr().cast();
        libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut len)
    })?;
    // SAFETY: all of its fields are numbers; what the kernel does not know of is zero.
    let info = unsafe { info.assume_init() };
    Ok(info.tcpi_bytes_acked.saturating_add(info.tcpi_bytes_received))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    extern crate std;

    #[test]
    fn descriptors_arrive_with_their_message_and_close_on_exec() {
        let (a, b) = pair(Kind::Messages).unwrap();
        let (from, to) = fd::pipe().unwrap();
        send(a.raw(), b"one", &[]).unwrap();
        send(a.raw(), b"two", &[to.raw(), from.raw()]).unwrap();
        let mut room = [0; 8];
        let (len, fds) = receive(b.raw(), &mut room).unwrap();
        assert_eq!((&room[..len], fds.iter().flatten().count()), (&b"one"[..], 0));
        let (len, fds) = receive(b.raw(), &mut room).unwrap();
        assert_eq!(&room[..len], b"two");
        let [Some(to), Some(from), None, None] = &fds else { panic!("{fds:?}") };
        fd::write(to.raw(), b"x").unwrap();
        assert_eq!(fd::read(from.raw(), &mut room), Ok(1));
        for fd in [to, from] {
            // SAFETY: F_GETFD takes no argument.
            let flags = unsafe { libc::fcntl(fd.raw(), libc::F_GETFD) };
            assert_eq!(flags, libc::FD_CLOEXEC);
        }
        assert_eq!(receive(b.raw(), &mut room).err(), Some(Errno(libc::EAGAIN)));
        assert_eq!(send(a.raw(), b"", &[0; MOST + 1]), Err(Errno(libc::EINVAL)));
    }

    #[test]
    fn a_message_that_does_not_fit_and_the_end_are_told_apart() {
        let (a, b) = pair(Kind::Messages).unwrap();
        send(a.raw(), b"12345", &[]).unwrap();
        let mut room = [0; 3];
        assert_eq!(receive(b.raw(), &mut room).unwrap().0, 5);
        drop(a);
        assert_eq!(receive(b.raw(), &mut room).unwrap().0, 0);
        assert_eq!(send(b.raw(), b"x", &[]), Err(Errno(libc::EPIPE)));
    }

    #[test]
    fn the_kernel_knows_who_is_there() {
        let (a, _b) = pair(Kind::Stream).unwrap();
        let found = peer(a.raw()).unwrap();
        assert_eq!((found.pid, found.uid), (crate::process::pid(), crate::process::euid()));
    }

    #[test]
    fn an_address_fits_or_is_refused() {
        for (path, len) in [(&b"/a"[..], 5), (b"\0a", 4), (&[b'x'; 107], 110), (&[0; 108], 110)] {
            assert_eq!(address(path).map(|(_, len)| len), Ok(len), "{path:?}");
        }
        for path in [&b""[..], &[b'x'; 108], &[0; 109]] {
            assert_eq!(address(path).err(), Some(Errno(libc::ENAMETOOLONG)));
        }
        assert_eq!(tell(b"\0nobody-listens-here", b"x"), Err(Errno(libc::ECONNREFUSED)));
    }

    #[test]
    fn what_goes_over_a_connection_of_tcp_is_counted_in_both_directions() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut there, _) = listener.accept().unwrap();
        let raw = here.as_raw_fd();
        let before = moved(raw).unwrap();
        let mut room = [0; 1000];
        here.write_all(&room).unwrap();
        there.read_exact(&mut room).unwrap();
        // What comes back brings the acknowledgement with it.
        there.write_all(&room[..500]).unwrap();
        here.read_exact(&mut room[..500]).unwrap();
        assert_eq!(moved(raw).unwrap() - before, 1500);
        let (a, _b) = pair(Kind::Stream).unwrap();
        assert!(moved(a.raw()).is_err());
    }
}
