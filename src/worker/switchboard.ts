import { setTimeout as sleep } from 'node:timers/promises'
import { decodeControl } from '../protocol/control.ts'
import { homeLane } from '../protocol/placement.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import type { Log } from '../runtime/log.ts'
import type { PartName } from '../store/lane-access.ts'
import type { Lanes } from '../store/lanes.ts'
import type { BackgroundWork } from './background-work.ts'
import type { Crew } from './crew.ts'
import type { FromThread } from './messages.ts'
import type { Presences } from './presences.ts'
import type { SelfReport } from './self-report.ts'
import { SharedValues } from './shared-values.ts'
import type { ThreadHandle } from './thread-handle.ts'
import { isIdle } from './watchdog.ts'
import type { Watchdog } from './watchdog.ts'

export interface SwitchboardOptions {
  readonly hash: string
  readonly lanes: Lanes
  readonly crew: Crew
  readonly presences: Presences
  readonly watchdog: Watchdog
  readonly report: SelfReport
  readonly work: BackgroundWork
  /** The thread has handed in everything, and is to be ended. */
  readonly onDrained: (thread: ThreadHandle) => void
  readonly log: Log
}

/** How many more threads look where one has found work on a lane that is not its own. */
const followers = 2

/** Passes on what a worker's main thread hears, from its threads and on the control channel, to whom it concerns. */
export class Switchboard {
  readonly #options: SwitchboardOptions
  readonly #shared: SharedValues

  constructor(options: SwitchboardOptions) {
    this.#options = options
    this.#shared = new SharedValues(options.lanes)
  }

  /** A thread says something. */
  receive(message: FromThread, from: ThreadHandle): void {
    const { presences, report, work, onDrained, log } = this.#options
    switch (message.type) {
      case 'claim':
        from.claims.set(message.id, message.lane)
        break
      case 'abandon':
        presences.on(from.claims.get(message.id) ?? 0).keeper.abandon(message.id)
        from.claims.delete(message.id)
        break
      case 'unknown':
        presences.on(message.lane).membership.check(message.worker)
        break
      case 'found':
        this.#tellOfWork(message.lane, followers)
        break
      case 'shared':
        work.track(this.#answerShared(message.job, message.incarnation, message.lane, from))
        break
      case 'log':
        from.log(message.line)
        report.addLine(`thread ${from.number}: ${message.line}`)
        log[message.level](`thread ${from.number}: ${message.line}`)
        break
      case 'drained':
        from.drained = true
        from.verdict ??= { kind: 'drain' }
        onDrained(from)
        break
      case 'ready':
      case 'failed':
        break
    }
  }

  /** Something came on the control channel. */
  hear(bytes: Buffer): void {
    const { hash, crew } = this.#options
    const message = decodeControl(bytes)
    switch (message?.type) {
      case 'work':
        this.#tellOfWork(message.lane, message.chunks)
        break
      case 'cancel':
        this.cancel(message, message.index)
        break
      case 'broadcast':
        if (message.hash === hash) crew.post({ ...message, type: 'broadcast' })
        break
      case 'joined':
      case 'left':
      case undefined:
        break
    }
  }

  /** What runs of this job, or this one task of it, is to stop. */
  cancel({ job, incarnation }: PartName, index?: number): void {
    const { crew, watchdog } = this.#options
    watchdog.cancel(job, incarnation, index)
    crew.post({ type: 'cancel', job, incarnation, index })
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

  /** All threads hear of it, those that have room; so many that wait on another lane are sent there. */
  #tellOfWork(lane: number, most: number): void {
    const { lanes, crew } = this.#options
    const { numbers } = lanes
    let left = numbers.length > 1 && numbers.includes(lane) ? most : 0
    for (const thread of crew.threads) {
      const look = left > 0 && homeLane(thread.number, numbers) !== lane && isIdle(thread)
      if (look) left--
      thread.post({ type: 'work', lane, look })
    }
  }
}
