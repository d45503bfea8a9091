//! Cluster templates, clusters and their certificates.

use http::Method;
use model::Id;
use model::baremetal::{Phase, ProvisionState as S};
use model::container_infra::{Cluster, ClusterStatus, Member};
use serde_json::{Value, json};

use crate::desk::{Desk, Who};
use crate::world::on_each;

const TEMPLATES: &str = "/container-infra/v1/clustertemplates";
const CLUSTERS: &str = "/container-infra/v1/clusters";
const CERTIFICATES: &str = "/container-infra/v1/certificates";
const CSR: &str = include_str!("fixtures/rsa-2048.csr.pem");
const WEAK_CSR: &str = include_str!("fixtures/rsa-1024.csr.pem");

async fn flavor(desk: &Desk, name: &str, class: Option<&str>) -> String {
    let body = json!({"flavor": {"name": name, "ram": 512, "vcpus": 1, "disk": 4}});
    let id = desk.post(&desk.admin, "/compute/v2.1/flavors", body).await.expect(200)["flavor"]["id"].as_str().unwrap().to_owned();
    if let Some(class) = class {
        let specs = json!({"extra_specs": {format!("resources:CUSTOM_{class}"): "1"}});
        desk.post(&desk.admin, &format!("/compute/v2.1/flavors/{id}/os-extra_specs"), specs).await.expect(200);
    }
    id
}

async fn machines(desk: &Desk, count: usize) -> Vec<String> {
    let mut out = Vec::new();
    for at in 0..count {
        let id = desk.machine(&format!("m{at}")).await;
        desk.seen(&id, S::Available, Phase::Rest).await;
        out.push(id);
    }
    out
}

/// A template of the tenant's, with image, flavor and so many machines.
async fn ready(desk: &Desk, who: &Who, count: usize) -> Vec<String> {
    flavor(desk, "bm", Some("BM")).await;
    desk.image(who, "debian").await;
    let body =
        json!({"name": "swarm", "coe": "swarm-mode", "server_type": "bm", "image_id": "debian", "flavor_id": "bm", "labels": {"a": "b"}});
    desk.post(who, TEMPLATES, body).await.expect(201);
    machines(desk, count).await
}

fn wish(name: &str) -> Value {
    json!({"name": name, "cluster_template_id": "swarm", "node_count": 2})
}

#[test]
fn templates_live() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (finance, medical) = (desk.tenant("fiona", "finance").await, desk.tenant("mick", "medical").await);
        flavor(&desk, "bm", Some("BM")).await;
        flavor(&desk, "vm", None).await;
        let image = desk.image(&finance, "debian").await;
        desk.image(&medical, "theirs").await;
        let plain = json!({"name": "plain", "disk_format": "raw", "container_format": "bare"});
        let plain = desk.post(&finance, "/image/v2/images", plain).await.expect(201)["id"].as_str().unwrap().to_owned();
        let good = json!({"name": "t", "coe": "swarm-mode", "server_type": "bm", "image_id": "debian", "flavor_id": "bm"});
        for (key, value, status, word) in [
            ("coe", json!("kubernetes"), 400, "swarm-mode"),
            ("server_type", json!("vm"), 400, "bm"),
            ("server_type", Value::Null, 400, "bm"),
            ("image_id", json!("none"), 400, "Image none"),
            ("image_id", json!("theirs"), 400, "theirs"),
            ("image_id", json!(plain), 400, "no data"),
            ("flavor_id", json!("none"), 400, "flavor none"),
            ("flavor_id", json!("vm"), 400, "resources:CUSTOM_"),
            ("master_flavor_id", json!("vm"), 400, "resources:CUSTOM_"),
            ("external_network_id", json!("none"), 400, "network none"),
            ("tls_disabled", json!(true), 400, "tls_disabled"),
            ("public", json!(true), 403, "clustertemplate:publish"),
        ] {
            let mut body = good.clone();
            body[key] = value;
            desk.post(&finance, TEMPLATES, body).await.refused(status, word);
        }
        desk.upload(&finance, &plain, axum::body::Body::from("x")).await.expect(204);
        let mut body = good.clone();
        body["image_id"] = json!(plain);
        desk.post(&finance, TEMPLATES, body).await.refused(400, "os_distro");

        let made = desk.post(&finance, TEMPLATES, good.clone()).await.expect(201);
        let id = made["uuid"].as_str().unwrap().to_owned();
        assert_eq!((&made["image_id"], &made["cluster_distro"], &made["tls_disabled"]), (&json!(image), &json!("debian"), &json!(false)));
        let path = format!("{TEMPLATES}/{id}");
        desk.get(&finance, &format!("{TEMPLATES}/t")).await.expect(200);
        desk.get(&medical, &path).await.refused(404, "ClusterTemplate");
        assert_eq!(desk.get(&medical, TEMPLATES).await.expect(200)["clustertemplates"], json!([]));
        desk.patch(&medical, &path, json!([])).await.refused(404, "ClusterTemplate");
        desk.delete(&medical, &path).await.refused(404, "ClusterTemplate");
        let patch = |path: &str, value: Value| json!([{"op": "replace", "path": path, "value": value}]);
        desk.patch(&finance, &path, patch("/public", json!(true))).await.refused(403, "clustertemplate:publish");
        desk.patch(&finance, &path, patch("/coe", json!("kubernetes"))).await.refused(400, "/coe");
        desk.patch(&finance, &path, patch("/flavor_id", json!("none"))).await.refused(400, "none");
        desk.patch(&finance, &path, patch("/labels/x", json!("y"))).await.refused(400, "/labels/x");
        let changed = desk.patch(&finance, &path, json!([{"op": "add", "path": "/labels/x", "value": "y"}])).await.expect(200);
        assert_eq!(changed["labels"], json!({"x": "y"}));
        desk.patch(&desk.admin, &path, patch("/public", json!(true))).await.expect(200);
        desk.get(&medical, &path).await.expect(200);
        desk.patch(&medical, &path, patch("/name", json!("mine"))).await.refused(403, "clustertemplate:update");
        // Two of one name are found by their ids only.
        desk.post(&finance, TEMPLATES, good).await.expect(201);
        desk.get(&finance, &format!("{TEMPLATES}/t")).await.refused(409, "Multiple");
        desk.delete(&desk.admin, "/compute/v2.1/flavors/none").await.expect(404);
        desk.delete(&finance, &path).await.expect(204);
        desk.delete(&finance, &path).await.refused(404, "ClusterTemplate");
    });
}

#[test]
fn a_cluster_is_made_and_taken_apart() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (finance, medical) = (desk.tenant("fiona", "finance").await, desk.tenant("mick", "medical").await);
        let nodes = ready(&desk, &finance, 3).await;
        let mut body = wish("finance");
        body["labels"] = json!({"a": "c", "n": 1});
        body["merge_labels"] = json!(true);
        let made = desk.post(&finance, CLUSTERS, body).await.expect(202);
        assert_eq!(made.as_object().unwrap().len(), 1, "nothing but the uuid: {made}");
        let id = made["uuid"].as_str().unwrap().to_owned();
        let path = format!("{CLUSTERS}/{id}");
        let shown = desk.get(&finance, &format!("{CLUSTERS}/finance")).await.expect(200);
        assert_eq!(
            (&shown["status"], &shown["api_address"], &shown["create_timeout"]),
            (&json!("CREATE_IN_PROGRESS"), &Value::Null, &json!(60))
        );
        assert_eq!(shown["labels"], json!({"a": "c", "n": "1"}));
        assert_eq!((&shown["labels_overridden"], &shown["labels_added"]), (&json!({"a": "b"}), &json!({"n": "1"})));
        assert!(!shown.to_string().contains("PRIVATE"));
        desk.observe::<Cluster>(&id, |cluster| {
            let member = |name: &str, is_master, address: &str| Member {
                name: name.into(),
                is_master,
                port_id: Id::random(),
                address: address.parse().unwrap(),
                node_id: Id::parse(&nodes[0]),
            };
            let seen = &mut cluster.observed;
            seen.status = ClusterStatus::CreateComplete;
            seen.members = vec![member("finance-master-0", true, "10.0.0.3"), member("finance-node-0", false, "10.0.0.4")];
            seen.api_address = Some("tcp://127.0.0.1:23760".into());
            seen.health_status = Some("HEALTHY".into());
        })
        .await;
        let shown = desk.get(&finance, &path).await.expect(200);
        assert_eq!((&shown["status"], &shown["api_address"]), (&json!("CREATE_COMPLETE"), &json!("tcp://127.0.0.1:23760")));
        assert_eq!((&shown["master_addresses"], &shown["node_addresses"]), (&json!(["10.0.0.3"]), &json!(["10.0.0.4"])));
        assert_eq!(desk.get(&finance, CLUSTERS).await.expect(200)["clusters"][0]["health_status"], "HEALTHY");
        assert_eq!(desk.get(&finance, "/container-infra/v1/stats").await.expect(200), json!({"clusters": 1, "nodes": 3}));
        // Others' clusters are not there.
        assert_eq!(desk.get(&medical, CLUSTERS).await.expect(200)["clusters"], json!([]));
        assert_eq!(desk.get(&medical, "/container-infra/v1/stats").await.expect(200), json!({"clusters": 0, "nodes": 0}));
        desk.get(&medical, &format!("/container-infra/v1/stats?project_id={}", finance.project)).await.refused(403, "stats:get_all");
        for method in [Method::GET, Method::DELETE] {
            desk.call(&medical, method, &path, &[], None).await.refused(404, "Cluster");
        }
        // What cannot be changed is said by name, what is so already is fine.
        let patch = |path: &str, value: Value| json!([{"op": "replace", "path": path, "value": value}]);
        desk.patch(&finance, &path, patch("/node_count", json!(5))).await.refused(400, "node_count");
        desk.patch(&finance, &path, patch("/node_count", json!(2))).await.expect(202);
        desk.patch(&finance, &path, patch("/name", json!("x"))).await.refused(400, "name");
        desk.patch(&medical, &path, patch("/name", json!("x"))).await.refused(404, "Cluster");
        // What a cluster is made of stays.
        desk.delete(&finance, &format!("{TEMPLATES}/swarm")).await.refused(400, "referenced");
        desk.patch(&finance, &format!("{TEMPLATES}/swarm"), patch("/dns_nameserver", json!("1.1.1.1"))).await.refused(400, "referenced");
        desk.patch(&finance, &format!("{TEMPLATES}/swarm"), patch("/name", json!("old"))).await.expect(200);
        let flavors = desk.get(&desk.admin, "/compute/v2.1/flavors").await.expect(200);
        let flavor = flavors["flavors"][0]["id"].as_str().unwrap();
        desk.delete(&desk.admin, &format!("/compute/v2.1/flavors/{flavor}")).await.refused(409, "in use");

        desk.delete(&finance, &path).await.expect(204);
        desk.delete(&finance, &path).await.expect(204);
        assert_eq!(desk.get(&finance, &path).await.expect(200)["status"], "DELETE_IN_PROGRESS");
        desk.post(&finance, CERTIFICATES, json!({"cluster_uuid": id, "csr": CSR})).await.refused(409, "deleted");
    });
}

#[test]
fn clusters_that_cannot_be_are_refused_at_once() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let finance = desk.tenant("fiona", "finance").await;
        let nodes = ready(&desk, &finance, 4).await;
        flavor(&desk, "vm", None).await;
        flavor(&desk, "gpu", Some("GPU")).await;
        let with = |key: &str, value: Value| {
            let mut body = wish("finance");
            body[key] = value;
            body
        };
        for (body, status, word) in [
            (with("cluster_template_id", json!("none")), 400, "none"),
            (with("name", json!("1")), 400, "name"),
            (with("master_count", json!(2)), 400, "odd"),
            (with("master_count", json!(3)), 400, "one manager"),
            (with("node_count", json!(0)), 400, "node_count"),
            (with("node_count", json!(4)), 409, "5 wanted, 4 free"),
            (with("flavor_id", json!("gpu")), 409, "class GPU"),
            (with("flavor_id", json!("vm")), 400, "resources:CUSTOM_"),
            (with("keypair", json!("none")), 404, "Keypair none"),
            (with("labels", json!({"fixed_subnet_cidr": "10.0.0.0/29"})), 400, "fixed_subnet_cidr"),
            (with("labels", json!(["a"])), 400, "labels"),
            (with("colour", json!("red")), 400, "colour"),
            (json!([]), 400, "object"),
        ] {
            desk.post(&finance, CLUSTERS, body).await.refused(status, word);
        }
        // Machines of others, in maintenance or not yet proven clean do not count.
        let owner = json!([{"op": "add", "path": "/owner", "value": "somebody"}]);
        desk.patch(&desk.admin, &format!("/baremetal/v1/nodes/{}", nodes[0]), owner).await.expect(200);
        desk.put(&desk.admin, &format!("/baremetal/v1/nodes/{}/maintenance", nodes[1]), json!({})).await.expect(202);
        desk.post(&finance, CLUSTERS, wish("finance")).await.refused(409, "3 wanted, 2 free");
        desk.seen(&nodes[2], S::Cleaning, Phase::Work).await;
        desk.post(&finance, CLUSTERS, wish("finance")).await.refused(409, "3 wanted, 1 free");
        assert_eq!(desk.get(&finance, CLUSTERS).await.expect(200)["clusters"], json!([]));
        // Nor do those that another cluster was promised.
        desk.delete(&desk.admin, &format!("/baremetal/v1/nodes/{}/maintenance", nodes[1])).await.expect(202);
        desk.seen(&nodes[2], S::Available, Phase::Rest).await;
        desk.post(&finance, CLUSTERS, wish("finance")).await.expect(202);
        desk.post(&finance, CLUSTERS, wish("second")).await.refused(409, "3 wanted, 0 free");
        let outsider = desk.tenant("mick", "medical").await;
        desk.post(&outsider, CLUSTERS, wish("theirs")).await.refused(400, "ClusterTemplate swarm");
    });
}

#[test]
fn the_quota_holds_however_many_try() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let finance = desk.tenant("fiona", "finance").await;
        ready(&desk, &finance, 3).await;
        let first = desk.post(&finance, CLUSTERS, wish("first")).await.expect(202)["uuid"].as_str().unwrap().to_owned();
        // Copies of it, done with, so that they promise no machines.
        let seed = desk.app.store.get::<Cluster>(&Id::parse(&first).unwrap()).await.unwrap().unwrap();
        for at in 0..17 {
            let mut copy = model::Object::new(Id::<Cluster>::random(), seed.project_id.clone(), format!("c{at}"), seed.desired.clone());
            copy.observed.status = ClusterStatus::CreateComplete;
            desk.app.store.apply(store::Batch::wishes().create(&copy)).await.unwrap();
        }
        desk.observe::<Cluster>(&first, |cluster| cluster.observed.status = ClusterStatus::CreateComplete).await;
        // 18 there: of four at once two would fit, but each asks for all machines.
        for at in 3..12 {
            let id = desk.machine(&format!("m{at}")).await;
            desk.seen(&id, S::Available, Phase::Rest).await;
        }
        let wishes: Vec<Value> = (0..4).map(|at| wish(&format!("late{at}"))).collect();
        let answers = futures_util::future::join_all(wishes.into_iter().map(|body| desk.post(&finance, CLUSTERS, body))).await;
        let count = |status: u16| answers.iter().filter(|it| it.status.as_u16() == status).count();
        assert_eq!((count(202), count(403)), (2, 2), "{answers:?}");
        assert!(answers.iter().any(|it| it.error().contains("maximum clusters")));
        // Another project has its own.
        let medical = desk.tenant("mick", "medical").await;
        desk.image(&medical, "debian").await;
        let body = json!({"name": "swarm", "coe": "swarm-mode", "server_type": "bm", "image_id": "debian", "flavor_id": "bm"});
        desk.post(&medical, TEMPLATES, body).await.expect(201);
        desk.post(&medical, CLUSTERS, wish("medical")).await.expect(202);
    });
}

#[test]
fn certificates_are_the_owners() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (finance, mate) = (desk.tenant("fiona", "finance").await, desk.tenant("fred", "finance").await);
        let medical = desk.tenant("mick", "medical").await;
        ready(&desk, &finance, 3).await;
        let id = desk.post(&finance, CLUSTERS, wish("finance")).await.expect(202)["uuid"].as_str().unwrap().to_owned();
        let ca = desk.get(&finance, &format!("{CERTIFICATES}/{id}")).await.expect(200);
        assert!(ca["pem"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(!ca.to_string().contains("PRIVATE"));
        let ask = |csr: &str| json!({"cluster_uuid": "finance", "csr": csr});
        let signed = desk.post(&finance, CERTIFICATES, ask(CSR)).await.expect(201);
        assert_eq!(signed["cluster_uuid"], id);
        let (ca, cert) = (ca["pem"].as_str().unwrap().to_owned(), signed["pem"].as_str().unwrap().to_owned());
        let parse = |pem: &str| x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1;
        let (ca_pem, cert_pem) = (parse(&ca), parse(&cert));
        let (ca, cert) = (ca_pem.parse_x509().unwrap(), cert_pem.parse_x509().unwrap());
        assert_eq!(cert.issuer(), ca.subject());
        assert_eq!(cert.subject().to_string(), "CN=admin, O=system:masters");
        assert!(!cert.is_ca());
        assert!(cert.extended_key_usage().unwrap().unwrap().value.client_auth);
        for (body, status, word) in [
            (ask("x"), 400, "request"),
            (ask(&CSR.replace('M', "N")), 400, "request"),
            (ask(WEAK_CSR), 400, "certificate request"),
            (json!({"cluster_uuid": "finance"}), 400, "csr"),
            (json!({"csr": CSR}), 400, "cluster_uuid"),
            (json!({"cluster_uuid": "none", "csr": CSR}), 400, "none"),
            (json!({"cluster_uuid": "finance", "csr": CSR, "ca_cert_type": "etcd"}), 400, "ca_cert_type"),
            (json!({"cluster_uuid": "finance", "csr": "x".repeat(20_000)}), 400, "csr"),
        ] {
            desk.post(&finance, CERTIFICATES, body).await.refused(status, word);
        }
        // The team mate sees the cluster but gets no keys to it; others do not see it.
        desk.get(&mate, &format!("{CLUSTERS}/{id}")).await.expect(200);
        desk.get(&mate, &format!("{CERTIFICATES}/{id}")).await.refused(403, "certificate:get");
        desk.post(&mate, CERTIFICATES, ask(CSR)).await.refused(403, "certificate:create");
        desk.get(&medical, &format!("{CERTIFICATES}/{id}")).await.refused(404, "Cluster");
        desk.post(&medical, CERTIFICATES, json!({"cluster_uuid": id, "csr": CSR})).await.refused(400, "could not be found");
        desk.post(&desk.admin, CERTIFICATES, json!({"cluster_uuid": id, "csr": CSR})).await.expect(201);
        let history = desk.app.store.history("cluster", &id, 10).await.unwrap();
        assert_eq!(history.iter().filter(|line| line.event == "certificate issued").count(), 2, "who got one is written down");
    });
}
