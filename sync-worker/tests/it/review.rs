//! What the log says of customers that wait for a person: one line each, with the next step and without their values.

use platform::test_support::log::capture;
use sync_worker::upsync::Pushed;
use tracing::Level;

use crate::harness::World;

fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.contains("WARN")).collect()
}

#[tokio::test]
async fn parked_customer_is_one_line_with_its_next_step() {
    let world = World::new().await;
    let log = capture(Level::WARN);
    let name = "x".repeat(300);
    let row = world
        .create(&[("email", "secret@x.io"), ("name", &name)])
        .await;
    assert_eq!(world.push(row.id).await, Some(Pushed::Parked));
    world.settle().await;
    let text = log.text();
    let about_row: Vec<_> = lines(&text)
        .into_iter()
        .filter(|line| line.contains("is parked"))
        .collect();
    assert_eq!(about_row.len(), 1, "{text}");
    let next_step = format!("rejected; next step: GET /api/v1/parked/{}", row.id);
    assert!(about_row[0].contains(&next_step), "{text}");
    assert!(!text.contains("secret") && !text.contains(&name), "{text}");
}

#[tokio::test]
async fn unmatched_customer_is_one_line_with_its_next_step() {
    let world = World::new().await;
    let log = capture(Level::WARN);
    let stripe_id = world.stripe_creates(&[("name", "secret")]);
    for _ in 0..3 {
        world.pass().await;
    }
    let text = log.text();
    let next_step = format!("no_email; next step: GET /api/v1/unmatched/{stripe_id}");
    assert_eq!(lines(&text).len(), 1, "{text}");
    assert!(
        text.contains(&next_step) && !text.contains("secret"),
        "{text}"
    );
}

#[tokio::test]
async fn conflict_is_one_line_with_the_side_that_wins() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let log = capture(Level::WARN);
    world.stripe_edits(&world.stripe_id(row.id).await, &[("name", "theirs")]);
    world.update(row.id, &[("name", "ours")]).await;
    world.settle().await;
    let text = log.text();
    let expected = format!(
        "customer {} has a conflict in name: the database's value wins",
        row.id
    );
    assert_eq!(lines(&text).len(), 1, "{text}");
    assert!(
        text.contains(&expected) && !text.contains("theirs"),
        "{text}"
    );
}
