//! One suite of facts that hold for every broker, and what only RabbitMQ can show.

mod conformance;
mod in_process;
mod rabbitmq;
