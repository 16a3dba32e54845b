import { Redis } from 'ioredis'
import { spin } from '../work/spin.ts'

/** The worker process of a peer: `peer-worker.ts <peer> <port> <noop|work>`. Says `ready`, and works until it is killed. */

const [, , peer, portText, workName] = process.argv
const connection = { host: '127.0.0.1', port: Number(portText), maxRetriesPerRequest: null }
const concurrency = 100
const run = (input: number) => (workName === 'work' ? spin(input) : input)

interface BullJob {
  readonly data: number
  getChildrenValues(): Promise<Readonly<Record<string, number>>>
}
interface BullModule {
  readonly Worker: new (
    name: string,
    processor: (job: BullJob) => Promise<unknown>,
    options: object,
  ) => { waitUntilReady(): Promise<unknown> }
}
interface BeeModule {
  readonly default: new (
    name: string,
    options: object,
  ) => {
    ready(): Promise<unknown>
    process(concurrency: number, run: (job: { readonly data: { readonly input: number } }) => Promise<number>): void
  }
}

const packages = { bullmq: 'bullmq', bee: 'bee-queue' }

async function bullmq(): Promise<void> {
  const { Worker } = (await import(packages.bullmq)) as BullModule
  const options = { connection, concurrency }
  const leaves = new Worker('leaves', async job => run(job.data), options)
  const parents = new Worker(
    'parents',
    async job => Object.values(await job.getChildrenValues()).reduce((sum, value) => sum + value, 0),
    options,
  )
  await Promise.all([leaves.waitUntilReady(), parents.waitUntilReady()])
}

async function beeQueue(): Promise<void> {
  const { default: Queue } = (await import(packages.bee)) as BeeModule
  const redis = { host: connection.host, port: connection.port }
  const queue = new Queue('leaves', { redis, getEvents: false, storeJobs: false, removeOnSuccess: true })
  await queue.ready()
  queue.process(concurrency, async job => run(job.data.input))
}

/** The least that can be done by hand: take, compute, store, tell. */
async function raw(): Promise<void> {
  const [blocking, command] = [new Redis(connection), new Redis(connection)]
  await Promise.all([blocking.ping(), command.ping()])
  const loop = async () => {
    for (;;) {
      const taken = await blocking.brpop('tasks', 0)
      const [id = '', input = ''] = taken?.[1].split(' ') ?? []
      const result = run(Number(input))
      command
        .pipeline()
        .hset('results', id, result)
        .publish('done', `${id} ${result}`)
        .exec()
        .catch(() => undefined)
    }
  }
  loop().catch(() => process.exit(1))
}

const starts: Readonly<Record<string, () => Promise<void>>> = { bullmq, 'bee-queue': beeQueue, raw }
const start = starts[peer ?? '']
if (start === undefined) throw new Error(`There is no peer ${String(peer)}.`)
await start()
process.stdout.write('ready\n')
