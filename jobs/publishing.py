"""The changes of published models' records, each one atomic script in Redis.

A model's hash holds `current`, the number of the version that its name stands for; `earlier`, those that it stood for
before, as JSON; `numbers`, how many there ever were; each version as JSON under `version:{number}`, without its number;
and under `digest:{digest}` the number of the version that has these files.
"""

from typing import Any, Final

import redis

from toco.jobs.keys import LUA_KEYS

LUA_PUBLISHING: Final = """
local function earlier_of(key) return cjson.decode(redis.call('HGET', key, 'earlier') or '[]') end
local function keep_earlier(key, list)
  redis.call('HSET', key, 'earlier', #list > 0 and cjson.encode(list) or '[]')
end

-- Let a model's name stand for a version from now on.
local function make_current(key, number)
  local before = tonumber(redis.call('HGET', key, 'current') or '0')
  if before == number then return end
  if before > 0 then
    local list = earlier_of(key)
    table.insert(list, before)
    keep_earlier(key, list)
  end
  redis.call('HSET', key, 'current', number)
end

-- Note a version whose files are stored, unless it is there; returns its number.
local function publish(workspace, name, digest, version, promote)
  local key = publishedkey(workspace, name)
  local known = redis.call('HGET', key, 'digest:' .. digest)
  if known then return tonumber(known) end
  local number = redis.call('HINCRBY', key, 'numbers', 1)
  redis.call('HSET', key, 'digest:' .. digest, number, 'version:' .. number, version)
  redis.call('SADD', publishednames(workspace), name)
  if promote or redis.call('HEXISTS', key, 'current') == 0 then make_current(key, number) end
  return number
end
"""

# workspace, name, digest, the version as JSON, whether it becomes current
_PUBLISH = "return publish(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1')"

# workspace, name, number
_PROMOTE = """
local key, number = publishedkey(ARGV[1], ARGV[2]), tonumber(ARGV[3])
if redis.call('HEXISTS', key, 'version:' .. ARGV[3]) == 0 then return 0 end
make_current(key, number)
return 1
"""

# workspace, name: returns the number that is current again, or 0 if none was before
_ROLLBACK = """
local key = publishedkey(ARGV[1], ARGV[2])
local list = earlier_of(key)
local number = table.remove(list)
if not number then return 0 end
keep_earlier(key, list)
redis.call('HSET', key, 'current', number)
return number
"""

# workspace, name, number, digest
_DELETE = """
local key, number = publishedkey(ARGV[1], ARGV[2]), tonumber(ARGV[3])
if redis.call('HGET', key, 'digest:' .. ARGV[4]) ~= ARGV[3] then return 0 end
redis.call('HDEL', key, 'version:' .. ARGV[3], 'digest:' .. ARGV[4])
local list, kept = earlier_of(key), {}
for _, before in ipairs(list) do if before ~= number then table.insert(kept, before) end end
if tonumber(redis.call('HGET', key, 'current')) == number then
  local following = table.remove(kept)
  if not following then
    for _, field in ipairs(redis.call('HKEYS', key)) do
      local other = tonumber(string.match(field, '^version:(%d+)$') or '0')
      if other > (following or 0) then following = other end
    end
  end
  if not following then
    redis.call('UNLINK', key)
    redis.call('SREM', publishednames(ARGV[1]), ARGV[2])
    if redis.call('GET', workspacedefault(ARGV[1])) == ARGV[2] then redis.call('DEL', workspacedefault(ARGV[1])) end
    return 1
  end
  redis.call('HSET', key, 'current', following)
end
keep_earlier(key, kept)
return 1
"""


class Publishing:
    """The scripts, registered on one connection pool. Every method is one round trip."""

    def __init__(self, client: "redis.Redis") -> None:
        def script(body: str) -> Any:
            return client.register_script(LUA_KEYS + LUA_PUBLISHING + body)

        self._publish = script(_PUBLISH)
        self._promote = script(_PROMOTE)
        self._rollback = script(_ROLLBACK)
        self._delete = script(_DELETE)

    def publish(self, workspace: str, name: str, digest: str, version: str, *, promote: bool) -> int:
        """Note a version whose files are stored, unless it is there; return its number."""
        return int(self._publish(args=[workspace, name, digest, version, int(promote)]))

    def promote(self, workspace: str, name: str, number: int) -> bool:
        """Make a version current; False if it is gone."""
        return bool(self._promote(args=[workspace, name, number]))

    def rollback(self, workspace: str, name: str) -> int:
        """Make the version current that was before, and return its number; 0 if none was."""
        return int(self._rollback(args=[workspace, name]))

    def delete(self, workspace: str, name: str, number: int, digest: str) -> bool:
        """Forget a version, and the model with its last one; False if that was done before."""
        return bool(self._delete(args=[workspace, name, number, digest]))
