import { TaskModuleError, UnknownTaskError } from '../../errors.ts'
import { jitteredBackoffMs } from '../../runtime/backoff.ts'
import type { Log } from '../../runtime/log.ts'
import type { Service } from '../../runtime/service.ts'
import { within } from '../../runtime/within.ts'
import { startPrivateThread } from '../private-thread.ts'
import type { PrivateThread, WithPort } from '../private-thread.ts'
import type { FromPlainThread, PlainCall, PlainThreadData } from './messages.ts'

/** How one attempt at an element ended. `died`: it took its thread down, or had to be ended for its time limit. */
export type Attempt =
  | { readonly type: 'done'; readonly value: string | Buffer }
  | {
      readonly type: 'threw' | 'died' | 'timeout'
      readonly name: string
      readonly message: string
      readonly stack: string
    }

export interface PlainPoolOptions {
  readonly threads: number
  readonly entry: URL
  readonly data: Omit<PlainThreadData, 'thread' | 'port'>
  readonly log: Log
}

interface Slot {
  readonly number: number
  thread: PrivateThread | undefined
  busy:
    | { readonly call: number; readonly settle: (attempt: Attempt) => void; timer: NodeJS.Timeout | undefined }
    | undefined
}

/** What the task says of itself, known once a thread has loaded it. */
export type PlainTaskOptions = Omit<Extract<FromPlainThread, { type: 'ready' }>, 'type'>

/** A synchronous task can't answer its own timer, so the main thread ends its thread this long after the limit. */
const graceMs = 250
const endWithinMs = 1000

/**
 * Threads that run one element at a time. User code is only there: an endless loop is ended, a crash costs its own
 * element an attempt, and the main thread's connection to Redis never starves.
 */
export class PlainPool implements Service {
  readonly #options: PlainPoolOptions
  readonly #slots: Slot[]
  /** Those that have not ended, also while they load the module. */
  readonly #threads = new Set<PrivateThread>()
  #calls = 0
  #stopped = false
  #failures = 0
  #task: PlainTaskOptions | undefined
  #waiters: (() => void)[] = []

  constructor(options: PlainPoolOptions) {
    this.#options = options
    this.#slots = Array.from({ length: options.threads }, (_, number) => ({
      number,
      thread: undefined,
      busy: undefined,
    }))
  }

  /** Resolves when every thread has loaded the module; rejects with the module's error. */
  async start(): Promise<void> {
    const options = await Promise.all(this.#slots.map(slot => this.#launch(slot)))
    this.#task = options[0]
  }

  get task(): PlainTaskOptions {
    if (this.#task === undefined) throw new Error('the pool has not started')
    return this.#task
  }

  get idle(): number {
    return this.#slots.filter(slot => slot.thread !== undefined && slot.busy === undefined).length
  }

  get busy(): number {
    return this.#slots.filter(slot => slot.busy !== undefined).length
  }

  /** Resolves when a thread is free, or the pool has stopped. */
  async whenIdle(): Promise<void> {
    while (!this.#stopped && this.idle === 0) await this.#change()
  }

  /** Resolves when no thread is busy, or the pool has stopped. */
  async whenQuiet(): Promise<void> {
    while (!this.#stopped && this.busy > 0) await this.#change()
  }

  /** Runs one attempt on the next free thread. Once the pool has stopped, every attempt has `died`. */
  async run(request: Omit<PlainCall, 'call' | 'timeoutMs'>): Promise<Attempt> {
    for (;;) {
      // Chosen and taken without an await in between: two callers may have waited for the same thread.
      const slot = this.#slots.find(({ thread, busy }) => thread !== undefined && busy === undefined)
      if (slot?.thread !== undefined) return this.#runOn(slot, slot.thread, request)
      if (this.#stopped) return { type: 'died', name: 'Error', message: 'The worker has stopped.', stack: '' }
      await this.#change()
    }
  }

  #runOn(slot: Slot, { port }: PrivateThread, request: Omit<PlainCall, 'call' | 'timeoutMs'>): Promise<Attempt> {
    const { timeoutMs } = this.task
    const call = ++this.#calls
    return new Promise(resolve => {
      const settle = (attempt: Attempt) => {
        clearTimeout(slot.busy?.timer)
        slot.busy = undefined
        resolve(attempt)
        this.#wake()
      }
      const timer =
        timeoutMs === undefined
          ? undefined
          : setTimeout(() => {
              this.#end(slot, {
                type: 'timeout',
                name: 'TaskTimeoutError',
                message: `The task ran longer than its timeoutMs of ${timeoutMs}.`,
                stack: '',
              })
            }, timeoutMs + graceMs)
      slot.busy = { call, settle, timer }
      try {
        port.postMessage({ ...request, call, timeoutMs } satisfies PlainCall)
      } catch (error) {
        // JSON may be nested deeper than a value can be copied.
        const message = `The input can't be handed to a thread: ${error instanceof Error ? error.message : String(error)}`
        settle({ type: 'threw', name: 'ValueNotEncodableError', message, stack: '' })
      }
    })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#wake()
    // One that runs native code does not end.
    await within(endWithinMs, Promise.all([...this.#threads].map(({ worker }) => worker.terminate())))
  }

  #launch(slot: Slot): Promise<PlainTaskOptions> {
    const { entry, data, log } = this.#options
    const workerData: Omit<PlainThreadData, keyof WithPort> = { ...data, thread: slot.number }
    return new Promise((resolve, reject) => {
      let evidence = ''
      const thread = startPrivateThread(entry, { workerData }, received => {
        const message = received as FromPlainThread
        switch (message.type) {
          case 'ready':
            slot.thread = thread
            this.#failures = 0
            resolve(message)
            this.#wake()
            break
          case 'failed':
            reject(
              message.code === 'UNKNOWN_TASK'
                ? new UnknownTaskError(message.message)
                : new TaskModuleError(message.message),
            )
            // What the module has opened would keep it alive, and its place is only filled again when it has ended.
            thread.worker.terminate().catch(() => undefined)
            break
          case 'log':
            log.info(message.line)
            break
          case 'done':
            if (slot.busy?.call === message.call) {
              const { value } = message
              slot.busy.settle({ type: 'done', value: typeof value === 'string' ? value : Buffer.from(value) })
            }
            break
          case 'threw':
            if (slot.busy?.call === message.call) slot.busy.settle(message)
        }
      })
      this.#threads.add(thread)
      thread.worker.on('error', error => {
        evidence = error instanceof Error ? (error.stack ?? error.message) : String(error)
      })
      thread.worker.on('exit', exitCode => {
        this.#threads.delete(thread)
        reject(
          new TaskModuleError(`A thread ended with exit code ${exitCode} while it loaded the task module. ${evidence}`),
        )
        if (slot.thread === thread) slot.thread = undefined
        const message = `The task's thread ended with exit code ${exitCode}${evidence === '' ? '' : `: ${evidence.split('\n')[0] ?? ''}`}.`
        slot.busy?.settle({ type: 'died', name: 'ThreadDiedError', message, stack: evidence })
        if (!this.#stopped) this.#relaunch(slot)
      })
    })
  }

  #relaunch(slot: Slot): void {
    this.#failures++
    setTimeout(
      () => {
        if (this.#stopped || slot.thread !== undefined) return
        this.#launch(slot).catch((error: unknown) => {
          this.#options.log.warn(
            `a thread could not be started again: ${error instanceof Error ? error.message : String(error)}`,
          )
        })
      },
      this.#failures <= this.#slots.length ? 0 : jitteredBackoffMs(this.#failures, { firstMs: 20, mostMs: 5000 }),
    )
  }

  /** Settles the slot's call first, so that the thread's exit is not taken for a crash. */
  #end(slot: Slot, attempt: Attempt): void {
    const { thread } = slot
    slot.thread = undefined
    slot.busy?.settle(attempt)
    thread?.worker.terminate().catch(() => undefined)
  }

  #change(): Promise<void> {
    return new Promise(resolve => {
      this.#waiters.push(resolve)
    })
  }

  #wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve()
  }
}
