//! The calls an application credential is limited to: looked at by every service (Source: keystonemiddleware, `_check_app_cred...`; Identity
//! API reference, "Access rules").

use http::StatusCode;

use super::token::Valid;
use crate::failure::Failure;

/// Type of the service below a first segment of a path.
const SERVICES: [(&str, &str); 6] = [
    ("identity", "identity"),
    ("network", "network"),
    ("baremetal", "baremetal"),
    ("image", "image"),
    ("compute", "compute"),
    ("container-infra", "container-infra"),
];

/// Refuses a call that none of the token's rules allows. `path` begins with the service.
///
/// # Errors
/// `Forbidden`.
pub(crate) fn check(valid: &Valid, method: &str, path: &str) -> Result<(), Failure> {
    let Some((_, Some(rules))) = &valid.app_cred else { return Ok(()) };
    let (first, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    let service = SERVICES.iter().find(|(segment, _)| *segment == first).map(|(_, service)| *service);
    let allows = |it: &model::access::AccessRuleDesired| {
        Some(it.service.as_str()) == service && it.method.eq_ignore_ascii_case(method) && matches(&it.path, &format!("/{rest}"))
    };
    if rules.iter().any(|rule| allows(&rule.desired)) {
        return Ok(());
    }
    Err(Failure::named(StatusCode::FORBIDDEN, "Forbidden", "The application credential may not make this call."))
}

/// Whether a path fits a pattern: `*` and `{name}` stand for one segment, `**` for any number of them.
fn matches(pattern: &str, path: &str) -> bool {
    let of = |text: &'_ str| text.trim_matches('/').split('/').map(str::to_owned).collect::<Vec<_>>();
    let (pattern, path) = (of(pattern), of(path));
    // Places of the pattern that the part of the path seen so far can be at.
    let mut at: Vec<usize> = vec![0];
    let spread = |at: &mut Vec<usize>| {
        let mut next = 0;
        while let Some(place) = at.get(next).copied() {
            if pattern.get(place).is_some_and(|it| it == "**") && !at.contains(&(place + 1)) {
                at.push(place + 1);
            }
            next += 1;
        }
    };
    spread(&mut at);
    for segment in &path {
        let mut after: Vec<usize> = Vec::new();
        for place in at {
            match pattern.get(place).map(String::as_str) {
                Some("**") => after.push(place),
                Some("*") => after.push(place + 1),
                Some(it) if it.starts_with('{') && it.ends_with('}') => after.push(place + 1),
                Some(it) if it == segment => after.push(place + 1),
                _ => {}
            }
        }
        after.sort_unstable();
        after.dedup();
        at = after;
        spread(&mut at);
    }
    at.contains(&pattern.len())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn paths() {
        for (pattern, path, fits) in [
            ("/v2.0/networks", "/v2.0/networks", true),
            ("/v2.0/networks", "/v2.0/networks/", true),
            ("/v2.0/networks", "/v2.0/networks/x", false),
            ("/v2.0/networks/*", "/v2.0/networks/x", true),
            ("/v2.0/networks/*", "/v2.0/networks", false),
            ("/v2.0/networks/{id}", "/v2.0/networks/x", true),
            ("/v2.0/**", "/v2.0/networks/x/y", true),
            ("/v2.0/**", "/v2.0", true),
            ("/**/tags", "/v2.0/networks/x/tags", true),
            ("/**/tags", "/v2.0/networks/x", false),
            ("**", "/anything/at/all", true),
            ("/v2.1/servers/*/ips", "/v2.1/servers/a/b/ips", false),
            ("", "/v2.0", false),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} {path}");
        }
    }
}
