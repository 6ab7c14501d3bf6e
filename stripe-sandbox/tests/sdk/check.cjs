// Talks to the sandbox with Stripe's node SDK; stops at the first thing that is not as with Stripe.
'use strict';

const assert = require('node:assert/strict');
const http = require('node:http');
const Stripe = require('stripe');

const url = new URL(process.argv[2]);
const stripe = new Stripe('sk_test_node', {
  host: url.hostname,
  port: url.port,
  protocol: 'http',
  maxNetworkRetries: 0,
});

const refused = async (type, call, expected = {}) => {
  const error = await call().then(() => assert.fail(`${type} was not thrown`), (caught) => caught);
  assert.equal(error.type, type, error.stack);
  for (const [name, value] of Object.entries(expected)) assert.equal(error[name], value, name);
};

const fault = (members) =>
  fetch(new URL('/_sandbox/faults', url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(members),
  });

const customers = async () => {
  const ada = await stripe.customers.create({
    email: 'ada@example.com',
    name: 'Ada & "Co" = 100% ü 🎉',
    metadata: { customer_sync_id: '1' },
    shipping: { name: 'Ada', address: { line1: 'Main St 1' } },
  });
  assert.equal(ada.shipping.address.line1, 'Main St 1');
  assert.match(ada.lastResponse.requestId, /^req_/);
  const changed = await stripe.customers.update(ada.id, { name: '', metadata: { customer_sync_id: '' } });
  assert.deepEqual([changed.name, changed.metadata], [null, {}]);
  assert.equal((await stripe.customers.del(ada.id)).deleted, true);
  assert.equal((await stripe.customers.retrieve(ada.id)).deleted, true);
  const invalid = 'StripeInvalidRequestError';
  const missing = { code: 'resource_missing', statusCode: 404 };
  await refused(invalid, () => stripe.customers.update(ada.id, { name: 'x' }), missing);
  await refused(invalid, () => stripe.customers.create({ email: 'bad' }), { code: 'email_invalid' });
};

const lists = async () => {
  const made = [];
  for (let n = 0; n < 15; n += 1) {
    made.unshift((await stripe.customers.create({ name: `node ${n}`, email: 'node@example.com' })).id);
  }
  const walked = await stripe.customers.list({ limit: 4, email: 'node@example.com' }).autoPagingToArray({ limit: 100 });
  assert.deepEqual(walked.map(({ id }) => id), made);
  const found = await stripe.customers
    .search({ query: 'name~"node" AND email:"node@example.com"', limit: 4 })
    .autoPagingToArray({ limit: 100 });
  assert.deepEqual(found.map(({ id }) => id), made);
};

const idempotency = async () => {
  const keyed = (name) => stripe.customers.create({ name }, { idempotencyKey: 'node-1' });
  assert.equal((await keyed('once')).id, (await keyed('once')).id);
  await refused('StripeIdempotencyError', () => keyed('other'), { statusCode: 400 });
};

const webhooks = async () => {
  let arrived;
  const delivery = new Promise((resolve) => { arrived = resolve; });
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    response.end();
    arrived([Buffer.concat(chunks), request.headers['stripe-signature']]);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = await stripe.webhookEndpoints.create({
    url: `http://127.0.0.1:${server.address().port}/`,
    enabled_events: ['*'],
  });
  const customer = await stripe.customers.create({ name: 'hooked' });
  const [payload, signature] = await delivery;
  const event = stripe.webhooks.constructEvent(payload, signature, endpoint.secret);
  assert.equal(event.data.object.id, customer.id);
  assert.throws(() => stripe.webhooks.constructEvent(payload, signature, 'whsec_other'));
  const [listed] = (await stripe.events.list({ types: ['customer.created'], limit: 1 })).data;
  assert.equal((await stripe.events.retrieve(listed.id)).id, event.id);
  await stripe.webhookEndpoints.del(endpoint.id);
  server.closeAllConnections();
  server.close();
};

const faults = async () => {
  const create = () => stripe.customers.create({ name: 'x' });
  const cases = [
    [{ kind: 'lock_timeout' }, 'StripeRateLimitError'],
    [{ kind: 'forbidden' }, 'StripePermissionError'],
    [{ kind: 'unauthorized' }, 'StripeAuthenticationError'],
    [{ kind: 'error_before_effect', should_retry: false }, 'StripeAPIError'],
    [{ kind: 'garbled_body' }, 'StripeAPIError'],
    [{ kind: 'truncated_body' }, 'StripeConnectionError'],
    // Twice, because this SDK always retries a reset once.
    [{ kind: 'reset_before_effect', times: 2 }, 'StripeConnectionError'],
  ];
  for (const [members, type] of cases) {
    await fault({ on: 'POST /v1/customers', ...members });
    await refused(type, create);
  }
};

(async () => {
  for (const check of [customers, lists, idempotency, webhooks, faults]) await check();
  process.stdout.write(`stripe-node ${Stripe.PACKAGE_VERSION}: all checks passed\n`);
})().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
