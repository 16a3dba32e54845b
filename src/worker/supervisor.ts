import type { ResolvedTaskOptions } from '../code/task.ts'
import { WorkerEndedError } from '../errors.ts'
import { controlChannel } from '../protocol/keys.ts'
import { withResolvers } from '../runtime/with-resolvers.ts'
import { within } from '../runtime/within.ts'
import type { Client } from '../store/client.ts'
import type { Lanes } from '../store/lanes.ts'
import { BackgroundWork } from './background-work.ts'
import { monotonicMs } from './board.ts'
import type { Window } from './board.ts'
import { Crew } from './crew.ts'
import { handBackTail } from './hand-back.ts'
import { newWorkerId } from './membership.ts'
import { MemoryGuard } from './memory-guard.ts'
import type { ResolvedWorkerOptions } from './options.ts'
import { Presence } from './presence.ts'
import { Presences } from './presences.ts'
import { SelfReport } from './self-report.ts'
import { Switchboard } from './switchboard.ts'
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

/** What a thread holds that is not gone this long after it was ended is seen to without it. */
const endWithinMs = 1000
/** So long after that it is not the machine that is busy: it runs native code, and only the process's end stops it. */
const stuckAfterMs = 10_000
/** How long the end of a drain may wait for Redis. */
const farewellMs = 3000
const pingEveryMs = 10_000

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
  readonly #switchboard: Switchboard
  readonly #report: SelfReport
  readonly #limits = new Map<string, ResolvedTaskOptions>()
  readonly #work: BackgroundWork
  readonly #closed = withResolvers()
  readonly #firstId = newWorkerId()
  #module: ThreadModule = { tasks: [], reducers: [] }
  #draining: Promise<void> | undefined
  #hasStuckThread = false
  readonly #memoryGuard: MemoryGuard | undefined
  #pingTimer: NodeJS.Timeout | undefined

  constructor(options: SupervisorOptions) {
    this.#options = options
    const { lanes, hash, maxDeaths, log } = options
    this.#closed.promise.catch(() => undefined)
    this.#work = new BackgroundWork(log)
    this.#report = new SelfReport({ ...options, crew: () => this.#crew.threads, module: () => this.#module })
    this.#crew = new Crew({
      threads: options.threads,
      prepare: options.prepareThread,
      onMessage: (message, from) => {
        this.#switchboard.receive(message, from)
      },
      onExit: (thread, exit) => {
        this.#work.track(this.#undertaker.bury(thread, exit))
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
        this.#presences.on(lane).keeper.abandon(claim)
      },
      log,
    })
    this.#watchdog = new Watchdog({
      threads: () => this.#crew.threads,
      clock: monotonicMs,
      end: (thread, verdict) => {
        this.#work.track(this.#end(thread, verdict))
      },
      handBack: (thread, claim, window, ranMs) => {
        this.#work.track(this.#handBack(thread, claim, window, ranMs))
      },
    })
    this.#switchboard = new Switchboard({
      hash,
      lanes,
      crew: this.#crew,
      presences: this.#presences,
      watchdog: this.#watchdog,
      report: this.#report,
      work: this.#work,
      onDrained: thread => {
        this.#work.track(thread.end({ kind: 'drain' }, endWithinMs))
      },
      log,
    })
  }

  get id(): string {
    return this.#presences.on(0).membership.id
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
      this.#switchboard.hear(bytes)
    })
    subscriber.on('ready', () => {
      for (const [, { cancellations }] of this.#presences) cancellations.lookNow()
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
    await this.#crew.end(endWithinMs)
    // One that can't be ended is dealt with all the same: what it may still hand in will be refused.
    for (const thread of this.#crew.threads) this.#work.track(this.#undertaker.bury(thread, undefined))
    await within(farewellMs, this.#work.settle())
    await this.#quiet(() => this.#presences.leave())
    const left = this.#crew.threads
    if (!this.#hasStuckThread) await within(stuckAfterMs, Promise.all(left.map(thread => thread.exited)))
    if (this.#hasStuckThread || this.#crew.threads.length > 0) {
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

  // Lanes ---------------------------------------------------------------------------------------------------------------

  #open(lane: number): Presence {
    const { lanes, hash, leaseMs, maxDeaths, threads, log } = this.#options
    return new Presence({
      store: lanes.of(lane),
      id: this.#firstId,
      hash,
      leaseMs,
      maxDeaths,
      threads,
      info: id => this.#report.info(id),
      stats: () => this.#report.stats(),
      onRegistered: (worker, on) => {
        this.#crew.post({ type: 'registered', worker, lane: on })
      },
      isInUse: claim => this.#crew.threads.some(thread => thread.claims.has(claim)) || this.#undertaker.isDying(claim),
      hasIdle: () => this.#crew.threads.some(isIdle),
      onWork: () => {
        for (const thread of this.#crew.threads.filter(isIdle)) thread.post({ type: 'look' })
      },
      crew: () => this.#crew.threads,
      onCancelled: part => {
        this.#switchboard.cancel(part)
      },
      log,
    })
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
    this.#endIfStuck(thread).catch(() => undefined)
    await this.#undertaker.bury(thread, undefined)
  }

  /** A thread that could not run yet goes in the end, and is replaced; for one that never goes the process has to. */
  async #endIfStuck(thread: ThreadHandle): Promise<void> {
    await within(stuckAfterMs, thread.exited)
    if (!this.#crew.threads.includes(thread)) return
    this.#options.log.warn(
      `thread ${thread.number} runs native code that can not be stopped: the worker hands back what it holds and ends`,
    )
    // The thread may end after all while the rest is handed back. Who restarts workers is told all the same.
    this.#hasStuckThread = true
    await this.drain(0)
  }

  // Memory --------------------------------------------------------------------------------------------------------------

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
      if (thread.verdict === undefined) this.#work.track(thread.end(verdict, endWithinMs))
    }
  }
}
