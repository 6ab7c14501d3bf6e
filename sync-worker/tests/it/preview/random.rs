//! Whatever people did on both sides: carrying out what is shown brings them in step, and the worker then finds nothing
//! that was not shown.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

const SEEDS: u64 = 12;

/// What somebody does next; a side on which there is nobody is left alone.
async fn act(world: &World, random: &mut StdRng) {
    let email = format!("{}@x.io", random.random_range(0..8));
    let name = format!("name {}", random.random_range(0..4));
    let field = ["name", "phone", "email"][random.random_range(0..3)];
    let value = if field == "email" { &email } else { &name };
    let rows = world.rows().await;
    let row = pick(&rows, random);
    let customers = world.stripe.sandbox.customers();
    let there = pick(&customers, random).map(|c| c["id"].as_str().unwrap().to_owned());
    match (random.random_range(0..10), row, there) {
        (0 | 1, ..) => {
            let _ = world
                .try_create(&[("email", &email), ("name", &name)])
                .await;
        }
        (2, ..) => drop(world.stripe_creates(&[("email", &email), ("name", &name)])),
        (3..=5, Some(row), _) => {
            let _ = world.try_update(row.id, &[(field, value)]).await;
        }
        (6 | 7, _, Some(id)) => world.stripe_edits(&id, &[(field, value)]),
        (8, Some(row), _) => drop(world.delete(row.id).await),
        (9, _, Some(id)) => world.stripe_deletes(&id),
        _ => {}
    }
}

fn pick<'a, T>(all: &'a [T], random: &mut StdRng) -> Option<&'a T> {
    (!all.is_empty()).then(|| &all[random.random_range(0..all.len())])
}

/// Carries out what is shown until nothing is that needs no person; what is left then.
async fn carry_out_all(world: &World, seed: u64) -> Vec<Item> {
    for _ in 0..20 {
        let items = preview(world).await.items;
        if !items.iter().any(Item::is_done) {
            return items;
        }
        for set in in_groups(items) {
            if set.iter().any(Item::is_done) {
                // One may take from another what both were to have; it is shown again, as it is by then.
                carry_out_together(&world.engine, &set).await.unwrap();
                world.later(std::time::Duration::from_millis(1));
            }
        }
    }
    panic!(
        "seed {seed} does not come to rest: {:#?}",
        preview(world).await
    );
}

fn count(items: &[Item], wanted: Reason) -> usize {
    let steps = items.iter().flat_map(|item| &item.steps);
    let is_wanted =
        |step: &&Step| matches!(step, Step::Refuse { reason, .. } if reason == wanted.as_str());
    steps.filter(is_wanted).count()
}

/// What is shown as refused, and the worker may do nevertheless: it brings home by their events what a pass has found to
/// be too many deletions.
fn is_left_to_the_worker(items: &[Item]) -> bool {
    count(items, Reason::DeletionRefused) > 0
}

#[tokio::test]
async fn whatever_people_did_what_is_shown_is_all_there_is_to_do() {
    for seed in 0..SEEDS {
        let world = World::new().await;
        let mut random = StdRng::seed_from_u64(seed);
        for n in 0..4 {
            world.synced(&[("email", &format!("{n}@x.io"))]).await;
        }
        for _ in 0..3 {
            for _ in 0..6 {
                act(&world, &mut random).await;
            }
            world.later(std::time::Duration::from_secs(1));
            let left = carry_out_all(&world, seed).await;
            if is_left_to_the_worker(&left) {
                break;
            }
            world.forget_requests();
            let rows = world.rows().await;
            world.settle().await;
            world.pass().await;
            assert_eq!(world.rows().await, rows, "seed {seed}: {left:#?}");
            assert_eq!(world.calls(), [] as [String; 0], "seed {seed}: {left:#?}");
        }
    }
}
