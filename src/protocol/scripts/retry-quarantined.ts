import { defineScript, oneOf } from '../script.ts'
import { chunk, expiring, keysInLine, keysOfPart, offering, taking, time } from './lua.ts'

/**
 * Settled → waiting, for one quarantined task: takes its failure back and puts its chunk, which the quarantine kept, in
 * line again with no death to its name.
 *
 * Nobody may see two outcomes of a task, so the failure must still be in the Hash, and whoever the caller found to be the
 * job's `collector`, and not listening, must still be it: one that attached since then has it, or will read it at any
 * moment. 'unknown': there is no such entry (a second call finds none); 'gone': the job is not there, or not that one any
 * more; 'collected': somebody has, or may have, seen the failure.
 */
export const retryQuarantined = defineScript({
  name: 'retryQuarantined',
  flags: ['allow-oom'],
  keys: ['quarantine', ...keysOfPart, ...keysInLine],
  args: ['job', 'index', 'collector'],
  reply: oneOf('retried', 'unknown', 'gone', 'collected'),
  uses: [time, chunk, taking, offering, expiring],
  lua: `
local entry = redis.call('HGET', quarantineKey, job .. ':' .. index)
local chunk = entry and parse(string.match(entry, '\\n(.*)$') or '')
if not chunk or chunk.job ~= job or int(chunk.first) ~= index or chunk.count ~= 1 then return 'unknown' end
local record = redis.call('HMGET', partKey, 'incarnation', 'state', 'collector')
if record[1] ~= chunk.incarnation or record[2] == 'cancelled' then return 'gone' end
local outcome = redis.call('HGET', resultsKey, index)
if not outcome or string.sub(outcome, 1, 10) ~= '1 failure\\n' or record[3] ~= collector then return 'collected' end
redis.call('HDEL', resultsKey, index)
redis.call('HDEL', quarantineKey, job .. ':' .. index)
redis.call('HINCRBY', partKey, 'failed', -1)
redis.call('HINCRBY', partKey, 'settled', -1)
redis.call('RPUSH', chunksKey, write(chunk, chunk.first, 1, 0))
redis.call('HINCRBY', partKey, 'waiting', 1)
if record[2] == 'open' then
  -- One that had ended has not any more: its end sets the expiry again.
  everyKey('PERSIST')
  offer(job)
else
  expireTogether()
end
return 'retried'
`,
})
