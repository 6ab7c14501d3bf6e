-- What the API has to get the database to do for a create, and nothing else: the ceiling of scripts/bench. The rows
-- are of the API's size, and the keys are UUIDs of version 7 like its own.
\set count :count + 1
BEGIN;
INSERT INTO customer (id, email, email_key, name, phone, description, rev, deleted_at, created_at, updated_at)
VALUES (
    (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '70008000'
        || lpad(to_hex(:count::bigint * 1000 + :client_id::bigint), 12, '0'))::uuid,
    :run::text || '-' || lpad(:client_id::text, 3, '0') || '-' || lpad(:count::text, 9, '0') || '@example.com',
    :run::text || '-' || lpad(:client_id::text, 3, '0') || '-' || lpad(:count::text, 9, '0') || '@example.com',
    'Bench Customer', NULL, NULL, 1, NULL, now(), now())
RETURNING id, email \gset
INSERT INTO outbox (customer_id, rev, kind, origin, payload, traceparent, created_at)
VALUES (
    :id::uuid, 1, 'created', 'application',
    ('{"id": "' || :id::text || '", "rev": 1, "origin": "application", "email": "' || :email::text || '", "name": "Bench Customer",'
        || ' "phone": null, "description": null, "deleted": false,'
        || ' "created_at": "2026-01-01T00:00:00.123456Z", "updated_at": "2026-01-01T00:00:00.123456Z"}')::jsonb,
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', now());
COMMIT;
