//! The table of operations: what is served, described, authenticated and counted.

use axum::body::Body;
use futures_util::future::BoxFuture;
use http::{Method, Response};

use crate::{admin, call::Call, envelope::Failure, runtime, system};

/// What a handler answers.
pub(crate) type Answer = Result<Response<Body>, Failure>;

/// A handler, its type erased: two hundred of them compile as one.
pub(crate) type Handler = fn(Call) -> BoxFuture<'static, Answer>;

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody.
    Public,
    /// A token with `x-bot-id`.
    Runtime,
    /// A personal access token; the handler looks at the workspace.
    Admin,
    /// Any token.
    Token,
}

/// One operation.
pub(crate) struct Route {
    /// Its method.
    pub(crate) method: Method,
    /// Its path, parameters in braces.
    pub(crate) path: &'static str,
    /// The dialect's name of it.
    pub(crate) id: &'static str,
    /// Who may call it.
    pub(crate) access: Access,
    /// What it does.
    pub(crate) handler: Handler,
}

/// One line of a `ROUTES` table: `route!(Runtime GET "/v1/…" getThing get)`.
macro_rules! route {
    ($access:ident $method:ident $path:literal $id:ident $handler:path) => {
        $crate::route::Route {
            method: http::Method::$method,
            path: $path,
            id: stringify!($id),
            access: $crate::route::Access::$access,
            handler: |call| Box::pin($handler(call)),
        }
    };
}

/// All operations, in a fixed order.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    [system::ROUTES].into_iter().chain(runtime::ROUTES.iter().copied()).chain(admin::ROUTES.iter().copied()).flatten()
}
