//! Images and their data.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::desk::{Desk, Who};
use crate::world::on_each;

const IMAGES: &str = "/image/v2/images";
const PATCH: &str = "application/openstack-images-v2.1-json-patch";

fn files(desk: &Desk) -> Vec<String> {
    std::fs::read_dir(desk.images.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

async fn create(desk: &Desk, who: &Who) -> String {
    let body = json!({"name": "x", "disk_format": "raw", "container_format": "bare"});
    desk.post(who, IMAGES, body).await.expect(201)["id"].as_str().unwrap().to_owned()
}

async fn change(desk: &Desk, who: &Who, id: &str, patch: Value) -> crate::desk::Answer {
    desk.call(who, Method::PATCH, &format!("{IMAGES}/{id}"), &[("content-type", PATCH)], Some(patch)).await
}

#[test]
fn data_goes_in_and_comes_out_with_its_digests() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = create(&desk, admin).await;
        let path = format!("{IMAGES}/{id}");
        assert_eq!(desk.get(admin, &format!("{path}/file")).await.status, StatusCode::NO_CONTENT, "queued: no data");
        // Three megabytes in pieces: more than a body may have elsewhere.
        let piece = Bytes::from(vec![7_u8; 100_000]);
        let pieces = futures_util::stream::iter((0..30).map(move |_| Ok::<_, std::io::Error>(piece.clone())));
        desk.upload(admin, &id, Body::from_stream(pieces)).await.expect(204);
        let image = desk.get(admin, &path).await.expect(200);
        assert_eq!((&image["status"], &image["size"], &image["os_hash_algo"]), (&json!("active"), &json!(3_000_000), &json!("sha512")));
        let expected = include_str!("fixtures/sevens.digests");
        assert!(expected.contains(image["checksum"].as_str().unwrap()), "{image}");
        assert!(expected.contains(image["os_hash_value"].as_str().unwrap()), "{image}");
        let request = Request::get(format!("{path}/file")).header("x-auth-token", &admin.token).body(Body::empty()).unwrap();
        let back = desk.send(request).await;
        assert_eq!(back.header("content-length"), "3000000");
        assert_eq!(back.header("content-md5"), image["checksum"].as_str().unwrap());
        assert_eq!(back.body.as_str().unwrap().len(), 3_000_000);
        desk.upload(admin, &id, Body::from("other")).await.refused(409, "active");
        assert_eq!(desk.get(admin, &path).await.expect(200)["size"], 3_000_000);
        assert_eq!(files(&desk), [id.as_str()]);
        // As at a replica that does not see the folder of the others.
        let (data, away) = (desk.images.path().join(&id), desk.images.path().join("away"));
        std::fs::rename(&data, &away).unwrap();
        let answer = desk.get(admin, &format!("{path}/file")).await;
        assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
        std::fs::rename(&away, &data).unwrap();
        desk.delete(admin, &path).await.expect(204);
        desk.get(admin, &path).await.expect(404);
        assert!(files(&desk).is_empty());
    });
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let id = create(&desk, admin).await;
        let path = format!("{IMAGES}/{id}");
        let broken: Vec<Result<Bytes, std::io::Error>> = vec![Ok(Bytes::from("half")), Err(std::io::Error::other("reset"))];
        desk.upload(admin, &id, Body::from_stream(futures_util::stream::iter(broken))).await.refused(400, "not completed");
        assert_eq!(desk.get(admin, &path).await.expect(200)["status"], "queued");
        assert!(files(&desk).is_empty());
        let short = Request::put(format!("{path}/file"))
            .header("x-auth-token", &admin.token)
            .header("content-type", "application/octet-stream")
            .header("x-openstack-image-size", "5")
            .body(Body::from("half"));
        desk.send(short.unwrap()).await.refused(400, "5 bytes");
        // A client that goes away in the middle, over a real connection.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = desk.router.clone();
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let mut line = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "PUT {path}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {}\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nhalf",
            admin.token
        );
        line.write_all(head.as_bytes()).await.unwrap();
        let status = async |wanted: &str| {
            for _ in 0..200 {
                if desk.get(admin, &path).await.expect(200)["status"] == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("never {wanted}");
        };
        status("saving").await;
        assert_eq!(files(&desk), [format!("{id}.part")]);
        desk.upload(admin, &id, Body::from("x")).await.refused(409, "under way");
        desk.delete(admin, &path).await.refused(409, "uploaded");
        drop(line);
        status("queued").await;
        assert!(files(&desk).is_empty());
        server.abort();
        // And then it can be done again.
        desk.upload(admin, &id, Body::from("whole")).await.expect(204);
        assert_eq!(desk.get(admin, &path).await.expect(200)["size"], 5);
    });
}

#[test]
fn an_upload_cut_off_by_a_crash_is_ended_at_the_next_start() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let admin = &desk.admin;
        let (cut, whole) = (create(&desk, admin).await, desk.image(admin, "whole").await);
        // A body that never ends.
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|it| (it, receiver)) });
        let request = Request::put(format!("{IMAGES}/{cut}/file"))
            .header("x-auth-token", &admin.token)
            .header("content-type", "application/octet-stream")
            .body(Body::from_stream(stream))
            .unwrap();
        let router = desk.router.clone();
        let task = tokio::spawn(async move { tower::ServiceExt::oneshot(router, request).await });
        sender.send(Ok(Bytes::from("half"))).await.unwrap();
        while desk.get(admin, &format!("{IMAGES}/{cut}")).await.expect(200)["status"] != "saving" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Another replica that starts and shares the folder leaves it alone.
        api::image::recover(&Arc::clone(&desk.app)).await.unwrap();
        assert_eq!(desk.get(admin, &format!("{IMAGES}/{cut}")).await.expect(200)["status"], "saving");
        // Of a killed process the data is left and not the lock.
        let part = desk.images.path().join(format!("{cut}.part"));
        assert!(part.exists());
        std::fs::copy(&part, part.with_extension("copy")).unwrap();
        std::fs::rename(part.with_extension("copy"), &part).unwrap();
        api::image::recover(&Arc::clone(&desk.app)).await.unwrap();
        assert_eq!(desk.get(admin, &format!("{IMAGES}/{cut}")).await.expect(200)["status"], "queued");
        assert_eq!(files(&desk), [whole.as_str()]);
        assert_eq!(desk.get(admin, &format!("{IMAGES}/{whole}")).await.expect(200)["status"], "active");
        // The one that was thought dead cannot finish any more.
        drop(sender);
        let late = task.await.unwrap().unwrap();
        assert!(!late.status().is_success(), "{late:?}");
        assert_eq!(desk.get(admin, &format!("{IMAGES}/{cut}")).await.expect(200)["status"], "queued");
        assert_eq!(files(&desk), [whole.as_str()]);
    });
}

#[test]
fn attributes_are_changed_by_patches() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let owner = desk.tenant("fiona", "finance").await;
        let id = create(&desk, &owner).await;
        let patch = json!([
            {"op": "replace", "path": "/name", "value": "debian"},
            {"op": "add", "path": "/os_distro", "value": "debian"},
            {"op": "add", "path": "/tags", "value": ["a"]},
            {"op": "add", "path": "/tags/-", "value": "b"},
        ]);
        let image = change(&desk, &owner, &id, patch).await.expect(200);
        assert_eq!((&image["os_distro"], &image["tags"]), (&json!("debian"), &json!(["a", "b"])));
        change(&desk, &owner, &id, json!([{"op": "remove", "path": "/os_distro"}])).await.expect(200);
        for (patch, status) in [
            (json!([{"op": "replace", "path": "/status", "value": "active"}]), 403),
            (json!([{"op": "replace", "path": "/checksum", "value": "x"}]), 403),
            (json!([{"op": "replace", "path": "/id", "value": "x"}]), 403),
            (json!([{"op": "remove", "path": "/name"}]), 403),
            (json!([{"op": "replace", "path": "/visibility", "value": "public"}]), 403),
            (json!([{"op": "replace", "path": "/none", "value": "x"}]), 409),
            (json!([{"op": "remove", "path": "/none"}]), 409),
            (json!([{"op": "add", "path": "/os_distro", "value": 7}]), 400),
            (json!([{"op": "replace", "path": "/min_disk", "value": "x"}]), 400),
            (json!({}), 400),
        ] {
            let answer = change(&desk, &owner, &id, patch.clone()).await;
            assert_eq!(answer.status.as_u16(), status, "{patch}: {}", answer.body);
            assert!(!answer.error().is_empty());
        }
        desk.patch(&owner, &format!("{IMAGES}/{id}"), json!([])).await.expect(415);
        desk.upload(&owner, &id, Body::from("data")).await.expect(204);
        let format = json!([{"op": "replace", "path": "/disk_format", "value": "qcow2"}]);
        assert_eq!(change(&desk, &owner, &id, format).await.status, StatusCode::FORBIDDEN, "its data is not qcow2");
        change(&desk, &owner, &id, json!([{"op": "replace", "path": "/protected", "value": true}])).await.expect(200);
        desk.delete(&owner, &format!("{IMAGES}/{id}")).await.refused(403, "protected");
        for (body, status) in [
            (json!({"disk_format": "floppy"}), 400),
            (json!({"status": "active"}), 403),
            (json!({"visibility": "public"}), 403),
            (json!({"id": id}), 409),
            (json!({"id": "x"}), 400),
            (json!({"x": 1}), 400),
        ] {
            assert_eq!(desk.post(&owner, IMAGES, body.clone()).await.status.as_u16(), status, "{body}");
        }
        let bare = desk.post(&owner, IMAGES, json!({})).await.expect(201)["id"].as_str().unwrap().to_owned();
        desk.upload(&owner, &bare, Body::from("x")).await.refused(400, "disk_format");
        assert_eq!(desk.get(&owner, "/image/v2/schemas/image").await.expect(200)["name"], "image");
    });
}

#[test]
fn others_images_are_not_there() {
    on_each(async |world| {
        let desk = Desk::open(world).await;
        let (finance, medical) = (desk.tenant("fiona", "finance").await, desk.tenant("mick", "medical").await);
        let (own, public) = (desk.image(&finance, "own").await, desk.image(&desk.admin, "public").await);
        let publish = json!([{"op": "replace", "path": "/visibility", "value": "public"}]);
        change(&desk, &desk.admin, &public, publish).await.expect(200);
        let names = async |who: &Who, query: &str| -> Vec<String> {
            let body = desk.get(who, &format!("{IMAGES}?{query}")).await.expect(200);
            body["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&finance, "sort=name:asc").await, ["own", "public"]);
        assert_eq!(names(&medical, "sort_key=name").await, ["public"]);
        assert_eq!(names(&finance, "visibility=shared").await, ["own"]);
        assert_eq!(names(&finance, "name=own").await, ["own"]);
        assert_eq!(names(&finance, "os_distro=plan9").await, Vec::<String>::new());
        let path = format!("{IMAGES}/{own}");
        for path in [path.clone(), format!("{path}/file")] {
            desk.get(&medical, &path).await.expect(404);
        }
        assert_eq!(change(&desk, &medical, &own, json!([{"op": "replace", "path": "/name", "value": "x"}])).await.status.as_u16(), 404);
        desk.upload(&medical, &own, Body::from("x")).await.expect(404);
        desk.delete(&medical, &path).await.expect(404);
        desk.get(&medical, &format!("{IMAGES}/{public}/file")).await.expect(200);
        desk.delete(&medical, &format!("{IMAGES}/{public}")).await.expect(403);
        // Pages link to the next below the service.
        let page = desk.get(&finance, &format!("{IMAGES}?limit=1&sort=name:asc")).await.expect(200);
        let next = page["next"].as_str().unwrap();
        assert!(next.starts_with("/v2/images?"), "{next}");
        let second = desk.get(&finance, &format!("/image{next}")).await.expect(200);
        assert_eq!((&second["images"][0]["name"], second.get("next")), (&json!("public"), None));
    });
}
