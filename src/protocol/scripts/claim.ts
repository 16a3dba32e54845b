import { array, bytes, defineScript, oneOf, text } from '../script.ts'
import { chunk, taking, time } from './lua.ts'

const word = oneOf('claimed', 'empty', 'undeclared', 'unenrolled')

/**
 * Waiting → claimed, into the List of the caller's claim. First what stands on the stage, then the jobs by priority
 * and turn; as many small packs, or as much of a large one, as the pace says.
 *
 * A script may only touch declared keys, so the caller declares the jobs that it knows (`moreKeys`: part and chunks
 * of each; `moreArgs`: their ids) and 'undeclared' tells it which stand first now: it calls again with those.
 * 'empty' with `waitMs` > 0 has noted that the caller blocks on the stage from now on. `noted`: the claim by which it was
 * noted before, or the same one; a thread is counted once, and not while it has what it claimed. 'unenrolled': no reaper would
 * find this claim, or its worker was declared dead, so it may not take anything; register first.
 *
 * What stands on the stage may have been put there for a thread that is noted and about to block. Whoever takes it puts the
 * next chunk in line there, so that no thread blocks beside work: it would hear of none while others are noted.
 *
 * A chunk that was in a process which died (`deaths` > 0) is only given to a thread that holds nothing else, so that
 * the next death is certainly its own. `holding` is how many chunks the thread holds in other claims. With `defers` it
 * gets nothing where such a chunk stands first, and so comes back for it with nothing in hand; a fleet that always has
 * other work would pass it by for ever.
 */
export const claim = defineScript({
  name: 'claim',
  flags: ['allow-oom'],
  keys: ['claim', 'claims', 'workers', 'stage', 'waiting', 'ready', 'lane', 'malformed'],
  args: ['claim', 'worker', 'waitMs', 'mostChunks', 'mostBytes', 'holding', 'defers', 'noted'],
  reply: reply => {
    const [first, jobs, elements] = array(reply)
    return { word: word(first), jobs: array(jobs ?? []).map(text), elements: array(elements ?? []).map(bytes) }
  },
  uses: [time, chunk, taking],
  lua: `
-- The claims of a worker that was declared dead are known until it is buried: what it took now would be charged with a death.
if redis.call('SISMEMBER', claimsKey, claim) == 0 or not redis.call('ZSCORE', workersKey, worker) then return { 'unenrolled' } end
local held = redis.call('LLEN', claimKey) + tonumber(holding)
local taken, tasks, size = {}, 0, 0
local function hold(chunk)
  redis.call('LPUSH', claimKey, chunk.element)
  taken[#taken + 1] = chunk.element
  tasks = tasks + chunk.count
  size = size + #chunk.element
  if chunk.kind == 'held' then size = size + (tonumber(string.sub(chunk.element, chunk.at)) or 0) end
end
local jobs, declared = {}, {}
for _, job in ipairs(redis.call('ZRANGE', readyKey, 0, 15)) do
  if #job <= 200 and string.match(job, '^[%w._:%-]+$') then
    jobs[#jobs + 1] = job
  else
    -- No caller could declare its keys, and it would stand first in line for ever.
    redis.call('ZREM', readyKey, job)
    redis.call('LPUSH', malformedKey, string.sub(job, 1, 4096))
    redis.call('LTRIM', malformedKey, 0, 99)
  end
end
for i = moreArgsFrom, #ARGV do declared[ARGV[i]] = moreKeysFrom + 2 * (i - moreArgsFrom) end
local slots = tonumber(redis.call('HGET', laneKey, 'slots') or 1)
-- A job's next chunk has left the line: it goes to the end of its turn, or out of it.
local function turn(job, partKey, chunksKey)
  if redis.call('EXISTS', chunksKey) == 0 then
    redis.call('ZREM', readyKey, job)
  else
    local priority = tonumber(redis.call('HGET', partKey, 'priority') or 0)
    redis.call('ZADD', readyKey, int(redis.call('HINCRBY', laneKey, 'turn', 1) - priority * 1e12), job)
  end
end
local staged = redis.call('LINDEX', stageKey, -1)
local front = staged and parse(staged)
if front and (front.deaths == 0 or held == 0) then
  redis.call('ZREM', waitingKey, claim, noted)
  local first = jobs[1]
  if first and redis.call('ZCOUNT', waitingKey, int(clock()), '+inf') >= redis.call('LLEN', stageKey) then
    local at = declared[first]
    if not at then return { 'undeclared', jobs } end
    local partKey, chunksKey = KEYS[at], KEYS[at + 1]
    local want, incarnation, submitted = chunkSize(partKey, slots)
    local chunk = take(chunksKey, first, incarnation, submitted, want)
    if chunk then
      redis.call('LPUSH', stageKey, chunk.element)
      redis.call('HINCRBY', partKey, 'waiting', int(-chunk.count))
    end
    turn(first, partKey, chunksKey)
  end
  -- Not RPOP: its reply would copy the payload once more.
  redis.call('LTRIM', stageKey, 0, -2)
  hold(front)
elseif staged and not front then
  redis.call('RPOP', stageKey)
  redis.call('LPUSH', malformedKey, string.sub(staged, 1, 4096))
  redis.call('LTRIM', malformedKey, 0, 99)
end
-- What stands first on the stage and was not taken is such a chunk as only a thread with nothing in hand may have.
local deferred = front and #taken == 0 and defers == '1'
if #taken == 0 and not deferred then
  for _, job in ipairs(jobs) do
    local at = declared[job]
    if not at then return { 'undeclared', jobs } end
    local partKey, chunksKey = KEYS[at], KEYS[at + 1]
    local want, incarnation, submitted = chunkSize(partKey, slots)
    while tasks < want and #taken < tonumber(mostChunks) and size < tonumber(mostBytes) do
      local chunk = take(chunksKey, job, incarnation, submitted, want - tasks)
      if not chunk then break end
      local alone = chunk.deaths > 0
      if alone and held + #taken > 0 then
        redis.call('RPUSH', chunksKey, chunk.element)
        deferred = defers == '1' and #taken == 0
        break
      end
      hold(chunk)
      if alone then break end
    end
    if tasks > 0 then redis.call('HINCRBY', partKey, 'waiting', int(-tasks)) end
    if #taken > 0 or redis.call('EXISTS', chunksKey) == 0 then turn(job, partKey, chunksKey) end
    if #taken > 0 or deferred then break end
  end
end
if #taken > 0 then
  redis.call('ZREM', waitingKey, claim, noted)
  return { 'claimed', jobs, taken }
end
if tonumber(waitMs) > 0 then
  local now = clock()
  redis.call('ZREMRANGEBYSCORE', waitingKey, '-inf', int(now))
  redis.call('ZREM', waitingKey, noted)
  redis.call('ZADD', waitingKey, int(now + tonumber(waitMs)), claim)
  -- Threads that were killed while they waited leave entries that only another thread's wait would clear away.
  redis.call('PEXPIRE', waitingKey, 60000)
end
return { 'empty', jobs }
`,
})
