//! VPNs of BGP and what is in them.

use serde_json::{Value, json};

use crate::V2;
use crate::support::{Answer, Cloud, Token, id};
use crate::world::on_each;

const NOBODY: &str = "11111111-1111-1111-1111-111111111111";

/// The path of VPNs, or of one.
fn vpns(one: &str) -> String {
    if one.is_empty() { format!("{V2}/bgpvpn/bgpvpns") } else { format!("{V2}/bgpvpn/bgpvpns/{one}") }
}

async fn ask(cloud: &Cloud, body: Value) -> Answer {
    cloud.post(&cloud.admin, &vpns(""), json!({ "bgpvpn": body })).await
}

async fn make(cloud: &Cloud, owner: &Token, name: &str, kind: &str) -> Value {
    let body = json!({"name": name, "type": kind, "project_id": owner.project});
    ask(cloud, body).await.expect(201)["bgpvpn"].take()
}

async fn shown(cloud: &Cloud, vpn: &Value) -> Value {
    cloud.get(&cloud.admin, &vpns(id(vpn))).await.expect(200)["bgpvpn"].take()
}

/// Puts something into a VPN.
async fn join(cloud: &Cloud, token: &Token, vpn: &Value, word: &str, mut more: Value, end: &Value) -> Answer {
    more[format!("{word}_id")] = end["id"].clone();
    let path = format!("{}/{word}_associations", vpns(id(vpn)));
    cloud.post(token, &path, json!({format!("{word}_association"): more})).await
}

async fn router(cloud: &Cloud, token: &Token) -> Value {
    cloud.post(token, &format!("{V2}/routers"), json!({"router": {"name": "r"}})).await.expect(201)["router"].take()
}

#[test]
fn vpns_are_made_shown_and_changed() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (admin, finance, other) = (&cloud.admin, cloud.tenant("finance", "member").await, cloud.tenant("other", "member").await);
        let body = json!({"name": "b", "tenant_id": finance.project, "route_targets": ["64512:1"], "vni": "1000", "local_pref": 10});
        let made = ask(&cloud, body).await.expect(201)["bgpvpn"].take();
        assert_eq!(
            made,
            json!({
                "id": id(&made), "project_id": finance.project, "tenant_id": finance.project, "name": "b", "type": "l3",
                "route_targets": ["64512:1"], "import_targets": [], "export_targets": [], "route_distinguishers": [],
                "vni": 1000, "local_pref": 10, "networks": [], "routers": [], "ports": [],
            })
        );
        let one = ask(&cloud, json!({"route_targets": "1.2.3.4:65535", "import_targets": null})).await.expect(201)["bgpvpn"].take();
        assert_eq!((&one["route_targets"], &one["import_targets"], &one["vni"]), (&json!(["1.2.3.4:65535"]), &json!([]), &Value::Null));
        for wrong in [
            json!({"type": "l4"}),
            json!({"type": null}),
            json!({"name": null}),
            json!({"route_targets": ["x"]}),
            json!({"import_targets": ["64512:4294967296"]}),
            json!({"export_targets": ["64512:1", "64512:1"]}),
            json!({"route_distinguishers": [5]}),
            json!({"vni": 0}),
            json!({"vni": 16_777_216}),
            json!({"local_pref": -1}),
            json!({"local_pref": 4_294_967_296_u64}),
            json!({"networks": []}),
        ] {
            let answer = ask(&cloud, wrong.clone()).await;
            assert_eq!(answer.status, 400, "{wrong}: {}", answer.text);
        }
        cloud.post(&finance, &vpns(""), json!({"bgpvpn": {"name": "q"}})).await.neutron(403, "PolicyNotAuthorized");

        // Its own project sees less of it than administrators, others nothing.
        let path = vpns(id(&made));
        let seen = cloud.get(&finance, &path).await.expect(200)["bgpvpn"].take();
        let less = json!({"id": id(&made), "name": "b", "type": "l3", "local_pref": 10, "networks": [], "routers": [], "ports": []});
        assert_eq!(seen, less);
        assert_eq!(cloud.get(&finance, &vpns("")).await.expect(200)["bgpvpns"], json!([less]));
        cloud.get(&other, &path).await.neutron(404, "BGPVPNNotFound");
        assert_eq!(cloud.get(&other, &vpns("")).await.expect(200)["bgpvpns"], json!([]));
        let put = async |token: &Token, body: Value| cloud.put(token, &path, json!({ "bgpvpn": body })).await;
        put(&other, json!({"name": "c"})).await.neutron(404, "BGPVPNNotFound");
        put(&finance, json!({"route_targets": ["1:1"]})).await.neutron(403, "PolicyNotAuthorized");
        put(admin, json!({"type": "l2"})).await.neutron(400, "HTTPBadRequest");
        put(admin, json!({"vni": 5})).await.neutron(400, "HTTPBadRequest");
        assert_eq!(put(&finance, json!({"name": "c", "local_pref": 5})).await.expect(200)["bgpvpn"]["local_pref"], 5);
        let changed = put(admin, json!({"route_targets": ["64512:1", "64512:2"], "local_pref": null})).await.expect(200)["bgpvpn"].take();
        assert_eq!((&changed["route_targets"], &changed["local_pref"]), (&json!(["64512:1", "64512:2"]), &Value::Null));

        let found = async |filter: &str| {
            let list = cloud.get(admin, &format!("{}?fields=id&{filter}", vpns(""))).await.expect(200)["bgpvpns"].take();
            list.as_array().unwrap().len()
        };
        for (filter, count) in [
            ("name=c", 1),
            ("type=l3", 2),
            ("type=l2", 0),
            ("vni=1000", 1),
            ("route_targets=64512:1", 0),
            ("route_targets=64512:1,64512:2", 1),
            ("import_targets=", 2),
            (&format!("project_id={}", finance.project), 1),
            ("limit=1", 1),
        ] {
            assert_eq!(found(filter).await, count, "{filter}");
        }
        assert_eq!(cloud.get(admin, &format!("{V2}/quotas/{}", finance.project)).await.expect(200)["quota"]["bgpvpn"], -1);
        cloud.put(admin, &format!("{V2}/quotas/{}", finance.project), json!({"quota": {"bgpvpn": 1}})).await.expect(200);
        ask(&cloud, json!({"tenant_id": finance.project})).await.neutron(409, "OverQuota");
        for alias in ["bgpvpn", "bgpvpn-vni", "bgpvpn-routes-control"] {
            cloud.get(admin, &format!("{V2}/extensions/{alias}")).await.expect(200);
        }
        cloud.delete(&finance, &path).await.neutron(403, "PolicyNotAuthorized");
        cloud.delete(admin, &path).await.expect(204);
        cloud.delete(admin, &path).await.neutron(404, "BGPVPNNotFound");
    });
}

#[test]
fn networks_are_associated() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, other) = (cloud.tenant("finance", "member").await, cloud.tenant("other", "member").await);
        let vpn = make(&cloud, &finance, "b", "l3").await;
        let (network, foreign) = (cloud.network(&finance, "n").await, cloud.network(&other, "m").await);
        let path = format!("{}/network_associations", vpns(id(&vpn)));
        let add = async |token: &Token, network: &Value| join(&cloud, token, &vpn, "network", json!({}), network).await;
        cloud.post(&finance, &path, json!({"network_association": {}})).await.neutron(400, "HTTPBadRequest");
        add(&finance, &json!({"id": "x"})).await.neutron(400, "HTTPBadRequest");
        add(&finance, &json!({"id": NOBODY})).await.neutron(404, "NetworkNotFound");
        add(&finance, &foreign).await.neutron(404, "NetworkNotFound");
        add(&other, &foreign).await.neutron(404, "BGPVPNNotFound");
        // All three are of one project.
        add(&cloud.admin, &foreign).await.neutron(403, "NotAuthorized");
        add(&cloud.admin, &network).await.neutron(403, "NotAuthorized");
        let made = add(&finance, &network).await.expect(201)["network_association"].take();
        assert_eq!(made, json!({"id": id(&made), "network_id": id(&network)}));
        add(&finance, &network).await.neutron(400, "BGPVPNNetAssocAlreadyExists");
        let one = format!("{path}/{}", id(&made));
        assert_eq!(cloud.get(&cloud.admin, &one).await.expect(200)["network_association"]["project_id"], finance.project);
        cloud.get(&finance, &format!("{path}/{NOBODY}")).await.neutron(404, "BGPVPNNetAssocNotFound");
        cloud.put(&finance, &one, json!({"network_association": {"network_id": id(&network)}})).await.neutron(400, "HTTPBadRequest");
        assert_eq!(cloud.get(&finance, &path).await.expect(200)["network_associations"], json!([made]));
        assert_eq!(cloud.get(&finance, &format!("{path}?network_id={NOBODY}")).await.expect(200)["network_associations"], json!([]));
        cloud.delete(&other, &one).await.expect(404);
        let in_another = make(&cloud, &finance, "c", "l2").await;
        cloud.get(&finance, &format!("{}/network_associations/{}", vpns(id(&in_another)), id(&made))).await.expect(404);
        join(&cloud, &finance, &in_another, "network", json!({}), &network).await.expect(201);

        let with = cloud.get(&finance, &format!("{}?networks={}&fields=name&sort_key=name&sort_dir=asc", vpns(""), id(&network))).await;
        assert_eq!(with.expect(200)["bgpvpns"], json!([{"name": "b"}, {"name": "c"}]));
        assert_eq!(shown(&cloud, &vpn).await["networks"], json!([id(&network)]));
        cloud.delete(&finance, &one).await.expect(204);
        cloud.delete(&finance, &one).await.neutron(404, "BGPVPNNetAssocNotFound");
        assert_eq!(shown(&cloud, &vpn).await["networks"], json!([]));
        add(&finance, &network).await.expect(201);
        // A network that is removed leaves all; a VPN that is removed lets go of all.
        cloud.delete(&cloud.admin, &vpns(id(&in_another))).await.expect(204);
        cloud.delete(&finance, &format!("{V2}/networks/{}", id(&network))).await.expect(204);
        assert_eq!(cloud.get(&finance, &path).await.expect(200)["network_associations"], json!([]));
    });
}

#[test]
fn routers_are_associated_unless_their_networks_are() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let (l3, l2) = (make(&cloud, &finance, "b", "l3").await, make(&cloud, &finance, "c", "l2").await);
        let network = cloud.network(&finance, "n").await;
        let subnet = cloud.subnet(&finance, &network, "10.7.0.0/24").await;
        let router = router(&cloud, &finance).await;
        let add = async |vpn: &Value, word: &str, end: &Value| join(&cloud, &finance, vpn, word, json!({}), end).await;
        let interface = async |verb: &str| {
            let path = format!("{V2}/routers/{}/{verb}_router_interface", id(&router));
            cloud.put(&finance, &path, json!({"subnet_id": id(&subnet)})).await
        };
        add(&l3, "router", &json!({"id": NOBODY})).await.neutron(404, "RouterNotFound");
        add(&l2, "router", &router).await.neutron(400, "BadRequest");
        // What is given at creation counts as little as upstream.
        let made = join(&cloud, &finance, &l3, "router", json!({"advertise_extra_routes": false}), &router).await.expect(201);
        let made = made["router_association"].clone();
        assert_eq!(made, json!({"id": id(&made), "router_id": id(&router), "advertise_extra_routes": true}));
        add(&l3, "router", &router).await.neutron(400, "BGPVPNRouterAssocAlreadyExists");
        let path = format!("{}/router_associations/{}", vpns(id(&l3)), id(&made));
        let silent = cloud.put(&finance, &path, json!({"router_association": {"advertise_extra_routes": false}})).await.expect(200);
        assert_eq!(silent["router_association"]["advertise_extra_routes"], false);
        cloud.put(&finance, &path, json!({"router_association": {"advertise_extra_routes": "x"}})).await.expect(400);

        // Of a router and a network it is on one at most is in a VPN.
        let held = add(&l3, "network", &network).await.expect(201)["network_association"].take();
        interface("add").await.neutron(409, "RouterInterfaceAttachmentConflict");
        cloud.delete(&finance, &path).await.expect(204);
        interface("add").await.expect(200);
        add(&l3, "router", &router).await.neutron(400, "BadRequest");
        cloud.delete(&finance, &format!("{}/network_associations/{}", vpns(id(&l3)), id(&held))).await.expect(204);
        add(&l3, "router", &router).await.expect(201);
        add(&l3, "network", &network).await.neutron(400, "BadRequest");
        interface("remove").await.expect(200);
        add(&l2, "network", &network).await.expect(201);
        interface("add").await.expect(200);
        assert_eq!(shown(&cloud, &l3).await["routers"], json!([id(&router)]));
        let with = cloud.get(&finance, &format!("{}?routers={}&fields=name", vpns(""), id(&router))).await.expect(200);
        assert_eq!(with["bgpvpns"], json!([{"name": "b"}]));
        interface("remove").await.expect(200);
        cloud.delete(&finance, &format!("{V2}/routers/{}", id(&router))).await.expect(204);
        assert_eq!(shown(&cloud, &l3).await["routers"], json!([]));
    });
}

#[test]
fn ports_are_associated_with_routes() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let (finance, other) = (cloud.tenant("finance", "member").await, cloud.tenant("other", "member").await);
        let (vpn, leaked) = (make(&cloud, &finance, "b", "l3").await, make(&cloud, &finance, "leaked", "l3").await);
        let (l2, foreign) = (make(&cloud, &finance, "c", "l2").await, make(&cloud, &other, "d", "l3").await);
        let network = cloud.network(&finance, "n").await;
        let subnet = cloud.subnet(&finance, &network, "10.7.0.0/24").await;
        let port = cloud.port(&finance, &network, json!({})).await.expect(201)["port"].take();
        let add = async |token: &Token, routes: Value| join(&cloud, token, &vpn, "port", json!({ "routes": routes }), &port).await;
        let leak = |of: &str| json!([{"type": "bgpvpn", "bgpvpn_id": of}]);
        for wrong in [json!("x"), json!([{"type": "x"}]), json!([{"type": "prefix", "prefix": "10.0.0.1"}])] {
            add(&finance, wrong).await.neutron(400, "InvalidInput");
        }
        add(&finance, leak(NOBODY)).await.neutron(400, "BGPVPNPortAssocRouteNoSuchBGPVPN");
        add(&finance, leak(id(&foreign))).await.neutron(400, "BGPVPNPortAssocRouteNoSuchBGPVPN");
        add(&finance, leak(id(&l2))).await.neutron(400, "BGPVPNPortAssocRouteBGPVPNTypeDiffer");
        add(&cloud.admin, json!([])).await.neutron(403, "NotAuthorized");
        add(&other, json!([])).await.expect(404);
        let routes = json!([
            {"type": "prefix", "prefix": "10.1.0.0/16", "local_pref": 5},
            {"type": "bgpvpn", "bgpvpn_id": id(&leaked), "local_pref": null},
        ]);
        let given = json!([{"type": "prefix", "prefix": "10.1.0.0/16", "local_pref": 5}, {"type": "bgpvpn", "bgpvpn_id": id(&leaked)}]);
        let made = add(&finance, given).await.expect(201)["port_association"].take();
        assert_eq!(made, json!({"id": id(&made), "port_id": id(&port), "advertise_fixed_ips": true, "routes": routes}));
        add(&finance, json!([])).await.neutron(400, "BGPVPNPortAssocAlreadyExists");
        let path = format!("{}/port_associations/{}", vpns(id(&vpn)), id(&made));
        let put = async |token: &Token, body: Value| cloud.put(token, &path, json!({ "port_association": body })).await;
        let changed = put(&finance, json!({"advertise_fixed_ips": false})).await.expect(200)["port_association"].take();
        assert_eq!((&changed["advertise_fixed_ips"], &changed["routes"]), (&json!(false), &routes));
        put(&cloud.admin, json!({"routes": leak(id(&foreign))})).await.neutron(400, "BGPVPNPortAssocRouteWrongBGPVPNProject");
        put(&other, json!({"routes": []})).await.expect(404);

        // What a route leads to takes the route with it.
        cloud.delete(&cloud.admin, &vpns(id(&leaked))).await.expect(204);
        let left = cloud.get(&finance, &path).await.expect(200)["port_association"]["routes"].take();
        assert_eq!(left, json!([{"type": "prefix", "prefix": "10.1.0.0/16", "local_pref": 5}]));
        let with = cloud.get(&finance, &format!("{}?ports={}&fields=name", vpns(""), id(&port))).await.expect(200);
        assert_eq!(with["bgpvpns"], json!([{"name": "b"}]));
        cloud.delete(&finance, &format!("{V2}/ports/{}", id(&port))).await.expect(204);
        cloud.get(&finance, &path).await.neutron(404, "BGPVPNPortAssocNotFound");

        // Ports of routers go with their interfaces.
        let router = router(&cloud, &finance).await;
        let interface = async |verb: &str| {
            let path = format!("{V2}/routers/{}/{verb}_router_interface", id(&router));
            cloud.put(&finance, &path, json!({"subnet_id": id(&subnet)})).await.expect(200)
        };
        let own = interface("add").await;
        join(&cloud, &finance, &vpn, "port", json!({}), &json!({"id": own["port_id"]})).await.expect(201);
        assert_eq!(shown(&cloud, &vpn).await["ports"], json!([own["port_id"]]));
        interface("remove").await;
        assert_eq!(shown(&cloud, &vpn).await["ports"], json!([]));
    });
}

#[test]
fn of_a_router_and_its_network_one_joins() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let vpn = make(&cloud, &finance, "b", "l3").await;
        for round in 0..8 {
            let network = cloud.network(&finance, "n").await;
            let subnet = cloud.subnet(&finance, &network, "10.7.0.0/24").await;
            let router = router(&cloud, &finance).await;
            let path = format!("{V2}/routers/{}/add_router_interface", id(&router));
            let (of_network, of_router, interface) = tokio::join!(
                join(&cloud, &finance, &vpn, "network", json!({}), &network),
                join(&cloud, &finance, &vpn, "router", json!({}), &router),
                cloud.put(&finance, &path, json!({"subnet_id": id(&subnet)})),
            );
            let done = [of_network.status == 201, of_router.status == 201, interface.status == 200];
            assert_eq!(done.iter().filter(|it| **it).count(), 2, "round {round}: {of_network:?} {of_router:?} {interface:?}");
        }
    });
}

#[test]
fn nothing_stays_in_what_is_removed_meanwhile() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let finance = cloud.tenant("finance", "member").await;
        let keeps = make(&cloud, &finance, "keeps", "l3").await;
        let network = cloud.network(&finance, "n").await;
        for round in 0..8 {
            let goes = make(&cloud, &finance, "goes", "l3").await;
            let port = cloud.port(&finance, &network, json!({})).await.expect(201)["port"].take();
            let leak = json!({"routes": [{"type": "bgpvpn", "bgpvpn_id": id(&goes)}]});
            let (gone_vpn, gone_port) = (vpns(id(&goes)), format!("{V2}/ports/{}", id(&port)));
            let (_, removed, joined) = tokio::join!(
                join(&cloud, &finance, &goes, "network", json!({}), &network),
                cloud.delete(&cloud.admin, &gone_vpn),
                join(&cloud, &finance, &keeps, "port", leak, &port),
            );
            removed.expect(204);
            if joined.status == 201 {
                let path = format!("{}/port_associations/{}", vpns(id(&keeps)), id(&joined.body["port_association"]));
                assert_eq!(cloud.get(&finance, &path).await.expect(200)["port_association"]["routes"], json!([]), "round {round}");
            }
            let (left, _) = tokio::join!(cloud.delete(&finance, &gone_port), join(&cloud, &finance, &keeps, "port", json!({}), &port),);
            if left.status == 409 {
                cloud.delete(&finance, &gone_port).await.expect(204);
            }
            assert_eq!(shown(&cloud, &keeps).await["ports"], json!([]), "round {round}");
        }
        cloud.delete(&finance, &format!("{V2}/networks/{}", id(&network))).await.expect(204);
    });
}
