import { array, defineScript, number, oneOf } from '../script.ts'
import { chunk, expiring, keysInLine, keysOfPart, offering, taking, time } from './lua.ts'

const word = oneOf('split', 'gone')

/**
 * Hands back the tail of a chunk that turned out slow while its thread runs on: the claim keeps the first `keep`
 * tasks, the rest stands first in line again. The caller has lowered the thread's limit to `keep` before, so nothing
 * of the tail was or will be run there. 'gone': the thread has settled the chunk meanwhile, and handed back the tail.
 * `pace` is what its tasks take at least, so that whoever takes the tail does not take all of it.
 */
export const split = defineScript({
  name: 'split',
  flags: ['allow-oom'],
  keys: ['claim', ...keysOfPart, ...keysInLine],
  args: ['job', 'incarnation', 'first', 'attempt', 'keep', 'pace'],
  reply: reply => {
    const [first, tasks] = array(reply)
    return { word: word(first), tasks: number(tasks) }
  },
  uses: [time, chunk, taking, offering, expiring],
  lua: `
for i = 1, redis.call('LLEN', claimKey) do
  local chunk = parse(redis.call('LINDEX', claimKey, -i))
  if chunk and chunk.job == job and chunk.incarnation == incarnation and int(chunk.first) == first
    and chunk.attempt == tonumber(attempt) then
    local rest = chunk.count - math.max(1, tonumber(keep))
    if rest <= 0 then return { 'gone', 0 } end
    local record = redis.call('HMGET', partKey, 'incarnation', 'state', 'pace')
    -- What can fail comes before the first write: a tail that the claim has let go of, and no List has got, would be lost.
    redis.call('LLEN', chunksKey)
    redis.call('LSET', claimKey, -i, write(chunk, chunk.first, chunk.count - rest))
    if record[1] == incarnation and record[2] ~= 'cancelled' then
      redis.call('RPUSH', chunksKey, write(chunk, chunk.first + chunk.count - rest, rest))
      redis.call('HINCRBY', partKey, 'waiting', int(rest))
      if tonumber(pace) > (tonumber(record[3] or 0) or 0) then redis.call('HSET', partKey, 'pace', pace) end
      if record[2] == 'open' then offer(job) end
      expireTogether()
    end
    return { 'split', int(rest) }
  end
end
return { 'gone', 0 }
`,
})
