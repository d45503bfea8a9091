//! Paths with a slash at their end mean the same as without.

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http::Uri;
use tower::ServiceExt as _;

/// The router, asked without the slashes at the end of a path.
pub(crate) fn trimmed(inner: Router) -> Router {
    Router::new().fallback(move |request: Request| answer(inner.clone(), request))
}

async fn answer(inner: Router, mut request: Request) -> Response {
    if let Some(uri) = without_slash(request.uri()) {
        *request.uri_mut() = uri;
    }
    match inner.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn without_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let short = path.trim_end_matches('/');
    if short.len() == path.len() || path == "/" {
        return None;
    }
    let short = if short.is_empty() { "/" } else { short };
    let text = uri.query().map_or_else(|| short.to_owned(), |query| format!("{short}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(text.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes() {
        let of = |text: &str| without_slash(&text.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(of("/v1/nodes/?limit=1").as_deref(), Some("/v1/nodes?limit=1"));
        assert_eq!(of("/v1/").as_deref(), Some("/v1"));
        assert_eq!(of("//").as_deref(), Some("/"));
        assert_eq!(of("/v1"), None);
        assert_eq!(of("/"), None);
    }
}
