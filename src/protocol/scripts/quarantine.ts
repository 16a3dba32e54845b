import { defineScript, number } from '../script.ts'

/** Keeps the evidence of a task whose failure was committed as quarantined; see `giveBack`, which does both at once. */
export const noteQuarantine = defineScript({
  name: 'noteQuarantine',
  flags: ['allow-oom'],
  keys: ['quarantine'],
  args: ['task', 'evidence'],
  reply: number,
  lua: `
return redis.call('HSET', quarantineKey, task, evidence)
`,
})
