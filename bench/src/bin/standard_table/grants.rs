//! How many permits of a resource a node has granted, as the node itself counts them (`tollgate_grants_total`). Only the leader
//! counts.

use std::{error::Error, io};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// So far. Fails for a resource of which the node has never granted any.
pub async fn count(http_address: &str, resource: &str) -> Result<u64, Box<dyn Error>> {
    let metrics = metrics(http_address).await?;
    read(&metrics, resource).ok_or_else(|| {
        format!("{http_address} counts no grants of {resource}: does another node lead?").into()
    })
}

async fn metrics(http_address: &str) -> io::Result<String> {
    let mut connection = TcpStream::connect(http_address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {http_address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    connection.read_to_string(&mut response).await?;
    Ok(response)
}

fn read(metrics: &str, resource: &str) -> Option<u64> {
    let labelled = format!("tollgate_grants_total{{resource=\"{resource}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&labelled))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_of_one_resource() {
        let metrics = "HTTP/1.1 200 OK\r\n\r\n# TYPE tollgate_grants counter\n\
            tollgate_grants_total{resource=\"bench/10\"} 7\ntollgate_grants_total{resource=\"bench/1\"} 45678\n";
        assert_eq!(read(metrics, "bench/1"), Some(45_678));
        assert_eq!(read(metrics, "bench/2"), None);
    }
}
