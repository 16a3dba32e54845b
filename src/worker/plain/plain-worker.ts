import { hostname } from 'node:os'
import { randomName } from '../../protocol/names.ts'
import { keySlot } from '../../protocol/placement.ts'
import { readPlainElement } from '../../protocol/plain.ts'
import type { PlainNames } from '../../protocol/plain.ts'
import { PlainReaper } from '../../recovery/plain-reaper.ts'
import { jitteredBackoffMs } from '../../runtime/backoff.ts'
import type { Log } from '../../runtime/log.ts'
import { Loop } from '../../runtime/loop.ts'
import { within } from '../../runtime/within.ts'
import { openClient } from '../../store/client.ts'
import type { Place } from '../../store/cluster-connector.ts'
import type { RedisTarget } from '../../store/target.ts'
import { PlainStore } from '../../store/plain-store.ts'
import { runUntilDone } from './attempts.ts'
import type { AttemptLimits } from './attempts.ts'
import { Inbox } from './inbox.ts'
import type { PlainPool } from './pool.ts'
import { messageOf, Results } from './results.ts'

export interface PlainWorkerSettings extends PlainNames {
  /** Name of the task that gets each element. */
  readonly task: string
  readonly threads: number
  readonly leaseMs?: number
  /** How long a drain waits for running elements before it hands them back, in ms. @default 25_000 */
  readonly drainMs?: number
  readonly maxDeaths?: number
  readonly log: Log
}

/** An element that a thread runs, with the claim it stands in. */
interface Running {
  readonly claim: string
  readonly element: Buffer
}

const blockMs = 2000
/** How long each step of a drain's end may wait for Redis. */
const farewellMs = 3000

/**
 * Takes elements from a List, one per free thread, has the task run on them, and writes the results into a Hash. Elements move
 * atomically into a claim of this worker and leave it with their result, so that a killed worker loses none.
 */
export class PlainWorker {
  readonly id: string
  readonly #pool: PlainPool
  readonly #options: PlainWorkerSettings
  readonly #store: PlainStore
  readonly #blocking: PlainStore
  readonly #subscriber: ReturnType<typeof openClient> | undefined
  readonly #heart: Loop
  readonly #reaper: PlainReaper
  readonly #leaseMs: number
  readonly #running = new Set<Running>()
  /** Claims of former connections, kept until nothing can arrive in them any more. */
  readonly #former = new Map<string, number>()
  readonly #results: Results
  readonly #limits: AttemptLimits
  readonly #inbox: Inbox
  #claim = randomName()
  #draining = false
  #taking: Promise<void> | undefined
  #drained: Promise<void> | undefined

  constructor(id: string, pool: PlainPool, target: RedisTarget, options: PlainWorkerSettings) {
    this.id = id
    this.#pool = pool
    this.#options = options
    this.#leaseMs = options.leaseMs ?? 6000
    const maxDeaths = options.maxDeaths ?? 3
    this.#inbox = new Inbox({
      readers: options.threads,
      read: message => this.#results.track(this.#answer(message)),
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
    const isDraining = () => this.#draining
    this.#results = new Results({ store: this.#store, most: 2 * options.threads, log: options.log, isDraining })
    this.#limits = { worker: id, maxDeaths, isDraining }
    this.#subscriber = options.channel === undefined ? undefined : open('channel', 15_000, 'anywhere')
    const onError = (error: unknown) => {
      options.log.warn(`heartbeat failed: ${messageOf(error)}`)
    }
    this.#heart = new Loop(() => this.#beat(), { intervalMs: this.#leaseMs / 3, jitter: 0, onError })
    this.#reaper = new PlainReaper(this.#store, {
      leaseMs: this.#leaseMs,
      maxDeaths,
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
    this.#subscriber?.disconnect()
    this.#inbox.clear()
    await Promise.race([Promise.all([this.#taking, this.#pool.whenQuiet()]), deadline])
    await this.#pool.stop()
    await Promise.race([Promise.all([this.#taking, this.#results.whenWritten()]), deadline])
    await within(farewellMs, Promise.all([this.#heart.stop(), this.#reaper.stop()]))
    // With Redis gone the reaper of another worker does this after the lease; a drain must end.
    await within(farewellMs, this.#leave())
    for (const client of [this.#store.client, this.#blocking.client]) client.disconnect()
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
      await this.#results.whenRoom()
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
        this.#results.track(run).catch(() => undefined)
        if (deaths > 0) await run
      } catch (error) {
        if (this.#isDraining()) break
        failures++
        if (failures >= 3) this.#options.log.warn(await this.#results.explain('cannot take elements', error))
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
      const outcome = await runUntilDone(this.#pool, { field, input }, this.#limits)
      if (outcome === undefined) return
      await this.#results.write(() => this.#store.commit(claim, element, field, outcome))
    } finally {
      this.#running.delete(running)
    }
  }

  /** A message on the channel: every worker that listens runs it. Nobody holds it, so a crash loses it. */
  async #answer(message: Buffer): Promise<void> {
    const { field, input } = readPlainElement(message)
    if (this.#draining) return
    const outcome = await runUntilDone(this.#pool, { field, input }, this.#limits)
    if (outcome !== undefined)
      await this.#results.write(() => this.#store.answer(Buffer.concat([field, Buffer.from(`@${this.id}`)]), outcome))
  }
}
