//! Lists: filters, fields, order, pages.

use serde_json::{Value, json};

use crate::support::{Cloud, Token, id, sorted};
use crate::world::on_each;

const PORTS: &str = "/network/v2.0/ports";

/// Six ports named a to f, made in another order.
async fn six(cloud: &Cloud) -> (Token, Value) {
    let finance = cloud.tenant("finance", "member").await;
    let network = cloud.network(&finance, "blue").await;
    cloud.subnet(&finance, &network, "10.0.0.0/24").await;
    let ports: Vec<Value> = ["d", "b", "f", "a", "e", "c"]
        .iter()
        .enumerate()
        .map(|(n, name)| json!({"network_id": network["id"], "name": name, "device_id": if n % 2 == 0 { "even" } else { "odd" }, "admin_state_up": n != 5}))
        .collect();
    cloud.post(&finance, PORTS, json!({ "ports": ports })).await.expect(201);
    (finance, network)
}

fn names(body: &Value) -> String {
    body["ports"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect()
}

#[test]
fn filters_fields_and_order() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, network) = six(&cloud).await;
        let list = async |query: &str| cloud.get(&finance, &format!("{PORTS}?{query}")).await;
        let first = list("name=a").await.expect(200)["ports"][0].take();
        let (network, one, ip) = (id(&network), id(&first), first["fixed_ips"][0]["ip_address"].as_str().unwrap());
        for (query, found) in [
            ("name=a".to_owned(), "a"),
            ("name=a&name=c".to_owned(), "ac"),
            ("name=a&name=c&device_id=odd".to_owned(), "ac"),
            ("name=a&name=f&device_id=odd".to_owned(), "a"),
            ("name=none".to_owned(), ""),
            ("device_id=even".to_owned(), "def"),
            (format!("id={one}"), "a"),
            (format!("network_id={network}&device_id=odd"), "abc"),
            ("network_id=none".to_owned(), ""),
            (format!("mac_address={}", first["mac_address"].as_str().unwrap()), "a"),
            ("admin_state_up=False".to_owned(), "c"),
            ("admin_state_up=1&device_id=odd".to_owned(), "ab"),
            ("status=ACTIVE".to_owned(), ""),
            (format!("fixed_ips=ip_address={ip}"), "a"),
            ("fixed_ips=ip_address=10.0.0.1".to_owned(), ""),
            ("fixed_ips=ip_address_substr=10.0.0".to_owned(), "abcdef"),
            (format!("fixed_ips=subnet_id={}", first["fixed_ips"][0]["subnet_id"].as_str().unwrap()), "abcdef"),
            (format!("project_id={}", finance.project), "abcdef"),
            (format!("tenant_id={}", finance.project), "abcdef"),
            ("tenant_id=other".to_owned(), ""),
            ("changed_since=2020-01-01T00:00:00".to_owned(), "abcdef"),
            ("changed_since=2120-01-01T00:00:00Z".to_owned(), ""),
        ] {
            let answer = list(&query).await;
            assert_eq!(sorted(&answer.expect(200)["ports"], "name").concat(), found, "{query}");
        }
        for query in [
            "colour=red",
            "sort_key=colour&sort_dir=asc",
            "sort_key=name",
            "sort_key=name&sort_dir=up",
            "sort_key=name&sort_dir=asc&sort_dir=asc",
            "binding:host_id=x",
            "name=%00",
        ] {
            list(query).await.neutron(400, "HTTPBadRequest");
        }
        for (query, kind) in [("limit=-1", "BadRequest"), ("limit=many", "BadRequest"), ("changed_since=now", "InvalidInput")] {
            list(query).await.neutron(400, kind);
        }
        assert_eq!(names(&list("sort_key=name&sort_dir=asc").await.expect(200)), "abcdef");
        assert_eq!(names(&list("sort_key=name&sort_dir=desc").await.expect(200)), "fedcba");
        assert_eq!(names(&list("sort_key=device_id&sort_dir=desc&sort_key=name&sort_dir=asc").await.expect(200)), "abcdef");
        assert_eq!(names(&list("sort_key=device_id&sort_dir=asc&sort_key=name&sort_dir=desc").await.expect(200)), "fedcba");
        let few = list("name=a&fields=name&fields=status&fields=colour&fields=").await.expect(200);
        assert_eq!(few["ports"], json!([{"name": "a", "status": "DOWN"}]));
        let few = cloud.get(&finance, &format!("{PORTS}/{one}?fields=id")).await.expect(200);
        assert_eq!(few, json!({"port": {"id": one}}));
        assert_eq!(sorted(&cloud.get(&cloud.admin, &format!("{PORTS}?binding:host_id=")).await.expect(200)["ports"], "name").len(), 6);
    });
}

#[test]
fn pages_visit_each_once() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, _) = six(&cloud).await;
        let get = async |path: &str| cloud.get(&finance, path).await.expect(200);
        let link = |body: &Value, rel: &str| {
            let links = body["ports_links"].as_array().into_iter().flatten();
            let href = links.filter(|it| it["rel"] == rel).map(|it| it["href"].as_str().unwrap().to_owned()).next();
            href.map(|it| it.strip_prefix(&cloud.url("")).unwrap().to_owned())
        };
        for (query, whole) in [
            ("sort_key=name&sort_dir=asc", "abcdef"),
            ("sort_key=name&sort_dir=desc", "fedcba"),
            ("sort_key=device_id&sort_dir=asc&device_id=even", ""),
            ("", ""),
        ] {
            let all = get(&format!("{PORTS}?{query}")).await;
            assert!(all.get("ports_links").is_none(), "{all}");
            let whole = if whole.is_empty() { names(&all) } else { whole.to_owned() };
            for limit in 1..=7 {
                let mut path = format!("{PORTS}?{query}&limit={limit}");
                let (mut seen, mut last) = (String::new(), String::new());
                loop {
                    let page = get(&path).await;
                    assert!(page["ports"].as_array().unwrap().len() <= limit);
                    seen += &names(&page);
                    match link(&page, "next") {
                        Some(next) => path = next,
                        None => {
                            last.clone_from(&path);
                            break;
                        }
                    }
                }
                assert_eq!(seen, whole, "{query} by {limit}");
                // And back again.
                let mut page = get(&last).await;
                let mut back = names(&page);
                while let Some(previous) = link(&page, "previous") {
                    page = get(&previous).await;
                    back = names(&page) + &back;
                }
                assert_eq!(back, whole, "{query} by {limit}, backwards");
            }
        }
        assert_eq!(names(&get(&format!("{PORTS}?limit=0&sort_key=name&sort_dir=asc")).await), "abcdef");
        cloud.get(&finance, &format!("{PORTS}?marker=none")).await.neutron(404, "PortNotFound");
    });
}
