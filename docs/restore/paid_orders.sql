begin;
create temp table paid (order_id uuid, payment_id uuid, price numeric, currency text, reference text, at timestamptz, correlation_id text, user_id text, seller_id text);
\copy paid from 'paid.csv' csv
create temp table book (reference text, key uuid);
\copy book from 'book.csv' csv
delete from paid where order_id in (select order_id from payments where status <> 'PENDING' or charging);
insert into payments (order_id, id, status, amount, currency, charging, cancelled, psp_reference, refunded, created_at, updated_at, attempts, user_id, seller_id)
  select order_id, payment_id, 'SUCCEEDED', price, currency, false, false, reference, 0, at, at, 1, user_id, seller_id from paid
  on conflict (order_id) do update set status = 'SUCCEEDED', psp_reference = excluded.psp_reference, attempts = 1, updated_at = excluded.updated_at;
insert into payment_attempts (id, order_id, kind, amount, currency, status, tries, correlation_id, started_at, ended_at)
  select key, order_id, 'CHARGE', price, currency, 'SUCCEEDED', 0, correlation_id, at, at from paid join book using (reference);
with entry as (select gen_random_uuid() as id, * from paid)
insert into ledger_entries (transaction_id, order_id, account, amount, currency, at)
  select id, order_id, account, sign * price, currency, at from entry, (values ('psp_receivable', 1), ('customer_payments', -1)) as side (account, sign);
commit;
