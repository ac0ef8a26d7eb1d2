//! HTTP/2 by hand (RFC 9113), to say what no library would.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// What a client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub mod kind {
    /// A part of a body.
    pub const DATA: u8 = 0;
    /// The head of a request.
    pub const HEADERS: u8 = 1;
    /// The end of a stream, at once.
    pub const RST_STREAM: u8 = 3;
    /// What a side can take.
    pub const SETTINGS: u8 = 4;
    /// No more on this connection.
    pub const GOAWAY: u8 = 7;
    /// More of a head.
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    /// Nothing more comes on this stream.
    pub const END_STREAM: u8 = 1;
    /// The head is complete.
    pub const END_HEADERS: u8 = 4;
}

/// The setting that says how much of a body may be sent before it is asked for.
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// A frame, with the length that it has.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are small");
    [&head(length, kind, flags, stream), payload].concat()
}

/// The head of a frame, with any length.
pub fn head(length: u32, kind: u8, flags: u8, stream: u32) -> [u8; 9] {
    let [_, a, b, c] = length.to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [a, b, c, kind, flags, d, e, f, g]
}

/// A SETTINGS frame.
pub fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let bytes = |(setting, value): &(u16, u32)| [&setting.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(kind::SETTINGS, 0, 0, &settings.iter().flat_map(bytes).collect::<Vec<_>>())
}

/// The head of a gRPC call: `path` is `/package.Service/Method`.
pub fn call_head(path: &str) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    headers.iter().flat_map(|(name, value)| header(name, value)).collect()
}

/// A header as a literal that is not indexed, without Huffman coding (RFC 7541, 6.2.2).
pub fn header(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &string(name), &string(value)].concat()
}

/// Its length with a prefix of 7 bits (RFC 7541, 5.1), then itself.
fn string(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    match u8::try_from(text.len()) {
        Ok(length @ 0..127) => bytes.push(length),
        _ => {
            bytes.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                bytes.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            bytes.push(rest as u8);
        }
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A gRPC message with the length that it says.
pub fn message(length: u32, body: &[u8]) -> Vec<u8> {
    [&[0][..], &length.to_be_bytes(), body].concat()
}

/// A connection that has greeted.
pub async fn greeted(address: &str, said: &[(u16, u32)]) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(&[PREFACE, &settings(said)].concat()).await?;
    Ok(connection)
}

/// Reads a frame, and says of which kind it is.
pub async fn read_frame(connection: &mut TcpStream) -> io::Result<u8> {
    let mut head = [0; 9];
    connection.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    connection.read_exact(&mut payload).await?;
    Ok(head[3])
}

/// Reads until the other side hangs up; whether it did in time.
pub async fn hangs_up(connection: &mut TcpStream, within: Duration) -> bool {
    let ended = async {
        let mut buffer = vec![0; 64 << 10];
        // A reset is an end, too.
        while let Ok(1..) = connection.read(&mut buffer).await {}
    };
    timeout(within, ended).await.is_ok()
}
