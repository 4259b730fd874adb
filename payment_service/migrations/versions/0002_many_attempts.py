"""Several attempts to pay, refunds in parts, charges that the provider carries out later."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

PAYMENTS = """
alter table payments
    add column mode text not null default 'auto' check (mode in ('auto', 'manual')),
    add column user_id text,
    add column expires_at timestamptz,
    add column attempts integer not null default 0 check (attempts >= 0),
    add column stock_gone boolean not null default false,
    add column refunding numeric(12, 2) not null default 0 check (refunding >= 0),
    add constraint payments_refunds_check check (refunded + refunding <= amount);
"""
ATTEMPTS = """
alter table payment_attempts
    add column purpose text,
    alter column cause_event_id drop not null,
    drop constraint payment_attempts_status_check,
    add constraint payment_attempts_status_check
        check (status in ('CALLING', 'UNKNOWN', 'AWAITING', 'SUCCEEDED', 'FAILED', 'TIMED_OUT'));
drop index payment_attempts_one_charge;
-- Whatever the code does: one charge of a payment at a time, and none after one that succeeded.
create unique index payment_attempts_one_open_charge on payment_attempts (order_id)
    where kind = 'CHARGE' and ended_at is null;
create unique index payment_attempts_one_succeeded_charge on payment_attempts (order_id)
    where kind = 'CHARGE' and status = 'SUCCEEDED';
"""
REFUNDS = "alter table refunds add column failure text;"
# What the new columns mean for what was there before: a pending payment that nobody charges waits for its customer.
EXISTING = """
update payment_attempts a set purpose = f.reason from refunds f where f.id = a.id;
update payments p set refunding = f.amount
from (select order_id, sum(amount) as amount from refunds where status = 'PENDING' group by order_id) f
where f.order_id = p.order_id;
update payments p set attempts = 1
where exists (select 1 from payment_attempts a where a.order_id = p.order_id and a.kind = 'CHARGE');
update payments p
set mode = 'manual',
    expires_at = (select cast(o.payload ->> 'expiresAt' as timestamptz) from outbox o
                  where o.aggregate_id = cast(p.order_id as text) and o.event_type = 'PAYMENT_PENDING'
                  order by o.id desc limit 1)
where p.status = 'PENDING' and not p.charging;
"""


def upgrade() -> None:
    for statements in (PAYMENTS, ATTEMPTS, REFUNDS, EXISTING):
        op.execute(statements)


def downgrade() -> None:
    raise NotImplementedError("what was paid in several attempts does not fit the first version")
