//! The floor: what a call costs when nothing is decided. A bare tonic server in a process of its own, on the same kind of
//! runtime as a node's, that decodes each message and answers with what the cluster answered to the first such call.

use std::{
    io::{self, Read},
    net::SocketAddr,
    process::Stdio,
    sync::Arc,
};

use futures_util::{Stream, StreamExt};
use prost::Message;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    process::{Child, ChildStdin, Command},
};
use tollgate_proto::v1::{
    self, AcquirePermitResult, StreamAnswer, StreamPermitsResponse, acquire_permit_result,
    permit_service_server::{PermitService, PermitServiceServer},
    stream_answer::Answer,
    stream_call::Call,
};
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

use crate::side::WINDOW;

/// What the cluster answered, one of each kind that the measurement asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// To an acquire.
    pub acquired: v1::AcquirePermitResponse,
    /// To a renewal.
    pub renewed: v1::RenewPermitResponse,
    /// To a release.
    pub released: v1::ReleasePermitResponse,
}

impl Answers {
    fn encode(self) -> Vec<u8> {
        let answers =
            [Answer::Acquired(self.acquired), Answer::Renewed(self.renewed), Answer::Released(self.released)];
        let answers = answers.map(|answer| StreamAnswer { id: 0, answer: Some(answer) }).into();
        StreamPermitsResponse { answers }.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> io::Result<Answers> {
        let mut answers = Answers::default();
        for StreamAnswer { answer, .. } in StreamPermitsResponse::decode(bytes)?.answers {
            match answer {
                Some(Answer::Acquired(acquired)) => answers.acquired = acquired,
                Some(Answer::Renewed(renewed)) => answers.renewed = renewed,
                Some(Answer::Released(released)) => answers.released = released,
                Some(Answer::Error(_)) | None => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(answers)
    }
}

/// A floor that runs in a process of its own, which ends with this value, or with this process.
pub struct FloorChild {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub process_id: u32,
    _child: Child,
    _until_dropped: ChildStdin,
}

impl FloorChild {
    /// Starts `command`, which must run [`serve_until_parent_ends`].
    ///
    /// # Errors
    ///
    /// When it cannot be started, or does not say where it listens.
    pub async fn start(mut command: Command, answers: Answers) -> io::Result<FloorChild> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(mut stdin), Some(stdout), Some(process_id)) = (stdin, stdout, child.id()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let answers = answers.encode();
        stdin.write_u32(u32::try_from(answers.len()).map_err(io::Error::other)?).await?;
        stdin.write_all(&answers).await?;
        stdin.flush().await?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(FloorChild { address, process_id, _child: child, _until_dropped: stdin })
    }
}

/// The child's side: reads the answers from standard input, prints the address at which it listens, and serves until the
/// input ends, which it does with the process that wrote it.
///
/// # Errors
///
/// When the input is not what [`FloorChild::start`] writes, or no port can be had.
pub async fn serve_until_parent_ends() -> io::Result<()> {
    let answers = tokio::task::spawn_blocking(read_answers).await.map_err(io::Error::other)??;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let ended = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    let ended = async {
        // An input that cannot be read has ended, too.
        let _ = ended.await;
    };
    Floor::new(answers).serve(listener, ended).await
}

fn read_answers() -> io::Result<Answers> {
    let mut stdin = io::stdin().lock();
    let mut length = [0; 4];
    stdin.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    stdin.read_exact(&mut bytes)?;
    Answers::decode(&bytes)
}

/// The service that decides nothing.
pub struct Floor {
    answers: Arc<Answers>,
}

impl Floor {
    /// One that gives these answers to whatever it is asked.
    pub fn new(answers: Answers) -> Floor {
        Floor { answers: Arc::new(answers) }
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    ///
    /// When the listener fails.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) -> io::Result<()> {
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tonic::transport::Server::builder()
            .initial_connection_window_size(WINDOW)
            .add_service(PermitServiceServer::new(self));
        server.serve_with_incoming_shutdown(incoming, stop).await.map_err(io::Error::other)
    }
}

#[tonic::async_trait]
impl PermitService for Floor {
    async fn acquire_permit(
        &self,
        _: Request<v1::AcquirePermitRequest>,
    ) -> Result<Response<v1::AcquirePermitResponse>, Status> {
        Ok(Response::new(self.answers.acquired.clone()))
    }

    async fn acquire_permits(
        &self,
        request: Request<v1::AcquirePermitsRequest>,
    ) -> Result<Response<v1::AcquirePermitsResponse>, Status> {
        let response = || acquire_permit_result::Result::Response(self.answers.acquired.clone());
        let result = |_| AcquirePermitResult { result: Some(response()) };
        let results = request.into_inner().requests.into_iter().map(result).collect();
        Ok(Response::new(v1::AcquirePermitsResponse { results }))
    }

    async fn renew_permit(
        &self,
        _: Request<v1::RenewPermitRequest>,
    ) -> Result<Response<v1::RenewPermitResponse>, Status> {
        Ok(Response::new(self.answers.renewed))
    }

    async fn release_permit(
        &self,
        _: Request<v1::ReleasePermitRequest>,
    ) -> Result<Response<v1::ReleasePermitResponse>, Status> {
        Ok(Response::new(self.answers.released.clone()))
    }

    async fn report_feedback(
        &self,
        _: Request<v1::ReportFeedbackRequest>,
    ) -> Result<Response<v1::ReportFeedbackResponse>, Status> {
        Err(Status::unimplemented("no load reports what a vendor answered"))
    }

    async fn invalidate_results(
        &self,
        _: Request<v1::InvalidateResultsRequest>,
    ) -> Result<Response<v1::InvalidateResultsResponse>, Status> {
        Err(Status::unimplemented("no load has calls made for several requests"))
    }

    type StreamPermitsStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<StreamPermitsResponse, Status>> + Send>>;

    async fn stream_permits(
        &self,
        request: Request<Streaming<v1::StreamPermitsRequest>>,
    ) -> Result<Response<Self::StreamPermitsStream>, Status> {
        let given = self.answers.clone();
        let answer = move |message: v1::StreamPermitsRequest| {
            let answers = message.calls.into_iter().map(|call| answer(&given, call)).collect();
            StreamPermitsResponse { answers }
        };
        let answers = request.into_inner().map(move |message| message.map(&answer));
        Ok(Response::new(Box::pin(answers)))
    }
}

fn answer(given: &Answers, call: v1::StreamCall) -> StreamAnswer {
    let answer = match call.call {
        Some(Call::Acquire(_)) | None => Answer::Acquired(given.acquired.clone()),
        Some(Call::Renew(_)) => Answer::Renewed(given.renewed),
        Some(Call::Release(_)) => Answer::Released(given.released.clone()),
    };
    StreamAnswer { id: call.id, answer: Some(answer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_arrive_in_the_child_as_they_were() {
        let permit = v1::GrantedPermit { permit_id: "p0-1".to_owned(), ..v1::GrantedPermit::default() };
        let decision = Some(v1::acquire_permit_response::Decision::Granted(permit));
        let held_for = Some(prost_types::Duration { seconds: 1, nanos: 2 });
        let answers = Answers {
            acquired: v1::AcquirePermitResponse { decision },
            renewed: v1::RenewPermitResponse { lease: held_for },
            released: v1::ReleasePermitResponse { held_for, ..Default::default() },
        };
        assert_eq!(Answers::decode(&answers.clone().encode()).unwrap(), answers);
        assert!(Answers::decode(&[0xff]).is_err());
    }
}
