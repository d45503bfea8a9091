//! Absolute links: below the address by which the client came.

use http::HeaderMap;

use crate::App;

/// Scheme and authority as the client used them: `X-Forwarded-Proto`, `X-Forwarded-Host`, `Host`; without any, the address we
/// listen on.
pub fn origin(app: &App, headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).map(str::trim).filter(|it| is_authority(it));
    let scheme = match headers.get("x-forwarded-proto").and_then(|it| it.to_str().ok()) {
        Some("https") => "https",
        _ => "http",
    };
    match text("x-forwarded-host").or_else(|| text("host")) {
        Some(host) => format!("{scheme}://{host}"),
        None => app.settings.public_fallback.clone(),
    }
}

/// Letters, digits and what else a host with a port may have: nothing that could break out of a link.
fn is_authority(text: &str) -> bool {
    !text.is_empty() && text.len() < 256 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
}

#[cfg(test)]
mod tests {
    #[test]
    fn authorities() {
        assert!(super::is_authority("[::1]:5000"));
        assert!(!super::is_authority("a/b") && !super::is_authority("") && !super::is_authority("a\"b"));
    }
}
