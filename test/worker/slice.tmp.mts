import { startRedis } from '../support/redis.ts'
import { startWorker } from '../../node_modules/.worker-build/dist/worker/index.js'
import { openClient } from '../../src/store/client.ts'
import { redisTarget } from '../../src/store/target.ts'
import { LaneStore } from '../../src/store/lane-store.ts'
import { encodeChunk } from '../../src/protocol/chunk.ts'
import { decodeRun } from '../../src/protocol/run.ts'
import { decodeBatch } from '../../src/protocol/values.ts'
import { writeFileSync } from 'node:fs'
writeFileSync('/tmp/wslice/tasks.ts', `import { task } from 'millrace'
export const square = task('square', (x: number) => x * x)
`)
const redis = await startRedis()
const t0 = Date.now()
const worker = await startWorker({ tasks: '/tmp/wslice/tasks.ts', redis: redis.url, threads: 2, log: { info: l => console.log(l), warn: l => console.log('W', l) } })
console.log('started', Date.now() - t0, worker.hash, worker.tasks)
const c = openClient(redisTarget(redis.url), { name: 't', silenceMs: 10000 })
const s = new LaneStore(c, { namespace: 'millrace', queue: 'default', lane: 0 })
const hash = worker.hash
const n = 3_000_000
const part = { job: 'j1', incarnation: 'i1', hash, collector: 'col' }
const el = encodeChunk({ job: 'j1', incarnation: 'i1', first: 0, count: n, base: 0, attempt: 1, deaths: 0, kind: 'range', flags: 'plain', task: 'square' }, Buffer.from('0 1'))
const t1 = performance.now()
console.log(await s.submit(part, { from: 0, to: n, complete: true, skipped: 0, elements: [el], driverLeaseMs: 9000, create: { task: 'square', hash, kind: 'range', start: 0, step: 1, total: n, priority: 0, detached: false, reducer: '', shared: false, keepMs: 60000 } }))
for (;;) {
  const p = await s.readCounters('j1')
  if (p!.settled === n || performance.now() - t1 > 20000) { console.log(p); break }
  await new Promise(r => setTimeout(r, 5))
}
const ms = performance.now() - t1
console.log(ms, 'ms', n / ms / 1000, 'M/s')
const all = await c.hgetallBuffer('{millrace:default:0}:part:j1:results')
let ok = 0
for (const [f, v] of Object.entries(all)) { const run = decodeRun(f, v as Buffer); decodeBatch(run.bytes).forEach((y, i) => { if (y === (run.first + i) ** 2) ok++ }) }
console.log('runs', Object.keys(all).length, 'ok', ok)
await worker.drain()
console.log(await c.keys('*'))
c.disconnect(); await redis.stop()
