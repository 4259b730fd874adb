#!/usr/bin/env bash
# The README's walk through the HTTP API with curl: plays each command on the local stack, prints it with its answer (long
# lines cut), and fails where an answer lacks what it must have. Starts the stack if need be. `make walkthrough`
# --commands: prints the commands only; a test compares them with the README's.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
WIDTH=118

# Commands as a reader would type them; behind |||, what the output must contain. A line without it prints nothing.
commands() {
    cat <<'EOF'
eval "$(ordersaga env)"; G=$GATEWAY_URL/api/v1; J='Content-Type: application/json'
field() { grep -o "\"$1\":\"[^\"]*\"" | head -1 | cut -d\" -f4; }   # the first "name":"value" of an answer
login() { curl -s $G/auth/token -H "$J" -d '{"username":"'$1'","password":"'$2'"}'; }
post() { curl -s $G$1 -H "$2" -H "$J" -H "Idempotency-Key: $3" -d "$4"; }   # path, who, key, body
login user@ordersaga.example User1234! ||| "tokenType":"Bearer"
ME="Authorization: Bearer $(login user@ordersaga.example User1234! | field accessToken)"
SHOP="Authorization: Bearer $(login seller@ordersaga.example Seller123! | field accessToken)"
TEAPOT=teapot-$RANDOM
post /products "$SHOP" $TEAPOT '{"item":"'$TEAPOT'","name":"Teapot","price":"24.50","currency":"EUR","onHand":4}' ||| "available":4
sleep 1   # its price is on its way to the order service; until then: 422 unknown_item
curl -s "$G/products?text=$TEAPOT" -H "$ME" ||| "price":"24.50"
curl -si $G/orders -H "$ME" -H "$J" -H "Idempotency-Key: $TEAPOT-1" -d '{"items":[{"item":"'$TEAPOT'","quantity":2}]}' | grep -E '^(HTTP|Location|\{)' ||| HTTP/1.1 202
ORDER=$(curl -s "$G/orders?item=$TEAPOT" -H "$ME" | field id)
curl -sN $G/orders/$ORDER/events -H "$ME" | grep .   # live, until the checkout has ended ||| event: end
post /orders/$ORDER/cancel "$ME" $TEAPOT-2 '{}' | field status ||| CANCELLED
curl -sN "$G/orders/$ORDER/events?until=whole" -H "$ME" | grep -o '"type":"[A-Z_]*"' | tail -3   # all comes back ||| PAYMENT_REFUNDED
curl -s "$G/orders/$ORDER?expand=payment" -H "$ME" | grep -o '"refunded":"[0-9.]*"' | tail -1 ||| 49.00
ORDER=$(post /orders "$ME" $TEAPOT-3 '{"items":[{"item":"'$TEAPOT'","quantity":1}]}' | field id)
curl -sN $G/orders/$ORDER/events -H "$ME" | grep -o '"status":"[A-Z]*"' | tail -1 ||| CONFIRMED
PAYMENT=$(curl -s $G/orders/$ORDER -H "$SHOP" | field paymentId)
post /payments/$PAYMENT/refund "$SHOP" $TEAPOT-4 '{"amount":"4.50","reason":"scratched"}' ||| "amount":"4.50"
post /orders/$ORDER/fulfil "$SHOP" $TEAPOT-5 '{"tracking":"DHL 7"}' | field tracking ||| DHL 7
post /orders/$ORDER/cancel "$ME" $TEAPOT-6 '{}' | grep -o '"code":.*'   # too late ||| "order_not_cancellable"
post /orders/$ORDER/fulfil "$ME" $TEAPOT-7 '{}' | grep -o '"detail":.*'   # a customer ships nothing ||| "forbidden"
curl -s $G/orders/$ORDER | grep -o '"detail":.*' ||| "unauthenticated"
EOF
}

if [ "${1:-}" = --commands ]; then
    commands | sed 's/ *|||.*//; s/^/$ /'
    exit
fi
if ! command -v curl >/dev/null; then
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root="sudo -n"
    $as_root apt-get update -qq
    $as_root apt-get install -y -qq --no-install-recommends curl >/dev/null
fi
ordersaga up
# Whatever a command has said on the way, which one it was must be seen; a throttled login (10 a minute) is the usual one.
trap 'printf "walkthrough: stopped at: %s\n" "${command:-}" >&2' ERR
while IFS= read -r -u 3 line; do
    command=${line%% |||*}
    printf '$ %s\n' "$command"
    case "$line" in
        *" ||| "*) ;;
        # A busy machine needs longer than a reader's.
        sleep*) sleep 5; continue ;;
        *) eval "$command"; continue ;;
    esac
    output=$(eval "$command" 2>&1)
    printf '%s\n' "$output" | tr -d '\r' | while IFS= read -r said; do
        if [ "${#said}" -gt "$WIDTH" ]; then said="${said:0:$WIDTH}…"; fi
        printf '%s\n' "$said"
    done
    printf '\n'
    expected=${line##* ||| }
    case "$output" in
        *"$expected"*) ;;
        *) printf 'walkthrough: expected %s in this answer\n' "$expected" >&2; exit 1 ;;
    esac
done 3< <(commands)
