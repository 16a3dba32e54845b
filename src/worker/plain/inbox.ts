/** Messages that wait for a thread. More, or larger, are not kept: whoever floods a channel must not fill the worker. */
const mostMessages = 10_000
const mostBytes = 64 * 1024 * 1024

/** Hands messages one after the other to a few readers at a time, and keeps a bounded number of others waiting. */
export class Inbox {
  readonly #read: (message: Buffer) => Promise<void>
  readonly #readers: number
  readonly #onDropped: (dropped: number) => void
  #waiting: Buffer[] = []
  #bytes = 0
  #reading = 0
  #dropped = 0

  /** `read` never rejects. `onDropped` is told how many were not kept so far. */
  constructor(options: {
    readonly readers: number
    readonly read: (message: Buffer) => Promise<void>
    readonly onDropped: (dropped: number) => void
  }) {
    this.#readers = options.readers
    this.#read = options.read
    this.#onDropped = options.onDropped
  }

  add(message: Buffer): void {
    if (this.#waiting.length >= mostMessages || this.#bytes + message.length > mostBytes) {
      this.#dropped++
      this.#onDropped(this.#dropped)
      return
    }
    this.#waiting.push(message)
    this.#bytes += message.length
    if (this.#reading < this.#readers) this.#work().catch(() => undefined)
  }

  /** Forgets what waits. */
  clear(): void {
    this.#waiting = []
    this.#bytes = 0
  }

  async #work(): Promise<void> {
    this.#reading++
    for (let message = this.#waiting.shift(); message !== undefined; message = this.#waiting.shift()) {
      this.#bytes -= message.length
      await this.#read(message)
    }
    this.#reading--
  }
}
