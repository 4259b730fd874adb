"""The payment provider's way in: webhooks.

Owns: the endpoint under /psp. Must not know: keys or what a webhook says; the payment service checks the signature.
"""

from __future__ import annotations

from flask import Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from gateway.documents import Webhook, WebhookReceipt
from gateway.json_body import read_text
from gateway.openapi import ApiBlueprint
from gateway.responses import json_response
from gateway.services import PAYMENT_SERVICE, services
from shared.errors import InvalidSignature

blueprint = ApiBlueprint("psp", __name__, url_prefix="/api/v1/psp", description="For the payment provider")

SIGNATURE_HEADER = "PSP-Signature"
# Anybody may knock here: what no webhook can be does not travel to the service that knows the secret.
MOST_BYTES = 65_536
LONGEST_SIGNATURE = 1_000
_SIGNATURE = {
    "in": "header",
    "name": SIGNATURE_HEADER,
    "required": True,
    "description": 'HMAC-SHA256 of "<t>.<body>" with the secret that provider and shop share, not older than 5 minutes',
    "schema": {
        "type": "string",
        "pattern": r"^t=[0-9]{1,12}(,v1=[0-9a-f]{64}){1,5}$",
        "examples": ["t=1767268800,v1=" + "0f" * 32],
    },
}


@blueprint.route("/webhooks", methods=["POST"])
@blueprint.public
@blueprint.response(200, WebhookReceipt)
@blueprint.documented(problems=(503, 504), headers=(_SIGNATURE,), body=Webhook)
def receive_webhook() -> Response:
    """Hear from the provider how a charge ended

    Sent again until it is answered with 2xx; late, twice or out of order it does no harm.
    """
    signature = request.headers.get(SIGNATURE_HEADER, "")
    if not 1 <= len(signature) <= LONGEST_SIGNATURE:
        raise InvalidSignature(f"Send a {SIGNATURE_HEADER} header of at most {LONGEST_SIGNATURE} characters")
    body = read_text(request)
    if len(request.get_data()) > MOST_BYTES:
        raise RequestEntityTooLarge
    receipt = services().call(PAYMENT_SERVICE, "psp_webhook", body=body, signature=signature)
    return json_response(receipt)
