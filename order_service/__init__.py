"""The order service: whether an order is whole.

Owns: orders with their items, status history and timeline of events; the local price list; idempotency keys of orders.
Publishes: ORDER_CREATED, ORDER_CONFIRMED, ORDER_CANCELLED.
Consumes: every event that bears an order's id, and PRODUCT_UPDATED. See rabbitmq/choreography.yml.
"""
