/**
 * Lets one thread of the process at a time run a suspect: a chunk that was in a process which died. When the process
 * dies again the suspect is charged, so another one beside it would be charged for what it did not do.
 */
export class SuspectGate {
  readonly buffer: SharedArrayBuffer
  readonly #holder: Int32Array

  /** A new gate, or the one that the process has. */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(4)
    this.#holder = new Int32Array(this.buffer)
  }

  /** Whether a thread other than this one is inside. */
  isTakenFor(thread: number): boolean {
    const holder = Atomics.load(this.#holder, 0)
    return holder !== open && holder !== thread + 1
  }

  /** False when another thread is inside. */
  enter(thread: number): boolean {
    Atomics.compareExchange(this.#holder, 0, open, thread + 1)
    return Atomics.load(this.#holder, 0) === thread + 1
  }

  /** The thread has settled its suspect, or is gone. */
  leave(thread: number): void {
    Atomics.compareExchange(this.#holder, 0, thread + 1, open)
  }
}

const open = 0
