//! Version documents and microversions.

use http::Method;
use serde_json::Value;

use crate::desk::{Desk, Who};
use crate::world::on_sqlite;

fn nobody() -> Who {
    Who { token: String::new(), project: String::new(), user: String::new() }
}

#[test]
fn documents_link_to_where_the_client_came_from() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let headers = [("x-forwarded-proto", "https"), ("x-forwarded-host", "cloud.example:8443")];
        for (path, status, pointer) in [
            ("/baremetal/", 200, "/default_version/links/0/href"),
            ("/baremetal", 200, "/default_version/links/0/href"),
            ("/baremetal/v1/", 200, "/links/0/href"),
            ("/image/", 300, "/versions/0/links/0/href"),
            ("/compute/", 200, "/versions/0/links/0/href"),
            ("/compute/v2.1/", 200, "/version/links/0/href"),
            ("/container-infra/", 200, "/versions/0/links/0/href"),
            ("/container-infra/v1", 200, "/links/0/href"),
        ] {
            let body = desk.call(&nobody(), Method::GET, path, &headers, None).await.expect(status);
            let href = body.pointer(pointer).and_then(Value::as_str).unwrap();
            let service = path.split('/').nth(1).unwrap();
            assert!(href.starts_with(&format!("https://cloud.example:8443/{service}/v")), "{path}: {href}");
        }
    });
}

#[test]
fn microversions_are_negotiated() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        let ironic = "x-openstack-ironic-api-version";
        let shared = "openstack-api-version";
        for (path, header, asked, status, used_header, used) in [
            ("/baremetal/v1/nodes", ironic, "", 200, ironic, "1.1"),
            ("/baremetal/v1/nodes", ironic, "1.115", 200, ironic, "1.115"),
            ("/baremetal/v1/nodes", ironic, "latest", 200, ironic, "1.115"),
            ("/baremetal/v1/nodes", shared, "baremetal 1.50", 200, ironic, "1.50"),
            ("/baremetal/v1/nodes", shared, "compute 2.9999", 200, ironic, "1.1"),
            ("/baremetal/v1/nodes", ironic, "1.116", 406, ironic, "1.1"),
            ("/baremetal/v1/nodes", ironic, "2.1", 406, ironic, "1.1"),
            ("/baremetal/v1/nodes", ironic, "newest", 406, ironic, "1.1"),
            ("/baremetal/v1/none", ironic, "1.60", 404, ironic, "1.60"),
            ("/compute/v2.1/flavors", shared, "", 200, shared, "compute 2.1"),
            ("/compute/v2.1/flavors", shared, "compute 2.61", 200, shared, "compute 2.61"),
            ("/compute/v2.1/flavors", "x-openstack-nova-api-version", "2.55", 200, shared, "compute 2.55"),
            ("/compute/v2.1/flavors", shared, "compute 2.62", 406, shared, ""),
            ("/compute/v2.1/flavors", shared, "compute x", 400, shared, ""),
            ("/container-infra/v1/clusters", shared, "", 200, shared, "container-infrastructure-management 1.1"),
            ("/container-infra/v1/clusters", shared, "container-infra latest", 200, shared, "container-infrastructure-management 1.4"),
            ("/container-infra/v1/clusters", shared, "container-infra 1.5", 406, shared, "container-infrastructure-management 1.1"),
            ("/container-infra/v1/clusters", shared, "compute 2.1", 406, shared, "container-infrastructure-management 1.1"),
        ] {
            let headers: &[(&str, &str)] = if asked.is_empty() { &[] } else { &[(header, asked)] };
            let answer = desk.call(&desk.admin, Method::GET, path, headers, None).await;
            assert_eq!(answer.status.as_u16(), status, "{path} {asked}: {}", answer.body);
            assert_eq!(answer.header(used_header), used, "{path} {asked}");
            assert!(answer.header("x-openstack-request-id").starts_with("req-"));
            if path.starts_with("/baremetal") {
                assert_eq!(answer.header("x-openstack-ironic-api-minimum-version"), "1.1", "{asked}");
                assert_eq!(answer.header("x-openstack-ironic-api-maximum-version"), "1.115", "{asked}");
            }
        }
    });
}

#[test]
fn every_service_puts_errors_into_its_own_form() {
    on_sqlite(async |world| {
        let desk = Desk::open(world).await;
        for service in ["baremetal/v1", "image/v2", "compute/v2.1", "container-infra/v1"] {
            let missing = desk.get(&desk.admin, &format!("/{service}/nothing/here")).await;
            missing.refused(404, "could not be found");
        }
        for (path, method) in [
            ("/baremetal/v1/lookup", Method::DELETE),
            ("/image/v2/images", Method::DELETE),
            ("/compute/v2.1/flavors", Method::DELETE),
            ("/container-infra/v1/certificates", Method::DELETE),
        ] {
            desk.call(&desk.admin, method, path, &[], None).await.refused(405, "not allowed");
        }
        for path in ["/baremetal/v1/nodes", "/compute/v2.1/flavors", "/container-infra/v1/clusters"] {
            let body = desk.call(&nobody(), Method::GET, path, &[], None).await.expect(401);
            assert_eq!(body["error"]["code"], 401, "{path}");
            let text = desk.call(&desk.admin, Method::POST, path, &[("content-type", "text/plain")], Some(Value::Null)).await;
            assert_eq!(text.status.as_u16(), 415, "{path}: {}", text.body);
            assert!(!text.error().is_empty(), "{path}: {}", text.body);
            let huge = Value::String("x".repeat(1 << 21));
            assert_eq!(desk.post(&desk.admin, path, huge).await.status.as_u16(), 413, "{path}");
        }
    });
}
