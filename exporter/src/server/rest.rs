//! What a handler leaves of a request's body is read all the same, within bounds: a client that is
//! still sending when it is refused would find the connection closed, and never see why.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Request;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::EXPECT;

/// Bytes that are read for nobody; whoever sends more finds the connection closed.
const MAX_BYTES: usize = 64 * 1024 * 1024;
const MAX_TIME: Duration = Duration::from_secs(10);

/// A body that is read to its end, whoever lets go of it before.
pub(super) struct Rest(Option<Incoming>);

impl Rest {
    /// A client that asked first whether to send the body at all waits for the answer instead.
    pub(super) fn of(request: Request<Incoming>) -> Request<axum::body::Body> {
        match request.headers().contains_key(EXPECT) {
            true => request.map(axum::body::Body::new),
            false => request.map(|body| axum::body::Body::new(Rest(Some(body)))),
        }
    }
}

impl Body for Rest {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // It ends with the connection at the latest.
        runtime.spawn(tokio::time::timeout(MAX_TIME, read_on(body)));
    }
}

async fn read_on(mut body: Incoming) {
    let mut read = 0;
    while read < MAX_BYTES {
        let next = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let Some(Ok(frame)) = next else { return };
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}
