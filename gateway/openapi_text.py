"""The introduction of the OpenAPI document.

Owns: its words. Must not know: single endpoints.
"""

SUMMARY = "Orders that end whole: all steps done, or all undone."

DESCRIPTION = """\
Place an order, and stock, payment and shipping follow by themselves. Whatever breaks on the way, the order ends whole:
fulfilled, or cancelled with its stock back and its money returned.

**Who you are.** Send `Authorization: Bearer <token>`. An operation's `x-roles` says who may use it: `USER` (customers),
`SELLER` (shops), `ADMIN` (operators). What is not yours is answered as if it did not exist (404); what you may see but
not change is 403.

**Requests.** JSON in UTF-8, at most 256 KiB, not compressed. Members and query parameters that are not listed are
refused, for they would be typing errors that nobody notices. Money is a string (`"10.00"`), a time RFC 3339.

**Repeating.** What creates or moves something needs an `Idempotency-Key` of your choice, one for each intended effect.
Sent again with the same key and body, a request has no second effect and gives the same answer, with
`Idempotent-Replayed: true`. The same key with another body is 422 (`idempotency_key_reused`).

**What is accepted is not done yet.** 202 says that the saga has begun; `Location` is where to see what comes of it.

**Lists** are cut into pages: `limit` (50 unless you say otherwise, at most 100), and `nextCursor` of one answer as
`cursor` of the next request; null on the last page. A cursor that was not made here is 422.

**Problems** are `application/problem+json` (RFC 9457). Go by `code`, which stays; `detail` is for people, and `errors`
has the place of each wrong value. With `Retry-After`, asking again is worth it. 503 means that the request was not
carried out (unless its database went away in the very moment of saving); 504 (`outcome_unknown`), that nobody knows.
Repeat a write with the same key either way: it takes effect once.

**Finding out.** Every answer has an `X-Request-Id`; name it when you ask us about a request.

Answers may get further members at any time: ignore those that you do not know.
"""
