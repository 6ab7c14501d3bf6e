//! Plausible customers for a large account: distinct names and e-mails, dates that crowd towards the present.
//! The same seed, number and total give the same customer, so a load can be repeated.

const FIRST: [&str; 50] = [
    "Ada", "Agnes", "Alan", "Amina", "Anton", "Beatriz", "Boris", "Carla", "Chen", "Clara",
    "Daniel", "Dora", "Elias", "Emma", "Farid", "Felix", "Grace", "Hana", "Henrik", "Ida", "Ivan",
    "Jana", "Jonas", "Kaito", "Karin", "Lars", "Leila", "Lucia", "Malik", "Marta", "Mei", "Milan",
    "Nadia", "Nils", "Olga", "Omar", "Paula", "Pedro", "Priya", "Rosa", "Ruth", "Samuel", "Sofia",
    "Tariq", "Tessa", "Tomas", "Uma", "Vera", "Viktor", "Yusuf",
];

/// A surname is one of these and one of `ENDS`.
const STARTS: [&str; 40] = [
    "Ash", "Bar", "Beck", "Birch", "Black", "Brook", "Calder", "Clay", "Cold", "Dale", "East",
    "Elm", "Fair", "Fern", "Gold", "Green", "Hal", "Hart", "Hazel", "Heath", "High", "Holl",
    "Kirk", "Lang", "Lind", "Long", "Mill", "Moor", "North", "Oak", "Pem", "Red", "Rose", "Sand",
    "Stan", "Stone", "Thorn", "West", "White", "Wind",
];
const ENDS: [&str; 25] = [
    "berg", "born", "bridge", "brook", "burn", "by", "croft", "dale", "field", "ford", "gate",
    "grove", "ham", "hill", "hurst", "ley", "low", "man", "mere", "mont", "ridge", "stead", "ton",
    "well", "wood",
];

const DESCRIPTIONS: [&str; 6] = [
    "Annual plan",
    "Came by a partner",
    "Pays by invoice",
    "Reseller",
    "Trial, extended once",
    "Wholesale",
];

/// Full names that there are; beyond so many customers they repeat, their e-mails do not.
const NAMES: u64 = (FIRST.len() * STARTS.len() * ENDS.len() * 26) as u64;

/// Shares no factor with `NAMES`, so that its multiples meet every name before they meet one again.
const STRIDE: u64 = 7_368_787;

/// The customers of a load were created within these seconds: 2019 to 2025.
const SINCE: i64 = 1_546_300_800;
const UNTIL: i64 = 1_767_225_600;

/// So many of each `CROWD_EVERY` were created in one second, as by an import: more than a page holds.
const CROWD: u64 = 250;
const CROWD_EVERY: u64 = 5_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) phone: Option<String>,
    pub(crate) description: Option<&'static str>,
}

/// The customer of a number.
pub(crate) fn customer(seed: u64, number: u64) -> Sample {
    let mut place = ((number % NAMES) * STRIDE + seed % NAMES) % NAMES;
    let mut draw = |count: u64| {
        let drawn = place % count;
        place /= count;
        usize::try_from(drawn).unwrap_or_default()
    };
    let first = FIRST[draw(FIRST.len() as u64)];
    let start = STARTS[draw(STARTS.len() as u64)];
    let end = ENDS[draw(ENDS.len() as u64)];
    let middle = char::from(b'A' + u8::try_from(draw(26)).unwrap_or_default());
    let chance = scatter(seed ^ scatter(number));
    Sample {
        name: format!("{first} {middle}. {start}{end}"),
        email: format!("{first}.{start}{end}{number}@example.com").to_lowercase(),
        phone: chance
            .is_multiple_of(3)
            .then(|| format!("+1555{:07}", number % 10_000_000)),
        description: chance
            .is_multiple_of(5)
            .then(|| DESCRIPTIONS[usize::try_from(chance / 5 % 6).unwrap_or_default()]),
    }
}

/// The second in which number `at` of `total` was created: it never falls with `at`, and the second half of
/// the years has three quarters of the customers.
pub(crate) fn created(at: u64, total: u64) -> i64 {
    let within = at % CROWD_EVERY;
    let at = if within < CROWD { at - within } else { at };
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a date that is invented may be a second off"
    )]
    let offset = ((UNTIL - SINCE) as f64 * (at as f64 / total.max(1) as f64).sqrt()) as i64;
    SINCE + offset
}

/// Spreads neighbouring numbers over all of them; the finalizer of SplitMix64.
fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::wire::form::Form;
    use crate::world::customer::change::Change;

    #[test]
    fn names_and_emails_are_distinct_and_a_seed_repeats_them() {
        let of = |seed| {
            (0..20_000)
                .map(|number| customer(seed, number))
                .collect::<Vec<_>>()
        };
        let samples = of(7);
        assert_eq!(samples, of(7));
        assert_ne!(samples, of(8));
        let names: HashSet<_> = samples.iter().map(|it| &it.name).collect();
        let emails: HashSet<_> = samples.iter().map(|it| &it.email).collect();
        assert_eq!((names.len(), emails.len()), (20_000, 20_000));
        let phones = samples.iter().filter(|it| it.phone.is_some()).count();
        let descriptions = samples.iter().filter(|it| it.description.is_some()).count();
        assert!((6_000..7_400).contains(&phones), "{phones} have a phone");
        assert!(
            (3_600..4_400).contains(&descriptions),
            "{descriptions} are described"
        );
    }

    #[test]
    fn every_full_name_comes_before_one_comes_again() {
        let mut places: Vec<u64> = (0..NAMES).map(|number| number * STRIDE % NAMES).collect();
        places.sort_unstable();
        assert!(places.into_iter().eq(0..NAMES));
    }

    #[test]
    fn the_api_would_take_every_sample() {
        for number in 0..1_000 {
            let sample = customer(1, number);
            let mut fields = vec![("name", sample.name.as_str()), ("email", &sample.email)];
            fields.extend(sample.phone.as_deref().map(|phone| ("phone", phone)));
            fields.extend(sample.description.map(|text| ("description", text)));
            Change::take(&mut Form::from_pairs(fields), true).unwrap();
        }
    }

    #[test]
    fn dates_never_fall_and_some_seconds_have_more_customers_than_a_page() {
        let dates: Vec<i64> = (0..20_000).map(|at| created(at, 20_000)).collect();
        assert!(dates.is_sorted());
        assert!(dates[0] >= SINCE && dates[19_999] <= UNTIL);
        let crowd = dates
            .chunk_by(|one, other| one == other)
            .map(<[i64]>::len)
            .max();
        assert_eq!(crowd, Some(250));
        let middle = i64::midpoint(SINCE, UNTIL);
        assert_eq!(dates.partition_point(|date| *date < middle) / 1_000, 5);
    }
}
