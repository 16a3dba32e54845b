import { array, bytes, defineScript, number, oneOf, text } from '../script.ts'

/**
 * Waiting → claimed, in plain-Redis mode, where Redis is over its memory limit and refuses BLMOVE: without this the List
 * that fills it would never be emptied. Does not block. Replies with the element, or null when the List is empty.
 */
export const plainClaim = defineScript({
  name: 'plainClaim',
  flags: ['allow-oom'],
  keys: ['list', 'claim'],
  args: [],
  reply: reply => (reply === null ? null : bytes(reply)),
  lua: `
return redis.call('LMOVE', listKey, claimKey, 'RIGHT', 'LEFT')
`,
})

/**
 * Claimed → done, in plain-Redis mode: writes the result (or the error) of an element and removes it from the claim, at
 * once. 'fenced' unless the claim still holds it: whoever was declared dead must not overwrite its successor.
 */
export const plainCommit = defineScript({
  name: 'plainCommit',
  flags: ['allow-oom'],
  keys: ['claim', 'results', 'errors', 'deaths'],
  args: ['element', 'field', 'outcome', 'value'],
  reply: oneOf('committed', 'fenced'),
  lua: `
-- What can fail comes before the first write: an element that has left its claim without a result would be lost.
redis.call('HLEN', resultsKey)
redis.call('HLEN', errorsKey)
redis.call('HLEN', deathsKey)
if redis.call('LREM', claimKey, -1, element) == 0 then return 'fenced' end
if outcome == 'ok' then
  redis.call('HSET', resultsKey, field, value)
  redis.call('HDEL', errorsKey, field)
else
  redis.call('HSET', errorsKey, field, value)
end
redis.call('HDEL', deathsKey, element)
return 'committed'
`,
})

/**
 * Claimed → waiting, in plain-Redis mode: returns at most 64 elements of a claim to the List's tail, where they stand
 * first in line. With `reason` 'death' the claim's worker must have been declared dead ('alive' otherwise), and every
 * element becomes a suspect, to be run alone; a suspect that was alone and took its process down `maxDeaths` times gets
 * the error `failure` instead. `fieldOf`: in plain mode the caller knows how an element names its field, so for a
 * quarantine the elements and their fields come as `moreArgs` pairs; an element without one is its own field.
 * Otherwise ('uncharged') `moreArgs` are the elements that the caller still runs, which stay.
 */
export const plainReturn = defineScript({
  name: 'plainReturn',
  flags: ['allow-oom'],
  keys: ['claim', 'list', 'dead', 'deaths', 'errors'],
  args: ['worker', 'reason', 'maxDeaths', 'failure'],
  reply: reply => {
    const [word, returned, quarantined, left] = array(reply)
    return { word: text(word), returned: number(returned), quarantined: number(quarantined), left: number(left) }
  },
  lua: `
if reason == 'death' and not redis.call('ZSCORE', deadKey, worker) then return { 'alive', 0, 0, 0 } end
local fields, kept = {}, {}
if reason == 'death' then
  for i = moreArgsFrom, #ARGV, 2 do fields[ARGV[i]] = ARGV[i + 1] end
else
  for i = moreArgsFrom, #ARGV do kept[ARGV[i]] = (kept[ARGV[i]] or 0) + 1 end
end
-- What can fail comes before the first write.
redis.call('LLEN', listKey)
redis.call('HLEN', errorsKey)
redis.call('HLEN', deathsKey)
local length = redis.call('LLEN', claimKey)
local elements = redis.call('LRANGE', claimKey, -64, -1)
local returned, quarantined, stay = 0, 0, {}
for _, element in ipairs(elements) do
  local deaths = 0
  if reason == 'death' then
    deaths = tonumber(redis.call('HGET', deathsKey, element) or 0) or 0
    if deaths == 0 then deaths = 1 elseif length == 1 then deaths = deaths + 1 end
  end
  if kept[element] and kept[element] > 0 then
    kept[element] = kept[element] - 1
    stay[#stay + 1] = element
  elseif deaths > tonumber(maxDeaths) then
    redis.call('HSET', errorsKey, fields[element] or element, failure)
    redis.call('HDEL', deathsKey, element)
    quarantined = quarantined + 1
  else
    if deaths > 0 then redis.call('HSET', deathsKey, element, deaths) end
    redis.call('RPUSH', listKey, element)
    returned = returned + 1
  end
end
redis.call('LTRIM', claimKey, 0, -#elements - 1)
for i = 1, #stay do redis.call('RPUSH', claimKey, stay[i]) end
return { 'returned', returned, quarantined, length - #elements }
`,
})

/** Writes a result that nobody claimed: the answer to a message on the channel. */
export const plainAnswer = defineScript({
  name: 'plainAnswer',
  flags: ['allow-oom'],
  keys: ['results', 'errors'],
  args: ['field', 'outcome', 'value'],
  reply: oneOf('written'),
  lua: `
redis.call('HSET', outcome == 'ok' and resultsKey or errorsKey, field, value)
return 'written'
`,
})
