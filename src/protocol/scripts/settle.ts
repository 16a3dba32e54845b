import { array, defineScript, number, oneOf } from '../script.ts'
import { chunk, expiring, keysInLine, keysOfPart, offering, taking, time } from './lua.ts'

const word = oneOf('committed', 'discarded', 'fenced')

/**
 * Claimed → done, retried or waiting again: the commit. For chunks of one part that one claim holds:
 * - the first `done` tasks of each are settled by the runs and retries that come along;
 * - whatever a chunk has beyond that is handed back, first in line.
 *
 * 'fenced' unless the claim still holds every one of them: a reaped thread must not overwrite its successor. After a
 * reply that was lost, 'fenced' means settled: either this call's first sending did it, or somebody else owns the
 * tasks. 'discarded': the job was cancelled or created anew; the claim is released, nothing else is written.
 *
 * `inLine`: whether anything waits for a thread with this code, in line or on the stage.
 *
 * `moreArgs`: per chunk `first attempt done`; per run `first count kind value`; per retry `delayMs element`, where 0 is
 * first in line at once. A payload goes with the commit that settles its task; a retry needs it still.
 * A run of the kind 'held' only says where its results are: the same transaction has stored them among the payloads, just
 * before, under a name of their own. Where the commit is refused, they go again.
 */
export const settle = defineScript({
  name: 'settle',
  flags: ['allow-oom'],
  keys: ['claim', ...keysOfPart, 'due', ...keysInLine],
  args: ['job', 'incarnation', 'channelPrefix', 'inlineBytes', 'pace', 'chunkCount', 'runCount', 'retryCount'],
  reply: reply => {
    const [first, settled, inLine] = array(reply)
    return { word: word(first), settled: number(settled), inLine: number(inLine) > 0 }
  },
  uses: [time, chunk, taking, offering, expiring],
  lua: `
local held, firstRun = {}, moreArgsFrom + 3 * tonumber(chunkCount)
for i = firstRun, firstRun + 4 * (tonumber(runCount) - 1), 4 do
  if ARGV[i + 2] == 'held' then held[#held + 1] = string.match(ARGV[i + 3], '\\n(%S+)') end
end
-- Where something else stands under the key they were not stored: then this is an error, before anything is done.
for _, field in ipairs(held) do redis.call('HEXISTS', payloadsKey, field) end
local function refuse(word)
  for _, field in ipairs(held) do redis.call('HDEL', payloadsKey, field) end
  return { word, 0, 0 }
end
local at = moreArgsFrom
local wanted, missing = {}, tonumber(chunkCount)
for _ = 1, missing do
  wanted[ARGV[at] .. ' ' .. ARGV[at + 1]] = tonumber(ARGV[at + 2])
  at = at + 3
end

-- The chunks of a claim are settled oldest first, so they stand at the tail, nearly always.
local found, atTail, i = {}, true, 0
local handsBack, hasPayload = tonumber(retryCount) > 0, false
while missing > 0 do
  i = i + 1
  local element = redis.call('LINDEX', claimKey, -i)
  if not element then return refuse('fenced') end
  local chunk = parse(element)
  local done = chunk and chunk.job == job and chunk.incarnation == incarnation
    and wanted[int(chunk.first) .. ' ' .. chunk.attempt]
  -- More done than there is: the claim holds another, shorter chunk of this name.
  if done and done <= chunk.count then
    chunk.index, chunk.done = -i, done
    found[#found + 1] = chunk
    missing = missing - 1
    if #found ~= i then atTail = false end
    if chunk.count > done then handsBack = true end
    if chunk.kind == 'held' then hasPayload = true end
  end
end

local function release()
  if atTail then
    redis.call('LTRIM', claimKey, 0, -#found - 1)
  else
    for _, chunk in ipairs(found) do redis.call('LSET', claimKey, chunk.index, '') end
    redis.call('LREM', claimKey, 0, '')
  end
end

local record = redis.call('HMGET', partKey, 'incarnation', 'state', 'collector', 'settled', 'detached', 'complete',
  'submitted', 'keepMs')
if record[1] ~= incarnation or record[2] == 'cancelled' then
  release()
  return refuse('discarded')
end

-- What can fail comes before the first write: tasks that are counted, and still in the claim, would be counted again.
if handsBack then
  redis.call('LLEN', chunksKey)
  redis.call('ZCARD', delayedKey)
  redis.call('ZCARD', dueKey)
end
if hasPayload then redis.call('HLEN', payloadsKey) end

local total = tonumber(record[4] or 0)
local message, settled, failed, inline = {}, 0, 0, 0
for _ = 1, tonumber(runCount) do
  local first, count, kind, value = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  at = at + 4
  total = total + tonumber(count)
  redis.call('HSET', resultsKey, first, value)
  settled = settled + tonumber(count)
  if kind == 'failure' then failed = failed + 1 end
  inline = inline + #value
  if inline <= tonumber(inlineBytes) then
    message[#message + 1] = first .. ' ' .. #value .. '\\n' .. value
  else
    message[#message + 1] = first .. ' - ' .. count .. ' ' .. kind .. ' ' .. #value .. '\\n'
  end
end
if failed > 0 then redis.call('HINCRBY', partKey, 'failed', int(failed)) end
if tonumber(pace) > 0 then
  redis.call('HSET', partKey, 'settled', int(total), 'pace', pace)
else
  redis.call('HSET', partKey, 'settled', int(total))
end

local returned, again = 0, {}
for _ = 1, tonumber(retryCount) do
  local delay, element = tonumber(ARGV[at]), ARGV[at + 1]
  again[parse(element).first] = true
  if delay > 0 then
    local due = int(clock() + delay)
    redis.call('ZADD', delayedKey, due, element)
    redis.call('ZADD', dueKey, 'LT', due, job)
  else
    redis.call('RPUSH', chunksKey, element)
    returned = returned + parse(element).count
  end
  at = at + 2
end

for i = #found, 1, -1 do
  local chunk = found[i]
  if chunk.count > chunk.done then
    redis.call('RPUSH', chunksKey, write(chunk, chunk.first + chunk.done, chunk.count - chunk.done))
    returned = returned + chunk.count - chunk.done
  elseif chunk.kind == 'held' and not again[chunk.first] then
    redis.call('HDEL', payloadsKey, payloadField(chunk))
  end
end
release()
if returned > 0 then
  redis.call('HINCRBY', partKey, 'waiting', int(returned))
  if record[2] == 'open' then offer(job) end
end
if settled > 0 then
  redis.call('PUBLISH', channelPrefix .. record[3],
    'results ' .. job .. ' ' .. incarnation .. ' ' .. int(total) .. ' ' .. pace .. '\\n' .. table.concat(message))
end
-- A part that is driven has no expiry.
local undriven = record[5] == '1' and record[6] == '1'
if undriven or record[2] ~= 'open' then expireTogether() end
if undriven and total >= tonumber(record[7]) then expireAll(record[8]) end
return { 'committed', int(total), redis.call('EXISTS', readyKey, stageKey) }
`,
})
