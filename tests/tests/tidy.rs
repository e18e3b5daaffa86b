//! The rules of the house, which no compiler checks: who may know what.

use std::path::{Path, PathBuf};
use walkdir::WalkDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the top of the repository")
}

/// Every Rust file outside of target, with its path from the top.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let is_source =
        |entry: &walkdir::DirEntry| !["target", ".git", "data"].contains(&entry.file_name().to_str().unwrap_or(""));
    WalkDir::new(&root)
        .into_iter()
        .filter_entry(is_source)
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "rs"))
        .map(|entry| {
            let path = entry.path().strip_prefix(&root).expect("below the top").to_string_lossy().into_owned();
            (path, std::fs::read_to_string(entry.path()).expect("a readable source"))
        })
        .collect()
}

/// One library, one home: what a file must not mention unless its path contains one of these.
const HOMES: &[(&str, &[&str])] = &[
    ("rdkafka", &["shared/runtime/src/event_log/kafka", "tests/"]),
    (
        "sea_orm",
        &[
            "shared/runtime/src/database.rs",
            "shared/runtime/src/program.rs",
            "shared/runtime/src/event_log/embedded",
            "shared/runtime/src/http/problem.rs",
            "/store.rs",
            "/stock.rs",
            "/store/",
            "/api.rs",
            "/api/",
            "migrations/",
            "tests/",
        ],
    ),
    ("opentelemetry", &["shared/runtime/src/trace/span.rs", "tests/"]),
    ("rust_embed", &["shared/runtime/src/http/dashboard.rs", "tests/"]),
    (
        "reqwest",
        &[
            "services/payment/src/provider/http.rs",
            "services/notification/src/channel/webhook",
            "services/order-system/src/",
            "shared/runtime/src/http/access/key_set.rs",
            "tests/",
        ],
    ),
    ("jsonwebtoken", &["shared/runtime/src/http/access/", "tests/"]),
    ("governor", &["shared/runtime/src/http/access/", "tests/"]),
    (
        "poem",
        &[
            "shared/runtime/src/http",
            "shared/runtime/src/program",
            "/api.rs",
            "/api/",
            "services/payment-sandbox/src/lib.rs",
            "tests/",
        ],
    ),
];

#[test]
fn each_library_has_its_home() {
    for (path, text) in sources() {
        for (library, homes) in HOMES {
            let uses = text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(library));
            let at_home = homes.iter().any(|home| path.contains(home));
            assert!(!uses || at_home, "{path} uses {library}, whose home is in {homes:?}");
        }
    }
}

#[test]
fn the_rules_of_an_order_are_pure() {
    let impure =
        ["tokio", "sea_orm", "poem", "rdkafka", "std::time", "std::fs", "async ", "tracing", "metrics", "now("];
    for (path, text) in sources() {
        let is_rule = path.ends_with("/saga.rs") || path.contains("/saga/") && !path.ends_with("/tests.rs");
        let is_pure = is_rule || path.ends_with("/messages.rs") || path.starts_with("shared/contracts/src");
        for word in impure {
            let found = text.lines().find(|line| !line.trim_start().starts_with("//") && line.contains(word));
            assert!(!is_pure || found.is_none(), "{path} is to be pure, and says {found:?}");
        }
    }
}

#[test]
fn imports_point_one_way() {
    // What stands before may be used by what stands behind, and never the other way.
    let layers: &[(&str, &[&str])] = &[
        ("shared/contracts/", &["runtime::", "migrations::", "_service::", "order_system::", "testkit::"]),
        ("migrations/", &["runtime::", "contracts::", "_service::", "order_system::"]),
        ("shared/runtime/", &["_service::", "order_system::", "testkit::", "migrations::"]),
        ("shared/testkit/", &["_service::", "order_system::"]),
        ("services/order/src", &["payment_service", "inventory_service", "notification_service", "order_system"]),
        (
            "services/payment/src",
            &["order_service", "inventory_service", "notification_service", "order_system", "payment_sandbox"],
        ),
        ("services/payment-sandbox/src", &["_service::", "order_system::", "testkit::"]),
        ("services/inventory/src", &["order_service", "payment_service", "notification_service", "order_system"]),
        ("services/notification/src", &["order_service", "payment_service", "inventory_service", "order_system"]),
    ];
    for (path, text) in sources() {
        for (layer, forbidden) in layers {
            for word in *forbidden {
                let uses = text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word));
                assert!(!path.starts_with(layer) || !uses, "{path} must not know {word}");
            }
        }
    }
}

#[test]
fn the_four_services_have_the_same_rooms() {
    for service in ["order", "payment", "inventory", "notification"] {
        for room in ["saga.rs", "saga/tests.rs", "messages.rs", "store.rs", "api.rs", "config.rs", "lib.rs", "main.rs"]
        {
            let path = format!("services/{service}/src/{room}");
            assert!(root().join(&path).is_file(), "{path} is missing");
        }
    }
}

#[test]
fn a_main_is_read_in_one_breath() {
    for service in ["order", "payment", "inventory", "notification", "payment-sandbox"] {
        let path = format!("services/{service}/src/main.rs");
        let lines = std::fs::read_to_string(root().join(&path)).expect("a main").lines().count();
        assert!(lines <= 40, "{path} has {lines} lines");
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Put together, so that this file does not find itself.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["todo", "!("].concat(), ["#[ig", "nore"].concat()];
    for (path, text) in sources() {
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{path} says {mark}");
        }
    }
}
