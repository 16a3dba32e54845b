import { array, defineScript, text } from '../script.ts'

/** The header lines of what a claim holds, oldest first, at most 256; payloads stay in Redis. */
export const peekClaim = defineScript({
  name: 'peekClaim',
  flags: ['no-writes', 'allow-oom'],
  keys: ['claim'],
  args: [],
  reply: reply => array(reply).map(text),
  lua: `
local lines = {}
for i = 1, math.min(redis.call('LLEN', claimKey), 256) do
  lines[i] = string.match(redis.call('LINDEX', claimKey, -i), '^(%C*)\\n') or ''
end
return lines
`,
})
