//! Ports: their attributes, what contradicts them, and lists of them.

use serde_json::{Value, json};

use crate::V2;
use crate::support::{Cloud, Token, id, sorted};
use crate::world::on_each;

fn at(port: &Value) -> String {
    format!("{V2}/ports/{}", id(port))
}

async fn made(cloud: &Cloud, who: &Token, network: &Value, more: Value) -> Value {
    cloud.port(who, network, more).await.expect(201)["port"].take()
}

async fn blue(cloud: &Cloud) -> (Token, Value, Value) {
    let finance = cloud.tenant("finance", "member").await;
    let network = cloud.network(&finance, "blue").await;
    let subnet = cloud.subnet(&finance, &network, "10.0.0.0/24").await;
    (finance, network, subnet)
}

async fn change(cloud: &Cloud, who: &Token, port: &Value, body: Value) -> Value {
    cloud.put(who, &at(port), json!({ "port": body })).await.expect(200)["port"].take()
}

#[test]
fn all_attributes_of_a_plain_one() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, network, subnet) = blue(&cloud).await;
        let port = made(&cloud, &finance, &network, json!({})).await;
        let wanted = json!({
            "name": "", "description": "", "admin_state_up": true, "status": "DOWN", "device_id": "", "device_owner": "",
            "network_id": network["id"], "fixed_ips": [{"subnet_id": subnet["id"], "ip_address": "10.0.0.2"}],
            "project_id": finance.project, "tenant_id": finance.project, "port_security_enabled": true, "allowed_address_pairs": [],
            "extra_dhcp_opts": [], "binding:vnic_type": "normal", "dns_name": "", "dns_domain": "", "qos_policy_id": null,
            "qos_network_policy_id": null, "ip_allocation": "immediate", "propagate_uplink_status": true, "numa_affinity_policy": null,
            "device_profile": null, "data_plane_status": null, "hardware_offload_type": null, "tags": [], "revision_number": 1,
        });
        for (key, value) in wanted.as_object().unwrap() {
            assert_eq!(&port[key], value, "{key}");
        }
        assert_eq!(port["security_groups"].as_array().unwrap().len(), 1, "the project's default group");
        assert_eq!(port["dns_assignment"][0]["hostname"], "host-10-0-0-2");
        let mut shown: Vec<&str> = port.as_object().unwrap().keys().map(String::as_str).collect();
        shown.retain(|it| !wanted.as_object().unwrap().contains_key(*it));
        shown.sort_unstable();
        assert_eq!(shown, ["created_at", "dns_assignment", "id", "mac_address", "security_groups", "updated_at"], "no more for its owner");
        let seen = cloud.get(&cloud.admin, &at(&port)).await.expect(200)["port"].take();
        for (key, value) in [
            ("binding:host_id", json!("")),
            ("binding:profile", json!({})),
            ("binding:vif_type", json!("unbound")),
            ("binding:vif_details", json!({})),
            ("hints", json!(null)),
            ("trusted", json!(null)),
            ("resource_request", json!(null)),
        ] {
            assert_eq!(seen.get(key), Some(&value), "{key}");
        }
        assert!(seen.get("trunk_details").is_none());
        // Without security it has no groups; what the network says is the default.
        let open = made(&cloud, &finance, &network, json!({"port_security_enabled": false})).await;
        assert_eq!((&open["security_groups"], &open["port_security_enabled"]), (&json!([]), &json!(false)));
        cloud
            .put(&finance, &format!("{V2}/networks/{}", id(&network)), json!({"network": {"port_security_enabled": false}}))
            .await
            .expect(200);
        assert_eq!(made(&cloud, &finance, &network, json!({})).await["port_security_enabled"], false);
    });
}

#[test]
fn security_and_address_pairs() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, network, _) = blue(&cloud).await;
        let medical = cloud.tenant("medical", "member").await;
        let group = |name: &str| json!({"security_group": {"name": name}});
        let web = cloud.post(&finance, &format!("{V2}/security-groups"), group("web")).await.expect(201)["security_group"].take();
        let theirs = cloud.post(&medical, &format!("{V2}/security-groups"), group("web")).await.expect(201)["security_group"].take();
        let port = made(&cloud, &finance, &network, json!({"security_groups": [web["id"]]})).await;
        assert_eq!(port["security_groups"], json!([web["id"]]));
        for none in [json!([]), json!(null)] {
            assert_eq!(made(&cloud, &finance, &network, json!({"security_groups": none})).await["security_groups"], json!([]));
        }
        cloud.port(&finance, &network, json!({"security_groups": [theirs["id"]]})).await.neutron(404, "SecurityGroupNotFound");
        cloud.port(&finance, &network, json!({"security_groups": [web["id"], web["id"]]})).await.neutron(400, "HTTPBadRequest");
        let unsecured = json!({"port_security_enabled": false, "security_groups": [web["id"]]});
        cloud.port(&finance, &network, unsecured).await.neutron(400, "PortSecurityAndIPRequiredForSecurityGroups");
        let pairs = json!([{"ip_address": "10.0.0.99"}]);
        let unsecured = json!({"port_security_enabled": false, "allowed_address_pairs": pairs});
        cloud.port(&finance, &network, unsecured).await.neutron(409, "AddressPairAndPortSecurityRequired");

        let put = async |body: Value| cloud.put(&finance, &at(&port), json!({ "port": body })).await;
        put(json!({"port_security_enabled": false})).await.neutron(409, "PortSecurityPortHasSecurityGroup");
        put(json!({"security_groups": [theirs["id"]]})).await.neutron(404, "SecurityGroupNotFound");
        cloud.delete(&finance, &format!("{V2}/security-groups/{}", id(&web))).await.neutron(409, "SecurityGroupInUse");
        let changed = put(json!({"allowed_address_pairs": pairs})).await.expect(200)["port"].take();
        assert_eq!(changed["allowed_address_pairs"], json!([{"ip_address": "10.0.0.99", "mac_address": port["mac_address"]}]));
        assert_eq!(changed["revision_number"], 2);
        let opened = json!({"port_security_enabled": false, "security_groups": []});
        put(opened.clone()).await.neutron(409, "AddressPairAndPortSecurityRequired");
        put(json!({"allowed_address_pairs": [{"ip_address": "224.0.0.1"}]})).await.neutron(400, "HTTPBadRequest");
        put(json!({"allowed_address_pairs": []})).await.expect(200);
        assert_eq!(put(opened).await.expect(200)["port"]["port_security_enabled"], false);
        put(json!({"security_groups": [web["id"]]})).await.neutron(400, "PortSecurityAndIPRequiredForSecurityGroups");
        let found = cloud.get(&finance, &format!("{V2}/ports?security_groups={}", id(&web))).await.expect(200);
        assert_eq!(found["ports"], json!([]));
        cloud.delete(&finance, &format!("{V2}/security-groups/{}", id(&web))).await.expect(204);
        // Ports of the network service itself are not filtered.
        let dhcp = made(&cloud, &finance, &network, json!({"device_owner": "network:dhcp"})).await;
        assert_eq!(dhcp["security_groups"], json!([]));
    });
}

#[test]
fn options_names_and_the_rest() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, network, _) = blue(&cloud).await;
        let options = json!([{"opt_name": "bootfile-name", "opt_value": "pxelinux.0"}, {"opt_name": "router", "opt_value": ""}]);
        let port = made(&cloud, &finance, &network, json!({"extra_dhcp_opts": options, "dns_name": "Web", "tags": ["a", "b"]})).await;
        let shown = json!([
            {"opt_name": "bootfile-name", "opt_value": "pxelinux.0", "ip_version": 4},
            {"opt_name": "router", "opt_value": "", "ip_version": 4},
        ]);
        assert_eq!((&port["extra_dhcp_opts"], &port["dns_name"], &port["tags"]), (&shown, &json!("web"), &json!(["a", "b"])));
        assert!(port["dns_assignment"][0]["fqdn"].as_str().unwrap().starts_with("web."));
        let body = json!({"extra_dhcp_opts": [{"opt_name": "bootfile-name", "opt_value": null}, {"opt_name": "tftp-server", "opt_value": "10.0.0.1"}]});
        let changed = change(&cloud, &finance, &port, body).await;
        assert_eq!(sorted(&changed["extra_dhcp_opts"], "opt_name"), ["router", "tftp-server"]);
        let body =
            json!({"dns_domain": "example.org.", "numa_affinity_policy": "socket", "propagate_uplink_status": false, "dns_name": ""});
        let changed = change(&cloud, &finance, &port, body.clone()).await;
        for (key, value) in body.as_object().unwrap() {
            assert_eq!(&changed[key], value, "{key}");
        }
        for (wrong, kind) in [
            (json!({"extra_dhcp_opts": [{"opt_name": "x", "opt_value": ""}]}), "InvalidInput"),
            (json!({"dns_name": "a_"}), "HTTPBadRequest"),
            (json!({"dns_domain": "example.org"}), "HTTPBadRequest"),
            (json!({"numa_affinity_policy": "near"}), "HTTPBadRequest"),
            (json!({"propagate_uplink_status": "perhaps"}), "HTTPBadRequest"),
            (json!({"binding:vnic_type": "wireless"}), "HTTPBadRequest"),
        ] {
            cloud.port(&finance, &network, wrong.clone()).await.neutron(400, kind);
            cloud.put(&finance, &at(&port), json!({ "port": wrong })).await.neutron(400, kind);
        }
        for fixed in [json!({"tags": ["c"]}), json!({"device_profile": "gpu"}), json!({"hardware_offload_type": "switchdev"})] {
            cloud.put(&finance, &at(&port), json!({ "port": fixed })).await.neutron(400, "HTTPBadRequest");
        }
        cloud.port(&finance, &network, json!({"data_plane_status": "ACTIVE"})).await.neutron(400, "HTTPBadRequest");
        cloud.put(&finance, &at(&port), json!({"port": {"data_plane_status": "ACTIVE"}})).await.neutron(403, "PolicyNotAuthorized");
        assert_eq!(change(&cloud, &cloud.admin, &port, json!({"data_plane_status": "ACTIVE"})).await["data_plane_status"], "ACTIVE");
        for own in [json!({"trusted": true}), json!({"hints": {"openvswitch": {"other_config": {"tx-steering": "hash"}}}})] {
            cloud.port(&finance, &network, own.clone()).await.neutron(403, "PolicyNotAuthorized");
            let changed = change(&cloud, &cloud.admin, &port, own.clone()).await;
            assert!(own.as_object().unwrap().iter().all(|(key, value)| &changed[key] == value), "{own}");
        }
        // A new hardware address is chosen on request.
        let again = change(&cloud, &cloud.admin, &port, json!({"mac_address": null})).await;
        assert!(again["mac_address"] != port["mac_address"] && again["mac_address"].as_str().unwrap().starts_with("fa:16:3e:"));
    });
}

#[test]
fn filters() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, network, subnet) = blue(&cloud).await;
        let ip = |ip: &str| json!([{"ip_address": ip}]);
        made(&cloud, &finance, &network, json!({"name": "a", "fixed_ips": ip("10.0.0.10"), "device_id": "d", "tags": ["t"]})).await;
        made(&cloud, &finance, &network, json!({"name": "b", "fixed_ips": ip("10.0.0.20"), "device_owner": "compute:x"})).await;
        made(&cloud, &finance, &network, json!({"name": "c", "fixed_ips": [], "admin_state_up": false})).await;
        let medical = cloud.tenant("medical", "member").await;
        let subnet = id(&subnet);
        for (query, wanted) in [
            ("fixed_ips=ip_address%3D10.0.0.10".to_owned(), "a"),
            ("fixed_ips=ip_address=10.0.0.10&fixed_ips=ip_address=10.0.0.20".to_owned(), "ab"),
            (format!("fixed_ips=subnet_id={subnet}&fixed_ips=ip_address=10.0.0.20"), "b"),
            (format!("fixed_ips=subnet_id={subnet}"), "ab"),
            ("fixed_ips=ip_address_substr=.0.2".to_owned(), "b"),
            ("fixed_ips=ip_address_substr=9.9".to_owned(), ""),
            ("device_id=d".to_owned(), "a"),
            ("device_owner=compute:x".to_owned(), "b"),
            ("device_owner=".to_owned(), "ac"),
            ("admin_state_up=False".to_owned(), "c"),
            ("ip_allocation=none".to_owned(), "c"),
            ("tags=t".to_owned(), "a"),
            ("not-tags=t".to_owned(), "bc"),
            ("status=DOWN&name=b&name=c".to_owned(), "bc"),
        ] {
            let found = cloud.get(&finance, &format!("{V2}/ports?{query}")).await.expect(200);
            assert_eq!(sorted(&found["ports"], "name").concat(), wanted, "{query}");
            assert_eq!(cloud.get(&medical, &format!("{V2}/ports?{query}")).await.expect(200)["ports"], json!([]));
        }
        let down = cloud.get(&finance, &format!("{V2}/ports?sort_key=name&sort_dir=desc&fields=name&limit=2")).await.expect(200);
        assert_eq!(down["ports"], json!([{"name": "c"}, {"name": "b"}]));
    });
}

/// Whoever owns a network sees the ports of others on it, and may remove them.
#[test]
fn ports_of_others_on_an_own_network() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, network, _) = blue(&cloud).await;
        let medical = cloud.tenant("medical", "member").await;
        cloud.port(&medical, &network, json!({})).await.neutron(404, "NetworkNotFound");
        let share = json!({"rbac_policy": {"object_type": "network", "object_id": network["id"], "action": "access_as_shared", "target_tenant": medical.project}});
        cloud.post(&finance, &format!("{V2}/rbac-policies"), share).await.expect(201);
        let guest = made(&cloud, &medical, &network, json!({})).await;
        assert_eq!(sorted(&cloud.get(&finance, &format!("{V2}/ports")).await.expect(200)["ports"], "id"), [id(&guest)]);
        for chosen in [
            json!({"mac_address": "52:54:00:00:00:01"}),
            json!({"fixed_ips": [{"ip_address": "10.0.0.99"}]}),
            json!({"port_security_enabled": false}),
            json!({"allowed_address_pairs": [{"ip_address": "10.0.0.99"}]}),
            json!({"device_owner": "network:dhcp"}),
        ] {
            cloud.port(&medical, &network, chosen.clone()).await.neutron(403, "PolicyNotAuthorized");
            cloud.put(&medical, &at(&guest), json!({ "port": chosen })).await.neutron(403, "PolicyNotAuthorized");
        }
        cloud.put(&finance, &at(&guest), json!({"port": {"name": "mine"}})).await.neutron(403, "PolicyNotAuthorized");
        cloud.delete(&finance, &at(&guest)).await.expect(204);
        cloud.get(&medical, &at(&guest)).await.neutron(404, "PortNotFound");
        for pool in [format!("mac:{}", id(&network)), "trunkport".to_owned(), "vif".to_owned()] {
            assert_eq!(world.store.allocations(&pool).await.unwrap(), [], "{pool}");
        }
    });
}
