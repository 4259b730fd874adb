-- wrk's script for `make bench`: each request is an order of its own, with a key of its own.
-- Owns: what is sent, and wrk's figures as one line of JSON. Must not know: what becomes of the orders.
-- Arguments: run id, file with one token a line, file with one item a line, percent of declined cards, seed.

local numbers = 0

function setup(thread)
  thread:set("number", numbers)
  numbers = numbers + 1
end

local function lines_of(path)
  local lines = {}
  for line in io.lines(path) do
    lines[#lines + 1] = line
  end
  return lines
end

function init(arguments)
  run, tokens, items = arguments[1], lines_of(arguments[2]), lines_of(arguments[3])
  declined_percent = tonumber(arguments[4])
  math.randomseed(tonumber(arguments[5]) * 1000 + number)
  sent = 0
end

local function line_of(item)
  return string.format('{"item":"%s","quantity":%d}', item, math.random(3))
end

function request()
  sent = sent + 1
  local first = math.random(#items)
  -- Another one: as many steps further on as there are others.
  local second = (first + math.random(#items - 1) - 1) % #items + 1
  local token = math.random(100) <= declined_percent and "tok_card_declined" or "tok_success"
  local body = string.format(
    '{"items":[%s,%s],"paymentMethod":"%s"}', line_of(items[first]), line_of(items[second]), token)
  local headers = {
    ["Content-Type"] = "application/json",
    ["Authorization"] = "Bearer " .. tokens[sent % #tokens + 1],
    ["Idempotency-Key"] = string.format("%s-%d-%d", run, number, sent),
  }
  return wrk.format("POST", "/api/v1/orders", headers, body)
end

function done(summary, latency, requests)
  local percents = { 0, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100 }
  local shown = {}
  for place, percent in ipairs(percents) do
    local us = percent == 0 and latency.min or percent == 100 and latency.max or latency:percentile(percent)
    shown[place] = string.format('"%s":%.3f', percent, us / 1000)
  end
  local errors = summary.errors
  io.write(string.format(
    '{"answers":%d,"seconds":%.6f,"refused":%d,"broken":%d,"ms_by_percent":{%s}}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, table.concat(shown, ",")))
end
