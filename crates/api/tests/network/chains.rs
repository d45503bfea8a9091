//! Chains of service functions.

use serde_json::{Value, json};

use crate::V2;
use crate::support::{Answer, Cloud, Token, id};
use crate::world::on_each;

/// What makes things of the service functions.
struct Functions<'a> {
    cloud: &'a Cloud,
    member: Token,
    network: Value,
}

impl<'a> Functions<'a> {
    async fn new(cloud: &'a Cloud) -> Self {
        let member = cloud.tenant("finance", "member").await;
        let network = cloud.network(&member, "n").await;
        Self { cloud, member, network }
    }

    async fn ask(&self, kind: &str, body: Value) -> Answer {
        self.cloud.post(&self.member, &format!("{V2}/sfc/{kind}s"), json!({ kind: body })).await
    }

    async fn make(&self, kind: &str, body: Value) -> Value {
        self.ask(kind, body).await.expect(201)[kind].take()
    }

    async fn port(&self, device: &str) -> Value {
        self.cloud.port(&self.member, &self.network, json!({"device_id": device})).await.expect(201)["port"].take()
    }

    /// A group of one pair of that correlation.
    async fn group(&self, correlation: Value) -> Value {
        let (a, b) = (self.port("m").await, self.port("m").await);
        let parameters = json!({"correlation": correlation});
        let pair = self.make("port_pair", json!({"ingress": id(&a), "egress": id(&b), "service_function_parameters": parameters})).await;
        self.make("port_pair_group", json!({"port_pairs": [id(&pair)]})).await
    }

    fn path(&self, kind: &str, it: &Value) -> String {
        format!("{V2}/sfc/{kind}s/{}", id(it))
    }

    async fn remove(&self, kind: &str, it: &Value) -> Answer {
        self.cloud.delete(&self.member, &self.path(kind, it)).await
    }
}

#[test]
fn classifiers() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let of = Functions::new(&cloud).await;
        let port = of.port("").await;
        let one = json!({"name": "a", "protocol": "TCP", "source_port_range_min": "10", "logical_source_port": id(&port), "source_ip_prefix": "10.0.0.5/24"});
        let made = of.make("flow_classifier", one.clone()).await;
        assert_eq!((&made["protocol"], &made["source_port_range_min"], &made["ethertype"]), (&json!("tcp"), &json!(10), &json!("IPv4")));
        assert_eq!(
            (&made["source_ip_prefix"], &made["l7_parameters"], &made["description"]),
            (&json!("10.0.0.5/24"), &json!({}), &json!(""))
        );
        let wrong = async |body: Value, status: u16, kind: &str| of.ask("flow_classifier", body).await.neutron(status, kind);
        wrong(one, 400, "FlowClassifierInConflict").await;
        wrong(json!({"protocol": "x"}), 400, "FlowClassifierInvalidProtocol").await;
        wrong(json!({"ethertype": "x"}), 400, "FlowClassifierInvalidEthertype").await;
        wrong(json!({"source_port_range_min": 1}), 400, "FlowClassifierProtocolRequiredWithPorts").await;
        wrong(json!({"protocol": "tcp", "source_port_range_min": 5, "source_port_range_max": 1}), 400, "FlowClassifierInvalidPortRange")
            .await;
        wrong(json!({"source_port_range_min": "z"}), 400, "FlowClassifierInvalidPortValue").await;
        wrong(json!({"source_ip_prefix": "::/0"}), 400, "FlowClassifierIpPrefixFormatConflictWithEthertype").await;
        wrong(json!({"source_ip_prefix": "10.0.0.7"}), 400, "HTTPBadRequest").await;
        wrong(json!({"logical_source_port": "11111111-1111-1111-1111-111111111111"}), 404, "FlowClassifierPortNotFound").await;
        wrong(json!({"l7_parameters": {"a": "b"}}), 400, "FlowClassifierInvalidL7Parameter").await;
        let path = of.path("flow_classifier", &made);
        cloud.put(&of.member, &path, json!({"flow_classifier": {"protocol": "udp"}})).await.neutron(400, "HTTPBadRequest");
        let changed = cloud.put(&of.member, &path, json!({"flow_classifier": {"name": "b", "description": "d"}})).await.expect(200);
        assert_eq!((&changed["flow_classifier"]["name"], &changed["flow_classifier"]["description"]), (&json!("b"), &json!("d")));
        let listed = cloud.get(&of.member, &format!("{V2}/sfc/flow_classifiers?protocol=udp")).await.expect(200);
        assert_eq!(listed["flow_classifiers"], json!([]));
        let stranger = cloud.tenant("research", "member").await;
        cloud.get(&stranger, &path).await.neutron(404, "FlowClassifierNotFound");
        of.remove("flow_classifier", &made).await.expect(204);
        cloud.get(&of.member, &path).await.neutron(404, "FlowClassifierNotFound");
    });
}

#[test]
fn pairs_and_groups() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let of = Functions::new(&cloud).await;
        let (a, b, c, lone) = (of.port("m").await, of.port("m").await, of.port("other").await, of.port("").await);
        let pair_of = |ingress: &Value, egress: &Value| json!({"ingress": id(ingress), "egress": id(egress)});
        let pair = of.make("port_pair", pair_of(&a, &b)).await;
        assert_eq!(pair["service_function_parameters"], json!({"correlation": null, "weight": 1}));
        let wrong = async |body: Value, status: u16, kind: &str| of.ask("port_pair", body).await.neutron(status, kind);
        wrong(pair_of(&a, &b), 400, "PortPairIngressEgressInUse").await;
        wrong(pair_of(&lone, &b), 400, "PortPairIngressNoHost").await;
        wrong(pair_of(&a, &lone), 400, "PortPairEgressNoHost").await;
        wrong(pair_of(&a, &c), 400, "PortPairIngressEgressDifferentHost").await;
        wrong(json!({"ingress": id(&a)}), 400, "HTTPBadRequest").await;
        wrong(json!({"ingress": id(&a), "egress": id(&a), "service_function_parameters": {"correlation": "x"}}), 400, "HTTPBadRequest")
            .await;
        wrong(json!({"ingress": id(&a), "egress": "11111111-1111-1111-1111-111111111111"}), 404, "PortPairPortNotFound").await;
        let marked = json!({"ingress": id(&b), "egress": id(&a), "service_function_parameters": {"correlation": "mpls", "weight": 3}});
        let marked = of.make("port_pair", marked).await;

        let group = of.make("port_pair_group", json!({"port_pairs": [id(&pair)]})).await;
        assert_eq!((&group["group_id"], &group["tap_enabled"]), (&json!(1), &json!(false)));
        assert_eq!(
            group["port_pair_group_parameters"],
            json!({"lb_fields": [], "ppg_n_tuple_mapping": {"ingress_n_tuple": {}, "egress_n_tuple": {}}})
        );
        let wrong = async |body: Value, status: u16, kind: &str| of.ask("port_pair_group", body).await.neutron(status, kind);
        wrong(json!({"port_pairs": [id(&pair)]}), 409, "PortPairInUse").await;
        wrong(json!({"port_pairs": [id(&pair), id(&marked)]}), 400, "InconsistentCorrelations").await;
        wrong(json!({"port_pairs": ["11111111-1111-1111-1111-111111111111"]}), 404, "PortPairNotFound").await;
        wrong(json!({"port_pair_group_parameters": {"lb_fields": ["x"]}}), 400, "HTTPBadRequest").await;
        let unknown = json!({"port_pair_group_parameters": {"ppg_n_tuple_mapping": {"ingress_n_tuple": {"x": 1}}}});
        wrong(unknown, 400, "PPGParametersInvalidNTupleMappingParameter").await;
        let empty = of.make("port_pair_group", json!({"port_pair_group_parameters": {"lb_fields": ["ip_src"]}})).await;
        assert_eq!(empty["group_id"], 2);
        of.remove("port_pair", &pair).await.neutron(409, "PortPairInUse");
        // A pair goes from one group to another.
        cloud.put(&of.member, &of.path("port_pair_group", &group), json!({"port_pair_group": {"port_pairs": []}})).await.expect(200);
        let moved = cloud
            .put(&of.member, &of.path("port_pair_group", &empty), json!({"port_pair_group": {"port_pairs": [id(&pair)]}}))
            .await
            .expect(200);
        assert_eq!(moved["port_pair_group"]["port_pairs"], json!([id(&pair)]));
        let found = cloud.get(&of.member, &format!("{V2}/sfc/port_pair_groups?port_pairs={}", id(&pair))).await.expect(200);
        assert_eq!(crate::support::sorted(&found["port_pair_groups"], "id"), [id(&empty)]);
        of.remove("port_pair_group", &group).await.expect(204);
        assert_eq!(
            of.make("port_pair_group", json!({"tap_enabled": true, "port_pairs": [id(&marked)]})).await["group_id"],
            1,
            "the lowest free"
        );
        of.remove("port_pair_group", &empty).await.expect(204);
        of.remove("port_pair", &pair).await.expect(204);
        of.make("port_pair", pair_of(&a, &b)).await;
    });
}

#[test]
fn chains() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let of = Functions::new(&cloud).await;
        let (first, second, nsh) = (of.group(json!("mpls")).await, of.group(json!(null)).await, of.group(json!("nsh")).await);
        let flow = of.make("flow_classifier", json!({"protocol": "udp", "logical_source_port": id(&of.port("").await)})).await;
        let near = of.make("flow_classifier", json!({"protocol": "udp", "logical_source_port": id(&of.port("").await)})).await;
        let other = of.make("flow_classifier", json!({"protocol": "tcp"})).await;
        let body = json!({"port_pair_groups": [id(&first), id(&second)], "flow_classifiers": [id(&flow)]});
        let chain = of.make("port_chain", body.clone()).await;
        assert_eq!((&chain["chain_id"], &chain["chain_parameters"]), (&json!(1), &json!({"correlation": "mpls", "symmetric": false})));
        assert_eq!(chain["port_pair_groups"], json!([id(&first), id(&second)]));
        let wrong = async |body: Value, status: u16, kind: &str| of.ask("port_chain", body).await.neutron(status, kind);
        wrong(json!({}), 400, "HTTPBadRequest").await;
        wrong(json!({"port_pair_groups": []}), 400, "PortPairGroupNotSpecified").await;
        wrong(body, 409, "InvalidPortPairGroups").await;
        wrong(json!({"port_pair_groups": [id(&first), id(&first)]}), 400, "HTTPBadRequest").await;
        wrong(json!({"port_pair_groups": [id(&nsh)]}), 400, "PortChainInconsistentCorrelations").await;
        wrong(json!({"port_pair_groups": [id(&first)], "flow_classifiers": [id(&flow)]}), 409, "FlowClassifierInUse").await;
        wrong(json!({"port_pair_groups": [id(&first)], "flow_classifiers": [id(&near)]}), 400, "PortChainFlowClassifierInConflict").await;
        wrong(json!({"port_pair_groups": [id(&first)], "chain_id": 1}), 400, "PortChainChainIdInConflict").await;
        wrong(json!({"port_pair_groups": [id(&first)], "chain_id": 65536}), 400, "HTTPBadRequest").await;
        wrong(json!({"port_pair_groups": [id(&first)], "chain_parameters": {"correlation": "vlan"}}), 400, "HTTPBadRequest").await;
        wrong(json!({"port_pair_groups": ["11111111-1111-1111-1111-111111111111"]}), 404, "PortPairGroupNotFound").await;
        let seventh = of
            .make("port_chain", json!({"port_pair_groups": [id(&second), id(&first)], "chain_id": 7, "flow_classifiers": [id(&other)]}))
            .await;
        assert_eq!(seventh["chain_id"], 7);
        of.remove("flow_classifier", &flow).await.neutron(409, "FlowClassifierInUse");
        of.remove("port_pair_group", &first).await.neutron(409, "PortPairGroupInUse");
        let path = of.path("port_chain", &chain);
        let put = async |body: Value| cloud.put(&of.member, &path, json!({"port_chain": body})).await;
        put(json!({"chain_id": 5})).await.neutron(400, "HTTPBadRequest");
        put(json!({"port_pair_groups": []})).await.neutron(400, "PortPairGroupNotSpecified");
        put(json!({"port_pair_groups": [id(&second), id(&first)]})).await.neutron(409, "InvalidPortPairGroups");
        let changed =
            put(json!({"port_pair_groups": [id(&first)], "flow_classifiers": [id(&near)]})).await.expect(200)["port_chain"].take();
        assert_eq!((&changed["port_pair_groups"], &changed["flow_classifiers"]), (&json!([id(&first)]), &json!([id(&near)])));
        of.remove("flow_classifier", &flow).await.expect(204);
        of.remove("port_chain", &chain).await.expect(204);
        of.remove("port_chain", &seventh).await.expect(204);
        let again = of.make("port_chain", json!({"port_pair_groups": [id(&first), id(&second)], "flow_classifiers": [id(&near)]})).await;
        assert_eq!(again["chain_id"], 1);
    });
}

#[test]
fn graphs() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let of = Functions::new(&cloud).await;
        let chain = async |correlation: &str| {
            let group = of.group(json!("mpls")).await;
            let group = if correlation == "nsh" { of.group(json!("nsh")).await } else { group };
            of.make("port_chain", json!({"port_pair_groups": [id(&group)], "chain_parameters": {"correlation": correlation}})).await
        };
        let (a, b, c, nsh) = (chain("mpls").await, chain("mpls").await, chain("mpls").await, chain("nsh").await);
        let plain = of.group(json!(null)).await;
        let plain = of.make("port_chain", json!({"port_pair_groups": [id(&plain)]})).await;
        let wrong =
            async |ways: Value, status: u16, kind: &str| of.ask("service_graph", json!({"port_chains": ways})).await.neutron(status, kind);
        wrong(json!({"x": []}), 400, "InvalidUUID").await;
        wrong(json!({id(&a): [id(&b), id(&b)]}), 400, "ServiceGraphPortChainInConflict").await;
        wrong(json!({id(&a): [id(&nsh)]}), 400, "ServiceGraphInconsistentEncapsulation").await;
        wrong(json!({id(&a): [id(&plain)]}), 400, "ServiceGraphImpossibleBranching").await;
        wrong(json!({id(&a): [id(&b)], id(&b): [id(&a)]}), 400, "ServiceGraphLoopDetected").await;
        wrong(json!({id(&a): ["11111111-1111-1111-1111-111111111111"]}), 404, "PortChainNotFound").await;
        let ways = json!({id(&a): [id(&b), id(&c)]});
        let graph = of.make("service_graph", json!({"name": "g", "port_chains": ways})).await;
        assert_eq!(graph["port_chains"], ways);
        wrong(json!({id(&c): []}), 409, "ServiceGraphInvalidPortChains").await;
        of.remove("port_chain", &b).await.neutron(409, "ServiceGraphPortChainInUse");
        let path = of.path("port_chain", &b);
        cloud.put(&of.member, &path, json!({"port_chain": {"flow_classifiers": []}})).await.neutron(409, "ServiceGraphPortChainInUse");
        cloud.put(&of.member, &path, json!({"port_chain": {"name": "x"}})).await.expect(200);
        let change = json!({"service_graph": {"port_chains": {}}});
        cloud.put(&of.member, &of.path("service_graph", &graph), change).await.neutron(400, "HTTPBadRequest");
        of.remove("service_graph", &graph).await.expect(204);
        of.remove("port_chain", &b).await.expect(204);
        cloud.get(&of.member, &of.path("service_graph", &graph)).await.neutron(404, "ServiceGraphNotFound");
    });
}

#[test]
fn as_many_as_the_quota_says_and_no_two_of_one() {
    on_each(async |world| {
        let cloud = Cloud::start(world).await;
        let of = Functions::new(&cloud).await;
        // All at once: the same packets twice, or a number twice, there are never.
        let same = || of.ask("flow_classifier", json!({"protocol": "icmp"}));
        let answers = futures_util::future::join_all((0..6).map(|_| same())).await;
        assert_eq!(answers.iter().filter(|it| it.status == 201).count(), 1);
        let groups = futures_util::future::join_all((0..12).map(|_| of.ask("port_pair_group", json!({})))).await;
        let mut numbers: Vec<i64> =
            groups.iter().filter(|it| it.status == 201).map(|it| it.body["port_pair_group"]["group_id"].as_i64().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers.len(), 10, "ten is the quota");
        numbers.dedup();
        // One that was refused may have had a number in hand meanwhile: there may be gaps.
        assert!(numbers.len() == 10 && numbers.iter().all(|it| (1..=12).contains(it)), "{numbers:?}");
        of.ask("port_pair_group", json!({})).await.neutron(409, "OverQuota");
    });
}
