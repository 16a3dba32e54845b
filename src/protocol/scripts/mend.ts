import { defineScript, number } from '../script.ts'

/**
 * Deletes keys that hold what they never may: a key of another type, or a record or lane whose counts are no numbers.
 * Something else wrote there, and no script could go on with it. A note of each goes to the malformed ones. Whoever
 * misses what was lost with it finds out by comparing, as after any loss. Replies how many keys were deleted.
 *
 * `moreKeys`: the keys; `moreArgs`: for each the type that it must have, or `part` or `lane` for Hashes with counts.
 */
export const mend = defineScript({
  name: 'mend',
  flags: ['allow-oom'],
  keys: ['malformed'],
  args: [],
  reply: number,
  lua: `
local counts = {
  part = { 'submitted', 'waiting', 'settled', 'failed', 'released', 'priority', 'keepMs', 'cursor', 'attached', 'pace' },
  lane = { 'turn', 'slots', 'reapedAt', 'reapingSince' },
}
-- A whole number as Redis writes it, since it adds to no other: not 007, nor -0. Only the pace is measured.
local function sane(field, value)
  if not value or value == '0' then return true end
  local isNumber = string.match(value, '^%-?[1-9]%d*$') or (field == 'pace' and string.match(value, '^%d+%.%d+$'))
  return #value <= 32 and isNumber and math.abs(tonumber(value)) <= 1e15
end
local function fault(key, kind)
  local type = redis.call('TYPE', key).ok
  if type == 'none' then return nil end
  if type ~= (counts[kind] and 'hash' or kind) then return 'a ' .. type .. ' stood where a ' .. kind .. ' must be' end
  for _, field in ipairs(counts[kind] or {}) do
    local value = redis.call('HGET', key, field)
    if not sane(field, value) then return 'its ' .. field .. ' was ' .. string.sub(value, 1, 100) end
  end
end
local deleted = 0
if redis.call('TYPE', malformedKey).ok ~= 'list' then deleted = redis.call('UNLINK', malformedKey) end
for i = moreKeysFrom, #KEYS do
  local found = fault(KEYS[i], ARGV[moreArgsFrom + i - moreKeysFrom])
  if found then
    redis.call('UNLINK', KEYS[i])
    redis.call('LPUSH', malformedKey, 'deleted ' .. KEYS[i] .. ': ' .. found)
    redis.call('LTRIM', malformedKey, 0, 99)
    deleted = deleted + 1
  end
end
return deleted
`,
})

/** Takes members that are no names (`moreArgs`) out of a sorted set, and sets them aside. Replies how many there were. */
export const expel = defineScript({
  name: 'expel',
  flags: ['allow-oom'],
  keys: ['set', 'malformed'],
  args: [],
  reply: number,
  lua: `
local expelled = 0
for i = moreArgsFrom, #ARGV do
  if redis.call('ZREM', setKey, ARGV[i]) == 1 then
    redis.call('LPUSH', malformedKey, string.sub(ARGV[i], 1, 4096))
    expelled = expelled + 1
  end
end
redis.call('LTRIM', malformedKey, 0, 99)
return expelled
`,
})
