"""The changes of an item's revisions, each one atomic script in Redis; see `transitions`."""

from typing import Any

import redis

from toco.jobs.transitions import PRELUDE

# job, item, revision that must be current ('' any), number; then of a new one its entry, summary and words as JSON
# (entry '': an older one is chosen), its verdict, `1` if it becomes current; then, in pairs, what the item is found by
# with it, as for `finish`. Returns an outcome and the current revision.
_REVISE = """
local job, item, number = ARGV[1], ARGV[2], tonumber(ARGV[4])
local entry, verdict, becomes = ARGV[5], ARGV[8], ARGV[9] == '1'
local key, revisions = itemkey(job, item), revisionskey(job, item)
if redis.call('EXISTS', jobkey(job)) == 0 then return {'gone'} end
local found = redis.call('HMGET', key, 'state', 'revision', 'latest', 'summary', 'tags', 'decision', 'finished_at')
if found[1] ~= 'done' then return {'unlabelled', found[1] or ''} end
local before, latest = tonumber(found[2] or '0'), tonumber(found[3] or '0')
if entry == '' and number > latest then return {'missing', before} end
if ARGV[3] ~= '' and tonumber(ARGV[3]) ~= before then return {'outdated', before} end
if entry ~= '' and number ~= latest + 1 then return {'taken', before} end
if not found[3] then
  local first = string.format('{"number":0,"how":"machine","at":%s}', found[7] or '0')
  redis.call('HSET', revisions, '0', first, 'summary:0', found[4], 'words:0', found[5])
  redis.call('HSET', key, 'revision', 0, 'latest', 0, 'current', first)
end
if entry ~= '' then
  redis.call('HSET', revisions, number, entry, 'summary:' .. number, ARGV[6], 'words:' .. number, ARGV[7],
    'verdict:' .. number, verdict)
  redis.call('HSET', key, 'latest', number)
end
if becomes and number ~= before then
  local was = cjson.decode(found[4])
  for _, tag in ipairs(was.tags) do redis.call('SREM', setkey(job, 'tag', tag), item) end
  for _, tag in ipairs(was.empty_tags or {}) do redis.call('HINCRBY', jobkey(job), 'empty_tag:' .. tag, -1) end
  local now_is = redis.call('HMGET', revisions, number, 'summary:' .. number, 'words:' .. number, 'verdict:' .. number)
  verdict = now_is[4] or ''
  redis.call('HSET', revisions, 'verdict:' .. before, found[6] or '')
  redis.call('HSET', key, 'revision', number, 'current', now_is[1], 'summary', now_is[2], 'tags', now_is[3],
    'decision', verdict)
  if found[6] and found[6] ~= '' then redis.call('SREM', setkey(job, 'decision', found[6]), item) end
  if verdict ~= '' then redis.call('SADD', setkey(job, 'decision', verdict), item) end
  for i = 10, #ARGV, 2 do
    local order = string.match(ARGV[i], '^order:(.+)$')
    local tag = string.match(ARGV[i], '^tag:(.+)$')
    local count = string.match(ARGV[i], '^count:(.+)$')
    if order then redis.call('ZADD', orderkey(job, order), ARGV[i + 1], item)
    elseif tag then
      redis.call('SADD', setkey(job, 'tag', tag), item)
      redis.call('SADD', tagskey(job), tag)
    elseif count then redis.call('HINCRBY', jobkey(job), count, ARGV[i + 1]) end
  end
end
redis.call('HINCRBY', jobkey(job), 'revision', 1)
return {'done', becomes and number or before}
"""


class RevisionScripts:
    """The scripts, registered on one connection pool."""

    def __init__(self, client: "redis.Redis") -> None:
        self.revise: Any = client.register_script(PRELUDE + _REVISE)
