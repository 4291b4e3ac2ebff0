//! Requests: with the hub's token where it belongs, within time limits, with patience, and stoppable.

use std::{
    env,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use ureq::{
    Agent, Body, Error,
    http::{
        HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri,
        header::{ACCEPT_ENCODING, AUTHORIZATION, IF_RANGE, LOCATION, RANGE, RETRY_AFTER},
    },
    tls::{RootCerts, TlsConfig},
};

use crate::{HubError, error::shown};

/// Where `hf:` sources come from unless `HF_ENDPOINT` names another hub.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// The variables by which this ecosystem's programs are told of another hub, and of the account.
const ENDPOINT_VARIABLE: &str = "HF_ENDPOINT";
const TOKEN_VARIABLE: &str = "HF_TOKEN";

/// Hosts of files are a step or two behind the hub; more is a circle.
const MAXIMUM_REDIRECTS: u32 = 10;

/// The largest number of connections for one model: more burden the server and gain nothing.
pub(crate) const MAXIMUM_CONNECTIONS: usize = 16;

/// How to reach the hub and everybody else.
#[derive(Clone)]
pub struct HubOptions {
    /// The hub's address, without a slash at its end.
    pub endpoint: String,
    /// The token for the hub; sent to nobody else.
    pub token: Option<String>,
    /// Refuse every request before a connection is made.
    pub offline: bool,
    /// Ranges that are read at the same time, of all files of a model together; from 1 to 16.
    pub connections: usize,
    /// Bytes of one range. What is lost by a crash is at most one for each connection.
    pub piece_bytes: u64,
    /// When to stop waiting.
    pub timeouts: Timeouts,
    /// How often to try again.
    pub patience: Patience,
}

impl Default for HubOptions {
    /// The built-in hub without a token, four connections.
    fn default() -> Self {
        Self {
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            token: None,
            offline: false,
            connections: 4,
            piece_bytes: 16 << 20,
            timeouts: Timeouts::default(),
            patience: Patience::default(),
        }
    }
}

impl HubOptions {
    /// The defaults, with the hub and the token that the environment names.
    pub fn from_environment() -> Self {
        let variable = |name| env::var(name).ok().map(|value| value.trim().to_owned());
        let given = |name| variable(name).filter(|value| !value.is_empty());
        let mut options = Self { token: given(TOKEN_VARIABLE), ..Self::default() };
        if let Some(endpoint) = given(ENDPOINT_VARIABLE) {
            options.endpoint = endpoint.trim_end_matches('/').to_owned();
        }
        options
    }
}

/// When to stop waiting for a server.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a connection, encrypted if it is to be.
    pub connect: Duration,
    /// For the beginning of an answer.
    pub response: Duration,
    /// For the next bytes of an answer; and within so long, [`Timeouts::least_bytes`] have to come.
    pub stall: Duration,
    /// Fewer bytes than these within the stall time are as good as none: a server that sends a byte now and then would
    /// hold a download for ever.
    pub least_bytes: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            response: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            least_bytes: 4096,
        }
    }
}

/// How often to try again what may pass.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Tries in a row that bring nothing, until it is given up.
    pub tries: u32,
    /// The wait before the second; each one after that waits twice as long.
    pub first_delay: Duration,
    /// The longest wait, whatever the server asks for.
    pub longest_delay: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 6, first_delay: Duration::from_millis(500), longest_delay: Duration::from_secs(60) }
    }
}

/// Stops everything that a [`crate::Hub`] does, from any thread and for good.
#[derive(Clone)]
pub struct Stop {
    state: Arc<(Mutex<bool>, Condvar)>,
    agent: Agent,
}

impl Stop {
    /// Breaks off all requests; what was downloaded stays and can be gone on with.
    pub fn stop(&self) {
        *self.state.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.state.1.notify_all();
        self.agent.clone().shutdown();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits so long, less if it is stopped.
    fn wait(&self, duration: Duration) {
        let stopped = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.state.1.wait_timeout_while(stopped, duration, |stopped| !*stopped));
    }
}

/// Counts tries in a row that brought nothing.
pub(crate) struct Tries<'a> {
    client: &'a Client,
    failed: u32,
}

impl Tries<'_> {
    /// Something came; patience is as at the beginning.
    pub(crate) fn progressed(&mut self) {
        self.failed = 0;
    }

    /// Waits before the next try, having told of it; or gives the error back, if another try is in vain.
    pub(crate) fn failed(
        &mut self,
        error: HubError,
        tell: impl FnOnce(&HubError, Duration),
    ) -> Result<(), HubError> {
        self.client.check_stop()?;
        self.failed += 1;
        let patience = &self.client.options.patience;
        if !error.is_passing() || self.failed >= patience.tries {
            return Err(error);
        }
        let doubled = patience.first_delay.saturating_mul(1 << (self.failed - 1).min(16));
        let delay = error.retry_after().unwrap_or(doubled).min(patience.longest_delay);
        tell(&error, delay);
        self.client.stop.wait(delay);
        self.client.check_stop()
    }
}

/// Bytes to ask for, of a file that is the same as before if `condition` still holds.
pub(crate) struct RangeRequest<'a> {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) condition: Option<&'a str>,
}

/// Asks servers.
pub(crate) struct Client {
    agent: Agent,
    pub(crate) options: HubOptions,
    pub(crate) stop: Stop,
}

impl Client {
    pub(crate) fn new(options: HubOptions) -> Self {
        let timeouts = options.timeouts;
        // The platform knows the authorities that its owner trusts, those of a company's proxy among them.
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let agent: Agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // Followed here, where it is known whom the token is for.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("glasshouse/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(timeouts.connect))
            .timeout_connect(Some(timeouts.connect))
            .timeout_recv_response(Some(timeouts.response))
            .timeout_per_read(Some(timeouts.stall))
            .timeout_per_write(Some(timeouts.stall))
            .max_idle_connections_per_host(MAXIMUM_CONNECTIONS)
            .build()
            .into();
        let stop = Stop { state: Arc::default(), agent: agent.clone() };
        Self { agent, options, stop }
    }

    pub(crate) fn tries(&self) -> Tries<'_> {
        Tries { client: self, failed: 0 }
    }

    pub(crate) fn check_stop(&self) -> Result<(), HubError> {
        if self.stop.is_stopped() { Err(HubError::Stopped) } else { Ok(()) }
    }

    /// Refuses what would need the network, if that is turned off.
    pub(crate) fn check_online(&self, address: &str) -> Result<(), HubError> {
        if self.options.offline { Err(HubError::Offline { address: shown(address) }) } else { Ok(()) }
    }

    /// One request, followed to where it is redirected. Any status but success, and 416 for a range, is an error.
    pub(crate) fn get(
        &self,
        address: &str,
        range: Option<&RangeRequest<'_>>,
    ) -> Result<Response<Body>, HubError> {
        let mut at = address.to_owned();
        for _ in 0..=MAXIMUM_REDIRECTS {
            let answer = self.get_once(&at, range)?;
            if !answer.status().is_redirection() {
                return self.check_status(&at, range.is_some(), answer);
            }
            let redirect = |problem| HubError::Redirect { address: shown(&at), problem };
            let target = text(answer.headers(), &LOCATION).and_then(|location| target(&at, location));
            let target = target.ok_or_else(|| redirect("to nowhere"))?;
            // What was asked for under encryption must not come without.
            if at.starts_with("https:") && !target.starts_with("https:") {
                return Err(redirect("to where nothing is encrypted"));
            }
            at = target;
        }
        Err(HubError::Redirect { address: shown(address), problem: "in circles" })
    }

    fn get_once(&self, address: &str, range: Option<&RangeRequest<'_>>) -> Result<Response<Body>, HubError> {
        self.check_online(address)?;
        self.check_stop()?;
        let mut request = self.agent.get(address).header(ACCEPT_ENCODING, "identity");
        if let Some(token) = self.token_for(address) {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(RangeRequest { first, last, condition }) = range {
            request = request.header(RANGE, format!("bytes={first}-{last}"));
            if let Some(condition) = condition {
                request = request.header(IF_RANGE, *condition);
            }
        }
        request.call().map_err(|error| failure(address, error))
    }

    fn check_status(
        &self,
        address: &str,
        has_range: bool,
        answer: Response<Body>,
    ) -> Result<Response<Body>, HubError> {
        let status = answer.status();
        if status.is_success() || (has_range && status == StatusCode::RANGE_NOT_SATISFIABLE) {
            return Ok(answer);
        }
        let had_token = self.token_for(address).is_some();
        let (address, retry_after) = (shown(address), retry_after(answer.headers()));
        Err(match status.as_u16() {
            401 => HubError::Unauthorized { address, had_token },
            403 => HubError::Forbidden { address },
            404 | 410 => HubError::NotFound { address },
            429 => HubError::TooManyRequests { address, retry_after },
            status => HubError::Status { address, status, retry_after },
        })
    }

    /// A whole small answer, with patience; and its headers.
    pub(crate) fn get_text(&self, address: &str, limit: u64) -> Result<(String, HeaderMap), HubError> {
        let mut tries = self.tries();
        loop {
            let text = self.get(address, None).and_then(|mut answer| {
                let text = answer.body_mut().with_config().limit(limit).read_to_string();
                let text = text.map_err(|error| failure(address, error))?;
                Ok((text, answer.headers().clone()))
            });
            match text {
                Ok(text) => return Ok(text),
                Err(error) => tries.failed(error, |_, _| ())?,
            }
        }
    }

    /// The token, if the address is the hub's own.
    fn token_for(&self, address: &str) -> Option<&str> {
        let is_of_hub =
            address.strip_prefix(&self.options.endpoint).is_some_and(|rest| rest.starts_with('/'));
        self.options.token.as_deref().filter(|_| is_of_hub)
    }
}

/// Where `location` leads from the address that answered with it (RFC 3986, section 5).
fn target(address: &str, location: &str) -> Option<String> {
    let base: Uri = address.parse().ok()?;
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let is_absolute = ["http://", "https://"]
        .iter()
        .any(|scheme| location.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)));
    let target = if is_absolute {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    // As it is compared and shown: the scheme in small letters, no fragment.
    Some(target.parse::<Uri>().ok()?.to_string())
}

/// The seconds of a `Retry-After`; its other form, a date, is not used by those who limit rates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    text(headers, &RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
}

/// A header that is text.
pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).map(HeaderValue::to_str)?.ok()
}

/// What a failed request is told as.
pub(crate) fn failure(address: &str, error: Error) -> HubError {
    let address = shown(address);
    match error {
        Error::BadUri(problem) => HubError::Answer { address, problem },
        Error::Protocol(error) => HubError::Network { address, problem: error.to_string() },
        Error::BodyExceedsLimit(limit) => {
            HubError::Answer { address, problem: format!("it is longer than {limit} bytes") }
        }
        error => HubError::Network { address, problem: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_where_the_standard_says() {
        let from = "http://host:80/a/b?q=1";
        for (location, expected) in [
            ("https://other/c?d#e", "https://other/c?d"),
            ("HTTP://other/c", "http://other/c"),
            ("//other/c", "http://other/c"),
            ("/c?d", "http://host:80/c?d"),
            ("c", "http://host:80/a/c"),
        ] {
            assert_eq!(target(from, location).as_deref(), Some(expected), "{location}");
        }
        assert_eq!(target(from, "http://"), None);
    }

    #[test]
    fn the_token_is_for_the_hub_alone() {
        let options = HubOptions {
            endpoint: "https://hub".into(),
            token: Some("secret".into()),
            ..HubOptions::default()
        };
        let client = Client::new(options);
        assert!(client.token_for("https://hub/a").is_some());
        for other in [
            "https://hub.example/a",
            "https://hub:8080/a",
            "http://hub/a",
            "https://hubble/a",
            "https://hub@other/a",
        ] {
            assert!(client.token_for(other).is_none(), "{other}");
        }
    }
}
