# syntax=docker/dockerfile:1
# One image for all our processes; the command says which one it is.

FROM python:3.11-slim-bookworm AS packages
WORKDIR /build
COPY requirements.lock .
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock

FROM packages AS packages-cdc
COPY requirements-cdc.lock .
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements-cdc.lock

FROM python:3.11-slim-bookworm AS ordersaga
RUN useradd --system --uid 10001 --no-create-home ordersaga \
    && mkdir -p /run/secrets /var/lib/ordersaga && chown ordersaga /var/lib/ordersaga
COPY --from=packages /venv /venv
WORKDIR /app
COPY order_service order_service
COPY inventory_service inventory_service
COPY payment_service payment_service
COPY finance_service finance_service
COPY gateway gateway
COPY shared shared
COPY cdc cdc
COPY ops ops
COPY rabbitmq rabbitmq
COPY docs/asyncapi.json docs/asyncapi.json
# Nothing is written at run time, so that the root file system can be read-only: what Python would write is made here.
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN python -m compileall -q /app
USER ordersaga
STOPSIGNAL SIGTERM
CMD ["python", "-m", "gateway"]

# The same with Debezium and Java, for the connectors of change data capture.
FROM ordersaga AS cdc
USER root
RUN apt-get update && apt-get install -y --no-install-recommends openjdk-17-jre-headless && rm -rf /var/lib/apt/lists/*
COPY --from=packages-cdc /venv /venv
USER ordersaga
CMD ["python", "-m", "cdc", "order_service"]

# What is built when nobody says what.
FROM ordersaga
