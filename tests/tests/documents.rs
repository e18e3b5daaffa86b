//! The documents in openapi/ are what the services serve, and what they say to each other.

#[tokio::test]
async fn the_documents_are_up_to_date() -> anyhow::Result<()> {
    for (name, document) in order_system::documents::documents(&runtime::program::Stop::default()).await? {
        testkit::golden(&format!("openapi/{name}"), &document);
    }
    Ok(())
}
