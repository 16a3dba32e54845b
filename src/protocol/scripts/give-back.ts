import { array, defineScript, number, oneOf } from '../script.ts'
import { chunk, ending, expiring, keysInLine, keysOfPart, offering, taking, time } from './lua.ts'

const word = oneOf('returned', 'alive')

/**
 * Claimed → waiting: returns the chunks of one job from a claim to the front of the job's List, at most 64 a call.
 *
 * With `reason` 'uncharged' (a drain, a lost reply, a reconnect) they go back as they are, but for those in
 * `moreArgs` (`<first> <attempt>` each), which the caller still runs.
 *
 * With 'death' the claim's worker must have been declared dead, which is checked here, in the same script: 'alive'
 * otherwise. Every chunk becomes a suspect: halved, and from now on only given to a thread that holds nothing else.
 * A suspect of one task that was alone in its claim certainly ran when its process died: only that counts. After
 * `maxDeaths` such deaths the task is quarantined: its failure is committed and its evidence kept.
 * `deaths` in a chunk's header: 0 clean, 1 suspect, n + 1: n certain deaths.
 *
 * A held chunk whose payload is gone is set aside: only a foreign hand can have deleted it, nobody can run the task any
 * more, and its driver finds the task missing, as after any such loss.
 */
export const giveBack = defineScript({
  name: 'giveBack',
  flags: ['allow-oom'],
  keys: ['claim', 'dead', ...keysOfPart, 'quarantine', ...keysInLine],
  args: ['job', 'worker', 'reason', 'maxDeaths', 'channelPrefix', 'failure', 'evidence'],
  reply: reply => {
    const [first, returned, quarantined, left] = array(reply)
    return { word: word(first), returned: number(returned), quarantined: number(quarantined), left: number(left) }
  },
  uses: [time, chunk, taking, offering, expiring, ending],
  lua: `
if reason == 'death' and not redis.call('ZSCORE', deadKey, worker) then return { 'alive', 0, 0, 0 } end
local kept = {}
for i = moreArgsFrom, #ARGV do kept[ARGV[i]] = true end
local record = redis.call('HMGET', partKey, 'incarnation', 'state', 'collector')
local elements = redis.call('LRANGE', claimKey, -64, -1)
local length = redis.call('LLEN', claimKey)
local alone = length == 1
local tasks, returned, quarantined, marked = 0, 0, 0, 0

-- What is in quarantine outlives its part, so that a payload goes along.
local function withPayload(chunk)
  if chunk.kind ~= 'held' then return chunk end
  local payload = redis.call('HGET', payloadsKey, payloadField(chunk)) or ''
  redis.call('HDEL', payloadsKey, payloadField(chunk))
  chunk.kind, chunk.element, chunk.at = 'pack', payload, 1
  return chunk
end

local function quarantine(chunk)
  chunk = withPayload(chunk)
  local index = int(chunk.first)
  redis.call('HSET', quarantineKey, job .. ':' .. index, evidence .. '\\n' .. write(chunk, chunk.first, 1, 0))
  local value = '1 failure\\n' .. failure
  redis.call('HSET', resultsKey, index, value)
  redis.call('HINCRBY', partKey, 'failed', 1)
  local total = redis.call('HINCRBY', partKey, 'settled', 1)
  redis.call('PUBLISH', channelPrefix .. record[3], 'results ' .. job .. ' ' .. chunk.incarnation .. ' ' .. int(total)
    .. ' 0\\n' .. index .. ' ' .. #value .. '\\n' .. value)
  quarantined = quarantined + 1
end

local function setAside(element)
  redis.call('LPUSH', malformedKey, string.sub(element, 1, 4096))
  redis.call('LTRIM', malformedKey, 0, 99)
end

local function back(chunk)
  if chunk.kind == 'held' and redis.call('HEXISTS', payloadsKey, payloadField(chunk)) == 0 then return setAside(chunk.element) end
  if reason ~= 'death' then
    redis.call('RPUSH', chunksKey, chunk.element)
  elseif chunk.count > 1 then
    local half = math.ceil(chunk.count / 2)
    redis.call('RPUSH', chunksKey, write(chunk, chunk.first + half, chunk.count - half, 1), write(chunk, chunk.first, half, 1))
  else
    local deaths = math.max(chunk.deaths, 1)
    if alone and chunk.deaths > 0 then deaths = deaths + 1 end
    if deaths > tonumber(maxDeaths) then return quarantine(chunk) end
    redis.call('RPUSH', chunksKey, write(chunk, chunk.first, 1, deaths))
  end
  tasks = tasks + chunk.count
  returned = returned + 1
end

-- Newest first, so that the oldest is pushed last and stands first in line.
for i, element in ipairs(elements) do
  local chunk = parse(element)
  if not chunk then
    setAside(element)
    redis.call('LSET', claimKey, i - 1 - #elements, '')
    marked = marked + 1
  elseif chunk.job == job and not kept[int(chunk.first) .. ' ' .. chunk.attempt] then
    if record[1] == chunk.incarnation and record[2] ~= 'cancelled' then back(chunk) end
    redis.call('LSET', claimKey, i - 1 - #elements, '')
    marked = marked + 1
  end
end
if marked > 0 then redis.call('LREM', claimKey, 0, '') end
if tasks > 0 then
  redis.call('HINCRBY', partKey, 'waiting', int(tasks))
  if record[2] == 'open' then offer(job) end
end
if tasks + quarantined > 0 then
  expireTogether()
  expireIfEnded()
end
return { 'returned', returned, quarantined, length - marked }
`,
})
