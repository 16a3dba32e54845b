import { hostname } from 'node:os'
import { UsageError } from '../../errors.ts'
import { bundleTasks } from '../../code/bundle.ts'
import { writeBundle } from '../../code/write-bundle.ts'
import { randomName } from '../../protocol/names.ts'
import { keySlot } from '../../protocol/placement.ts'
import { plainKeys, readPlainElement } from '../../protocol/plain.ts'
import type { PlainNames } from '../../protocol/plain.ts'
import { PlainReaper } from '../../recovery/plain-reaper.ts'
import { jitteredBackoffMs } from '../../runtime/backoff.ts'
import { sparingLog } from '../../runtime/log.ts'
import type { Log } from '../../runtime/log.ts'
import { Loop } from '../../runtime/loop.ts'
import { openClient } from '../../store/client.ts'
import type { Place } from '../../store/cluster-connector.ts'
import { redisTarget } from '../../store/target.ts'
import type { RedisInput, RedisTarget } from '../../store/target.ts'
import { isDamage } from '../../store/mend.ts'
import { PlainStore } from '../../store/plain-store.ts'
import type { PlainOutcome } from '../../store/plain-store.ts'
import { Inbox } from './inbox.ts'
import { PlainPool } from './pool.ts'
import type { Attempt } from './pool.ts'

export interface PlainWorkerOptions extends PlainNames {
  readonly tasks: string | URL
  /** Name of the task that gets each element. */
  readonly task: string
  readonly redis: RedisInput
  readonly threads: number
  readonly leaseMs?: number
  /** How long a drain waits for running elements before it hands them back, in ms. @default 25_000 */
  readonly drainMs?: number
  readonly maxDeaths?: number
  readonly log: Log
}

export interface RunningPlainWorker {
  readonly id: string
  /** Stops taking elements, lets running ones finish, hands back the rest. Safe twice. */
  drain(): Promise<void>
}

/** An element that a thread runs, with the claim it stands in. */
interface Running {
  readonly claim: string
  readonly element: Buffer
}

const blockMs = 2000
/** What goes wrong again and again is said so often. */
const repeatMs = 30_000

/**
 * A worker for programs that know only LPUSH, HGET and PUBLISH: takes elements from a List, one per free thread, has
 * the task run on them, and writes the results into a Hash. Elements move atomically into a claim of this worker and
 * leave it with their result, so that a killed worker loses none.
 */
export async function startPlainWorker(options: PlainWorkerOptions): Promise<RunningPlainWorker> {
  if (options.threads < 1)
    throw new UsageError('A plain-Redis worker needs at least one thread: give --threads 1 or more.')
  const target = redisTarget(options.redis)
  if (target.kind === 'cluster') mustShareSlot(options)
  const bundle = await bundleTasks(options.tasks)
  const module = await writeBundle(bundle)
  const id = `${hostname()}-${process.pid}-${randomName(3)}`
  const pool = new PlainPool({
    threads: options.threads,
    entry: new URL('./thread.js', import.meta.url),
    data: { module: module.href, source: bundle.file, task: options.task, worker: id },
    log: options.log,
  })
  try {
    await pool.start()
  } catch (error) {
    await pool.stop()
    throw error
  }
  const worker = new PlainWorker(id, pool, target, { ...options, log: sparingLog(options.log, repeatMs) })
  await worker.start()
  return worker
}

/** A script has all of its keys on one node of a Cluster. */
function mustShareSlot(names: PlainNames): void {
  const { list, results, errors, lane } = plainKeys(names)
  if (new Set([list, results, errors, lane].map(keySlot)).size === 1) return
  throw new UsageError(
    `In a Redis Cluster the List ${JSON.stringify(list)} and the Hash ${JSON.stringify(results)} are in different slots, so that an element can't leave the one in the same step as its result enters the other. Give both a common tag in braces, such as {jobs}:queue and {jobs}:results.`,
  )
}

class PlainWorker implements RunningPlainWorker {
  readonly id: string
  readonly #pool: PlainPool
  readonly #options: PlainWorkerOptions
  readonly #store: PlainStore
  readonly #blocking: PlainStore
  readonly #subscriber: ReturnType<typeof openClient> | undefined
  readonly #heart: Loop
  readonly #reaper: PlainReaper
  readonly #leaseMs: number
  readonly #maxDeaths: number
  readonly #running = new Set<Running>()
  /** Claims of former connections, kept until nothing can arrive in them any more. */
  readonly #former = new Map<string, number>()
  readonly #work = new Set<Promise<void>>()
  readonly #inbox: Inbox
  #claim = randomName()
  #draining = false
  #taking: Promise<void> | undefined
  #drained: Promise<void> | undefined

  constructor(id: string, pool: PlainPool, target: RedisTarget, options: PlainWorkerOptions) {
    this.id = id
    this.#pool = pool
    this.#options = options
    this.#leaseMs = options.leaseMs ?? 6000
    this.#maxDeaths = options.maxDeaths ?? 3
    this.#inbox = new Inbox({
      readers: options.threads,
      read: message => this.#track(this.#answer(message)),
      onDropped: dropped => {
        if (Math.log10(dropped) % 1 === 0) options.log.warn(`too many messages wait: ${dropped} were not run`)
      },
    })
    const open = (name: string, silenceMs: number, place: Place = { slot: keySlot(options.list) }) => {
      const client = openClient(target, { name: `millrace:plain-${name}`, silenceMs, once: true }, place)
      client.on('error', () => undefined)
      return client
    }
    this.#store = new PlainStore(open('commands', 5000), options)
    this.#blocking = new PlainStore(open('blocking', blockMs + 3000), options)
    this.#subscriber = options.channel === undefined ? undefined : open('channel', 15_000, 'anywhere')
    const onError = (error: unknown) => {
      options.log.warn(`heartbeat failed: ${messageOf(error)}`)
    }
    this.#heart = new Loop(() => this.#beat(), { intervalMs: this.#leaseMs / 3, jitter: 0, onError })
    this.#reaper = new PlainReaper(this.#store, {
      leaseMs: this.#leaseMs,
      maxDeaths: this.#maxDeaths,
      log: options.log,
    })
  }

  async start(): Promise<void> {
    const { channel } = this.#options
    await this.#register()
    // An element may have been moved to us by a connection that broke before its reply came: look into its claim later.
    this.#blocking.client.on('close', () => {
      this.#former.set(this.#claim, Date.now())
      this.#claim = randomName()
    })
    if (this.#subscriber !== undefined && channel !== undefined) {
      this.#subscriber.on('messageBuffer', (_channel: Buffer, message: Buffer) => {
        this.#inbox.add(message)
      })
      await this.#subscriber.subscribe(channel)
    }
    this.#heart.start()
    this.#reaper.start()
    this.#taking = this.#take()
  }

  drain(): Promise<void> {
    this.#drained ??= this.#drain()
    return this.#drained
  }

  async #drain(): Promise<void> {
    this.#draining = true
    const deadline = new Promise<void>(resolve => setTimeout(resolve, this.#options.drainMs ?? 25_000).unref())
    this.#inbox.clear()
    await this.#subscriber?.unsubscribe()
    await Promise.race([Promise.all([this.#taking, this.#pool.whenQuiet()]), deadline])
    await this.#pool.stop()
    await Promise.race([Promise.all([this.#taking, ...this.#work]), deadline])
    await this.#heart.stop()
    await this.#reaper.stop()
    // With Redis gone the reaper of another worker does this after the lease; a drain must end.
    await Promise.race([this.#leave(), new Promise<void>(resolve => setTimeout(resolve, 3000).unref())])
    for (const client of [this.#store.client, this.#blocking.client, this.#subscriber]) client?.disconnect()
  }

  async #leave(): Promise<void> {
    const claims = [...this.#former.keys(), this.#claim]
    for (const claim of claims) {
      while ((await this.#store.giveBack(claim, [])).left > 0);
    }
    await this.#store.leave(this.id, claims)
  }

  // Membership --------------------------------------------------------------------------------------------------------

  #register() {
    const info = JSON.stringify({
      id: this.id,
      host: hostname(),
      pid: process.pid,
      threads: this.#options.threads,
      tasks: [this.#options.task],
      startedAt: Date.now(),
    })
    return this.#store.register(this.id, this.#leaseMs, info, [this.#claim, ...this.#former.keys()])
  }

  async #beat(): Promise<void> {
    // A worker that was declared dead by mistake holds nothing any more; its late commits are refused by its claims.
    if ((await this.#store.heartbeat(this.id, this.#leaseMs, this.#options.threads)) === 'unknown')
      await this.#register()
    // A subscription waits without a command under way: only a question shows that the connection is half-open.
    this.#subscriber?.ping().catch(() => undefined)
    // Where its claims were lost with what something else wrote there, nobody would look into this one after its death.
    await this.#store.enroll(this.id, this.#claim)
    for (const [claim, since] of this.#former) {
      await this.#store.giveBack(
        claim,
        [...this.#running].filter(running => running.claim === claim).map(({ element }) => element),
      )
      // A blocked BLMOVE of a broken connection can deliver until it times out.
      if (Date.now() - since > 5 * blockMs && (await this.#store.retireClaim(this.id, claim)) === 'retired')
        this.#former.delete(claim)
    }
  }

  // Elements ----------------------------------------------------------------------------------------------------------

  async #take(): Promise<void> {
    let failures = 0
    let enrolled = this.#claim
    for (;;) {
      await this.#pool.whenIdle()
      await this.#whenWritten()
      if (this.#isDraining()) break
      const claim = this.#claim
      try {
        if (claim !== enrolled) {
          if ((await this.#store.enroll(this.id, claim)) === 'unknown') await this.#register()
          enrolled = claim
        }
        const element = await this.#blocking.blockingClaim(claim, blockMs)
        failures = 0
        if (element === null) continue
        const running = { claim, element }
        this.#running.add(running)
        const deaths = await this.#store.deathsOf(element).catch(() => 0)
        // A suspect runs alone, so that if the process dies again it was certainly this one.
        if (deaths > 0) await this.#pool.whenQuiet()
        const run = this.#run(running)
        this.#track(run).catch(() => undefined)
        if (deaths > 0) await run
      } catch (error) {
        if (this.#isDraining()) break
        failures++
        if (failures >= 3) this.#options.log.warn(await this.#explain('cannot take elements', error))
        await new Promise(resolve => setTimeout(resolve, jitteredBackoffMs(failures, { firstMs: 50, mostMs: 1000 })))
      }
    }
  }

  /** A call, because the compiler takes the field for unchanged over an await. */
  #isDraining(): boolean {
    return this.#draining
  }

  async #run(running: Running): Promise<void> {
    const { claim, element } = running
    try {
      const { field, input } = readPlainElement(element)
      const outcome = await this.#attempts(field, input)
      if (outcome === undefined) return
      await this.#persist(() => this.#store.commit(claim, element, field, outcome))
    } finally {
      this.#running.delete(running)
    }
  }

  /** A message on the channel: every worker that listens runs it. Nobody holds it, so a crash loses it. */
  async #answer(message: Buffer): Promise<void> {
    const { field, input } = readPlainElement(message)
    if (this.#draining) return
    const outcome = await this.#attempts(field, input)
    if (outcome !== undefined)
      await this.#persist(() => this.#store.answer(Buffer.concat([field, Buffer.from(`@${this.id}`)]), outcome))
  }

  /** Undefined when the worker stops before there is an outcome: the element goes back. */
  async #attempts(field: Buffer, input: unknown): Promise<PlainOutcome | undefined> {
    const { retries, backoffMs, maxBackoffMs } = this.#pool.task
    let deaths = 0
    for (let attempt = 1; ; attempt++) {
      if (this.#draining && attempt > 1) return undefined
      const result: Attempt = await this.#pool.run({ input, field: field.toString('utf8'), attempt })
      if (result.type === 'done') return { outcome: 'ok', value: result.value }
      if (this.#draining && result.type === 'died') return undefined
      if (result.type === 'died') deaths++
      const more = result.type === 'died' ? deaths < this.#maxDeaths : attempt <= retries
      if (!more) {
        const { name, message, stack } = result
        return { outcome: 'error', value: JSON.stringify({ name, message, stack, attempt, worker: this.id }) }
      }
      if (result.type !== 'died') {
        await new Promise(resolve =>
          setTimeout(resolve, jitteredBackoffMs(attempt, { firstMs: backoffMs, mostMs: maxBackoffMs })),
        )
      }
    }
  }

  /** Writes until Redis has answered: a commit whose reply was lost is 'fenced' the second time, which is as good. */
  async #persist(write: () => Promise<unknown>): Promise<void> {
    for (let failures = 1; ; failures++) {
      try {
        await write()
        return
      } catch (error) {
        if (failures >= 5) this.#options.log.warn(await this.#explain('cannot write a result', error))
        if (this.#draining && failures > 20) return
        await new Promise(resolve => setTimeout(resolve, jitteredBackoffMs(failures, { firstMs: 50, mostMs: 1000 })))
      }
    }
  }

  /** Results that can't be written keep their elements: no more are taken than can be held. */
  async #whenWritten(): Promise<void> {
    const most = 2 * this.#options.threads
    while (this.#work.size >= most && !this.#draining) await Promise.race(this.#work)
  }

  /** Says which key of the user's is not what it must be, if that is the reason. */
  async #explain(what: string, error: unknown): Promise<string> {
    const complaint = isDamage(error) ? await this.#store.complaint().catch(() => undefined) : undefined
    return `${what}: ${complaint ?? messageOf(error)}`
  }

  #track(work: Promise<void>): Promise<void> {
    const tracked = work
      .catch((error: unknown) => {
        this.#options.log.warn(messageOf(error))
      })
      .finally(() => this.#work.delete(tracked))
    this.#work.add(tracked)
    return tracked
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
