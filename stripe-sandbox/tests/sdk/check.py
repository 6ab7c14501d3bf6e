"""Talks to the sandbox with Stripe's python SDK; stops at the first thing that is not as with Stripe."""

import http.server
import json
import queue
import sys
import threading
import urllib.request

import stripe

url = sys.argv[1]
stripe.api_base = url
stripe.api_key = "sk_test_python"
deliveries = queue.Queue()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        deliveries.put((body, self.headers["Stripe-Signature"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def refused(error, call, **expected):
    try:
        call()
    except error as caught:
        for name, value in expected.items():
            assert getattr(caught, name) == value, (name, getattr(caught, name), value)
        return caught
    raise AssertionError(f"{error.__name__} was not raised")


def fault(**members):
    request = urllib.request.Request(
        f"{url}/_sandbox/faults", json.dumps(members).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request).close()


def customers():
    ada = stripe.Customer.create(
        email="ada@example.com",
        name="Ada & \"Co\" = 100% ü 🎉",
        metadata={"customer_sync_id": "1", "plan": "gold"},
        address={"line1": "Main St 1", "country": "DE"},
        preferred_locales=["de", "en"],
    )
    assert ada.id.startswith("cus_") and ada.address.line1 == "Main St 1" and not ada.livemode
    assert ada.last_response.request_id.startswith("req_")
    changed = stripe.Customer.modify(ada.id, name="", metadata={"plan": ""})
    assert changed.name is None and changed.metadata.to_dict() == {"customer_sync_id": "1"}
    assert stripe.Customer.modify(ada.id, metadata="").metadata.to_dict() == {}
    assert stripe.Customer.retrieve(ada.id).email == "ada@example.com"
    assert stripe.Customer.delete(ada.id).deleted
    assert stripe.Customer.retrieve(ada.id).deleted
    missing = {"http_status": 404, "code": "resource_missing", "param": "id"}
    refused(stripe.InvalidRequestError, lambda: stripe.Customer.modify(ada.id, name="x"), **missing)
    refused(stripe.InvalidRequestError, lambda: stripe.Customer.create(email="bad"), code="email_invalid", param="email")
    refused(stripe.InvalidRequestError, lambda: stripe.Customer.create(colour="red"), code="parameter_unknown")
    refused(stripe.AuthenticationError, lambda: stripe.Customer.list(api_key="sk_live_no"), http_status=401)
    assert stripe.Account.retrieve().id.startswith("acct_")


def lists():
    made = [stripe.Customer.create(name=f"listed {n}", email="list@example.com").id for n in range(25)]
    walked = [customer.id for customer in stripe.Customer.list(limit=10).auto_paging_iter()]
    assert walked[:25] == made[::-1]
    backwards = stripe.Customer.list(limit=10, ending_before=made[0]).auto_paging_iter()
    assert [customer.id for customer in backwards] == made[1:]
    assert len(stripe.Customer.list(limit=100, email="list@example.com").data) == 25
    assert stripe.Customer.list(limit=100, created={"gte": 4_000_000_000}).data == []
    found = stripe.Customer.search(query="name~'listed' AND email:'LIST@example.com'", limit=10)
    assert [customer.id for customer in found.auto_paging_iter()] == made[::-1]
    refused(stripe.InvalidRequestError, lambda: stripe.Customer.list(limit=101), param="limit")


def idempotency():
    first = stripe.Customer.create(name="once", idempotency_key="python-1")
    again = stripe.Customer.create(name="once", idempotency_key="python-1")
    assert first.id == again.id and again.last_response.headers["Idempotent-Replayed"] == "true"
    refused(stripe.IdempotencyError, lambda: stripe.Customer.create(name="other", idempotency_key="python-1"))


def events_and_webhooks():
    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = stripe.WebhookEndpoint.create(
        url=f"http://127.0.0.1:{server.server_port}/", enabled_events=["customer.created", "customer.updated"]
    )
    customer = stripe.Customer.create(name="before")
    stripe.Customer.modify(customer.id, name="after")
    for _ in range(2):
        payload, signature = deliveries.get(timeout=10)
        event = stripe.Webhook.construct_event(payload, signature, endpoint.secret)
        assert event.data.object.id == customer.id
        refused(
            stripe.SignatureVerificationError,
            lambda: stripe.Webhook.construct_event(payload + b" ", signature, endpoint.secret),
        )
    fault(kind="webhook_wrongly_signed")
    stripe.Customer.create(name="forged")
    payload, signature = deliveries.get(timeout=10)
    refused(
        stripe.SignatureVerificationError, lambda: stripe.Webhook.construct_event(payload, signature, endpoint.secret)
    )
    updated = stripe.Event.list(type="customer.updated", limit=1).data[0]
    assert updated.data.previous_attributes.to_dict() == {"name": "before"} and updated.request.id.startswith("req_")
    assert stripe.Event.retrieve(updated.id).type == "customer.updated"
    assert stripe.WebhookEndpoint.delete(endpoint.id).deleted
    server.shutdown()


def faults():
    create = lambda: stripe.Customer.create(name="x")
    fault(on="POST /v1/customers", kind="rate_limited", reason="global-rate")
    refused(stripe.RateLimitError, create, http_status=429)
    fault(on="POST /v1/customers", kind="forbidden")
    refused(stripe.PermissionError, create, http_status=403)
    fault(on="POST /v1/customers", kind="unauthorized")
    refused(stripe.AuthenticationError, create)
    fault(on="POST /v1/customers", kind="error_after_effect", should_retry=False)
    refused(stripe.APIError, create, http_status=500)
    fault(on="POST /v1/customers", kind="gateway_error_after_effect")
    stripe.max_network_retries = 0
    refused(stripe.APIError, create, http_status=502)
    fault(on="POST /v1/customers", kind="reset_after_effect")
    refused(stripe.APIConnectionError, create)
    stripe.max_network_retries = 2
    before = len(list(stripe.Customer.list(limit=100).auto_paging_iter()))
    fault(on="POST /v1/customers", kind="reset_after_effect")
    create()
    after = len(list(stripe.Customer.list(limit=100).auto_paging_iter()))
    assert after == before + 1, "the SDK's retry is replayed"


for check in (customers, lists, idempotency, events_and_webhooks, faults):
    check()
print(f"stripe-python {stripe.VERSION}: all checks passed")
