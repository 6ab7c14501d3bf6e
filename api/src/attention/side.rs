//! The body of a decision: the side whose values are to hold.

use entity::decide;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};

use crate::body::{Input, Members};
use crate::problem::Problem;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum Side {
    /// What is here goes to Stripe.
    Database,
    /// What Stripe has is taken over.
    Stripe,
}

/// A decision.
#[derive(Object)]
#[oai(example)]
pub(super) struct Resolution {
    /// Whose values or state are to hold on both sides.
    side: Side,
}

impl Example for Resolution {
    fn example() -> Self {
        Self {
            side: Side::Database,
        }
    }
}

impl Resolution {
    pub(super) fn side(&self) -> decide::Side {
        match self.side {
            Side::Database => decide::Side::Database,
            Side::Stripe => decide::Side::Stripe,
        }
    }
}

impl Input for Resolution {
    type Schema = Self;

    fn read(mut members: Members) -> Result<Self, Problem> {
        let side = match members.required("side")?.as_str() {
            "database" => Side::Database,
            "stripe" => Side::Stripe,
            _ => return Err(Problem::invalid("side", "side must be database or stripe")),
        };
        members.none_left()?;
        Ok(Self { side })
    }
}
