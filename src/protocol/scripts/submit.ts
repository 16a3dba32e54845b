import { array, defineScript, number, oneOf } from '../script.ts'
import { chunk, expiring, keysOfPart, offering, taking, time } from './lua.ts'

const word = oneOf('submitted', 'conflict', 'replaced', 'parked', 'ended', 'gone', 'out of step')

/**
 * Adds chunks to a part, creating the part first when `fieldCount` says that record fields come along.
 *
 * Inserts only where the incarnation, the collector and the `submitted` cursor all match, so a re-sent or delayed
 * batch inserts nothing twice: it gets 'out of step' with the true cursor. 'conflict': a part of another incarnation
 * has this id. 'gone': there is no part (Redis lost it). 'parked': the driver's lease had lapsed; attach again.
 * A record that says 'cancelled' is no obstacle to a job that starts anew under the same id.
 * `skipped` of the tasks from `from` to `to` come without chunks, because the collector has their results already: what
 * it submits again after Redis lost them. They count as settled. `taskless` of these never had a task: they count as
 * released too, so that whoever attaches does not wait for them.
 * `moreArgs`: the record's fields, then (if `sharedCount` is 1) the shared value, then `heldCount` fields of the payloads, then
 * the chunks. In those fields the same transaction has stored what held chunks need, just before: where the chunks are refused,
 * it goes again, unless they were accepted by an earlier call.
 * Not allow-oom: this is the one script that a full Redis refuses.
 */
export const submit = defineScript({
  name: 'submit',
  keys: [...keysOfPart, 'ready', 'stage', 'waiting', 'lane', 'jobs', 'driven', 'malformed'],
  args: [
    'job',
    'incarnation',
    'collector',
    'driverLeaseMs',
    'from',
    'to',
    'skipped',
    'taskless',
    'complete',
    'fieldCount',
    'sharedCount',
    'heldCount',
  ],
  reply: reply => {
    const [first, cursor] = array(reply)
    return { word: word(first), submitted: number(cursor) }
  },
  uses: [time, chunk, taking, offering, expiring],
  lua: `
local fieldsTo = moreArgsFrom + tonumber(fieldCount) - 1
local record = redis.call('HMGET', partKey, 'incarnation', 'collector', 'submitted', 'state', 'waiting')
-- What is left of a cancelled job has no cursor.
local cursor = record[3] or '0'
local firstHeld = fieldsTo + tonumber(sharedCount) + 1
local firstChunk = firstHeld + tonumber(heldCount)
-- Where something else stands under the key they were not stored: then this is an error, before anything is done.
for i = firstHeld, firstChunk - 1 do redis.call('HEXISTS', payloadsKey, ARGV[i]) end
local function refuse(word, known)
  for i = firstHeld, firstChunk - 1 do
    local first = tonumber(string.match(ARGV[i], ':(%d+)$'))
    if record[1] ~= incarnation or first >= tonumber(known) then redis.call('HDEL', payloadsKey, ARGV[i]) end
  end
  return { word, known }
end
if record[4] == 'cancelled' and record[1] ~= incarnation and fieldsTo >= moreArgsFrom then
  redis.call('DEL', partKey)
  record = {}
end
if not record[1] then
  if fieldsTo < moreArgsFrom then return refuse('gone', 0) end
  if from ~= '0' then return refuse('out of step', 0) end
  -- Of a part whose record alone was lost: its runs would be taken for results of this one. Not the payloads, which may have
  -- been stored a moment ago; whose they are is in their names.
  redis.call('UNLINK', chunksKey, resultsKey, delayedKey, sharedKey)
  redis.call('HSET', partKey, 'incarnation', incarnation, 'collector', collector, 'submitted', 0, 'state', 'open',
    unpack(ARGV, moreArgsFrom, fieldsTo))
  redis.call('ZADD', jobsKey, int(clock()), job)
  redis.call('ZADD', drivenKey, int(clock() + tonumber(driverLeaseMs)), job)
  if sharedCount == '1' then redis.call('SET', sharedKey, ARGV[fieldsTo + 1]) end
else
  if record[1] ~= incarnation then return refuse('conflict', cursor) end
  if record[2] ~= collector then return refuse('replaced', cursor) end
  if record[4] == 'parked' then return refuse('parked', cursor) end
  if record[4] ~= 'open' then return refuse('ended', cursor) end
  if cursor ~= from then return refuse('out of step', cursor) end
end
local tasks = tonumber(to) - tonumber(from) - tonumber(skipped)
-- A few single tasks, with nothing of the job in line before them, go to threads that wait without standing in line first.
local atOnce = tasks > 0 and tasks <= 8 and tasks == #ARGV - firstChunk + 1 and (record[5] or '0') == '0'
  and redis.call('ZCOUNT', waitingKey, int(clock()), '+inf') - redis.call('LLEN', stageKey) >= tasks
if atOnce then
  for i = firstChunk, #ARGV do redis.call('LPUSH', stageKey, ARGV[i]) end
elseif tasks > 0 then
  for i = firstChunk, #ARGV do redis.call('LPUSH', chunksKey, ARGV[i]) end
  redis.call('HINCRBY', partKey, 'waiting', int(tasks))
end
if skipped ~= '0' then redis.call('HINCRBY', partKey, 'settled', skipped) end
if taskless ~= '0' then redis.call('HINCRBY', partKey, 'released', taskless) end
if complete == '1' then
  redis.call('HSET', partKey, 'submitted', to, 'complete', 1)
  local ending = redis.call('HMGET', partKey, 'detached', 'settled', 'keepMs')
  if ending[1] == '1' then
    -- From here on it needs no driver. All of it may be settled already, and then no commit will set its expiry.
    redis.call('ZREM', drivenKey, job)
    if tonumber(ending[2] or 0) >= tonumber(to) then expireAll(ending[3]) end
  end
else
  redis.call('HSET', partKey, 'submitted', to)
end
-- The record of a job may have been made before it had any task.
if tasks > 0 and not atOnce then offer(job, from == '0') end
return { 'submitted', to }
`,
})
