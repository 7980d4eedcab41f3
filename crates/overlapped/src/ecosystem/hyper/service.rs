//! Requests that are answered by code that blocks.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use ::hyper::body::Incoming;
use ::hyper::{Request, Response, service};

use super::super::{InTasklet, in_tasklet};

/// A service of hyper's that calls `handler` for each request, in a tasklet of the request's own: it may wait as it likes, also
/// for the rest of the request, while its connection and the others go on.
///
/// A handler whose answer nobody wants any more (the connection is gone) is cancelled. One that fails or panics ends its
/// connection; in HTTP/2 its request.
pub fn service<B, E>(handler: impl Fn(Request<Incoming>) -> Result<Response<B>, E> + 'static) -> Service<B>
where
    B: 'static,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    Service(Rc::new(move |request| handler(request).map_err(Into::into)))
}

type Answered<B> = Result<Response<B>, Box<dyn Error + Send + Sync>>;

/// What [`service()`] makes. A clone has the same handler.
pub struct Service<B>(Rc<dyn Fn(Request<Incoming>) -> Answered<B>>);

impl<B> Clone for Service<B> {
    fn clone(&self) -> Service<B> {
        Service(Rc::clone(&self.0))
    }
}

impl<B> fmt::Debug for Service<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Service")
    }
}

impl<B: 'static> service::Service<Request<Incoming>> for Service<B> {
    type Response = Response<B>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Answer<B>;

    fn call(&self, request: Request<Incoming>) -> Answer<B> {
        let handler = Rc::clone(&self.0);
        Answer(in_tasklet(move || handler(request)))
    }
}

/// An answer to come.
#[derive(Debug)]
pub struct Answer<B>(InTasklet<Answered<B>>);

impl<B> Future for Answer<B> {
    type Output = Answered<B>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answered<B>> {
        Pin::new(&mut self.0).poll(context).map(|ended| ended?)
    }
}
