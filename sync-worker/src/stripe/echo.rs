//! Whether the answer to a write shows what was written: our id, the stamps and the e-mail that the body sent. An
//! answer that does not is the answer to another request.

use entity::email::normal_form;
use entity::fields::canonical;
use entity::message::StripeCopy;
use entity::stripe_object::{CUSTOMER_ID, DETACHED, EXTERNAL_ID};

use super::answer::Invalid;
use crate::frozen::Frozen;

/// Compares the answer to a create or an update with the form body that was sent.
pub(super) fn check(body: &str, copy: &StripeCopy) -> Result<(), Invalid> {
    if copy.deleted {
        return Err(mismatched("a deleted customer"));
    }
    for (name, value) in form_urlencoded::parse(body.as_bytes()) {
        let is_shown = match member(&name) {
            Some(CUSTOMER_ID) => copy.customer_id.is_some_and(|id| *value == id.to_string()),
            Some(EXTERNAL_ID) => copy.external_id == canonical(&value),
            Some(DETACHED) => copy.detached != value.is_empty(),
            _ => true,
        };
        if !is_shown {
            return Err(mismatched("a customer without the metadata that was sent"));
        }
    }
    let sent = Frozen::read(body);
    let is_stamped = |(field, stamp)| copy.stamps.get(field) == Some(stamp);
    if !sent.stamps.iter().all(is_stamped) {
        return Err(mismatched("a customer without the stamps that were sent"));
    }
    let (sent, shown) = (&sent.fields.email, &copy.fields.email);
    // A server may change the case, or the form of an internationalised domain.
    let key = |email: &Option<String>| email.as_deref().map(normal_form);
    if sent.is_some() && key(sent) != key(shown) {
        return Err(mismatched("a customer with another e-mail than was sent"));
    }
    Ok(())
}

fn member(name: &str) -> Option<&str> {
    name.strip_prefix("metadata[")?.strip_suffix(']')
}

fn mismatched(what: &str) -> Invalid {
    Invalid::Mismatched(what.to_owned())
}

#[cfg(test)]
mod tests {
    use entity::fields::{Field, Fields};
    use entity::stamp::Stamps;
    use uuid::Uuid;

    use super::*;
    use crate::stripe::{create_body, detach_body, update_body};

    const ID: Uuid = Uuid::from_u128(7);

    fn fields(email: &str) -> Fields {
        Fields {
            email: Some(email.to_owned()),
            name: Some("Bob".to_owned()),
            ..Fields::default()
        }
    }

    fn stamps(rev: i64) -> Stamps {
        Stamps::of((rev, ID), &fields("bob@x.com"), &Field::ALL)
    }

    fn copy() -> StripeCopy {
        StripeCopy {
            stripe_id: "cus_1".to_owned(),
            deleted: false,
            fields: fields("Bob@x.com"),
            customer_id: Some(ID),
            external_id: None,
            stamps: stamps(3),
            detached: false,
            created: 7,
            unreadable: false,
        }
    }

    fn changed(change: impl FnOnce(&mut StripeCopy)) -> StripeCopy {
        let mut copy = copy();
        change(&mut copy);
        copy
    }

    #[test]
    fn answer_to_a_create_shows_its_id_stamps_and_email() {
        let body = create_body(&fields("bob@x.com"), (ID, None), &stamps(3));
        check(&body, &copy()).unwrap();
        for other in [
            changed(|copy| copy.customer_id = None),
            changed(|copy| copy.customer_id = Some(Uuid::from_u128(8))),
            changed(|copy| copy.stamps = stamps(2)),
            changed(|copy| copy.stamps = Stamps::default()),
            changed(|copy| copy.fields.email = Some("al@x.com".to_owned())),
            changed(|copy| copy.fields.email = None),
            changed(|copy| copy.deleted = true),
        ] {
            assert!(check(&body, &other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn answer_may_show_the_domain_in_its_other_form() {
        let forms = ["bob@münchen.de", "Bob@xn--mnchen-3ya.de"];
        for [sent, shown] in [forms, [forms[1], forms[0]]] {
            let stamps = Stamps::of((3, ID), &fields(sent), &Field::ALL);
            let body = create_body(&fields(sent), (ID, None), &stamps);
            let answer = changed(|copy| {
                copy.fields.email = Some(shown.to_owned());
                copy.stamps = stamps;
            });
            check(&body, &answer).unwrap();
        }
    }

    #[test]
    fn answer_to_an_update_shows_what_was_sent_and_may_show_more() {
        let sent = Stamps::of((3, ID), &fields("bob@x.com"), &[Field::Name]);
        let body = update_body(&[(Field::Name, Some("Bob".to_owned()))], (ID, None), &sent);
        check(&body, &copy()).unwrap();
        check(&body, &changed(|copy| copy.fields.email = None)).unwrap();
        for other in [
            changed(|copy| copy.stamps = stamps(2)),
            changed(|copy| copy.detached = true),
            changed(|copy| copy.customer_id = None),
        ] {
            assert!(check(&body, &other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn answer_to_a_detach_shows_the_mark() {
        let marked = changed(|copy| copy.detached = true);
        check(&detach_body(), &marked).unwrap();
        assert!(check(&detach_body(), &copy()).is_err());
    }
}
