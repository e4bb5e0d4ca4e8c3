//! HTTP with scripted answers.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::{Http, HttpError, HttpRequest, HttpResponse};

/// An HTTP client that gives scripted answers in order, and records the requests.
///
/// ```
/// use pintle_sdk::{Http, HttpRequest, HttpResponse, testing::ScriptedHttp};
///
/// let http = ScriptedHttp::new().respond(HttpResponse::new(204));
/// let response = http.send(&HttpRequest::post("https://hooks.example.com/")).expect("scripted");
/// assert!(response.is_success());
/// assert_eq!(http.requests()[0].url, "https://hooks.example.com/");
/// ```
#[derive(Debug, Default)]
pub struct ScriptedHttp {
    answers: RefCell<VecDeque<Result<HttpResponse, HttpError>>>,
    requests: RefCell<Vec<HttpRequest>>,
}

impl ScriptedHttp {
    /// Creates a client without answers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a response to the script: the next request that has no answer yet gets it.
    #[must_use]
    pub fn respond(mut self, response: HttpResponse) -> Self {
        self.answers.get_mut().push_back(Ok(response));
        self
    }

    /// Adds a failure to the script: the next request that has no answer yet fails with it.
    #[must_use]
    pub fn fail(mut self, error: HttpError) -> Self {
        self.answers.get_mut().push_back(Err(error));
        self
    }

    /// Returns the requests that were sent so far.
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.requests.borrow().clone()
    }
}

impl Http for ScriptedHttp {
    /// # Panics
    ///
    /// Panics if the script has no answer left.
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError> {
        self.requests.borrow_mut().push(request.clone());
        let answer = self.answers.borrow_mut().pop_front();
        answer.unwrap_or_else(|| panic!("unscripted request: {} {}", request.method, request.url))
    }
}
