import { encodeBatchSettled } from '../protocol/values.ts'
import type { Assembler } from './assembler.ts'
import type { Delivery } from './delivery.ts'
import { inputError, payloadLimitBytes } from './feeder.ts'
import type { Feeder, FeederHost } from './feeder.ts'
import type { OpenCalls } from './open-calls.ts'
import { Pack, packTasks } from './packing.ts'

/** What the feeder of calls asks the job besides. */
interface CallFeederHost extends FeederHost {
  readonly assembler: Pick<Assembler, 'skip'>
  readonly delivery: Pick<Delivery, 'pass'>
}

/**
 * Packs the inputs of calls as they come, and sends them when the code that made them has run to its end: the calls of
 * one turn travel together, and none waits for another turn. A call that was cancelled by then, and one whose input can't
 * travel, leave an index without a task: the handles of the others name theirs already.
 */
export class CallFeeder implements Feeder {
  readonly #open: Pick<OpenCalls, 'get' | 'added'>
  readonly #onRefused: (index: number, error: Error) => void
  #host: CallFeederHost | undefined
  /** The first call that is not packed. */
  #next = 0
  #scheduled = false
  #closed = false
  #stopped = false

  /** `open`: the calls that have no outcome, by index. */
  constructor(open: Pick<OpenCalls, 'get' | 'added'>, onRefused: (index: number, error: Error) => void) {
    this.#open = open
    this.#onRefused = onRefused
  }

  get ended(): boolean {
    return this.#closed && !this.#hasCalls
  }

  /** Whether a call has come since the turn began. */
  get hasCallsOfTurn(): boolean {
    return this.#scheduled
  }

  hasPacked(index: number): boolean {
    return index < this.#next
  }

  /** The next call is open. */
  add(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    process.nextTick(() => {
      this.#scheduled = false
      this.nudge()
    })
  }

  /** There will be no more calls. */
  close(): void {
    this.#closed = true
  }

  /** The job for its calls, which is about to begin. `submitted`: how many of them are in Redis already. */
  for(host: CallFeederHost, submitted = 0): this {
    this.#host = host
    this.#next = submitted
    return this
  }

  run(): Promise<void> {
    this.nudge()
    return Promise.resolve()
  }

  nudge(): void {
    const host = this.#host
    if (host === undefined || this.#stopped || !this.#hasCalls) return
    for (let packs = 0; this.#mayPack(host); packs++) this.#pack(host, packTasks(packs, host.pace))
    host.send()
  }

  stop(): void {
    this.#stopped = true
  }

  get #hasCalls(): boolean {
    return this.#next < this.#open.added
  }

  #mayPack(host: CallFeederHost): boolean {
    return this.#hasCalls && !host.outbox.full && host.room() > 0
  }

  #pack(host: CallFeederHost, mostTasks: number): void {
    while (this.#hasCalls && this.#open.get(this.#next) === undefined) this.#next++
    const first = this.#next
    const pack = new Pack(first, Math.min(mostTasks, host.room()))
    let call = this.#open.get(first)
    while (call !== undefined && !pack.full && pack.add(call.input)) call = this.#open.get(++this.#next)
    const { batches, failures } = encodeBatchSettled(pack.inputs, { limitBytes: payloadLimitBytes })
    for (const batch of batches) {
      skipTo(host, first + batch.first)
      host.outbox.push(batch.count, batch.bytes)
    }
    // To its caller the input is the only one, whatever travels with it.
    for (const { index, error } of failures) this.#onRefused(first + index, inputError(0, error))
  }
}

/** The indexes before this one that are not in the outbox have no task: they count as collected, and as used. */
function skipTo({ outbox, assembler, delivery }: CallFeederHost, index: number): void {
  const from = outbox.end
  if (from === index) return
  outbox.push(index - from, undefined)
  assembler.skip([[from, index]])
  delivery.pass(index - from)
}
