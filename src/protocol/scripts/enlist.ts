import { defineScript, oneOf } from '../script.ts'
import { chunk, keysInLine, offering, taking, time } from './lua.ts'

/**
 * Puts a part back into the lane's own lists, where all of its life keeps it, in case one of those was lost or
 * overwritten: the jobs, the queue if it has waiting chunks, those with delayed retries if it has any, and those that need
 * their driver if the driver says so (`driverLeaseMs` > 0). 'gone': there is no such open part. With everything in its place it changes nothing.
 */
export const enlist = defineScript({
  name: 'enlist',
  flags: ['allow-oom'],
  keys: ['part', 'chunks', 'delayed', 'jobs', 'driven', 'due', ...keysInLine],
  args: ['job', 'driverLeaseMs'],
  reply: oneOf('enlisted', 'gone'),
  uses: [time, chunk, taking, offering],
  lua: `
if redis.call('HGET', partKey, 'state') ~= 'open' then return 'gone' end
redis.call('ZADD', jobsKey, 'NX', int(clock()), job)
if driverLeaseMs ~= '0' then redis.call('ZADD', drivenKey, 'NX', int(clock() + tonumber(driverLeaseMs)), job) end
local next = redis.call('ZRANGE', delayedKey, 0, 0, 'WITHSCORES')
if next[2] then redis.call('ZADD', dueKey, 'LT', next[2], job) end
if redis.call('EXISTS', chunksKey) == 1 and not redis.call('ZSCORE', readyKey, job) then offer(job) end
return 'enlisted'
`,
})
