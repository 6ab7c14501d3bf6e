//! Pages, newest first. A cursor names the last item of a page by its time and its key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sea_orm::ColumnTrait;
use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr, Value};

use crate::problem::Problem;

const DEFAULT_LIMIT: u32 = 20;

pub(super) fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

/// The place of an item in its list. Opaque to clients: microseconds and the key, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) at: DateTime<Utc>,
    pub(super) key: String,
}

impl Position {
    pub(super) fn new(at: DateTime<Utc>, key: impl ToString) -> Self {
        Self {
            at,
            key: key.to_string(),
        }
    }

    fn to_text(&self) -> String {
        let mut bytes = self.at.timestamp_micros().to_be_bytes().to_vec();
        bytes.extend_from_slice(self.key.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(super) fn parse(text: Option<&str>) -> Result<Option<Self>, Problem> {
        let Some(text) = text else {
            return Ok(None);
        };
        let refused = || Problem::invalid("cursor", "cursor must be a next_cursor of ours");
        Self::read(text).map(Some).ok_or_else(refused)
    }

    fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (micros, key) = bytes.split_at_checked(8)?;
        let micros = i64::from_be_bytes(micros.try_into().ok()?);
        let at = DateTime::from_timestamp_micros(micros).filter(|_| micros >= 0)?;
        let key = std::str::from_utf8(key).ok()?;
        (!key.is_empty() && !key.contains('\0')).then(|| Self::new(at, key))
    }

    /// The key, where it is a number or an id of a kind.
    pub(super) fn key<K: std::str::FromStr>(&self) -> Result<K, Problem> {
        let refused = |_| Problem::invalid("cursor", "cursor must be a next_cursor of this list");
        self.key.parse().map_err(refused)
    }

    /// What comes behind it in a list that is ordered by these columns, the greatest first.
    pub(super) fn behind(
        &self,
        time: impl ColumnTrait,
        key: impl ColumnTrait,
        value: impl Into<Value>,
    ) -> SimpleExpr {
        let place = [time.as_column_ref(), key.as_column_ref()].map(Expr::col);
        let place = Expr::tuple(place);
        place.lt(Expr::tuple([Expr::value(self.at), Expr::value(value)]))
    }
}

/// Cuts what was read, one more than asked for, down to a page and the cursor of the next.
pub(super) fn cut<T>(
    mut rows: Vec<T>,
    limit: u32,
    position: impl Fn(&T) -> Position,
) -> (Vec<T>, Option<String>) {
    let limit = limit as usize;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows
        .last()
        .filter(|_| more)
        .map(|last| position(last).to_text());
    (rows, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_names_its_place_and_no_text_panics(
            micros in 0..253_402_300_799_000_000_i64, key in "[a-zA-Z0-9_-]{1,40}", text in ".{0,60}",
        ) {
            let position = Position::new(DateTime::from_timestamp_micros(micros).unwrap(), key);
            prop_assert_eq!(Position::read(&position.to_text()), Some(position));
            let _ = Position::read(&text);
        }
    }
}
