import { defineScript, oneOf } from '../script.ts'
import { chunk, ending, expiring, keysOfPart, time } from './lua.ts'

/**
 * Waiting or delayed → settled, for one task: takes it out of its chunk and commits `failure` for it. Looks at the 256
 * chunks that are next in line and at 64 that wait for a retry; a task that is claimed, staged, settled, or further behind
 * is 'elsewhere': a message reaches the threads, and whoever asked ignores its result.
 */
export const cancelTask = defineScript({
  name: 'cancelTask',
  flags: ['allow-oom'],
  keys: [...keysOfPart],
  args: ['job', 'incarnation', 'index', 'channelPrefix', 'failure'],
  reply: oneOf('cancelled', 'elsewhere'),
  uses: [time, chunk, expiring, ending],
  lua: `
local record = redis.call('HMGET', partKey, 'incarnation', 'collector')
local at = tonumber(index)
if record[1] ~= incarnation then return 'elsewhere' end

local function takeOut()
  for i = 1, math.min(redis.call('LLEN', chunksKey), 256) do
    local chunk = parse(redis.call('LINDEX', chunksKey, -i))
    if chunk and chunk.incarnation == incarnation and chunk.first <= at and at < chunk.first + chunk.count then
      local rest = chunk.first + chunk.count - at - 1
      if at > chunk.first then
        redis.call('LSET', chunksKey, -i, write(chunk, chunk.first, at - chunk.first))
        if rest > 0 then redis.call('RPUSH', chunksKey, write(chunk, at + 1, rest)) end
      elseif rest > 0 then
        redis.call('LSET', chunksKey, -i, write(chunk, at + 1, rest))
      else
        redis.call('LSET', chunksKey, -i, '')
        redis.call('LREM', chunksKey, -1, '')
      end
      if chunk.kind == 'held' then redis.call('HDEL', payloadsKey, payloadField(chunk)) end
      redis.call('HINCRBY', partKey, 'waiting', -1)
      return true
    end
  end
  for _, element in ipairs(redis.call('ZRANGE', delayedKey, 0, 63)) do
    local chunk = parse(element)
    if chunk and chunk.incarnation == incarnation and chunk.first == at and chunk.count == 1 then
      redis.call('ZREM', delayedKey, element)
      if chunk.kind == 'held' then redis.call('HDEL', payloadsKey, payloadField(chunk)) end
      return true
    end
  end
  return false
end

if not takeOut() then return 'elsewhere' end
local value = '1 failure\\n' .. failure
redis.call('HSET', resultsKey, index, value)
redis.call('HINCRBY', partKey, 'failed', 1)
local settled = redis.call('HINCRBY', partKey, 'settled', 1)
redis.call('PUBLISH', channelPrefix .. record[2], 'results ' .. job .. ' ' .. incarnation .. ' ' .. int(settled) .. ' 0\\n'
  .. index .. ' ' .. #value .. '\\n' .. value)
expireTogether()
expireIfEnded()
return 'cancelled'
`,
})
