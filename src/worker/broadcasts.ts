import type { TaskModule } from '../code/load.ts'
import { TaskTimeoutError, UnknownTaskError } from '../errors.ts'
import { encodeAnswer, encodeFailedAnswer } from '../protocol/answer.ts'
import { decodeValue } from '../protocol/values.ts'
import type { Lanes } from '../store/lanes.ts'
import type { Board } from './board.ts'
import { RunningTask } from './context.ts'
import type { BroadcastRequest } from './messages.ts'

export interface BroadcastsOptions {
  readonly module: TaskModule
  readonly board: Board
  readonly lanes: Lanes
  readonly thread: number
  /** This thread, as `host:pid/thread`. */
  readonly label: string
  /** The worker's id on that lane. */
  readonly workerId: (lane: number) => string | undefined
  readonly writeLine: (line: string) => void
}

/** Answers are kept a little longer than anybody waits for them. */
const keptBeyondMs = 60_000
const mostWaiting = 64
/** What a timer can wait for, and the board can show. */
const longestMs = 2 ** 31 - 1

/** Broadcasts that wait for this thread: each runs its task once, when no other code is on the stack. */
export class Broadcasts {
  readonly #options: BroadcastsOptions
  readonly #waiting: { readonly request: BroadcastRequest; readonly untilMs: number }[] = []

  constructor(options: BroadcastsOptions) {
    this.#options = options
  }

  add(request: BroadcastRequest): void {
    if (this.#waiting.length >= mostWaiting) return
    const deadlineMs = Math.min(request.deadlineMs, longestMs)
    this.#waiting.push({ request: { ...request, deadlineMs }, untilMs: Date.now() + deadlineMs })
  }

  /** Starts what waits. */
  run(): void {
    if (this.#waiting.length === 0) return
    for (const { request, untilMs } of this.#waiting.splice(0)) {
      // Nobody waits any more for one that comes after its deadline, but its effect may still be wanted.
      this.#run(request, Math.max(1000, untilMs - Date.now())).catch((error: unknown) => {
        this.#options.writeLine(`broadcast ${request.id} failed: ${String(error)}`)
      })
    }
  }

  async #run(request: BroadcastRequest, withinMs: number): Promise<void> {
    const { board, writeLine, workerId, thread, lanes } = this.#options
    const { id, lane, deadlineMs, replyChannel } = request
    let answer: Buffer
    board.countOutside(1)
    try {
      const value = await this.#call(request, withinMs)
      answer = encodeAnswer(value)
    } catch (error) {
      answer = encodeFailedAnswer(error)
    } finally {
      board.countOutside(-1)
    }
    // Anybody may publish the number of a lane: only those that are known are connected to.
    const worker = lanes.numbers.includes(lane) ? workerId(lane) : undefined
    if (worker === undefined) return
    try {
      const keepMs = deadlineMs + keptBeyondMs
      await lanes.of(lane).answer(id, `${worker}/${thread}`, { answer, keepMs, replyChannel })
    } catch (error) {
      writeLine(`the answer to broadcast ${id} could not be stored: ${(error as Error).message}`)
    }
  }

  async #call({ id, task: name, input }: BroadcastRequest, withinMs: number): Promise<unknown> {
    const { module, board, thread, label, writeLine } = this.#options
    const task = module.tasks.get(name)
    if (task === undefined)
      throw new UnknownTaskError(`This worker's task module exports no task ${JSON.stringify(name)}.`)
    const value = decodeValue(input)
    const context = new RunningTask(
      { jobId: id, first: thread, attempt: 1, worker: label, shared: undefined, task: name, writeLine },
      0,
    )
    const inside = board.enterOutside(withinMs)
    let result: unknown
    try {
      result = task.fn(value, context)
    } finally {
      board.leaveOutside(inside)
    }
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = new TaskTimeoutError(
          `The broadcast task ${JSON.stringify(name)} did not end before its deadline.`,
          {
            task: name,
            jobId: id,
            index: thread,
            attempt: 1,
            worker: label,
          },
        )
        context.abort(error)
        reject(error)
      }, withinMs)
    })
    try {
      return await Promise.race([result, late])
    } finally {
      clearTimeout(timer)
    }
  }
}
