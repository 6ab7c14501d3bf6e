-- The two inserts of transaction.sql as one statement: one round trip instead of four.
\set count :count + 1
WITH created AS (
    INSERT INTO customer (id, email, email_key, name, phone, description, rev, deleted_at, created_at, updated_at)
    VALUES (
        (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '70008000'
            || lpad(to_hex(:count::bigint * 1000 + :client_id::bigint), 12, '0'))::uuid,
        :run::text || '-' || lpad(:client_id::text, 3, '0') || '-' || lpad(:count::text, 9, '0') || '@example.com',
        :run::text || '-' || lpad(:client_id::text, 3, '0') || '-' || lpad(:count::text, 9, '0') || '@example.com',
        'Bench Customer', NULL, NULL, 1, NULL, now(), now())
    RETURNING id, email
)
INSERT INTO outbox (customer_id, rev, kind, origin, payload, traceparent, created_at)
SELECT
    id, 1, 'created', 'application',
    ('{"id": "' || id || '", "rev": 1, "origin": "application", "email": "' || email || '", "name": "Bench Customer",'
        || ' "phone": null, "description": null, "deleted": false,'
        || ' "created_at": "2026-01-01T00:00:00.123456Z", "updated_at": "2026-01-01T00:00:00.123456Z"}')::jsonb,
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', now()
FROM created;
