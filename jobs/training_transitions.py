"""The state changes of trainings, each one atomic script in Redis, as `transitions` are of jobs.

A training goes queued -> running -> succeeded or failed, or to cancelled from either; a worker that stops or dies
brings it back to queued, and the next one goes on from its last checkpoint. Whoever works on it holds a lease; what
comes without the lease's token changes nothing. `trainings:active` says when someone has to look after it: at the end
of its lease, or when a message that waits for a worker may be lost.
"""

from typing import Any

import redis

from toco.jobs.keys import LUA_KEYS

_PRELUDE = (
    LUA_KEYS
    + """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local function stamp(t) return string.format('%.6f', t) end
local id = ARGV[1]
local key = trainingkey(id)
local found = redis.call('HMGET', key, 'state', 'token', 'lease_until', 'owner', 'attempts', 'cancel_requested')
local state, token, lease_until = found[1], found[2], tonumber(found[3] or '0')
local function holds(given) return state == 'running' and token == given end
local function changed() redis.call('HINCRBY', key, 'revision', 1) end

local function reach(to)
  redis.call('HSET', key, 'state', to)
  redis.call('HDEL', key, 'token', 'owner', 'lease_until', 'seconds_left')
  if to ~= 'queued' and to ~= 'running' then
    redis.call('HSET', key, 'finished_at', stamp(now), 'cancel_requested', 0)
    redis.call('ZREM', TRAININGS_ACTIVE, id)
  end
  changed()
  return to
end
"""
)

# training, workspace, seconds until a look, key and text of a promise and seconds it is kept (or empty), then fields.
# Returns what was promised before under the same key, or an empty text.
_OPEN = """
if ARGV[4] ~= '' then
  local promised = redis.call('GET', ARGV[4])
  if promised and redis.call('EXISTS', trainingkey(cjson.decode(promised).job)) == 1 then return promised end
  redis.call('SET', ARGV[4], ARGV[5], 'EX', ARGV[6])
end
redis.call('HSET', key, 'state', 'queued', 'created_at', stamp(now), 'revision', 0, 'attempts', 0,
  'cancel_requested', 0, unpack(ARGV, 7))
redis.call('ZADD', TRAININGS, 0, id)
redis.call('ZADD', trainingsinworkspace(ARGV[2]), 0, id)
redis.call('ZADD', TRAININGS_ACTIVE, now + tonumber(ARGV[3]), id)
redis.call('ZREM', TRAININGS_TRASH, id)
return ''
"""

# training, owner, lease seconds, most attempts without progress, the error of one that died each time
_LEASE = """
if not state then return {'gone'} end
if state == 'running' then
  if found[4] ~= ARGV[2] and lease_until > now then return {'busy'} end
elseif state ~= 'queued' then return {state} end
if found[6] == '1' then return {reach('cancelled')} end
local attempts = tonumber(found[5])
if attempts >= tonumber(ARGV[4]) then
  local error = redis.call('HGET', key, 'error')
  redis.call('HSET', key, 'error', (error and error ~= '') and error or ARGV[5])
  return {reach('failed')}
end
local held = ARGV[2] .. ':' .. redis.call('HINCRBY', key, 'leases', 1)
redis.call('HSET', key, 'state', 'running', 'owner', ARGV[2], 'token', held, 'attempts', attempts + 1, 'error', '',
  'lease_until', stamp(now + tonumber(ARGV[3])))
redis.call('HSETNX', key, 'started_at', stamp(now))
redis.call('ZADD', TRAININGS_ACTIVE, now + tonumber(ARGV[3]), id)
changed()
return {'leased', held}
"""

# training, token, lease seconds, step of a loss to keep (or empty), its JSON, most losses, then fields. Returns `lost`,
# `cancel` or `ok`.
_RENEW = """
if not holds(ARGV[2]) then return 'lost' end
redis.call('HSET', key, 'lease_until', stamp(now + tonumber(ARGV[3])))
redis.call('ZADD', TRAININGS_ACTIVE, now + tonumber(ARGV[3]), id)
if ARGV[4] ~= '' then
  redis.call('ZREMRANGEBYSCORE', losseskey(id), ARGV[4], '+inf')
  redis.call('ZADD', losseskey(id), ARGV[4], ARGV[5])
  redis.call('ZREMRANGEBYRANK', losseskey(id), 0, -tonumber(ARGV[6]) - 1)
end
if #ARGV > 6 then
  redis.call('HSET', key, unpack(ARGV, 7))
  changed()
end
return found[6] == '1' and 'cancel' or 'ok'
"""

# training, token, state to reach, seconds until a look where that is `queued`, then fields. Returns the state reached,
# or `lost`.
_FINISH = """
if not holds(ARGV[2]) then return 'lost' end
local to = ARGV[3]
if to == 'queued' and found[6] == '1' then to = 'cancelled' end
if #ARGV > 4 then redis.call('HSET', key, unpack(ARGV, 5)) end
if to == 'queued' then redis.call('ZADD', TRAININGS_ACTIVE, now + tonumber(ARGV[4]), id) end
return reach(to)
"""

# training, seconds until the next look: brings one back whose lease ran out. Returns its state, or an empty text.
_LOOK = """
if not state then
  redis.call('ZREM', TRAININGS_ACTIVE, id)
  return ''
end
redis.call('ZADD', TRAININGS_ACTIVE, 'XX', now + tonumber(ARGV[2]), id)
if state == 'running' and lease_until <= now then state = reach(found[6] == '1' and 'cancelled' or 'queued') end
return state
"""

# training: cancels one that waits, and asks whoever works on it to stop. Returns the state that it was in.
_CANCEL = """
if not state then return '' end
if state == 'queued' then reach('cancelled')
elseif state == 'running' then
  redis.call('HSET', key, 'cancel_requested', 1)
  changed()
end
return state
"""

# training, seconds until a look: queues one again that failed or was cancelled. Returns the state that it was in.
_RESUME = """
if not state then return '' end
if state == 'failed' or state == 'cancelled' then
  reach('queued')
  redis.call('HSET', key, 'attempts', 0, 'error', '', 'cancel_requested', 0)
  redis.call('HDEL', key, 'finished_at', 'started_at')
  redis.call('ZADD', TRAININGS_ACTIVE, now + tonumber(ARGV[2]), id)
end
return state
"""

# training, decision: notes it on one that succeeded; a model that was thrown away stays so. Returns the state.
_DECIDE = """
if not state then return '' end
if state == 'succeeded' then
  if redis.call('HGET', key, 'decision') == 'discarded' and ARGV[2] ~= 'discarded' then return 'discarded' end
  redis.call('HSET', key, 'decision', ARGV[2])
  changed()
end
return state
"""

# training: deletes the records of one that is over; its objects go to the trash. Returns the state that it was in.
_DELETE = """
if not state then return '' end
if state == 'queued' or state == 'running' then return state end
redis.call('ZREM', TRAININGS, id)
redis.call('ZREM', trainingsinworkspace(redis.call('HGET', key, 'workspace')), id)
redis.call('ZADD', TRAININGS_TRASH, now, id)
redis.call('DEL', key, losseskey(id))
return state
"""


class TrainingTransitions:
    """The scripts, registered on one connection pool. Every method is one round trip."""

    def __init__(self, client: "redis.Redis") -> None:
        def script(body: str) -> Any:
            return client.register_script(_PRELUDE + body)

        self.open = script(_OPEN)
        self.lease = script(_LEASE)
        self.renew = script(_RENEW)
        self.finish = script(_FINISH)
        self.look = script(_LOOK)
        self.cancel = script(_CANCEL)
        self.resume = script(_RESUME)
        self.decide = script(_DECIDE)
        self.delete = script(_DELETE)
