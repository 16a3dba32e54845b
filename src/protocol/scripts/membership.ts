import { array, defineScript, oneOf, text } from '../script.ts'
import { retiring, time } from './lua.ts'

/** A worker joins, or says anew who it is and which claims it has (`moreArgs`). Others hear of it on the control channel. */
export const register = defineScript({
  name: 'register',
  flags: ['allow-oom'],
  keys: ['workers', 'dead', 'worker', 'claims'],
  args: ['worker', 'leaseMs', 'info', 'control'],
  reply: oneOf('registered'),
  uses: [time],
  lua: `
redis.call('HSET', workerKey, 'info', info, 'leaseMs', leaseMs)
redis.call('ZADD', workersKey, int(clock() + tonumber(leaseMs)), worker)
redis.call('ZREM', deadKey, worker)
if #ARGV >= moreArgsFrom then redis.call('SADD', claimsKey, unpack(ARGV, moreArgsFrom)) end
redis.call('PUBLISH', control, 'joined ' .. worker)
return 'registered'
`,
})

/**
 * Extends a worker's lease: one command for all of its threads, whatever they hold. 'unknown': it was declared dead,
 * or Redis forgot it; what it held is not its own any more, and it must register under a new name.
 * Keeps the fleet's number of threads where the scripts that size chunks read it.
 */
export const heartbeat = defineScript({
  name: 'heartbeat',
  flags: ['allow-oom'],
  keys: ['workers', 'worker', 'lane'],
  args: ['worker', 'leaseMs', 'threads', 'stats'],
  reply: oneOf('renewed', 'unknown'),
  uses: [time],
  lua: `
if not redis.call('ZSCORE', workersKey, worker) or redis.call('HEXISTS', workerKey, 'info') == 0 then return 'unknown' end
redis.call('ZADD', workersKey, int(clock() + tonumber(leaseMs)), worker)
redis.call('HSET', workerKey, 'stats', stats)
redis.call('HSET', laneKey, 'slots', int(redis.call('ZCARD', workersKey) * tonumber(threads)))
return 'renewed'
`,
})

/** Makes a claim known to the reaper before anything is put into it. 'unknown': the worker itself is not registered. */
export const enroll = defineScript({
  name: 'enroll',
  flags: ['allow-oom'],
  keys: ['workers', 'claims'],
  args: ['worker', 'claim'],
  reply: oneOf('enrolled', 'unknown'),
  lua: `
if not redis.call('ZSCORE', workersKey, worker) then return 'unknown' end
redis.call('SADD', claimsKey, claim)
return 'enrolled'
`,
})

/**
 * A claim ends: a thread stopped, or reconnected under another id. 'held': it still holds chunks, give them back
 * first. Its entry among the waiting threads goes as well.
 */
export const retireClaim = defineScript({
  name: 'retireClaim',
  flags: ['allow-oom'],
  keys: ['claim', 'claims', 'waiting', 'retired'],
  args: ['claim'],
  reply: oneOf('retired', 'held'),
  uses: [time, retiring],
  lua: `
redis.call('ZREM', waitingKey, claim)
if redis.call('EXISTS', claimKey) == 1 then return 'held' end
if redis.call('SREM', claimsKey, claim) == 1 then retire(claim) end
return 'retired'
`,
})

/**
 * A worker that has given everything back leaves. 'held': some claim (`moreKeys`) still holds chunks, or it has more
 * claims than those named, whose contents no reaper would find any more.
 */
export const leave = defineScript({
  name: 'leave',
  flags: ['allow-oom'],
  keys: ['workers', 'dead', 'worker', 'claims', 'retired'],
  args: ['worker', 'control'],
  reply: oneOf('left', 'held'),
  uses: [time, retiring],
  lua: `
local claims = redis.call('SMEMBERS', claimsKey)
if #claims > #KEYS - moreKeysFrom + 1 then return 'held' end
for i = moreKeysFrom, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then return 'held' end
end
for _, claim in ipairs(claims) do retire(claim) end
redis.call('ZREM', workersKey, worker)
redis.call('ZREM', deadKey, worker)
redis.call('DEL', workerKey, claimsKey)
redis.call('PUBLISH', control, 'left ' .. worker)
return 'left'
`,
})

/**
 * Live → dead: declares workers dead whose lease has lapsed, at most 64 a call, and lists those that are dead and not
 * yet buried: the 64 oldest, which may be buried, and the 64 newest, so that a mass death is not worked off one lease
 * at a time. Every worker runs a reaper: one that comes within a twelfth of a lease of another has nothing to do.
 *
 * The grace: a stall of Redis (down, loading, paused) keeps workers from renewing, so nobody is declared dead before
 * this script has run without a gap of more than a third of a lease for one whole lease.
 */
export const declareDead = defineScript({
  name: 'declareDead',
  flags: ['allow-oom'],
  keys: ['lane', 'workers', 'dead'],
  args: ['leaseMs'],
  reply: reply => array(reply).map(text),
  uses: [time],
  lua: `
local now, lease = clock(), tonumber(leaseMs)
local record = redis.call('HMGET', laneKey, 'reapedAt', 'reapingSince')
local since, gap = tonumber(record[2] or now), now - tonumber(record[1] or 0)
if gap >= 0 and gap < lease / 12 then return {} end
-- A clock that was set back (a restore elsewhere) is a stall as well.
if gap < 0 or gap > lease / 3 or since > now then since = now end
redis.call('HSET', laneKey, 'reapedAt', int(now), 'reapingSince', int(since))
if now - since >= lease then
  for _, worker in ipairs(redis.call('ZRANGE', workersKey, '-inf', '(' .. int(now), 'BYSCORE', 'LIMIT', 0, 64)) do
    redis.call('ZREM', workersKey, worker)
    redis.call('ZADD', deadKey, int(now + lease), worker)
  end
end
local dead, all = redis.call('ZRANGE', deadKey, 0, 63), redis.call('ZCARD', deadKey)
if all > 64 then
  for _, worker in ipairs(redis.call('ZRANGE', deadKey, math.max(64, all - 64), -1)) do dead[#dead + 1] = worker end
end
local names = {}
for _, worker in ipairs(dead) do
  if #worker <= 256 and string.match(worker, '^[%w._:%-]+$') then
    names[#names + 1] = worker
  else
    -- Nothing of ours: there are no claims under such a name, and it would be listed for ever.
    redis.call('ZREM', deadKey, worker)
  end
end
return names
`,
})

/**
 * Dead → forgotten: deletes a dead worker's records one lease after its death, if its claims (`moreKeys`) are empty.
 * Not at once: a blocked BLMOVE of a frozen process may still put a chunk into its claim until that times out.
 */
export const bury = defineScript({
  name: 'bury',
  flags: ['allow-oom'],
  keys: ['dead', 'worker', 'claims', 'retired'],
  args: ['worker'],
  reply: oneOf('buried', 'waiting', 'held', 'gone'),
  uses: [time, retiring],
  lua: `
local till = redis.call('ZSCORE', deadKey, worker)
if not till then return 'gone' end
if tonumber(till) > clock() then return 'waiting' end
for i = moreKeysFrom, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then return 'held' end
end
for _, claim in ipairs(redis.call('SMEMBERS', claimsKey)) do retire(claim) end
redis.call('ZREM', deadKey, worker)
redis.call('DEL', workerKey, claimsKey)
return 'buried'
`,
})

/**
 * Whoever started a worker's process has seen it end. Notes how, for the evidence of what the process held, and ends its
 * lease: nothing is left to wait for. It is declared dead like any other, so the reaper's grace holds all the same.
 */
export const noteEnd = defineScript({
  name: 'noteEnd',
  flags: ['allow-oom'],
  keys: ['workers', 'worker'],
  args: ['worker', 'note'],
  reply: oneOf('noted', 'unknown'),
  uses: [time],
  lua: `
if redis.call('HEXISTS', workerKey, 'info') == 0 then return 'unknown' end
redis.call('HSET', workerKey, 'end', note)
redis.call('ZADD', workersKey, 'XX', int(clock()), worker)
return 'noted'
`,
})
