"""The inventory service: whether there is enough.

Owns: products, stock (on hand and reserved), reservations with their expiry, and the reason for every movement.
Publishes: INVENTORY_RESERVED, INVENTORY_REJECTED, INVENTORY_REFUNDED, INVENTORY_ADJUSTED, PRODUCT_UPDATED.
Consumes: ORDER_CREATED, ORDER_CANCELLED, PAYMENT_SUCCESS, PAYMENT_FAILED. See rabbitmq/choreography.yml.
"""
