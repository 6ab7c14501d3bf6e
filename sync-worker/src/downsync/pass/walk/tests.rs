//! A walk against accounts that are nobody's.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The customers of an account by id, with their times.
type Account = BTreeMap<String, i64>;

const START: i64 = 1_700_000_000;

fn outline((id, created): (&String, &i64)) -> Outline {
    Outline {
        is_readable: true,
        stripe_id: id.clone(),
        created: *created,
        fingerprint: None,
    }
}

/// Newest first, as Stripe lists them.
fn listed(account: &Account) -> Vec<Outline> {
    let mut all: Vec<Outline> = account.iter().map(outline).collect();
    all.sort_by(|a, b| (b.created, &b.stripe_id).cmp(&(a.created, &a.stripe_id)));
    all
}

fn page(listed: &[Outline], request: &ListPage, limit: usize) -> Page<Outline> {
    let behind = request.starting_after.as_ref().map_or(0, |cursor| {
        let place = listed.iter().position(|copy| copy.stripe_id == *cursor);
        place.expect("the cursor is there") + 1
    });
    let is_asked_for = |copy: &&Outline| {
        request.created_gte.is_none_or(|gte| copy.created >= gte)
            && request.created_lte.is_none_or(|lte| copy.created <= lte)
    };
    let rest = listed[behind..].iter().filter(is_asked_for);
    let mut items: Vec<Outline> = rest.take(limit + 1).cloned().collect();
    let has_more = items.len() > limit;
    items.truncate(limit);
    Page {
        cursor: items.last().map(|copy| copy.stripe_id.clone()),
        items,
        has_more,
    }
}

fn account(times: &[i64]) -> Account {
    let named = |(place, time): (usize, &i64)| (format!("cus_{place}"), START + time);
    times.iter().enumerate().map(named).collect()
}

/// What came of reading a whole account.
#[derive(Default)]
struct Read {
    requests: usize,
    slices: usize,
    shown: BTreeMap<String, usize>,
    closed: Vec<Closed>,
    /// The most ids that one walk kept.
    most_kept: usize,
}

/// Reads all slices one after another, dividing whenever it can, and starting a slice anew from its open part when
/// `ends_at` says that the process ends.
fn read(account: &Account, limit: usize, mut ends_at: Vec<usize>) -> Read {
    let mut read = Read::default();
    let listed = listed(account);
    let mut waiting = vec![Slice::ALL];
    while let Some(slice) = waiting.pop() {
        read.slices += 1;
        let mut walk = Walk::of(slice);
        while !walk.is_at_end() {
            read.requests += 1;
            if ends_at.contains(&read.requests) {
                ends_at.retain(|end| *end != read.requests);
                waiting.push(walk.open());
                break;
            }
            let page = page(&listed, &walk.request(), limit);
            for copy in walk.take(page).unwrap() {
                *read.shown.entry(copy.stripe_id).or_default() += 1;
            }
            waiting.extend(walk.split());
            read.most_kept = read.most_kept.max(walk.seen.len());
            read.closed.extend(walk.close());
        }
    }
    read
}

/// Every second is in one closed part, and whoever was made in it was seen there.
fn assert_covered(account: &Account, mut closed: Vec<Closed>) {
    closed.sort_by_key(|closed| closed.part.to);
    let mut next = i64::MIN;
    for Closed { part, seen } in &closed {
        assert_eq!(part.from, next);
        assert!(part.from <= part.to);
        next = part.to.saturating_add(1);
        let in_part = |at: i64| (part.from..=part.to).contains(&at);
        let there: Vec<_> = account.iter().filter(|(_, at)| in_part(**at)).collect();
        assert_eq!(seen.len(), there.len());
        assert!(there.iter().all(|(id, _)| seen.contains(id)));
    }
    let newest = account.values().max();
    assert_eq!(next - 1, newest.copied().unwrap_or(i64::MAX - 1));
}

proptest! {
    #[test]
    fn every_second_is_closed_once_and_every_customer_is_shown_once(
        times in proptest::collection::vec(0_i64..3_000, 0..400),
        limit in 1_usize..20,
    ) {
        let account = account(&times);
        let read = read(&account, limit, Vec::new());
        prop_assert!(read.requests <= times.len().div_ceil(limit) + read.slices);
        prop_assert!(read.shown.values().all(|times| *times == 1));
        prop_assert_eq!(read.shown.len(), times.len());
        assert_covered(&account, read.closed);
    }

    #[test]
    fn a_pass_that_ends_and_is_gone_on_with_covers_as_much(
        times in proptest::collection::vec(0_i64..40_000, 1_000..4_000),
        ends_at in proptest::collection::vec(2_usize..60, 0..5),
    ) {
        let account = account(&times);
        let read = read(&account, 100, ends_at);
        prop_assert_eq!(read.shown.len(), times.len());
        prop_assert!(read.most_kept <= CLOSE_AT + 100);
        assert_covered(&account, read.closed);
    }
}

#[test]
fn a_second_with_very_many_is_closed_as_a_whole() {
    let mut times = vec![5; 2_500];
    times.extend([4, 6]);
    let account = account(&times);
    let read = read(&account, 100, vec![12]);
    assert_eq!(read.shown.len(), 2_502);
    assert_covered(&account, read.closed);
}

#[test]
fn a_cursor_that_is_gone_is_replaced_by_the_one_before() {
    let mut account = account(&(0..250).collect::<Vec<_>>());
    let mut walk = Walk::of(Slice::ALL);
    let mut shown = walk
        .take(page(&listed(&account), &walk.request(), 100))
        .unwrap()
        .len();
    for place in [150, 151] {
        account.remove(&format!("cus_{place}"));
        assert!(walk.lose_cursor());
    }
    while !walk.is_at_end() {
        let page = page(&listed(&account), &walk.request(), 100);
        shown += walk.take(page).unwrap().len();
    }
    assert_eq!(shown, 250);
    assert!(walk.is_ordered);
    let closed = walk.close().unwrap();
    assert_eq!(
        closed.part,
        Slice {
            from: i64::MIN,
            to: START + 249
        }
    );
}

#[test]
fn after_all_of_a_page_is_gone_there_is_no_cursor() {
    let account = listed(&account(&[1, 2, 3]));
    let mut walk = Walk::of(Slice::ALL);
    walk.take(page(&account, &walk.request(), 2)).unwrap();
    assert!(walk.lose_cursor());
    assert!(!walk.lose_cursor());
}

#[test]
fn a_list_that_is_out_of_order_is_closed_at_its_end_only() {
    let account = listed(&account(&(0..3_000).collect::<Vec<_>>()));
    let mut walk = Walk::of(Slice::ALL);
    while !walk.is_at_end() {
        let mut page = page(&account, &walk.request(), 100);
        let cursor = page.cursor.clone();
        page.items.reverse();
        assert_eq!(walk.take(page).unwrap().len(), 100);
        assert_eq!(walk.split(), None);
        assert!(walk.is_at_end() || walk.close().is_none());
        let place = |(id, _): &(String, i64)| Some(id) == cursor.as_ref();
        let place = walk.cursors.iter().position(place).unwrap();
        let last = walk.cursors.remove(place);
        walk.cursors.push(last);
    }
    assert_eq!(walk.close().unwrap().seen.len(), 3_000);
}

#[test]
fn a_list_that_goes_round_is_no_list() {
    let account = listed(&account(&(0..3_000).collect::<Vec<_>>()));
    let mut walk = Walk::of(Slice::ALL);
    let first = page(&account, &walk.request(), 100);
    walk.take(first.clone()).unwrap();
    assert_eq!(walk.take(first).unwrap_err(), Odd::Repeated);
    let mut walk = Walk::of(Slice::ALL);
    let empty = Page {
        items: Vec::new(),
        has_more: true,
        cursor: None,
    };
    assert_eq!(walk.take(empty).unwrap_err(), Odd::Repeated);
    let mut walk = Walk::of(Slice { from: 0, to: START });
    let all = page(&account, &Walk::of(Slice::ALL).request(), 100);
    assert_eq!(walk.take(all).unwrap_err(), Odd::Outside);
}
