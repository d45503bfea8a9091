//! Temporary: serves the API for trying it with the openstack client.
use std::sync::Arc;
#[tokio::main]
async fn main() {
    let dir = std::env::args().nth(1).unwrap_or("/tmp/apib-try".into());
    std::fs::create_dir_all(&dir).unwrap();
    let store = store::Store::open(&format!("sqlite:{dir}/db.sqlite")).await.unwrap();
    let settings = api::Settings {
        region: "RegionOne".into(),
        image_dir: format!("{dir}/images").into(),
        public_fallback: "http://127.0.0.1:5055".into(),
        fabric: api::FabricSettings { physical_network: "physnet1".into(), vlan_range: (100, 199), isolation_vlan: 4094 },
        token_ttl_seconds: 3600,
    };
    let app = Arc::new(api::App::new(store, settings).await.unwrap());
    api::bootstrap(&app, &model::Secret::new("admin")).await.unwrap();
    api::image::recover(&app).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:5055").await.unwrap();
    axum::serve(listener, api::router(app)).await.unwrap();
}
