"""The state changes of jobs and items, each one atomic script in Redis.

Items go queued -> running -> done or failed, or queued -> cancelled; a lease that ran out, or a fault that may pass,
brings an item back to queued. Every change checks the state it starts from, so that a message delivered twice, or a
worker that comes back from the dead, changes nothing. Counts, indices and the job's own state change in the same
script. Redis runs a script alone and whole.

`KEYS` stays empty: the key names follow from the job, which ties the records to one Redis (no cluster).
"""

from typing import Any

import redis

from toco.jobs.keys import LUA_KEYS

# States of an item, which are also the names of a job's counters.
QUEUED, RUNNING, DONE, FAILED, CANCELLED = ITEM_STATES = ("queued", "running", "done", "failed", "cancelled")
JOB_STATES = ("queued", "running", "succeeded", "partly_failed", "failed", "cancelled")

_PRELUDE = (
    LUA_KEYS
    + """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local function stamp(t) return string.format('%.6f', t) end

local function move(job, item, from, to)
  redis.call('HINCRBY', jobkey(job), from, -1)
  redis.call('HINCRBY', jobkey(job), to, 1)
  redis.call('SREM', statekey(job, from), item)
  redis.call('SADD', statekey(job, to), item)
  redis.call('HSET', itemkey(job, item), 'state', to)
  redis.call('HINCRBY', ITEMS, from, -1)
  redis.call('HINCRBY', ITEMS, to, 1)
end

-- Bring the job's state in line with its counts; note when it ends, and that someone wants to hear of it.
local function settle(job)
  local key = jobkey(job)
  local c = redis.call('HMGET', key, 'queued', 'running', 'done', 'failed', 'cancelled', 'started_at', 'webhook')
  local queued, running, done, failed = tonumber(c[1]), tonumber(c[2]), tonumber(c[3]), tonumber(c[4])
  local cancelled = tonumber(c[5])
  local state
  if queued + running > 0 then
    state = (c[6] and c[6] ~= '') and 'running' or 'queued'
  elseif cancelled > 0 then state = 'cancelled'
  elseif failed == 0 then state = 'succeeded'
  elseif done == 0 then state = 'failed'
  else state = 'partly_failed' end
  redis.call('HINCRBY', key, 'revision', 1)
  redis.call('ZREM', jobsinstate(redis.call('HGET', key, 'state')), job)
  redis.call('ZADD', jobsinstate(state), 0, job)
  redis.call('HSET', key, 'state', state, 'progress_at', stamp(now))
  if queued + running == 0 then
    if redis.call('ZREM', JOBS_ACTIVE, job) == 1 then
      redis.call('HSET', key, 'finished_at', stamp(now))
      redis.call('ZADD', JOBS_FINISHED, now, job)
      if c[7] and c[7] ~= '' then
        local round = redis.call('HINCRBY', key, 'rounds', 1)
        redis.call('ZADD', WEBHOOKS, now, job .. ':' .. round)
      end
      return 1
    end
  else
    redis.call('ZADD', JOBS_ACTIVE, 'NX', now, job)
    redis.call('ZREM', JOBS_FINISHED, job)
  end
  return 0
end

local function forget_lease(job, item)
  redis.call('HDEL', itemkey(job, item), 'owner', 'token', 'lease_until')
  redis.call('ZREM', LEASES, job .. ':' .. item)
end

local function holds(job, item, token)
  local held = redis.call('HMGET', itemkey(job, item), 'state', 'token')
  return held[1] == 'running' and held[2] == token
end
"""
)

# job, item, owner, lease seconds, most attempts, the error of an exhausted item
_LEASE = """
local job, item, owner = ARGV[1], ARGV[2], ARGV[3]
local key = itemkey(job, item)
local found = redis.call('HMGET', key, 'state', 'owner', 'lease_until', 'attempts', 'error')
local state = found[1]
if not state or redis.call('EXISTS', jobkey(job)) == 0 then return {'gone'} end
if state == 'running' then
  if found[2] ~= owner and tonumber(found[3]) > now then return {'busy'} end
elseif state ~= 'queued' then return {state} end
local attempts = tonumber(found[4])
if attempts >= tonumber(ARGV[5]) then
  local error = (found[5] and found[5] ~= '') and found[5] or ARGV[6]
  redis.call('HSET', key, 'error', error, 'finished_at', stamp(now))
  forget_lease(job, item)
  move(job, item, state, 'failed')
  settle(job)
  return {'failed'}
end
attempts = attempts + 1
local token = owner .. ':' .. attempts
redis.call('HSET', key, 'attempts', attempts, 'owner', owner, 'token', token, 'error', '',
  'lease_until', stamp(now + tonumber(ARGV[4])), 'started_at', stamp(now))
redis.call('ZADD', LEASES, now + tonumber(ARGV[4]), job .. ':' .. item)
if state == 'queued' then move(job, item, state, 'running') end
if redis.call('HSETNX', jobkey(job), 'started_at', stamp(now)) == 1 then
  redis.call('HSET', jobkey(job), 'rate_from', stamp(now))
end
settle(job)
return {'leased', token, attempts}
"""

# job, item, token, lease seconds
_RENEW = """
local job, item = ARGV[1], ARGV[2]
if not holds(job, item, ARGV[3]) then return 0 end
redis.call('HSET', itemkey(job, item), 'lease_until', stamp(now + tonumber(ARGV[4])))
redis.call('ZADD', LEASES, now + tonumber(ARGV[4]), job .. ':' .. item)
return 1
"""

# job, item, token, state to reach, then pairs: `order:NAME`, value for the sort orders; other fields for the item
_FINISH = """
local job, item, to = ARGV[1], ARGV[2], ARGV[4]
if redis.call('EXISTS', jobkey(job)) == 0 then return 'gone' end
if not holds(job, item, ARGV[3]) then return 'stale' end
local key = itemkey(job, item)
for i = 5, #ARGV, 2 do
  local order = string.match(ARGV[i], '^order:(.+)$')
  local tag = string.match(ARGV[i], '^tag:(.+)$')
  if order then redis.call('ZADD', orderkey(job, order), ARGV[i + 1], item)
  elseif tag then
    redis.call('SADD', setkey(job, 'tag', tag), item)
    redis.call('SADD', tagskey(job), tag)
  else redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
end
forget_lease(job, item)
if to ~= 'queued' then
  redis.call('HSET', key, 'finished_at', stamp(now))
  redis.call('HINCRBY', jobkey(job), 'rate_count', 1)
end
move(job, item, 'running', to)
settle(job)
return to
"""

# job, item: a lease that ran out
_RECLAIM = """
local job, item = ARGV[1], ARGV[2]
local found = redis.call('HMGET', itemkey(job, item), 'state', 'lease_until')
if found[1] ~= 'running' then
  redis.call('ZREM', LEASES, job .. ':' .. item)
  return 0
end
if tonumber(found[2] or '0') > now then return 0 end
forget_lease(job, item)
move(job, item, 'running', 'queued')
settle(job)
return 1
"""

# job
_CANCEL = """
local job = ARGV[1]
if redis.call('EXISTS', jobkey(job)) == 0 then return -1 end
local items = redis.call('SMEMBERS', statekey(job, 'queued'))
for _, item in ipairs(items) do
  move(job, item, 'queued', 'cancelled')
  redis.call('HSET', itemkey(job, item), 'finished_at', stamp(now))
end
redis.call('HSET', jobkey(job), 'cancel_requested', 1)
if #items > 0 then settle(job) end
return #items
"""

# job, then item states that are tried again
_RETRY = """
local job = ARGV[1]
if redis.call('EXISTS', jobkey(job)) == 0 then return false end
local moved = {}
for i = 2, #ARGV do
  for _, item in ipairs(redis.call('SMEMBERS', statekey(job, ARGV[i]))) do
    if redis.call('HGET', itemkey(job, item), 'rejected') ~= '1' then
      redis.call('HSET', itemkey(job, item), 'attempts', 0, 'error', '')
      redis.call('HDEL', itemkey(job, item), 'finished_at', 'started_at')
      move(job, item, ARGV[i], 'queued')
      table.insert(moved, item)
    end
  end
end
if #moved > 0 then
  redis.call('HSET', jobkey(job), 'cancel_requested', 0, 'rate_count', 0)
  redis.call('HDEL', jobkey(job), 'started_at', 'finished_at')
  settle(job)
end
return moved
"""

# job, item, decision or ''
_DECIDE = """
local job, item = ARGV[1], ARGV[2]
local key = itemkey(job, item)
if redis.call('EXISTS', key) == 0 then return 0 end
local before = redis.call('HGET', key, 'decision')
if before and before ~= '' then redis.call('SREM', setkey(job, 'decision', before), item) end
redis.call('HSET', key, 'decision', ARGV[3])
if ARGV[3] ~= '' then redis.call('SADD', setkey(job, 'decision', ARGV[3]), item) end
redis.call('HINCRBY', jobkey(job), 'revision', 1)
return 1
"""

# job: the first settling of a job whose items are all written
_OPEN = """
local job, created = ARGV[1], tonumber(ARGV[2])
redis.call('ZADD', JOBS, 0, job)
redis.call('ZADD', JOBS_ACTIVE, created, job)
redis.call('ZREM', JOBS_CREATING, job)
return settle(job)
"""

# key, most tokens, tokens a second, cost: a token bucket
_TAKE = """
local key, most, rate, cost = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local found = redis.call('HMGET', key, 'tokens', 'at')
local tokens = math.min(most, (tonumber(found[1]) or most) + (now - (tonumber(found[2]) or now)) * rate)
local wait = 0
if tokens >= cost then tokens = tokens - cost else wait = (cost - tokens) / rate end
redis.call('HSET', key, 'tokens', stamp(tokens), 'at', stamp(now))
redis.call('EXPIRE', key, math.ceil(most / rate) + 1)
return {stamp(tokens), stamp(wait)}
"""


# key of a hash, then its fields and values
_NOTE = """
if redis.call('EXISTS', ARGV[1]) == 0 then return 0 end
redis.call('HSET', ARGV[1], unpack(ARGV, 2))
return 1
"""


class Transitions:
    """The scripts, registered on one connection pool. Every method is one round trip."""

    def __init__(self, client: "redis.Redis") -> None:
        def script(body: str) -> Any:
            return client.register_script(_PRELUDE + body)

        self.lease = script(_LEASE)
        self.renew = script(_RENEW)
        self.finish = script(_FINISH)
        self.reclaim = script(_RECLAIM)
        self.cancel = script(_CANCEL)
        self.retry = script(_RETRY)
        self.decide = script(_DECIDE)
        self.open = script(_OPEN)
        self.take = script(_TAKE)
        self.note = script(_NOTE)
