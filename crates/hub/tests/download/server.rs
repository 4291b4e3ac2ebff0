//! A server on this machine that does what it is told, right or wrong.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// More requests than these are no test any more: the server hangs up.
const MAXIMUM_REQUESTS: usize = 2000;
/// The longest that the server waits for a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// Path and query.
    pub path: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// How many requests came before it.
    pub number: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
    }

    /// The first byte and, if given, the byte behind the last one of a `Range`.
    pub fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse::<usize>().map_or(usize::MAX, |last| last.saturating_add(1))))
    }
}

/// What the server answers.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The length that it claims instead of the true one.
    pub claimed_length: Option<u64>,
    /// Hang up after so many bytes of the body.
    pub cut_after: Option<usize>,
    /// Send one byte of the body at a time, with such a pause behind each.
    pub trickle: Option<Duration>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// A part of a file, as asked for, or all of it.
    pub fn file(request: &Request, content: &[u8], etag: &str) -> Self {
        let condition = request.header("if-range").is_none_or(|condition| condition == etag);
        let reply = match request.range().filter(|_| condition) {
            Some((first, _)) if first >= content.len() => {
                Self::new(416, "").with("content-range", format!("bytes */{}", content.len()))
            }
            Some((first, end)) => Self::part(content, first..end.min(content.len())),
            None => Self::new(200, content),
        };
        reply.with("etag", etag)
    }

    pub fn part(content: &[u8], range: Range<usize>) -> Self {
        let header = format!("bytes {}-{}/{}", range.start, range.end - 1, content.len());
        Self::new(206, &content[range]).with("content-range", header)
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server that stops when it is dropped.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    /// Requests that were answered at the same time, at most.
    busiest: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (busy, busiest) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let handler: Arc<Handler> = Arc::new(handler);
        let thread = {
            let (requests, over, busiest) = (Arc::clone(&requests), Arc::clone(&over), Arc::clone(&busiest));
            thread::spawn(move || {
                for stream in listener.incoming().take(MAXIMUM_REQUESTS) {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { return };
                    let (requests, handler) = (Arc::clone(&requests), Arc::clone(&handler));
                    let (over, busy, busiest) = (Arc::clone(&over), Arc::clone(&busy), Arc::clone(&busiest));
                    thread::spawn(move || {
                        busiest.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        // The client may be gone; that is its choice.
                        let _ = serve(stream, &requests, &*handler, &over);
                        busy.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            })
        };
        Self { address, requests, busiest, over, thread: Some(thread) }
    }

    pub fn address(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn busiest(&self) -> usize {
        self.busiest.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers one request and hangs up.
fn serve(
    mut stream: TcpStream,
    requests: &Mutex<Vec<Request>>,
    handler: &Handler,
    over: &AtomicBool,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.try_clone()?.take(64 << 10)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    for line in lines {
        match line?.split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let request = {
        let mut requests = requests.lock().unwrap();
        let request = Request { path, headers, number: requests.len() };
        requests.push(request.clone());
        request
    };
    let reply = handler(&request);
    let length = reply.claimed_length.unwrap_or(reply.body.len() as u64);
    let mut head = format!("HTTP/1.1 {} Reason\r\nconnection: close\r\n", reply.status);
    if !reply.headers.iter().any(|(name, _)| name == "transfer-encoding") {
        head.push_str(&format!("content-length: {length}\r\n"));
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    let body = &reply.body[..reply.cut_after.unwrap_or(reply.body.len()).min(reply.body.len())];
    match reply.trickle {
        None => stream.write_all(body)?,
        Some(pause) => {
            for byte in body {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                stream.write_all(&[*byte])?;
                stream.flush()?;
                thread::park_timeout(pause);
            }
        }
    }
    stream.shutdown(Shutdown::Both)
}
