import { array, defineScript, text } from '../script.ts'
import { MalformedDataError } from '../../errors.ts'
import { unreadRun } from '../run.ts'
import type { UnreadRun } from '../run.ts'

/**
 * One step of HSCAN over the results Hash, without the results: which runs are there. `count` bounds the work of one
 * call. A field that is no run is left out, and so is a run whose bytes are held among the payloads but are not there any
 * more: nobody can read it, and whoever looks for lost results must miss it.
 */
export const scanResults = defineScript({
  name: 'scanResults',
  flags: ['no-writes', 'allow-oom'],
  keys: ['results', 'payloads'],
  args: ['cursor', 'count'],
  reply: reply => {
    const [cursor, ...words] = array(reply).map(text)
    const runs: UnreadRun[] = []
    for (let i = 0; i + 3 < words.length; i += 4) {
      try {
        runs.push(unreadRun(words[i] ?? '', words[i + 1], words[i + 2] ?? '', words[i + 3]))
      } catch (error) {
        if (!(error instanceof MalformedDataError)) throw error
      }
    }
    return { cursor: cursor ?? '0', runs }
  },
  lua: `
local page = redis.call('HSCAN', resultsKey, cursor, 'COUNT', count)
local reply = { page[1] }
for i = 1, #page[2], 2 do
  local count, kind = string.match(page[2][i + 1], '^(%d+) (%a+)\\n')
  local held = kind == 'held' and string.match(page[2][i + 1], '\\n(.*)')
  if count and not (held and redis.call('HEXISTS', payloadsKey, string.match(held, '^%S*')) == 0) then
    reply[#reply + 1] = page[2][i]
    reply[#reply + 1] = count
    reply[#reply + 1] = kind
    reply[#reply + 1] = held or tostring(#page[2][i + 1])
  end
end
return reply
`,
})
