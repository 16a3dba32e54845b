import { defineScript, number } from '../script.ts'
import { chunk, expiring, keysInLine, keysOfPart, offering, taking, time } from './lua.ts'

/**
 * Delayed → waiting: puts a part's due retries first in line, at most 128 a call. Replies how many. Of a part that is
 * gone it forgets them.
 */
export const promote = defineScript({
  name: 'promote',
  flags: ['allow-oom'],
  keys: [...keysOfPart, 'due', ...keysInLine],
  args: ['job'],
  reply: number,
  uses: [time, chunk, taking, offering, expiring],
  lua: `
local record = redis.call('HMGET', partKey, 'incarnation', 'state')
if not record[1] then
  redis.call('UNLINK', delayedKey)
  redis.call('ZREM', dueKey, job)
  return 0
end
local elements = redis.call('ZRANGE', delayedKey, '-inf', int(clock()), 'BYSCORE', 'LIMIT', 0, 128)
if #elements > 0 then
  local tasks = 0
  for i = #elements, 1, -1 do
    local chunk = parse(elements[i])
    if chunk and chunk.job == job and chunk.incarnation == record[1] then
      redis.call('RPUSH', chunksKey, elements[i])
      tasks = tasks + chunk.count
    else
      redis.call('LPUSH', malformedKey, string.sub(elements[i], 1, 4096))
      redis.call('LTRIM', malformedKey, 0, 99)
    end
    redis.call('ZREM', delayedKey, elements[i])
  end
  redis.call('HINCRBY', partKey, 'waiting', int(tasks))
  if record[2] == 'open' then offer(job) end
  expireTogether()
end
local next = redis.call('ZRANGE', delayedKey, 0, 0, 'WITHSCORES')
if next[2] then redis.call('ZADD', dueKey, next[2], job) else redis.call('ZREM', dueKey, job) end
return #elements
`,
})
