"""The state changes of jobs and items, each one atomic script in Redis.

Items go queued -> running -> done or failed, or queued -> cancelled; a lease that ran out, or a fault that may pass,
brings an item back to queued, or to cancelled if its job was cancelled meanwhile. Every change checks the state it
starts from, so that a message delivered twice, or a worker that comes back from the dead, changes nothing. Counts,
indices and the job's own state change in the same script. Redis runs a script alone and whole.

`KEYS` stays empty: the key names follow from the job, which ties the records to one Redis (no cluster).
"""

from typing import Any

import redis

from toco.jobs.keys import LUA_KEYS

# States of an item, which are also the names of a job's counters.
QUEUED, RUNNING, DONE, FAILED, CANCELLED = ITEM_STATES = ("queued", "running", "done", "failed", "cancelled")

PRELUDE = (
    LUA_KEYS
    + """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local STATES = {'queued', 'running', 'done', 'failed', 'cancelled'}
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
  local c = redis.call('HMGET', key, 'queued', 'running', 'done', 'failed', 'cancelled', 'started_at', 'webhook',
    'learning_state')
  local queued, running, done, failed = tonumber(c[1]), tonumber(c[2]), tonumber(c[3]), tonumber(c[4])
  local cancelled = tonumber(c[5])
  local state
  if queued + running > 0 and c[8] and c[8] ~= 'done' then state = 'learning'
  elseif queued + running > 0 then
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

-- Where an item goes that is to be tried again: nowhere, once its job was cancelled.
local function again(job)
  return redis.call('HGET', jobkey(job), 'cancel_requested') == '1' and 'cancelled' or 'queued'
end

local function over(job, item)
  redis.call('HSET', itemkey(job, item), 'finished_at', stamp(now))
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
local learning = redis.call('HGET', jobkey(job), 'learning_state')
if learning and learning ~= 'done' then return {'learning'} end
if state == 'running' then
  if found[2] ~= owner and tonumber(found[3]) > now then return {'busy'} end
elseif state ~= 'queued' then return {state} end
local attempts = tonumber(found[4])
if attempts >= tonumber(ARGV[5]) then
  local error = (found[5] and found[5] ~= '') and found[5] or ARGV[6]
  redis.call('HSET', key, 'error', error)
  over(job, item)
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
if redis.call('EXISTS', jobkey(job)) == 0 or not holds(job, item, ARGV[3]) then return 0 end
redis.call('HSET', itemkey(job, item), 'lease_until', stamp(now + tonumber(ARGV[4])))
redis.call('ZADD', LEASES, now + tonumber(ARGV[4]), job .. ':' .. item)
return 1
"""

# job, item, token, state to reach, then pairs: `order:NAME`, value for the sort orders; `tag:NAME`, 1 for the classes;
# `count:FIELD`, number for the job; `after`, seconds until the item is queued; other fields for the item. Returns the
# state reached.
_FINISH = """
local job, item, to = ARGV[1], ARGV[2], ARGV[4]
if redis.call('EXISTS', jobkey(job)) == 0 then return 'gone' end
if not holds(job, item, ARGV[3]) then return 'stale' end
if to == 'queued' then to = again(job) end
local key = itemkey(job, item)
for i = 5, #ARGV, 2 do
  local order = string.match(ARGV[i], '^order:(.+)$')
  local tag = string.match(ARGV[i], '^tag:(.+)$')
  local count = string.match(ARGV[i], '^count:(.+)$')
  if order then redis.call('ZADD', orderkey(job, order), ARGV[i + 1], item)
  elseif ARGV[i] == 'after' then
    if to == 'queued' then redis.call('ZADD', DELAYED, now + tonumber(ARGV[i + 1]), job .. ':' .. item) end
  elseif tag then
    redis.call('SADD', setkey(job, 'tag', tag), item)
    redis.call('SADD', tagskey(job), tag)
  elseif count then redis.call('HINCRBY', jobkey(job), count, ARGV[i + 1])
  else redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
end
forget_lease(job, item)
if to ~= 'queued' then over(job, item) end
if to == 'done' or to == 'failed' then redis.call('HINCRBY', jobkey(job), 'rate_count', 1) end
move(job, item, 'running', to)
settle(job)
return to
"""

# job, item: a lease that ran out. Returns the state reached, or nothing
_RECLAIM = """
local job, item = ARGV[1], ARGV[2]
local found = redis.call('HMGET', itemkey(job, item), 'state', 'lease_until')
if found[1] ~= 'running' then
  redis.call('ZREM', LEASES, job .. ':' .. item)
  return false
end
if tonumber(found[2] or '0') > now then return false end
local to = again(job)
forget_lease(job, item)
if to == 'cancelled' then over(job, item) end
move(job, item, 'running', to)
settle(job)
return to
"""

# job
_CANCEL = """
local job = ARGV[1]
if redis.call('EXISTS', jobkey(job)) == 0 then return -1 end
if not redis.call('ZSCORE', JOBS_ACTIVE, job) then return 0 end
local items = redis.call('SMEMBERS', statekey(job, 'queued'))
for _, item in ipairs(items) do
  move(job, item, 'queued', 'cancelled')
  over(job, item)
end
redis.call('HSET', jobkey(job), 'cancel_requested', 1)
settle(job)
return #items
"""

# job, then item states that are tried again
_RETRY = """
local job = ARGV[1]
if redis.call('EXISTS', jobkey(job)) == 0 then return false end
local moved = {}
for i = 2, #ARGV do
  for _, item in ipairs(redis.call('SMEMBERS', statekey(job, ARGV[i]))) do
    local kept = redis.call('HMGET', itemkey(job, item), 'rejected', 'latest')
    if kept[1] ~= '1' and not kept[2] then  -- a label that was corrected is not made anew
      redis.call('HSET', itemkey(job, item), 'attempts', 0, 'error', '')
      redis.call('HDEL', itemkey(job, item), 'finished_at', 'started_at')
      move(job, item, ARGV[i], 'queued')
      table.insert(moved, item)
    end
  end
end
if #moved > 0 then
  redis.call('HSET', jobkey(job), 'cancel_requested', 0)
  if not redis.call('ZSCORE', JOBS_ACTIVE, job) then
    redis.call('HSET', jobkey(job), 'rate_count', 0)
    redis.call('HDEL', jobkey(job), 'started_at', 'finished_at')
  end
  settle(job)
end
return moved
"""

# job, item, decision or ''
_DECIDE = """
local job, item = ARGV[1], ARGV[2]
local key = itemkey(job, item)
if redis.call('EXISTS', jobkey(job)) == 0 or redis.call('EXISTS', key) == 0 then return 0 end
local before = redis.call('HGET', key, 'decision')
if before and before ~= '' then redis.call('SREM', setkey(job, 'decision', before), item) end
redis.call('HSET', key, 'decision', ARGV[3])
if ARGV[3] ~= '' then redis.call('SADD', setkey(job, 'decision', ARGV[3]), item) end
redis.call('HINCRBY', jobkey(job), 'revision', 1)
return 1
"""

# job, queued items, failed items; key, value and seconds of its promise to an Idempotency-Key (or '' thrice); then the
# job's fields. Its items are all written. Returns what was promised before, or nothing: then the job is there.
_OPEN = """
local job, promise = ARGV[1], ARGV[4]
if redis.call('EXISTS', jobkey(job)) == 1 then return false end
if promise ~= '' then
  local before = redis.call('GET', promise)
  if before and redis.call('EXISTS', jobkey(cjson.decode(before).job)) == 1 then return before end
  redis.call('SET', promise, ARGV[5], 'EX', ARGV[6])
end
redis.call('HSET', jobkey(job), 'created_at', stamp(now), 'queued', ARGV[2], 'failed', ARGV[3], unpack(ARGV, 7))
redis.call('HINCRBY', ITEMS, 'queued', ARGV[2])
redis.call('HINCRBY', ITEMS, 'failed', ARGV[3])
redis.call('ZADD', JOBS, 0, job)
redis.call('ZADD', jobsinworkspace(redis.call('HGET', jobkey(job), 'workspace')), 0, job)
redis.call('ZADD', JOBS_ACTIVE, now, job)
redis.call('ZREM', JOBS_CREATING, job)
settle(job)
return false
"""

# job, then the measures by which its items are sorted: nothing of it is left but its objects; it is in the trash
_DELETE = """
local job = ARGV[1]
local key = jobkey(job)
if redis.call('EXISTS', key) == 1 then
  for _, state in ipairs(STATES) do redis.call('HINCRBY', ITEMS, state, -redis.call('HGET', key, state)) end
  redis.call('ZREM', jobsinstate(redis.call('HGET', key, 'state')), job)
  redis.call('ZREM', jobsinworkspace(redis.call('HGET', key, 'workspace') or ''), job)
end
for _, item in ipairs(redis.call('ZRANGE', orderkey(job, 'index'), 0, -1)) do
  redis.call('UNLINK', itemkey(job, item), revisionskey(job, item))
  redis.call('ZREM', LEASES, job .. ':' .. item)
end
for _, export in ipairs(redis.call('ZRANGE', exportskey(job), 0, -1)) do
  redis.call('UNLINK', exportkey(export))
  redis.call('ZREM', EXPORTS_ACTIVE, export)
end
for _, report in ipairs(redis.call('ZRANGE', reportskey(job), 0, -1)) do
  redis.call('UNLINK', reportkey(report))
  redis.call('ZREM', REPORTS_ACTIVE, report)
end
for _, id in ipairs(redis.call('ZRANGE', relearningskey(job), 0, -1)) do
  redis.call('UNLINK', relearningkey(job, id), relearningkey(job, id) .. ':changes', relearningkey(job, id) .. ':lock')
  redis.call('ZREM', RELEARNINGS_ACTIVE, job .. ':' .. id)
end
for _, id in ipairs(redis.call('ZRANGE', auditskey(job), 0, -1)) do
  redis.call('UNLINK', jobkey(job) .. ':audit:' .. id)
end
redis.call('UNLINK', relearningskey(job), auditskey(job))
for _, tag in ipairs(redis.call('SMEMBERS', tagskey(job))) do redis.call('UNLINK', setkey(job, 'tag', tag)) end
for _, state in ipairs(STATES) do redis.call('UNLINK', statekey(job, state)) end
for i = 2, #ARGV do redis.call('UNLINK', orderkey(job, ARGV[i])) end
redis.call('UNLINK', key, tagskey(job), exportskey(job), reportskey(job), unreadkey(job), readingskey(job),
  setkey(job, 'decision', 'accept'), setkey(job, 'decision', 'reject'))
for _, index in ipairs({JOBS, JOBS_ACTIVE, JOBS_FINISHED, JOBS_CREATING}) do redis.call('ZREM', index, job) end
redis.call('ZADD', JOBS_TRASH, now, job)
"""

# job, what is to be built for it, its record, the job's list of such, the list of those unfinished, then the fields of
# a new one. Returns whether it has to be queued, as it is new or failed before; or nothing if there is no such job
_BUILD = """
local job, build, record = ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', jobkey(job)) == 0 then return false end
local state = redis.call('HGET', record, 'state')
if state and state ~= 'failed' then return 0 end
redis.call('HSET', record, 'job', job, 'created_at', stamp(now), unpack(ARGV, 6))
redis.call('ZADD', ARGV[4], now, build)
redis.call('ZADD', ARGV[5], now, build)
return 1
"""

# key of a hash, then fields: changes it if it is there still, and says whether it is
_NOTE = """
if redis.call('EXISTS', ARGV[1]) == 0 then return 0 end
redis.call('HSET', ARGV[1], unpack(ARGV, 2))
return 1
"""

# lock, who took it: frees it, unless it ran out and someone else has it by now
_UNLOCK = """
if redis.call('GET', ARGV[1]) == ARGV[2] then redis.call('DEL', ARGV[1]) end
"""

# upload, its lock, sender, offset, bytes: a piece that was stored counts if the lock is still the sender's
_TAKE_PIECE = """
local upload, offset = ARGV[1], tonumber(ARGV[4])
if redis.call('GET', ARGV[2]) ~= ARGV[3] or tonumber(redis.call('HGET', upload, 'offset')) ~= offset then return 0 end
redis.call('HSET', upload, 'piece:' .. ARGV[4], ARGV[3], 'offset', offset + tonumber(ARGV[5]))
return 1
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


class Transitions:
    """The scripts, registered on one connection pool. Every method is one round trip."""

    def __init__(self, client: "redis.Redis") -> None:
        def script(body: str) -> Any:
            return client.register_script(PRELUDE + body)

        self.lease = script(_LEASE)
        self.renew = script(_RENEW)
        self.finish = script(_FINISH)
        self.reclaim = script(_RECLAIM)
        self.cancel = script(_CANCEL)
        self.retry = script(_RETRY)
        self.decide = script(_DECIDE)
        self.open = script(_OPEN)
        self.delete = script(_DELETE)
        self.build = script(_BUILD)
        self.note = script(_NOTE)
        self.unlock = script(_UNLOCK)
        self.take_piece = script(_TAKE_PIECE)
        self.take = script(_TAKE)
