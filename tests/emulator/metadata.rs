//! The account, databases, containers, ranges and offers, and who may ask.

use super::client::Endpoint;
use docferry::emulator::Options;
use serde_json::{Value, json};

#[test]
fn the_account_names_its_own_endpoint() {
    let mut endpoint = Endpoint::start(Options::default());
    let Endpoint { client, running, .. } = &mut endpoint;
    let account = client.call("GET", "/", &[], b"");
    assert_eq!(account.status, 200);
    assert_eq!(account.json()["writableLocations"][0]["databaseAccountEndpoint"], running.endpoint());
    assert_eq!(account.json()["userConsistencyPolicy"]["defaultConsistencyLevel"], "Session");
}

#[test]
fn a_wrong_or_missing_signature_is_refused() {
    let mut endpoint = Endpoint::start(Options::default());
    let client = &mut endpoint.client;
    assert_eq!(client.send("GET", "/dbs", &[], b"").unwrap().status, 401);
    let stale = [("authorization", "type%3Dmaster%26ver%3D1.0%26sig%3DAAAA"), ("x-ms-date", "x")];
    assert_eq!(client.send("GET", "/dbs", &stale, b"").unwrap().status, 401);
    let mut open = Endpoint::start(Options { no_auth: true, ..Options::default() });
    assert_eq!(open.client.send("GET", "/dbs", &[], b"").unwrap().status, 200);
}

#[test]
fn databases_and_containers_come_and_go() {
    let mut endpoint = Endpoint::with_container(4, 400);
    let client = &mut endpoint.client;
    assert_eq!(client.call("POST", "/dbs", &[], br#"{"id":"d"}"#).status, 409);
    assert_eq!(client.call("POST", "/dbs", &[], br#"{"id":"a/b"}"#).status, 400);
    assert_eq!(client.call("GET", "/dbs", &[], b"").json()["Databases"][0]["id"], "d");
    assert_eq!(client.call("GET", "/dbs/d", &[], b"").json()["id"], "d");
    assert_eq!(client.call("GET", "/dbs/d/colls", &[], b"").json()["_count"], 1);
    let container = client.call("GET", "/dbs/d/colls/c", &[], b"").json();
    assert_eq!(container["partitionKey"], json!({"paths":["/pk"],"kind":"Hash","version":2}));
    assert_eq!(container["_rid"].as_str().unwrap().len(), 12);
    assert_eq!(client.call("GET", "/dbs/d/colls/other", &[], b"").both(), (404, "1003"));
    assert_eq!(client.call("GET", "/dbs/d/colls/other/docs", &[], b"").status, 404);
    assert_eq!(client.call("DELETE", "/dbs/d/colls/c", &[], b"").status, 204);
    assert_eq!(client.call("GET", "/dbs/d/colls/c", &[], b"").status, 404);
    assert_eq!(client.call("DELETE", "/dbs/d", &[], b"").status, 204);
    assert_eq!(client.call("GET", "/dbs/d", &[], b"").status, 404);
    assert_eq!(client.call("DELETE", "/dbs/d", &[], b"").status, 404);
}

#[test]
fn a_partition_key_says_its_kind_and_version() {
    let mut endpoint = Endpoint::with_container(4, 400);
    let client = &mut endpoint.client;
    let mut create = |key: Value| {
        let body = json!({ "id": key.to_string().len().to_string(), "partitionKey": key }).to_string();
        let reply = client.call("POST", "/dbs/d/colls", &[], body.as_bytes());
        (reply.status, reply.json()["partitionKey"].clone())
    };
    // As the service does, a definition without a version is of the first.
    let old = json!({"paths":["/a"],"kind":"Hash","version":1});
    assert_eq!(create(json!({"paths":["/a"]})), (201, old));
    let levels = json!({"paths":["/a","/b","/c"],"kind":"MultiHash","version":2});
    assert_eq!(create(levels.clone()), (201, levels));
    for wrong in [
        json!({}),
        json!({"paths":[]}),
        json!({"paths":["/a","/b"],"kind":"Hash"}),
        json!({"paths":["/a"],"kind":"Range"}),
    ] {
        assert_eq!(create(wrong.clone()).0, 400, "{wrong}");
    }
}

#[test]
fn ranges_divide_the_space_and_are_a_feed() {
    let mut endpoint = Endpoint::with_container(4, 400);
    let Endpoint { client, running, .. } = &mut endpoint;
    let ranges = client.ranges();
    let bounds: Vec<(&str, &str)> = ranges
        .iter()
        .map(|range| (range["minInclusive"].as_str().unwrap(), range["maxExclusive"].as_str().unwrap()))
        .collect();
    assert_eq!((bounds[0].0, bounds[3].1), ("", "FF"));
    assert_eq!(bounds[1].0, "10000000000000000000000000000000");
    assert!(bounds.windows(2).all(|pair| pair[0].1 == pair[1].0));
    assert_eq!(ranges[0]["id"], "0");
    let etag = client.call("GET", "/dbs/d/colls/c/pkranges", &[], b"").header("etag").to_owned();
    let again = [("a-im", "Incremental Feed"), ("if-none-match", etag.as_str())];
    assert_eq!(client.call("GET", "/dbs/d/colls/c/pkranges", &again, b"").status, 304);
    running.split("d/c", "1").unwrap();
    let changed = client.call("GET", "/dbs/d/colls/c/pkranges", &again, b"");
    assert_eq!((changed.status, changed.json()["_count"].as_u64()), (200, Some(5)));
}

/// As the Java client asks for ranges.
#[test]
fn resource_ids_take_the_places_of_names() {
    let mut endpoint = Endpoint::with_container(3, 400);
    let client = &mut endpoint.client;
    let container = client.call("GET", "/dbs/d/colls/c", &[], b"").json();
    let path = format!("/{}", container["_self"].as_str().unwrap().trim_end_matches('/'));
    assert_eq!(client.get_by_ids(&path).json(), container);
    assert_eq!(client.get_by_ids(&format!("{path}/pkranges")).json()["_count"], 3);
    assert_eq!(client.get_by_ids(&format!("{path}/docs")).json()["_count"], 0);
    let database = path.split_once("/colls").unwrap().0;
    assert_eq!(client.get_by_ids(database).json()["id"], "d");
    assert_eq!(client.get_by_ids(&format!("{database}/colls")).json()["_count"], 1);
    assert_eq!(client.get_by_ids("/dbs/d/colls/c").status, 401, "names are signed whole");
    // A container that was made again is another one.
    assert_eq!(client.call("DELETE", "/dbs/d/colls/c", &[], b"").status, 204);
    let again = br#"{"id":"c","partitionKey":{"paths":["/pk"]}}"#;
    assert_eq!(client.call("POST", "/dbs/d/colls", &[], again).status, 201);
    assert_eq!(client.get_by_ids(&format!("{path}/pkranges")).both(), (404, "1003"));
    assert_eq!(client.get_by_ids(&format!("{path}/docs")).both(), (404, "1003"));
}

#[test]
fn an_offer_is_found_read_and_replaced() {
    let mut endpoint = Endpoint::with_container(2, 400);
    let Endpoint { client, running, .. } = &mut endpoint;
    let rid = client.call("GET", "/dbs/d/colls/c", &[], b"").json()["_rid"].clone();
    let query = json!({"query": "SELECT * FROM root r WHERE r.offerResourceId = @rid", "parameters": [{"name": "@rid", "value": rid}]});
    let is_query = [("x-ms-documentdb-isquery", "True")];
    let found = client.call("POST", "/offers", &is_query, query.to_string().as_bytes()).json();
    let mut offer = found["Offers"][0].clone();
    assert_eq!((&offer["content"]["offerThroughput"], &offer["offerResourceId"]), (&json!(400), &rid));
    let path = format!("/offers/{}", offer["id"].as_str().unwrap());
    assert_eq!(client.call("GET", &path, &[], b"").json(), offer);
    offer["content"]["offerThroughput"] = json!(5000);
    assert_eq!(client.call("PUT", &path, &[], offer.to_string().as_bytes()).status, 200);
    assert_eq!(running.ledger().containers[0].throughput, 5000);
    for (units, status, then) in [(0, 400, 5000), (250, 200, 250)] {
        offer["content"]["offerThroughput"] = json!(units);
        assert_eq!(client.call("PUT", &path, &[], offer.to_string().as_bytes()).status, status);
        assert_eq!(running.ledger().containers[0].throughput, then);
    }
    let other = json!({"query": "SELECT * FROM root r WHERE r.offerResourceId = 'none'"}).to_string();
    assert_eq!(client.call("POST", "/offers", &is_query, other.as_bytes()).json()["_count"], 0);
}

#[test]
fn throughput_comes_with_the_container() {
    let mut endpoint = Endpoint::with_container(2, 400);
    let Endpoint { client, running, .. } = &mut endpoint;
    let mut create = |id: &str, name: &str, value: &str| {
        let body = json!({"id": id, "partitionKey": {"paths": ["/pk"], "version": 2}}).to_string();
        client.call("POST", "/dbs/d/colls", &[(name, value)], body.as_bytes()).status
    };
    assert_eq!(create("x", "x-ms-offer-throughput", "12000"), 201);
    assert_eq!(create("y", "x-ms-cosmos-offer-autopilot-settings", r#"{"maxThroughput":4000}"#), 201);
    for wrong in ["much", "0", "300", "450"] {
        assert_eq!(create("z", "x-ms-offer-throughput", wrong), 400, "{wrong}");
    }
    for wrong in [r#"{"maxThroughput":400}"#, r#"{"maxThroughput":4100}"#, "{}", "much"] {
        assert_eq!(create("z", "x-ms-cosmos-offer-autopilot-settings", wrong), 400, "{wrong}");
    }
    let throughputs: Vec<u64> =
        running.ledger().containers.iter().map(|container| container.throughput).collect();
    assert_eq!(throughputs, [400, 12000, 4000]);
}

#[test]
fn what_is_not_served_is_refused() {
    let mut endpoint = Endpoint::with_container(1, 400);
    let client = &mut endpoint.client;
    assert_eq!(client.call("GET", "/dbs/d/colls/c/sprocs", &[], b"").status, 404);
    assert_eq!(client.call("PATCH", "/dbs/d", &[], b"").status, 405);
    assert_eq!(client.call("GET", "/dbs/d/colls/c/docs", &[("a-im", "Incremental Feed")], b"").status, 400);
    assert_eq!(client.call("POST", "/dbs", &[], b"{").status, 400);
}
