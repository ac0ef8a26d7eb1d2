//! What nobody should send: the server hangs up or answers with an error, its memory stays bounded, and others are served.

use std::{io, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};
use tollgate_tests::{
    cluster::PATIENCE,
    http2::{
        INITIAL_WINDOW_SIZE, PREFACE, call_head, flag, frame, greeted, hangs_up, head, header, kind, message,
        read_frame, settings,
    },
    samples::plenty,
    single::Single,
};

const RESOURCE: &str = "vendor/account";
const ACQUIRE: &str = "/tollgate.v1.PermitService/AcquirePermit";
const LIST: &str = "/tollgate.v1.ResourceService/ListResources";

/// More than any of this may cost a server, in mebibytes: a server at rest has about 20.
const MEMORY_MAX_MIB: u64 = 300;

async fn server() -> Single {
    let server = Single::start().await;
    server.define(plenty(RESOURCE)).await;
    server
}

async fn is_well(server: &mut Single) {
    server.serves(RESOURCE).await.expect("the server serves");
    assert!(server.runs() && !server.log().contains("panicked"), "{}", server.log());
    let resident = server.resident_mib();
    assert!(resident < MEMORY_MAX_MIB, "{resident} MiB");
}

/// Says something, and hears the end of the connection.
async fn says(address: &str, what: &[u8]) {
    let mut connection = TcpStream::connect(address).await.expect("the server listens");
    // It may hang up before it has heard all.
    let _ = connection.write_all(what).await;
    assert!(
        hangs_up(&mut connection, PATIENCE).await,
        "{address} goes on after {:?}",
        &what[..what.len().min(40)]
    );
}

#[tokio::test]
async fn garbage_is_hung_up_on_at_every_port() {
    let mut server = server().await;
    let mut rng = StdRng::seed_from_u64(1);
    let mut garbage = vec![
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        [PREFACE, &[0xff; 64]].concat(),
        // A frame that says to be 16 MiB long, and one on a stream of the server's.
        [PREFACE, &settings(&[]), &head(0xff_ffff, kind::DATA, 0, 1)].concat(),
        [PREFACE, &settings(&[]), &frame(kind::HEADERS, flag::END_HEADERS, 2, &[0x82])].concat(),
        // Settings that are none.
        [PREFACE, &frame(kind::SETTINGS, 0, 0, &[1, 2, 3])].concat(),
        // Headers that do not decode.
        [PREFACE, &settings(&[]), &frame(kind::HEADERS, flag::END_HEADERS, 1, &[0xff; 200])].concat(),
    ];
    for length in [1_000, 100_000] {
        let mut bytes = vec![0; length];
        rng.fill_bytes(&mut bytes);
        garbage.push(bytes);
    }
    for address in [&server.client_address, &server.peer_address, &server.http_address] {
        for what in &garbage {
            says(address, what).await;
        }
    }
    is_well(&mut server).await;
}

#[tokio::test]
async fn messages_and_headers_beyond_the_bounds_are_refused() {
    let mut server = server().await;
    let begin = frame(kind::HEADERS, flag::END_HEADERS, 1, &call_head(ACQUIRE));
    let huge = frame(kind::DATA, 0, 1, &message(u32::MAX, b"x"));
    let mut connection = greeted(&server.client_address, &[]).await.unwrap();
    connection.write_all(&[begin, huge].concat()).await.unwrap();
    assert!(is_answered(&mut connection).await, "it waits for 4 GiB");

    // 40 KB of headers.
    let block = [call_head(ACQUIRE), header("x-large", &"x".repeat(40_000))].concat();
    let (first, rest) = block.split_at(16_000);
    let mut frames = frame(kind::HEADERS, flag::END_STREAM, 1, first);
    let chunks: Vec<_> = rest.chunks(16_000).collect();
    for (number, chunk) in chunks.iter().enumerate() {
        let flags = if number + 1 == chunks.len() { flag::END_HEADERS } else { 0 };
        frames.extend(frame(kind::CONTINUATION, flags, 1, chunk));
    }
    let mut connection = greeted(&server.client_address, &[]).await.unwrap();
    connection.write_all(&frames).await.unwrap();
    assert!(is_answered(&mut connection).await);
    is_well(&mut server).await;
}

/// Whether the call is answered, or given up: not waited with for more.
async fn is_answered(connection: &mut TcpStream) -> bool {
    let answered = async {
        loop {
            match read_frame(connection).await {
                Ok(kind::HEADERS | kind::RST_STREAM | kind::GOAWAY) | Err(_) => return,
                Ok(_) => {}
            }
        }
    };
    timeout(PATIENCE, answered).await.is_ok()
}

#[tokio::test]
async fn endless_headers_end_the_connection() {
    let mut server = server().await;
    let mut connection = greeted(&server.client_address, &[]).await.unwrap();
    connection.write_all(&frame(kind::HEADERS, 0, 1, &call_head(ACQUIRE))).await.unwrap();
    let more = frame(kind::CONTINUATION, 0, 1, &header("x", &"y".repeat(10_000)));
    let mut sent = 0;
    while sent < 10_000 && connection.write_all(&more).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 10_000, "100 MB of headers were taken");
    is_well(&mut server).await;
}

#[tokio::test]
async fn rapid_resets_cost_no_memory() {
    let mut server = server().await;
    let mut floods = JoinSet::new();
    for _ in 0..4 {
        floods.spawn(flood(server.client_address.clone()));
    }
    while let Some(flooded) = floods.join_next().await {
        // The server may hang up in the middle.
        let _ = flooded.unwrap();
        is_well(&mut server).await;
    }
}

/// Opens and resets streams, as fast as they are taken (CVE-2023-44487).
async fn flood(address: String) -> io::Result<()> {
    let mut connection = greeted(&address, &[]).await?;
    let request = call_head(ACQUIRE);
    for stream in (1..100_000).step_by(2) {
        let open = frame(kind::HEADERS, flag::END_HEADERS, stream, &request);
        let reset = frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        connection.write_all(&[open, reset].concat()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn silent_connections_are_hung_up_on() {
    let mut server = server().await;
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(TcpStream::connect(&server.client_address).await.unwrap());
    }
    for address in [&server.peer_address, &server.http_address] {
        for _ in 0..50 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
    }
    // Half a greeting is no greeting.
    for connection in silent.iter_mut().step_by(2) {
        connection.write_all(&PREFACE[..10]).await.unwrap();
    }
    is_well(&mut server).await;
    for connection in &mut silent {
        assert!(hangs_up(connection, PATIENCE).await);
    }
    is_well(&mut server).await;
}

#[tokio::test]
async fn idle_connections_cost_little() {
    let mut server = server().await;
    server.serves(RESOURCE).await.unwrap();
    let before = server.resident_mib();
    let mut idle = Vec::new();
    for _ in 0..400 {
        let mut connection = greeted(&server.client_address, &[]).await.unwrap();
        // The server has greeted back: it is set up.
        read_frame(&mut connection).await.unwrap();
        idle.push(connection);
    }
    is_well(&mut server).await;
    let growth = server.resident_mib().saturating_sub(before);
    // 10,000 of them may take 300 MiB.
    assert!(growth < 12, "{growth} MiB for {}", idle.len());
}

#[tokio::test]
async fn a_request_that_never_ends_is_given_up_at_the_http_port() {
    let mut server = server().await;
    let mut slow = TcpStream::connect(&server.http_address).await.unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
    let mut whole = TcpStream::connect(&server.http_address).await.unwrap();
    whole.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    whole.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(hangs_up(&mut slow, PATIENCE).await);
    is_well(&mut server).await;
}

#[tokio::test]
async fn slow_readers_hold_little() {
    let mut server = server().await;
    for number in 0..300 {
        let resource = plenty(&format!("{RESOURCE}-{number}"));
        server.define(tollgate_client::v1::Resource { description: "x".repeat(1_000), ..resource }).await;
    }
    // Each answer is a third of a megabyte, and none is ever read.
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut connection = greeted(&server.client_address, &[(INITIAL_WINDOW_SIZE, 0)]).await.unwrap();
        for stream in (1..4_000).step_by(2) {
            let open = frame(kind::HEADERS, flag::END_HEADERS, stream, &call_head(LIST));
            // page_size = 1,000.
            let all = frame(kind::DATA, flag::END_STREAM, stream, &message(3, &[0x08, 0xe8, 0x07]));
            connection.write_all(&[open, all].concat()).await.unwrap();
        }
        connections.push(connection);
    }
    for _ in 0..20 {
        sleep(Duration::from_millis(100)).await;
        is_well(&mut server).await;
    }
    // Those who read get their turn once the others are given up.
    let listed = server.client().with_deadline(2 * PATIENCE).resources().list("").await.unwrap();
    assert_eq!(listed.len(), 301);
    is_well(&mut server).await;
}
