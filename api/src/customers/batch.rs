//! Many customers in one request, each in a transaction of its own and with a result of its own.

use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::patch::NewCustomer;
use super::representation::{Customer, Json};
use super::{Customers, Tag};
use crate::auth::Caller;
use crate::body::{Input, JsonBody, Members};
use crate::header::StrictHeader;
use crate::idempotency::{self, Once};
use crate::problem::{BODY, Code, Document, Documented, Listed, Problem, Refusal};

/// Customers in one request.
const MOST: usize = 100;

#[derive(Clone)]
pub(crate) struct Batch(pub(crate) Customers);

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Customers")]
impl Batch {
    /// Create up to 100 customers
    ///
    /// Each as by a request of its own, in their order: what is wrong with one keeps no other back. The results are in
    /// the same order. With an Idempotency-Key the request can be sent again without harm: a customer that it has created
    /// is not created again, and its result is repeated.
    #[oai(
        path = "/customers%3Abatch",
        method = "post",
        operation_id = "createCustomers"
    )]
    async fn create(
        &self,
        caller: Caller,
        /// 1 to 255 visible ASCII characters that name this request, such as a UUID.
        #[oai(name = "Idempotency-Key", validator(pattern = "^[!-~]{1,255}$"))]
        idempotency_key: StrictHeader,
        body: JsonBody<Asked>,
    ) -> Result<Answered, Refusal<Creating>> {
        idempotency::check(&idempotency_key)?;
        let mut results: Vec<Outcome> = Vec::with_capacity(body.0.0.len());
        let mut items = body.0.0.into_iter().enumerate();
        while let Some((place, item)) = items.next() {
            let key = (&idempotency_key, place);
            let problem = match self.create_one(item, key, caller.traceparent.clone()).await {
                Ok(customer) => {
                    results.push(Ok(customer));
                    continue;
                }
                Err(problem) => problem,
            };
            let is_away = problem.code == Code::Unavailable;
            if is_away && results.is_empty() {
                return Err(problem.into());
            }
            problem.log();
            results.push(Err(problem));
            if is_away {
                // It is away for those behind this one too: nobody waits for it a hundred times.
                results.extend(items.by_ref().map(|_| Err(Problem::unavailable())));
            }
        }
        Ok(Answered::Results(answer(results, &caller.request_id)))
    }
}

/// The customer as text, because it may have been kept.
type Outcome = Result<String, Problem>;

impl Batch {
    async fn create_one(
        &self,
        item: Result<NewCustomer, Problem>,
        (key, place): (&StrictHeader, usize),
        traceparent: String,
    ) -> Outcome {
        let new = item?.checked()?;
        let once = Once::of_item(key, place, &new)?;
        Ok(self.0.create(new, once, traceparent).await?.0.body)
    }
}

/// The customers, or why one of them cannot be read.
struct Asked(Vec<Result<NewCustomer, Problem>>);

impl Input for Asked {
    type Schema = NewCustomers;
    const MAX_BYTES: usize = 512 * 1024;

    fn read(mut members: Members) -> Result<Self, Problem> {
        let items = members.items("customers", MOST)?;
        members.none_left()?;
        let items = items.into_iter();
        Ok(Self(items.map(|item| item.and_then(Input::read)).collect()))
    }
}

/// Customers to create.
#[derive(Object)]
#[oai(example)]
struct NewCustomers {
    #[oai(validator(min_items = 1, max_items = 100))]
    customers: Vec<NewCustomer>,
}

impl Example for NewCustomers {
    fn example() -> Self {
        Self {
            customers: vec![NewCustomer::example()],
        }
    }
}

/// What became of one customer: the customer, or the problem.
#[derive(Object)]
#[oai(example)]
struct BatchResult {
    /// The status that a request of its own would have had.
    #[oai(validator(minimum(value = "200"), maximum(value = "599")))]
    status: u16,
    /// Only of a customer that was created.
    #[oai(skip_serializing_if_is_none)]
    customer: Option<Customer>,
    /// Only of one that was not.
    #[oai(skip_serializing_if_is_none)]
    problem: Option<Document>,
}

impl Example for BatchResult {
    fn example() -> Self {
        Self {
            status: 201,
            customer: Some(Customer::example()),
            problem: None,
        }
    }
}

/// The results, in the order of the customers.
#[derive(Object)]
#[oai(example)]
struct BatchResults {
    results: Vec<BatchResult>,
}

impl Example for BatchResults {
    fn example() -> Self {
        Self {
            results: vec![BatchResult::example()],
        }
    }
}

#[derive(ApiResponse)]
enum Answered {
    /// A result for each customer, also where none could be created.
    #[oai(status = 200)]
    Results(Json<BatchResults>),
}

fn answer(results: Vec<Outcome>, request_id: &str) -> Json<BatchResults> {
    let results = results.into_iter().map(|result| match result {
        Ok(customer) => format!(r#"{{"status":201,"customer":{customer}}}"#),
        Err(problem) => {
            let status = problem.code.status().as_u16();
            let problem = Json::of(&problem.document(request_id)).into_text();
            format!(r#"{{"status":{status},"problem":{problem}}}"#)
        }
    });
    let results: Vec<String> = results.collect();
    Json::text(format!(r#"{{"results":[{}]}}"#, results.join(",")))
}

struct Creating;
impl Documented for Creating {
    const PROBLEMS: &'static [&'static [Listed]] = &[
        BODY,
        &[(
            422,
            "The body has no list of 1 to 100 customers; `field` names it (`validation_failed`).",
        )],
    ];
}
