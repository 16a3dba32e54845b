import { defineScript, oneOf } from '../script.ts'

/** Stores one thread's answer to a broadcast for `keepMs`, and tells whoever asked. */
export const answer = defineScript({
  name: 'answer',
  flags: ['allow-oom'],
  keys: ['broadcast'],
  args: ['thread', 'answer', 'keepMs', 'replyChannel', 'message'],
  reply: oneOf('answered'),
  lua: `
redis.call('HSET', broadcastKey, thread, answer)
redis.call('PEXPIRE', broadcastKey, keepMs)
redis.call('PUBLISH', replyChannel, message)
return 'answered'
`,
})
