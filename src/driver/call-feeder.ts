import { encodeBatchSettled } from '../protocol/values.ts'
import type { SubmittedAt } from './errors-from-wire.ts'
import { inputError, mostUnsent, payloadLimitBytes } from './feeder.ts'
import type { Feeder, FeederHost } from './feeder.ts'
import { Pack, packTasks } from './packing.ts'

/** One call of `run`, until it has an outcome. */
export interface Call {
  readonly input: unknown
  readonly submittedAt: SubmittedAt
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  /** Which task of the job it is, once it is packed. */
  index: number | undefined
}

/**
 * Packs the inputs of calls as they come, and sends them when the code that made them has run to its end: the calls of
 * one turn travel together, and none waits for another turn. An input that can't travel fails its own call, and gets no index.
 */
export class CallFeeder implements Feeder {
  readonly #onPacked: (call: Call, index: number) => void
  readonly #onRefused: (call: Call, error: Error) => void
  #host: FeederHost | undefined
  readonly #calls = new Set<Call>()
  #scheduled = false
  #stopped = false
  /** There is no last call. */
  readonly ended = false

  constructor(onPacked: (call: Call, index: number) => void, onRefused: (call: Call, error: Error) => void) {
    this.#onPacked = onPacked
    this.#onRefused = onRefused
  }

  /** The calls that wait to be packed. */
  get waiting(): ReadonlySet<Call> {
    return this.#calls
  }

  /** Whether a call has come since the turn began. */
  get hasCallsOfTurn(): boolean {
    return this.#scheduled
  }

  add(call: Call): void {
    this.#calls.add(call)
    if (this.#scheduled || this.#host === undefined) return
    this.#scheduled = true
    process.nextTick(() => {
      this.#scheduled = false
      this.nudge()
    })
  }

  /** False when it does not wait any more. */
  remove(call: Call): boolean {
    return this.#calls.delete(call)
  }

  /** The job for its calls, which is about to begin. */
  for(host: FeederHost): this {
    this.#host = host
    return this
  }

  run(): Promise<void> {
    this.nudge()
    return Promise.resolve()
  }

  nudge(): void {
    const host = this.#host
    if (host === undefined || this.#calls.size === 0 || this.#stopped) return
    for (let packs = 0; this.#mayPack(host); packs++) this.#pack(host, packTasks(packs, host.pace))
    host.send()
  }

  stop(): void {
    this.#stopped = true
  }

  #mayPack(host: FeederHost): boolean {
    return this.#calls.size > 0 && host.outbox.unsentParcels < mostUnsent && host.room() > 0
  }

  #pack(host: FeederHost, mostTasks: number): void {
    const { outbox } = host
    const pack = new Pack(outbox.end, Math.min(mostTasks, host.room()))
    const calls: Call[] = []
    for (const call of this.#calls) {
      if (pack.full || !pack.add(call.input)) break
      calls.push(call)
      this.#calls.delete(call)
    }
    const { batches, failures } = encodeBatchSettled(pack.inputs, { limitBytes: payloadLimitBytes })
    // To its caller the input is the only one, whatever travels with it.
    for (const { index, error } of failures) this.#onRefused(calls[index]!, inputError(0, error))
    for (const { first, count, bytes } of batches) {
      for (let i = 0; i < count; i++) this.#onPacked(calls[first + i]!, outbox.end + i)
      outbox.push(count, bytes)
    }
  }
}
