import { setTimeout as sleep } from 'node:timers/promises'
import type { ResolvedTaskOptions } from '../code/task.ts'
import { WorkerEndedError } from '../errors.ts'
import { decodeControl } from '../protocol/control.ts'
import { controlChannel } from '../protocol/keys.ts'
import { homeLane } from '../protocol/placement.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import { Tail } from '../runtime/tail.ts'
import { within } from '../runtime/within.ts'
import type { Client } from '../store/client.ts'
import type { Lanes } from '../store/lanes.ts'
import { monotonicMs } from './board.ts'
import type { Window } from './board.ts'
import { Crew } from './crew.ts'
import { handBackTail } from './hand-back.ts'
import { newWorkerId } from './membership.ts'
import { MemoryGuard } from './memory-guard.ts'
import type { FromThread } from './messages.ts'
import type { ResolvedWorkerOptions } from './options.ts'
import { Presence } from './presence.ts'
import { Presences } from './presences.ts'
import { SharedValues } from './shared-values.ts'
import type { ThreadHandle, ThreadModule, ThreadStart, Verdict } from './thread-handle.ts'
import { Undertaker } from './undertaker.ts'
import { isIdle, Watchdog } from './watchdog.ts'

export interface SupervisorOptions extends ResolvedWorkerOptions {
  readonly hash: string
  /** The process, as `host:pid`. */
  readonly label: string
  readonly hostname: string
  readonly version: string
  /** What the process that started this one calls this run of it; empty where nobody watches. */
  readonly launch: string
  /** Connected, with the list of the queue's lanes. */
  readonly lanes: Lanes
  readonly subscriber: Client
  readonly prepareThread: () => Promise<ThreadStart>
}

/** A thread that is not gone this long after it was ended runs native code: only the process's end stops it. */
const endWithinMs = 1000
/** How long the end of a drain may wait for Redis. */
const farewellMs = 3000
const pingEveryMs = 10_000
/** How many more threads look where one has found work on a lane that is not its own. */
const followers = 2

/**
 * A worker's main thread. It runs no user code, so that heartbeats, limits and cancellations work whatever the tasks
 * do; the threads claim, run and commit by themselves.
 */
export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #crew: Crew
  readonly #presences: Presences
  readonly #undertaker: Undertaker
  readonly #watchdog: Watchdog
  readonly #shared: SharedValues
  readonly #limits = new Map<string, ResolvedTaskOptions>()
  readonly #work = new Set<Promise<unknown>>()
  readonly #closed: { readonly promise: Promise<void>; resolve: () => void; reject: (error: Error) => void }
  readonly #startedAt = Date.now()
  /** Told with each heartbeat, since a process that vanishes tells nothing more. */
  readonly #recentLines = new Tail()
  readonly #firstId = newWorkerId()
  #module: ThreadModule = { tasks: [], reducers: [] }
  #draining: Promise<void> | undefined
  #hasStuckThread = false
  readonly #memoryGuard: MemoryGuard | undefined
  #pingTimer: NodeJS.Timeout | undefined

  constructor(options: SupervisorOptions) {
    this.#options = options
    const { lanes, hash, maxDeaths, log } = options
    this.#closed = withResolvers()
    this.#closed.promise.catch(() => undefined)
    this.#shared = new SharedValues(lanes)
    this.#crew = new Crew({
      threads: options.threads,
      prepare: options.prepareThread,
      onMessage: (message, from) => {
        this.#receive(message, from)
      },
      onExit: (thread, exit) => {
        this.#track(this.#undertaker.bury(thread, exit))
      },
      onReplaced: thread => {
        for (const [lane, { membership }] of this.#presences)
          thread.post({ type: 'registered', worker: membership.id, lane })
      },
      log,
    })
    this.#presences = new Presences({
      lanes,
      open: lane => this.#open(lane),
      onGrown: numbers => {
        this.#crew.post({ type: 'lanes', lanes: numbers })
      },
      log,
    })
    this.#memoryGuard = options.rssMb === undefined ? undefined : this.#guardMemory(options.rssMb)
    this.#undertaker = new Undertaker({
      lanes,
      hash,
      label: options.label,
      maxDeaths,
      limitsOf: task => this.#limits.get(task),
      abandon: (claim, lane) => {
        this.#on(lane).keeper.abandon(claim)
      },
      log,
    })
    this.#watchdog = new Watchdog({
      threads: () => this.#crew.threads,
      clock: monotonicMs,
      end: (thread, verdict) => {
        this.#track(this.#end(thread, verdict))
      },
      handBack: (thread, claim, window, ranMs) => {
        this.#track(this.#handBack(thread, claim, window, ranMs))
      },
    })
  }

  get id(): string {
    return this.#on(0).membership.id
  }

  get tasks(): readonly string[] {
    return this.#module.tasks.map(({ name }) => name)
  }

  /** Resolves when the worker has drained; rejects when it had to give up. */
  get closed(): Promise<void> {
    return this.#closed.promise
  }

  async start(): Promise<void> {
    const { subscriber, namespace, queue } = this.#options
    this.#module = await this.#crew.start()
    for (const { name, options } of this.#module.tasks) this.#limits.set(name, options)
    subscriber.on('messageBuffer', (_channel: Buffer, bytes: Buffer) => {
      this.#hear(bytes)
    })
    await subscriber.subscribe(controlChannel(namespace, queue))
    await this.#presences.start()
    this.#watchdog.start()
    // A subscription waits without a command under way: only a question shows that the connection is half-open.
    this.#pingTimer = setInterval(() => {
      subscriber.ping().catch(() => undefined)
    }, pingEveryMs)
    this.#memoryGuard?.start()
  }

  /** Ends what was started when the start failed. */
  async abandon(): Promise<void> {
    await this.#crew.end(endWithinMs)
    await this.#quiet()
  }

  /** Claims nothing more, lets running tasks finish for up to `withinMs`, hands back the rest, leaves. */
  drain(withinMs = this.#options.drainMs): Promise<void> {
    this.#draining ??= this.#drain(withinMs).then(this.#closed.resolve, (error: unknown) => {
      this.#closed.reject(error as Error)
      throw error
    })
    return this.#draining
  }

  async #drain(withinMs: number): Promise<void> {
    const { log } = this.#options
    this.#crew.stopReplacing()
    this.#crew.post({ type: 'drain' })
    const { threads } = this.#crew
    // A thread that computes does not read messages: it sees its limits lowered, and stops after its task.
    for (const { board } of threads) for (const slot of [0, 1] as const) board.lower(slot)
    await within(withinMs, Promise.all(threads.map(thread => thread.exited)))
    if (this.#crew.threads.length > 0)
      log.warn(`${this.#crew.threads.length} thread(s) did not finish in time: what they run goes back`)
    const gone = await this.#crew.end(endWithinMs)
    // One that can't be ended is dealt with all the same: what it may still hand in will be refused.
    for (const thread of this.#crew.threads) this.#track(this.#undertaker.bury(thread, undefined))
    await within(farewellMs, this.#settleWork())
    await this.#quiet(() => this.#presences.leave())
    if (!gone || this.#hasStuckThread) {
      throw new WorkerEndedError(
        "A thread of the worker runs native code that can't be stopped, so its process must end. What it held was handed back. End it by process.kill(process.pid, 'SIGKILL'), since process.exit() would wait for that thread, and start the worker again.",
      )
    }
  }

  /** Stops everything that runs in the background, then the connections. */
  async #quiet(farewell: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    const { lanes, subscriber } = this.#options
    clearInterval(this.#pingTimer)
    await within(farewellMs, Promise.all([this.#watchdog.stop(), this.#memoryGuard?.stop(), this.#presences.stop()]))
    await within(farewellMs, farewell())
    lanes.disconnect()
    subscriber.disconnect()
  }

  // Messages ------------------------------------------------------------------------------------------------------------

  #receive(message: FromThread, from: ThreadHandle): void {
    const { log } = this.#options
    switch (message.type) {
      case 'claim':
        from.claims.set(message.id, message.lane)
        break
      case 'abandon':
        this.#on(from.claims.get(message.id) ?? 0).keeper.abandon(message.id)
        from.claims.delete(message.id)
        break
      case 'unknown':
        this.#on(message.lane).membership.check(message.worker)
        break
      case 'found':
        this.#tellOfWork(message.lane, followers)
        break
      case 'shared':
        this.#track(this.#answerShared(message.job, message.incarnation, message.lane, from))
        break
      case 'log':
        from.log(message.line)
        this.#recentLines.add(`thread ${from.number}: ${message.line}`)
        log[message.level](`thread ${from.number}: ${message.line}`)
        break
      case 'drained':
        from.drained = true
        from.verdict ??= { kind: 'drain' }
        this.#track(from.end({ kind: 'drain' }, endWithinMs))
        break
      case 'ready':
      case 'failed':
        break
    }
  }

  async #answerShared(job: string, incarnation: string, lane: number, thread: ThreadHandle): Promise<void> {
    for (let attempt = 1; !thread.verdict; attempt++) {
      try {
        const bytes = await this.#shared.get(job, incarnation, lane)
        thread.post({ type: 'shared', job, incarnation, bytes })
        return
      } catch {
        await sleep(jitteredBackoffMs(attempt, { firstMs: 50, mostMs: 1000 }))
      }
    }
  }

  #hear(bytes: Buffer): void {
    const message = decodeControl(bytes)
    switch (message?.type) {
      case 'work':
        this.#tellOfWork(message.lane, message.chunks)
        break
      case 'cancel':
        this.#watchdog.cancel(message.job, message.incarnation, message.index)
        this.#crew.post(message)
        break
      case 'broadcast':
        if (message.hash === this.#options.hash) this.#crew.post({ ...message, type: 'broadcast' })
        break
      case 'joined':
      case 'left':
      case undefined:
        break
    }
  }

  // Lanes ---------------------------------------------------------------------------------------------------------------

  #on(lane: number): Presence {
    return this.#presences.on(lane)
  }

  #open(lane: number): Presence {
    const { lanes, hash, leaseMs, maxDeaths, threads, log } = this.#options
    return new Presence({
      store: lanes.of(lane),
      id: this.#firstId,
      hash,
      leaseMs,
      maxDeaths,
      threads,
      info: id => this.#describe(id),
      stats: () => this.#stats(),
      onRegistered: (worker, on) => {
        this.#crew.post({ type: 'registered', worker, lane: on })
      },
      isInUse: claim => this.#crew.threads.some(thread => thread.claims.has(claim)) || this.#undertaker.isDying(claim),
      hasIdle: () => this.#crew.threads.some(isIdle),
      onWork: () => {
        for (const thread of this.#crew.threads.filter(isIdle)) thread.post({ type: 'look' })
      },
      log,
    })
  }

  /** All threads hear of it, those that have room; so many that wait on another lane are sent there. */
  #tellOfWork(lane: number, most: number): void {
    const { numbers } = this.#options.lanes
    let left = numbers.length > 1 && numbers.includes(lane) ? most : 0
    for (const thread of this.#crew.threads) {
      const look = left > 0 && homeLane(thread.number, numbers) !== lane && isIdle(thread)
      if (look) left--
      thread.post({ type: 'work', lane, look })
    }
  }

  // Threads that are relieved or ended ----------------------------------------------------------------------------------

  async #handBack(thread: ThreadHandle, claim: string, window: Window, ranMs: number): Promise<void> {
    const { lanes, hash, log } = this.#options
    try {
      await handBackTail(lanes.of(thread.claims.get(claim) ?? 0), hash, claim, { taken: window.cursor, ranMs })
    } catch (error) {
      // The thread hands the rest back itself when its task ends.
      log.warn(`a slow chunk could not be split: ${(error as Error).message}`)
    }
  }

  async #end(thread: ThreadHandle, verdict: Verdict): Promise<void> {
    if (await thread.end(verdict, endWithinMs)) return
    this.#options.log.warn(
      `thread ${thread.number} runs native code that can not be stopped: the worker hands back what it holds and ends`,
    )
    // The thread may end after all while the rest is handed back. Who restarts workers is told all the same.
    this.#hasStuckThread = true
    this.drain(0).catch(() => undefined)
  }

  // ---------------------------------------------------------------------------------------------------------------------

  #guardMemory(rssMb: number): MemoryGuard {
    return new MemoryGuard(rssMb, {
      // Like the death of the process, only that it is known which tasks were running.
      onFarOver: megabytes => {
        this.#cutShort({ kind: 'memory', megabytes, rssMb })
      },
      onOver: megabytes => {
        if (this.#draining !== undefined) return
        this.#options.log.warn(
          `the process has ${megabytes} MB of memory, more than its limit of ${rssMb} MB: it drains and ends`,
        )
        this.#draining = this.#drain(this.#options.drainMs).then(() => {
          const error = new WorkerEndedError(
            `The worker's process had ${megabytes} MB of memory, more than its rssMb of ${rssMb}, so it handed back its work and ended. Start it again, with more rssMb or tasks that hold less.`,
          )
          this.#closed.reject(error)
        }, this.#closed.reject)
      },
    })
  }

  /** Threads that still run are not waited for. */
  #cutShort(verdict: Verdict): void {
    for (const thread of this.#crew.threads) {
      if (thread.verdict === undefined) this.#track(thread.end(verdict, endWithinMs))
    }
  }

  #describe(id: string) {
    const { hash, hostname, version, threads, launch } = this.#options
    const { tasks, reducers } = this.#module
    const names = tasks.map(({ name }) => name)
    return {
      id,
      host: hostname,
      pid: process.pid,
      threads,
      hash,
      tasks: names,
      reducers,
      startedAt: this.#startedAt,
      version,
      launch,
    }
  }

  #stats(): string {
    const { threads } = this.#crew
    const busy = threads.filter(({ board }) => board.look().slot !== undefined).length
    const settled = threads.reduce((sum, { board }) => sum + board.settled, 0)
    const lines = this.#recentLines.lines
    return JSON.stringify({ busy, settled, rssBytes: process.memoryUsage.rss(), lines })
  }

  #track(work: Promise<unknown>): void {
    this.#work.add(work)
    void work.then(
      () => this.#work.delete(work),
      (error: unknown) => {
        this.#work.delete(work)
        this.#options.log.warn(`something failed in the main thread: ${(error as Error).message}`)
      },
    )
  }

  async #settleWork(): Promise<void> {
    while (this.#work.size > 0) await Promise.allSettled(this.#work)
  }
}

function withResolvers() {
  let resolve: () => void = () => undefined
  let reject: (error: Error) => void = () => undefined
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, resolve, reject }
}
