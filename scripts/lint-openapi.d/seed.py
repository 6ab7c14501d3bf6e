"""Makes one of each thing that waits for a decision, so that the calls for them have something to answer."""

import json
import sys
import time
import urllib.parse
import urllib.request

API, SANDBOX, KEY = sys.argv[1:]


def call(method, path, body=None):
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"{API}/api/v1/{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def stripe(method, path, **form):
    data = urllib.parse.urlencode(form).encode() if form else None
    headers = {"Authorization": "Bearer sk_test_sandbox"}
    request = urllib.request.Request(f"{SANDBOX}/v1/customers{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def synced(name):
    customer = call("POST", "customers", {"email": f"{name}@example.com", "name": name})
    state = call("GET", f"customers/{customer['id']}/sync?wait=20s")
    assert state["status"] == "synced", state
    return customer["id"], state["stripe_id"]


def wait_for(list_name):
    for _ in range(200):
        if call("GET", list_name)["data"]:
            return
        time.sleep(0.1)
    sys.exit(f"seed: /api/v1/{list_name} is still empty after 20 s")


# Without an e-mail it becomes no customer here.
stripe("POST", "", name="Unmatched")
# Edited on both sides, with FIELD_OWNER=manual.
identifier, stripe_id = synced("conflict")
stripe("POST", f"/{stripe_id}", name="Edited in Stripe")
call("PATCH", f"customers/{identifier}", {"name": "Edited here"})
# Deleted in Stripe and edited here.
identifier, stripe_id = synced("parked")
stripe("DELETE", f"/{stripe_id}")
call("PATCH", f"customers/{identifier}", {"name": "Edited here"})
for list_name in ["conflicts", "parked", "unmatched"]:
    wait_for(list_name)
