"""The order service: whether an order is whole.

Owns: orders with their items, returns, status history and timeline of events; carts; the local price list; idempotency
keys of orders and carts; who asked what of orders (audit log).
Publishes: ORDER_CREATED, ORDER_APPROVED, ORDER_CONFIRMED, ORDER_CANCELLED, ORDER_FULFILLED, ORDER_RETURNED.
Consumes: every event that bears an order's id, and PRODUCT_UPDATED. See rabbitmq/choreography.yml.
"""
