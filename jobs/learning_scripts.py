"""The changes of a job's learning phase, each one atomic script in Redis; see `transitions` and `learning`.

Items whose tokens are still to be read stand in a set; whoever takes one out of it has counted it, so that none counts
twice however often it is read. The last one out ends the reading. The fit has one owner at a time, the queue message:
its redelivery may take over at once, anyone else when the owner's time is over.
"""

from typing import Any, Final

import redis

from toco.jobs.publishing import LUA_PUBLISHING
from toco.jobs.transitions import PRELUDE

_LEARNING: Final = """
local function changed(job)
  redis.call('HINCRBY', jobkey(job), 'revision', 1)
  redis.call('HSET', jobkey(job), 'progress_at', stamp(now))
end

-- Take an item off those that are still to be read, and count it; returns whether it was the last.
local function took(job, item, how)
  if redis.call('SREM', unreadkey(job), item) == 0 then return 'done' end
  redis.call('HINCRBY', jobkey(job), how, 1)
  redis.call('HDEL', readingskey(job), item)
  if redis.call('SCARD', unreadkey(job)) > 0 then
    changed(job)
    return 'more'
  end
  redis.call('HSET', jobkey(job), 'learning_state', 'fitting')
  redis.call('UNLINK', readingskey(job))
  changed(job)
  return 'last'
end

local function learns(job, state)
  local found = redis.call('HMGET', jobkey(job), 'state', 'learning_state')
  return found[1] == 'learning' and found[2] == state
end

local function owns(job, owner)
  return learns(job, 'fitting') and redis.call('HGET', jobkey(job), 'fit_owner') == owner
end
"""

# job, item, most attempts: `read` it, or `over`: there is nothing to do; or as `took` where it was tried too often
_BEGIN_READ = """
local job, item = ARGV[1], ARGV[2]
if not learns(job, 'reading') or redis.call('SISMEMBER', unreadkey(job), item) == 0 then return 'over' end
if redis.call('HINCRBY', readingskey(job), item, 1) > tonumber(ARGV[3]) then
  return took(job, item, 'learning_left_out')
end
return 'read'
"""

# job, item, `learning_read` or `learning_left_out`
_END_READ = """
if redis.call('EXISTS', jobkey(ARGV[1])) == 0 then return 'gone' end
return took(ARGV[1], ARGV[2], ARGV[3])
"""

# job, item: it was not its fault
_PUT_BACK = """
if redis.call('SISMEMBER', unreadkey(ARGV[1]), ARGV[2]) == 1 then
  redis.call('HINCRBY', readingskey(ARGV[1]), ARGV[2], -1)
end
"""

# job, owner, seconds, most attempts: `fit`, `busy`, `over`, or `exhausted`: it was tried too often
_BEGIN_FIT = """
local job, owner = ARGV[1], ARGV[2]
if not learns(job, 'fitting') then return 'over' end
local held = redis.call('HMGET', jobkey(job), 'fit_owner', 'fit_until')
if held[1] and held[1] ~= owner and tonumber(held[2]) > now then return 'busy' end
redis.call('HSET', jobkey(job), 'fit_owner', owner, 'fit_until', stamp(now + tonumber(ARGV[3])))
if redis.call('HINCRBY', jobkey(job), 'fits', 1) > tonumber(ARGV[4]) then return 'exhausted' end
changed(job)
return 'fit'
"""

# job, owner, seconds
_RENEW_FIT = """
local job = ARGV[1]
if not owns(job, ARGV[2]) then return 0 end
redis.call('HSET', jobkey(job), 'fit_until', stamp(now + tonumber(ARGV[3])))
changed(job)
return 1
"""

# job, owner: it was not the fit's fault, and is tried again at the next look
_LEAVE_FIT = """
if not owns(ARGV[1], ARGV[2]) then return end
redis.call('HDEL', jobkey(ARGV[1]), 'fit_owner', 'fit_until')
redis.call('HINCRBY', jobkey(ARGV[1]), 'fits', -1)
"""

# job, owner; workspace, name, digest and version as JSON of what is published (name '': nothing); then fields of the
# job. Returns whether that was written: all of it or nothing.
_END_FIT = """
local job = ARGV[1]
if not owns(job, ARGV[2]) then return 0 end
if ARGV[4] ~= '' then
  redis.call('HSET', jobkey(job), 'learnt_number', publish(ARGV[3], ARGV[4], ARGV[5], ARGV[6], true))
end
redis.call('HSET', jobkey(job), 'learning_state', 'done', unpack(ARGV, 7))
redis.call('HDEL', jobkey(job), 'fit_owner', 'fit_until', 'fits')
settle(job)
return 1
"""


class LearningScripts:
    """The scripts, registered on one connection pool. Every method is one round trip."""

    def __init__(self, client: "redis.Redis") -> None:
        def script(body: str) -> Any:
            return client.register_script(PRELUDE + LUA_PUBLISHING + _LEARNING + body)

        self.begin_read = script(_BEGIN_READ)
        self.end_read = script(_END_READ)
        self.put_back = script(_PUT_BACK)
        self.begin_fit = script(_BEGIN_FIT)
        self.renew_fit = script(_RENEW_FIT)
        self.leave_fit = script(_LEAVE_FIT)
        self.end_fit = script(_END_FIT)
