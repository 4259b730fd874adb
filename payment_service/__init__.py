"""The payment service: whether the money was taken.

Owns: payments, attempts to charge, refunds, a ledger that always balances, and who asked for which change.
Publishes: PAYMENT_PENDING, PAYMENT_SUCCESS, PAYMENT_FAILED, PAYMENT_CANCELLED, PAYMENT_REFUNDED, PAYMENT_REFUND_FAILED.
Consumes: INVENTORY_RESERVED, INVENTORY_REFUNDED, ORDER_CANCELLED, ORDER_RETURNED. See rabbitmq/choreography.yml.
"""
