import { defineScript, number } from '../script.ts'
import { chunk, time } from './lua.ts'

/**
 * After a reconnect: moves the chunks that the thread still runs (`moreArgs`: `<job> <first> <attempt>`) from the claim
 * of its former connection into that of its new one. What it does not run stays for `giveBack`. Replies how many moved.
 */
export const carryOver = defineScript({
  name: 'carryOver',
  flags: ['allow-oom'],
  keys: ['from', 'to'],
  args: [],
  reply: number,
  uses: [time, chunk],
  lua: `
local running, moved = {}, 0
for i = moreArgsFrom, #ARGV do running[ARGV[i]] = true end
for i, element in ipairs(redis.call('LRANGE', fromKey, 0, -1)) do
  local chunk = parse(element)
  if chunk and running[chunk.job .. ' ' .. int(chunk.first) .. ' ' .. chunk.attempt] then
    redis.call('RPUSH', toKey, element)
    redis.call('LSET', fromKey, i - 1, '')
    moved = moved + 1
  end
end
if moved > 0 then redis.call('LREM', fromKey, 0, '') end
return moved
`,
})
