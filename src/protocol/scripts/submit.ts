import { array, defineScript, number, oneOf } from '../script.ts'
import { chunk, offering, taking, time } from './lua.ts'

const word = oneOf('submitted', 'conflict', 'replaced', 'parked', 'ended', 'gone', 'out of step')

/**
 * Adds chunks to a part, creating the part first when `fieldCount` says that record fields come along.
 *
 * Inserts only where the incarnation, the collector and the `submitted` cursor all match, so a re-sent or delayed
 * batch inserts nothing twice: it gets 'out of step' with the true cursor. 'conflict': a part of another incarnation
 * has this id. 'gone': there is no part (Redis lost it). 'parked': the driver's lease had lapsed; attach again.
 * Not allow-oom: this is the one script that a full Redis refuses.
 */
export const submit = defineScript({
  name: 'submit',
  keys: ['part', 'chunks', 'ready', 'stage', 'waiting', 'lane', 'jobs', 'driven', 'malformed'],
  args: ['job', 'incarnation', 'collector', 'from', 'to', 'complete', 'driverLeaseMs', 'control', 'fieldCount'],
  reply: reply => {
    const [first, cursor] = array(reply)
    return { word: word(first), submitted: number(cursor) }
  },
  uses: [time, chunk, taking, offering],
  lua: `
local fieldsTo = moreArgsFrom + tonumber(fieldCount) - 1
local record = redis.call('HMGET', partKey, 'incarnation', 'collector', 'submitted', 'state', 'detached')
local created = false
if not record[1] then
  if fieldsTo < moreArgsFrom then return { 'gone', 0 } end
  if from ~= '0' then return { 'out of step', 0 } end
  redis.call('HSET', partKey, 'incarnation', incarnation, 'collector', collector, 'submitted', 0, 'state', 'open',
    unpack(ARGV, moreArgsFrom, fieldsTo))
  redis.call('ZADD', jobsKey, int(clock()), job)
  if redis.call('HGET', partKey, 'detached') ~= '1' then
    redis.call('ZADD', drivenKey, int(clock() + tonumber(driverLeaseMs)), job)
  end
  created = true
else
  if record[1] ~= incarnation then return { 'conflict', record[3] } end
  if record[2] ~= collector then return { 'replaced', record[3] } end
  if record[4] == 'parked' then return { 'parked', record[3] } end
  if record[4] ~= 'open' then return { 'ended', record[3] } end
  if record[3] ~= from then return { 'out of step', record[3] } end
end
local tasks = tonumber(to) - tonumber(from)
for i = fieldsTo + 1, #ARGV do redis.call('LPUSH', chunksKey, ARGV[i]) end
if tasks > 0 then redis.call('HINCRBY', partKey, 'waiting', int(tasks)) end
if complete == '1' then
  redis.call('HSET', partKey, 'submitted', to, 'complete', 1)
else
  redis.call('HSET', partKey, 'submitted', to)
end
if tasks > 0 and offer(job) == 0 and created then redis.call('PUBLISH', control, 'work') end
return { 'submitted', to }
`,
})
