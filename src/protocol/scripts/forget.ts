import { defineScript, oneOf } from '../script.ts'
import { keysOfPart } from './lua.ts'

/**
 * Expired → forgotten: removes what still names a job whose part is gone, and Lists or Hashes of it that outlived it.
 * 'alive' when there is a part, which is checked here: a job may have been created anew under the same id.
 */
export const forget = defineScript({
  name: 'forget',
  flags: ['allow-oom'],
  keys: [...keysOfPart, 'jobs', 'driven', 'due', 'ready'],
  args: ['job'],
  reply: oneOf('forgotten', 'alive'),
  lua: `
if redis.call('EXISTS', partKey) == 1 then return 'alive' end
redis.call('UNLINK', chunksKey, resultsKey, delayedKey, payloadsKey, sharedKey)
for _, key in ipairs({ jobsKey, drivenKey, dueKey, readyKey }) do redis.call('ZREM', key, job) end
return 'forgotten'
`,
})
