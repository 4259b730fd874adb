"""The inventory service: whether there is enough.

Owns: products, stock (on hand and reserved), reservations with their expiry, manual holds, the reason for every
movement, and who asked for which change.
Publishes: INVENTORY_RESERVED, INVENTORY_REJECTED, INVENTORY_REFUNDED, INVENTORY_COMMITTED, INVENTORY_ADJUSTED,
PRODUCT_UPDATED.
Consumes: ORDER_CREATED, ORDER_APPROVED, ORDER_CANCELLED, ORDER_FULFILLED, ORDER_RETURNED, PAYMENT_SUCCESS,
PAYMENT_FAILED. See rabbitmq/choreography.yml.
"""
