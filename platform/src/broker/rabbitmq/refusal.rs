//! What the broker itself refuses, as opposed to a connection that fails: a person has to solve it.

use lapin::ErrorKind;

use super::Error;
use super::connection::Reason;

/// Reply codes of AMQP 0-9-1.
pub(super) const ACCESS_REFUSED: u16 = 403;
pub(super) const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;

/// Turns what the broker refuses, and a person has to mend, into a sentence that says how. Anything
/// else stays as it is.
pub(super) fn explain(error: Error, what: &str, name: &str) -> Error {
    let Some((code, text)) = refusal(&error) else {
        return error;
    };
    let advice = match (code, what) {
        (PRECONDITION_FAILED, "queue") => format!(
            "it was declared with other properties; let it run empty, then delete it \
             (rabbitmqctl delete_queue {name}), and it is declared anew at the next attempt"
        ),
        (PRECONDITION_FAILED, _) => format!(
            "it was declared with other properties; delete it (rabbitmqadmin delete exchange \
             name={name}), and it is declared anew at the next attempt"
        ),
        (NOT_FOUND, _) => "it does not exist".to_owned(),
        (ACCESS_REFUSED, _) => {
            "the user of AMQP_URL lacks a permission, see docs/permissions.md".to_owned()
        }
        _ => return error,
    };
    Error::Topology {
        what: format!("the {what} {name} can't be used: {advice} (RabbitMQ says: {text})"),
    }
}

pub(super) fn code(error: &Error) -> Option<u16> {
    refusal(error).map(|(code, _)| code)
}

/// The reply code and text of an error that the broker itself sent.
pub(super) fn refusal(error: &Error) -> Option<(u16, String)> {
    let Error::Away { source, .. } = error else {
        return None;
    };
    match source.downcast_ref::<Reason>()?.0.kind() {
        ErrorKind::ProtocolError(error) => Some((error.get_id(), error.get_message().to_string())),
        _ => None,
    }
}
