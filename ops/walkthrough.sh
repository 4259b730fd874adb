#!/usr/bin/env bash
# The README's walk through the HTTP API with curl: plays each command on the running stack, prints it with its answer
# (long lines cut), and fails where an answer lacks what it must have. `make walkthrough`; starts the stack if need be.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
STACK=${1:-.stack}
ordersaga --stack "$STACK" up

# show COMMAND EXPECTED: runs a command line as a reader would type it; its output must contain EXPECTED.
show() {
    printf '$ %s\n' "$1"
    output=$(eval "$1" 2>&1)
    printf '%s\n' "$output" | sed 's/\r$//' | while IFS= read -r line; do
        if [ "${#line}" -gt 170 ]; then printf '%s…\n' "${line:0:170}"; else printf '%s\n' "$line"; fi
    done
    case "$output" in
        *"$2"*) printf '\n' ;;
        *) printf 'walkthrough: expected %s in the answer\n' "$2" >&2; exit 1 ;;
    esac
}
# run COMMAND: a command line without output of its own.
run() {
    printf '$ %s\n' "$1"
    eval "$1"
}

run "eval \"\$(ordersaga --stack $STACK env)\"; G=\$GATEWAY_URL/api/v1; J='Content-Type: application/json'"
run 'field() { grep -o "\"$1\":\"[^\"]*\"" | head -1 | cut -d\" -f4; }    # the first "name":"value" of an answer'
run 'login() { curl -s $G/auth/token -H "$J" -d "{\"username\":\"$1\",\"password\":\"$2\"}"; }'
show "login user@ordersaga.example User1234!" '"tokenType":"Bearer"'
run 'ME="Authorization: Bearer $(login user@ordersaga.example User1234! | field accessToken)"'
run 'SHOP="Authorization: Bearer $(login seller@ordersaga.example Seller123! | field accessToken)"'
run 'ITEM=teapot-$RANDOM'
show 'curl -s $G/products -H "$SHOP" -H "$J" -H "Idempotency-Key: new-$ITEM" -d "{\"item\":\"$ITEM\",\"name\":\"Teapot\",\"price\":\"24.50\",\"currency\":\"EUR\",\"onHand\":4}"' '"available":4'
run 'sleep 1    # its price is on its way to the order service; until then: 422 unknown_item'
show 'curl -s "$G/products?text=$ITEM" -H "$ME"' '"price":"24.50"'
show 'curl -si $G/orders -H "$ME" -H "$J" -H "Idempotency-Key: first-$ITEM" -d "{\"items\":[{\"item\":\"$ITEM\",\"quantity\":2}]}" | tee order.txt' 'HTTP/1.1 202'
run 'ORDER=$(field id < order.txt); rm order.txt'
show 'curl -sN $G/orders/$ORDER/events -H "$ME"    # live, until the checkout has ended' 'event: end'
show 'curl -s $G/orders/$ORDER/cancel -H "$ME" -H "$J" -H "Idempotency-Key: cancel-$ITEM" -d "{}" | field status' 'CANCELLED'
show 'curl -sN "$G/orders/$ORDER/events?until=whole" -H "$ME" | grep -o "\"type\":\"[A-Z_]*\"" | tail -3    # stock and money come back' 'PAYMENT_REFUNDED'
show 'curl -s "$G/orders/$ORDER?expand=payment" -H "$ME" | grep -o "\"refunded\":\"[0-9.]*\"" | tail -1' '49.00'
run 'ORDER=$(curl -s $G/orders -H "$ME" -H "$J" -H "Idempotency-Key: second-$ITEM" -d "{\"items\":[{\"item\":\"$ITEM\",\"quantity\":1}]}" | field id)'
show 'curl -sN $G/orders/$ORDER/events -H "$ME" | tail -3' 'event: end'
run 'PAYMENT=$(curl -s $G/orders/$ORDER -H "$SHOP" | field paymentId)'
show 'curl -s $G/payments/$PAYMENT/refund -H "$SHOP" -H "$J" -H "Idempotency-Key: scratched-$ITEM" -d "{\"amount\":\"4.50\",\"reason\":\"scratched\"}"' '"amount":"4.50"'
show 'curl -s $G/orders/$ORDER/fulfil -H "$SHOP" -H "$J" -H "Idempotency-Key: ship-$ITEM" -d "{\"tracking\":\"DHL 7\"}" | field tracking' 'DHL 7'
show 'curl -s $G/orders/$ORDER/cancel -H "$ME" -H "$J" -H "Idempotency-Key: late-$ITEM" -d "{}"' '"code":"order_not_cancellable"'
show 'curl -s $G/orders/$ORDER/fulfil -H "$ME" -H "$J" -H "Idempotency-Key: mine-$ITEM" -d "{}"    # a customer ships nothing' '"code":"forbidden"'
show 'curl -s $G/orders/$ORDER' '"code":"unauthenticated"'
