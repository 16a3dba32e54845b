/**
 * Lua functions that several scripts share. A script names those it uses; they are put before its text.
 * Each expects the locals that its comment names, which come from the script's own keys and arguments.
 */

/** The keys of a job's part, all of which `expiring` uses. */
export const keysOfPart = ['part', 'chunks', 'results', 'delayed', 'payloads', 'shared'] as const

/** The keys that `offering` uses beside the part's. */
export const keysInLine = ['ready', 'stage', 'waiting', 'lane', 'malformed'] as const

/** `clock()`: Redis's time in ms, which stands still while a script runs. `int(n)`: a whole number as text; Lua's own tostring gives 1e+15. */
export const time = `
local function int(n) return string.format('%.0f', n) end
local clockMs
local function clock()
  if not clockMs then
    local t = redis.call('TIME')
    clockMs = t[1] * 1000 + math.floor(t[2] / 1000)
  end
  return clockMs
end
`

/**
 * `parse(element)`: the header of a chunk as a table, or nil. It accepts nothing that `parseHeader` does not: a chunk
 * that a script takes for good and a thread for garbage would go round for ever. `write(chunk, first, count, deaths)`:
 * the same chunk with another window or history; the payload is the whole original, since `base` says where it starts.
 * `payloadField(chunk)`: where the payload of a held chunk lies in its part's payloads.
 */
export const chunk = `
local kinds = { pack = true, range = true, held = true }
local flagWords = { plain = true, shared = true, reduce = true, both = true }
local function parse(element)
  local job, incarnation, first, count, base, attempt, deaths, kind, flags, task, at = string.match(element,
    '^([%w._:%-]+) (%w+) (%d+) (%d+) (%d+) (%d+) (%d+) (%a+) (%a+) (%C+)\\n()')
  if not job or at > 1025 or not kinds[kind] or not flagWords[flags] then return nil end
  if #job > 200 or #incarnation > 64 or #first > 15 or #count > 15 or #base > 15 or #attempt > 9 or #deaths > 9 then return nil end
  if tonumber(count) == 0 or tonumber(base) > tonumber(first) or (kind == 'held' and tonumber(count) > 1) then return nil end
  -- U+0080 to U+009F are controls too.
  if string.find(task, '\\194[\\128-\\159]') then return nil end
  return { job = job, incarnation = incarnation, first = tonumber(first), count = tonumber(count), base = base,
    attempt = tonumber(attempt), deaths = tonumber(deaths), kind = kind, flags = flags, task = task, at = at, element = element }
end
local function write(chunk, first, count, deaths)
  return table.concat({ chunk.job, chunk.incarnation, int(first), int(count), chunk.base, chunk.attempt, deaths or chunk.deaths,
    chunk.kind, chunk.flags, chunk.task }, ' ') .. '\\n' .. string.sub(chunk.element, chunk.at)
end
local function payloadField(chunk) return chunk.incarnation .. ':' .. int(chunk.first) end
`

/**
 * `chunkSize(part, slots)`: how many tasks a thread should take at once, from the part's measured pace (ns a task) and
 * its waiting tasks; and the part's incarnation and cursor, which `take` wants to know. Guided self-scheduling (Polychronopoulos & Kuck, 1987): a share of what is left, so that the tail
 * is fine-grained, between half a millisecond and forty of work. An unmeasured part gives one task, so that the first
 * tasks spread over all threads. Never more than two thirds of 65,535, which a thread counts up to: a claim may become
 * half as large again, since `take` does not cut what is only a little too large.
 * `take(chunksKey, job, incarnation, submitted, want)`: the next chunk of a List, cut to `want` tasks, or nil. What is none,
 * is another job's or an earlier incarnation's, or goes beyond what was submitted is set aside. Uses `malformedKey`.
 */
export const taking = `
local function chunkSize(partKey, slots)
  local record = redis.call('HMGET', partKey, 'pace', 'waiting', 'incarnation', 'submitted')
  local pace, waiting = tonumber(record[1] or 0) or 0, tonumber(record[2] or 0) or 0
  local incarnation, submitted = record[3], tonumber(record[4] or 0) or 0
  if pace <= 0 then return 1, incarnation, submitted end
  local most = math.max(1, math.floor(4e7 / pace))
  local least = math.max(1, math.floor(5e5 / pace))
  local size = math.max(math.min(most, math.ceil(waiting / (2 * slots))), math.min(least, most))
  return math.min(size, 43690), incarnation, submitted
end
local function take(chunksKey, job, incarnation, submitted, want)
  for _ = 1, 16 do
    local element = redis.call('RPOP', chunksKey)
    if not element then return nil end
    local chunk = parse(element)
    -- One that says that it has more tasks than there are would be cut, piece by piece, for ever.
    if not chunk or chunk.job ~= job or chunk.incarnation ~= incarnation or chunk.first + chunk.count > submitted then
      redis.call('LPUSH', malformedKey, string.sub(element, 1, 4096))
      redis.call('LTRIM', malformedKey, 0, 99)
    else
      -- Cutting a pack copies its payload, so one that is only a little too large goes whole.
      local whole = chunk.count <= 65535 and (chunk.count <= want or (chunk.kind == 'pack' and chunk.count <= want * 1.5))
      if not whole then
        local cut = math.min(want, 65535)
        redis.call('RPUSH', chunksKey, write(chunk, chunk.first + cut, chunk.count - cut))
        chunk.element = write(chunk, chunk.first, cut)
        chunk.count = cut
      end
      return chunk
    end
  end
  return nil
end
`

/**
 * `offer(job, isNew)`: makes the waiting chunks of a part known: hands them to threads that block on the stage, at most
 * one for each, and puts the job in its turn if any are left. Threads that block on another lane, and those that have
 * room beside what they run, hear of those on the control channel. Uses `partKey chunksKey readyKey stageKey waitingKey
 * laneKey malformedKey` and `time`, `chunk`, `taking`.
 */
export const offering = `
local function announce(waiters, isNew)
  -- On a queue's only lane every idle thread blocks here and needs no message.
  local severalLanes = string.find(redis.call('HGET', laneKey, 'lanes') or '', ',', 1, true)
  if not severalLanes and (waiters > 0 or not isNew) then return end
  local queue, lane = string.match(laneKey, '^{(.+):(%d+)}:lane$')
  redis.call('PUBLISH', queue .. ':control', 'work ' .. lane .. ' ' .. redis.call('LLEN', chunksKey))
end
local function offer(job, isNew)
  local waiters = redis.call('ZCOUNT', waitingKey, int(clock()), '+inf')
  local wanting = math.min(waiters - redis.call('LLEN', stageKey), 256)
  if wanting > 0 then
    local slots = tonumber(redis.call('HGET', laneKey, 'slots') or 1)
    local tasks = 0
    while wanting > 0 do
      local want, incarnation, submitted = chunkSize(partKey, slots)
      local chunk = take(chunksKey, job, incarnation, submitted, want)
      if not chunk then break end
      redis.call('LPUSH', stageKey, chunk.element)
      tasks = tasks + chunk.count
      wanting = wanting - 1
    end
    if tasks > 0 then redis.call('HINCRBY', partKey, 'waiting', int(-tasks)) end
  end
  if redis.call('EXISTS', chunksKey) == 0 then
    redis.call('ZREM', readyKey, job)
  elseif not redis.call('ZSCORE', readyKey, job) then
    local priority = tonumber(redis.call('HGET', partKey, 'priority') or 0)
    redis.call('ZADD', readyKey, int(redis.call('HINCRBY', laneKey, 'turn', 1) - priority * 1e12), job)
    announce(waiters, isNew)
  end
end
`

/**
 * `everyKey(command, …)`: the command for each key of a part. `expireAll(ms)`: gives all of them the same expiry.
 * `expireTogether()`: a key that came to be after its part got an expiry (it is parked, or has ended) gets the same one,
 * else it would outlive the part for ever. Use `partKey chunksKey resultsKey delayedKey payloadsKey sharedKey`.
 */
export const expiring = `
local function everyKey(command, ...)
  for _, key in ipairs({ partKey, chunksKey, resultsKey, delayedKey, payloadsKey, sharedKey }) do redis.call(command, key, ...) end
end
local function expireTogether()
  local at = redis.call('PEXPIRETIME', partKey)
  if at >= 0 then everyKey('PEXPIREAT', int(at)) end
end
local function expireAll(ms)
  redis.call('PEXPIRE', partKey, ms)
  -- Read back, because the clock goes on between two commands of a script.
  expireTogether()
end
`

/** `expireIfEnded()`: gives the keys of a detached part that has settled everything their expiry. Uses `expiring`. */
export const ending = `
local function expireIfEnded()
  local record = redis.call('HMGET', partKey, 'complete', 'detached', 'submitted', 'settled', 'keepMs')
  if record[1] == '1' and record[2] == '1' and tonumber(record[4] or 0) >= tonumber(record[3]) then expireAll(record[5]) end
end
`

/**
 * `retire(claim)`: notes a claim that has ended, for half an hour. A `BLMOVE` that was held up on its way (a partition,
 * a stalled proxy) may still put a chunk into it, and no worker looks there any more: the janitor does. Uses `retiredKey`.
 */
export const retiring = `
local function retire(claim)
  local now = clock()
  redis.call('ZREMRANGEBYSCORE', retiredKey, '-inf', int(now))
  redis.call('ZADD', retiredKey, int(now + 1800000), claim)
  redis.call('PEXPIRE', retiredKey, 1800000)
end
`
