import { array, bytes, defineScript, number, oneOf } from '../script.ts'
import { chunk, expiring, keysInLine, keysOfPart, offering, taking, time } from './lua.ts'

/**
 * Collected → released: deletes runs that the collector has used. With a `cursor` ≥ 0 it stores how far the ordered
 * consumer is, and what it has reduced so far unless that is empty, in the same step, so that each result counts once
 * in a sum even if the driver dies right here. Only the job's collector may: a frozen one that comes back is 'replaced'.
 * `moreArgs`: per run its field in the results Hash, its tasks, and its field in the payloads if its bytes are held there, at most 1,000 runs. Only what is still there counts
 * as released, so that a call that is sent again after a lost reply counts nothing twice.
 *
 * Where Redis went back meanwhile, a run may be there again with another number of tasks: that is not the one that was
 * used, and stays. A reduction can't use what of it is new, so its checkpoint is not moved into the middle of it:
 * 'clash', and nothing is done. What threads have combined can't be divided at all, so that a checkpoint may only move
 * over what is there: with `from`, where the stored cursor is that and every run is there, or where it is `cursor`
 * already, because the reply to this very call was lost; anything else is a 'clash' too.
 */
export const release = defineScript({
  name: 'release',
  flags: ['allow-oom'],
  keys: ['part', 'results', 'payloads'],
  args: ['incarnation', 'collector', 'cursor', 'accumulator', 'from'],
  reply: oneOf('released', 'replaced', 'gone', 'clash'),
  lua: `
local record = redis.call('HMGET', partKey, 'incarnation', 'collector', 'cursor')
if record[1] ~= incarnation then return 'gone' end
if record[2] ~= collector then return 'replaced' end
local mustHaveAll = from ~= '' and record[3] ~= cursor
if mustHaveAll and (record[3] or '0') ~= from then return 'clash' end
local used, released = {}, 0
for i = moreArgsFrom, #ARGV, 3 do
  local first, count = ARGV[i], ARGV[i + 1]
  local value = redis.call('HGET', resultsKey, first)
  if value and string.match(value, '^%d+') == count then
    used[#used + 1] = first
    released = released + tonumber(count)
  elseif mustHaveAll or (value and accumulator ~= '') then
    return 'clash'
  end
end
for _, first in ipairs(used) do redis.call('HDEL', resultsKey, first) end
for i = moreArgsFrom + 2, #ARGV, 3 do
  if ARGV[i] ~= '' then redis.call('HDEL', payloadsKey, ARGV[i]) end
end
if tonumber(cursor) >= 0 then redis.call('HSET', partKey, 'cursor', cursor) end
if accumulator ~= '' then redis.call('HSET', partKey, 'accumulator', accumulator) end
if released > 0 then redis.call('HINCRBY', partKey, 'released', string.format('%.0f', released)) end
return 'released'
`,
})

/**
 * Makes the caller the job's collector, whoever was it before, and wakes a parked job. The former collector is told
 * by a message, and learns it from its next `submit` or `release` if it misses that. Replies the part's whole record, or
 * nothing. With `from`, only if that collector has the job, or the caller: a driver that takes back what it had may have
 * looked before it was frozen, and another may have come since.
 */
export const attach = defineScript({
  name: 'attach',
  flags: ['allow-oom'],
  keys: [...keysOfPart, 'driven', ...keysInLine],
  args: ['job', 'collector', 'driverLeaseMs', 'channelPrefix', 'from'],
  reply: reply => {
    const flat = array(reply)
    const record = new Map<string, Buffer>()
    for (let i = 0; i + 1 < flat.length; i += 2) record.set(bytes(flat[i]).toString(), bytes(flat[i + 1]))
    return record
  },
  uses: [time, chunk, taking, offering, expiring],
  lua: `
local record = redis.call('HMGET', partKey, 'incarnation', 'collector', 'state', 'detached', 'complete', 'submitted', 'settled',
  'keepMs')
if not record[1] or (from ~= '' and record[2] ~= from and record[2] ~= collector) then return {} end
if record[2] ~= collector then
  redis.call('PUBLISH', channelPrefix .. record[2], 'replaced ' .. job .. ' ' .. record[1] .. '\\n')
  if record[3] ~= 'cancelled' then redis.call('HINCRBY', partKey, 'attached', 1) end
end
if record[3] ~= 'cancelled' then redis.call('HSET', partKey, 'collector', collector) end
if record[3] == 'parked' then redis.call('HSET', partKey, 'state', 'open') end
if record[3] ~= 'cancelled' then
  local undriven = record[4] == '1' and record[5] == '1'
  if undriven and tonumber(record[7] or 0) >= tonumber(record[6]) then
    -- It has ended, so nothing else would give its keys an expiry again.
    expireAll(record[8])
  else
    everyKey('PERSIST')
  end
  if not undriven then redis.call('ZADD', drivenKey, int(clock() + tonumber(driverLeaseMs)), job) end
  -- A parked job has waiting chunks that no thread was told of.
  if redis.call('EXISTS', chunksKey) == 1 then offer(job) end
end
return redis.call('HGETALL', partKey)
`,
})

/** Extends the driver's lease on its windowed jobs (`moreArgs`). Replies how many of them Redis still knows. */
export const renewDriver = defineScript({
  name: 'renewDriver',
  flags: ['allow-oom'],
  keys: ['driven'],
  args: ['driverLeaseMs'],
  reply: number,
  uses: [time],
  lua: `
local till, known = int(clock() + tonumber(driverLeaseMs)), 0
for i = moreArgsFrom, #ARGV do
  if redis.call('ZSCORE', drivenKey, ARGV[i]) then
    redis.call('ZADD', drivenKey, till, ARGV[i])
    known = known + 1
  end
end
return known
`,
})

/**
 * Open → parked: a windowed job whose driver's lease has lapsed, which is checked here again. Its chunks wait, its
 * results stay, and everything expires together unless somebody attaches within \`keepMs\`.
 */
export const park = defineScript({
  name: 'park',
  flags: ['allow-oom'],
  keys: [...keysOfPart, 'driven', 'due', 'ready'],
  args: ['job'],
  reply: oneOf('parked', 'alive', 'gone'),
  uses: [time, chunk, taking, offering, expiring],
  lua: `
local till = redis.call('ZSCORE', drivenKey, job)
if not till or tonumber(till) > clock() then return 'alive' end
redis.call('ZREM', drivenKey, job)
redis.call('ZREM', readyKey, job)
if redis.call('EXISTS', partKey) == 0 then return 'gone' end
redis.call('HSET', partKey, 'state', 'parked')
expireAll(redis.call('HGET', partKey, 'keepMs'))
return 'parked'
`,
})

/**
 * Ends a job: forgets everything about it. Chunks of it that are claimed are dropped when they are settled, since no part
 * has their incarnation any more. With \`collector\` only that collector may; with an empty one
 * anybody (a cancellation from another process), and then the collector is told and a record that says
 * 'cancelled' stays for \`tombstoneMs\`. It stays too where somebody had attached to the job, so that a driver that was
 * frozen meanwhile finds who replaced it, and does not take the job for lost and submit it anew, nor for its own to end.
 */
export const drop = defineScript({
  name: 'drop',
  flags: ['allow-oom'],
  keys: [...keysOfPart, 'jobs', 'driven', 'due', 'ready', 'stage'],
  args: ['job', 'incarnation', 'collector', 'channelPrefix', 'tombstoneMs'],
  reply: oneOf('dropped', 'replaced', 'gone'),
  lua: `
local record = redis.call('HMGET', partKey, 'incarnation', 'collector', 'task', 'attached', 'state')
if not record[1] or record[5] == 'cancelled' then
  redis.call('ZREM', jobsKey, job)
  if record[1] == incarnation and collector ~= '' and record[2] ~= collector then return 'replaced' end
  return 'gone'
end
if incarnation ~= '' and record[1] ~= incarnation then return 'gone' end
if collector ~= '' and record[2] ~= collector then return 'replaced' end
-- Where no thread with this code is left, nobody else would ever clear its stage.
for i = 1, math.min(redis.call('LLEN', stageKey), 256) do
  if string.sub(redis.call('LINDEX', stageKey, -i), 1, #job + 1) == job .. ' ' then redis.call('LSET', stageKey, -i, '') end
end
redis.call('LREM', stageKey, 0, '')
redis.call('UNLINK', partKey, chunksKey, resultsKey, delayedKey, payloadsKey, sharedKey)
redis.call('ZREM', jobsKey, job)
redis.call('ZREM', drivenKey, job)
redis.call('ZREM', dueKey, job)
redis.call('ZREM', readyKey, job)
if collector == '' or record[4] then
  redis.call('HSET', partKey, 'incarnation', record[1], 'collector', record[2], 'task', record[3], 'state', 'cancelled',
    'attached', record[4] or 0)
  redis.call('PEXPIRE', partKey, tombstoneMs)
end
if collector == '' then
  redis.call('PUBLISH', channelPrefix .. record[2], 'cancelled ' .. job .. ' ' .. record[1] .. '\\n')
end
return 'dropped'
`,
})
