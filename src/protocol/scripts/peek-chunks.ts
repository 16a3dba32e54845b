import { array, defineScript, text } from '../script.ts'

/**
 * The header lines of a part's chunks that wait, in its List or for a retry: a page of each, from `from` on, at most
 * `count`. Payloads stay in Redis. Nothing: there is no such page.
 */
export const peekChunks = defineScript({
  name: 'peekChunks',
  flags: ['no-writes', 'allow-oom'],
  keys: ['chunks', 'delayed'],
  args: ['from', 'count'],
  reply: reply => array(reply).map(text),
  lua: `
local lines, first = {}, tonumber(from)
local function look(element) lines[#lines + 1] = string.match(element, '^(%C*)\\n') or '' end
for i = first + 1, math.min(redis.call('LLEN', chunksKey), first + tonumber(count)) do
  look(redis.call('LINDEX', chunksKey, -i))
end
for _, element in ipairs(redis.call('ZRANGE', delayedKey, first, first + tonumber(count) - 1)) do look(element) end
return lines
`,
})
