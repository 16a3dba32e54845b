/**
 * The memory that a thread and the main thread share: what the thread runs, and how far it may go. The main thread
 * reads it while user code spins, so nothing here needs the thread's event loop.
 *
 * A thread holds at most two batches that it takes tasks from, one in each slot: the one it runs and the one it
 * claimed ahead. A slot's window is one word, `cursor | limit` of 16 bits each: the thread advances the cursor and the
 * main thread lowers the limit, both by compare-and-swap, so that the thread never runs past a lowered limit. Lowering
 * needs no proof of which batch it hits: a thread commits what it ran and hands back the rest in any case.
 */
export class Board {
  readonly buffer: SharedArrayBuffer
  readonly #words: Int32Array
  readonly #times: Float64Array
  readonly #line: Uint8Array
  readonly #partHashes: Int32Array
  readonly #indexes: Float64Array

  /** A new board, or the one that another thread made. */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? emptyBoard()
    this.#words = new Int32Array(this.buffer, 0, wordCount)
    this.#times = new Float64Array(this.buffer, timesAt, timeCount)
    this.#line = new Uint8Array(this.buffer, lineAt, lineBytes)
    this.#partHashes = new Int32Array(this.buffer, hashesAt, maxPending)
    this.#indexes = new Float64Array(this.buffer, indexesAt, maxPending)
  }

  // The thread's side ---------------------------------------------------------------------------------------------------

  /** Opens a slot before its claim is sent, so that the main thread can revoke what the thread has not even seen. */
  open(slot: Slot, claim: string): void {
    this.#setClaim(word.claims + 2 * slot, claim)
    Atomics.store(this.#words, slot, unsized)
  }

  /** Sets the size of what was claimed into an open slot; false when the main thread has revoked it meanwhile. */
  size(slot: Slot, tasks: number): boolean {
    return Atomics.compareExchange(this.#words, slot, unsized, tasks) === unsized
  }

  /** Makes this slot's batch the running one. `expectedMs`: how long it will take, as far as one knows; 0 for not at all. */
  begin(slot: Slot, expectedMs = 0): void {
    this.#times[time.expected] = expectedMs
    Atomics.store(this.#words, word.slot, slot)
    Atomics.add(this.#words, word.batch, 1)
  }

  /** Takes the next tasks, at most `most`, and gives the window index of the first, or -1 when there are none; see `taken`. */
  take(slot: Slot, most: number): number {
    for (;;) {
      const window = Atomics.load(this.#words, slot)
      const cursor = window >>> 16
      const count = Math.min(most, (window & mask) - cursor)
      if (count <= 0) return -1
      const next = ((cursor + count) << 16) | (window & mask)
      if (Atomics.compareExchange(this.#words, slot, window, next) === window) {
        this.taken = count
        return cursor
      }
    }
  }

  /** How many tasks the last `take` took. */
  taken = 0

  /** Empties a slot, whose batch has no task left to take. */
  close(slot: Slot): void {
    Atomics.store(this.#words, slot, 0)
    if (Atomics.load(this.#words, word.slot) === slot) Atomics.store(this.#words, word.slot, noSlot)
  }

  /** Publishes the chunk whose tasks are taken from now on, which begins at `offset` of its batch's window. */
  showChunk(line: string, offset: number, timeoutMs: number): void {
    Atomics.add(this.#words, word.lineVersion, 1)
    const { written } = encoder.encodeInto(line, this.#line)
    this.#words[word.lineLength] = written
    this.#words[word.offset] = offset
    Atomics.store(this.#words, word.timeoutMs, timeoutMs)
    Atomics.add(this.#words, word.lineVersion, 1)
  }

  /** User code of this task is on the stack from now on; -1 when none is. */
  enter(index: number): void {
    Atomics.store(this.#words, word.task, index)
  }

  /** What a chunk of the running batch needs is fetched and read, or (false) it is there. */
  set isPreparing(is: boolean) {
    Atomics.store(this.#words, word.preparing, is ? 1 : 0)
  }

  get isPreparing(): boolean {
    return Atomics.load(this.#words, word.preparing) === 1
  }

  /** The inputs of the shown chunk are read from now on: should that end the thread, no task of it is to blame more than others. */
  enterReading(partHash: number): void {
    Atomics.store(this.#words, word.wholePart, partHash)
    Atomics.store(this.#words, word.task, reading)
  }

  /** The results of a claim are put together from now on, which may run a reducer. */
  enterHandingIn(claim: string, partHash: number): void {
    this.#setClaim(word.handedIn, claim)
    Atomics.store(this.#words, word.wholePart, partHash)
    Atomics.store(this.#words, word.task, handingIn)
  }

  /** Code of a task that belongs to no batch (a broadcast) is on the stack from now on. Gives what `leaveOutside` goes back to. */
  enterOutside(timeoutMs: number): Inside {
    const inside = { slot: this.#words[word.slot]!, timeoutMs: this.#words[word.timeoutMs]! }
    Atomics.store(this.#words, word.slot, noSlot)
    Atomics.add(this.#words, word.batch, 1)
    Atomics.store(this.#words, word.timeoutMs, timeoutMs)
    Atomics.store(this.#words, word.task, 0)
    return inside
  }

  /** It is not any more: the batch that was running goes on. */
  leaveOutside({ slot, timeoutMs }: Inside): void {
    Atomics.store(this.#words, word.task, -1)
    Atomics.store(this.#words, word.timeoutMs, timeoutMs)
    Atomics.store(this.#words, word.slot, slot)
    Atomics.add(this.#words, word.batch, 1)
  }

  /** Notes an asynchronous task in progress at a place of the table that `place` names, from 0 to `maxPending` - 1. */
  addPending(place: number, partHash: number, index: number): void {
    this.#indexes[place] = index
    Atomics.store(this.#partHashes, place, partHash)
    Atomics.add(this.#words, word.pending, 1)
  }

  removePending(place: number): void {
    Atomics.store(this.#partHashes, place, 0)
    Atomics.sub(this.#words, word.pending, 1)
  }

  /** Whether everything that was left of the slot's batch is taken away. */
  isRevoked(slot: Slot): boolean {
    return (Atomics.load(this.#words, slot) & mask) === 0
  }

  /** By when the main thread may expect the loop to have turned: ms of `monotonicMs`, Infinity for never. */
  set loopDeadlineMs(atMs: number) {
    this.#times[time.loopDeadline] = atMs
  }

  get loopDeadlineMs(): number {
    return this.#times[time.loopDeadline]!
  }

  /** The thread's loop turns: called every now and then. */
  turn(): void {
    Atomics.add(this.#words, word.turns, 1)
  }

  /** Code that belongs to no batch goes on, or has come to its end (-1): what it does after its first `await` too. */
  countOutside(more: 1 | -1): void {
    Atomics.add(this.#words, word.outside, more)
  }

  countSettled(tasks: number): void {
    this.#times[time.settled]! += tasks
  }

  // The main thread's side ----------------------------------------------------------------------------------------------

  /** How many tasks the thread has settled since it started. */
  get settled(): number {
    return this.#times[time.settled]!
  }

  /** What the thread does right now. Parts of it may be a moment apart; whoever acts on it looks again. */
  look(): BoardView {
    const slot = Atomics.load(this.#words, word.slot)
    return {
      slot: slot === 0 || slot === 1 ? slot : undefined,
      batch: Atomics.load(this.#words, word.batch),
      task: Atomics.load(this.#words, word.task),
      timeoutMs: Atomics.load(this.#words, word.timeoutMs),
      expectedMs: this.#times[time.expected]!,
    }
  }

  /** How often the loop was seen to turn; 0 while the thread starts. */
  get turns(): number {
    return Atomics.load(this.#words, word.turns)
  }

  /** Whether nothing that anybody waits for can be on the stack: no batch, no task in progress, nothing outside. */
  get isFree(): boolean {
    return (
      Atomics.load(this.#words, word.slot) === noSlot &&
      Atomics.load(this.#words, word.task) === -1 &&
      Atomics.load(this.#words, word.outside) === 0 &&
      Atomics.load(this.#words, word.pending) === 0
    )
  }

  window(slot: Slot): Window {
    const window = Atomics.load(this.#words, slot)
    return { cursor: window >>> 16, limit: window & mask }
  }

  /** The claim that the slot was opened for last. */
  claim(slot: Slot): string {
    return this.#claimAt(word.claims + 2 * slot)
  }

  /** The part that is read or handed in, and the claim that is handed in. They hold while `task` says that this is going on. */
  get whole(): { readonly partHash: number; readonly handedIn: string } {
    return { partHash: Atomics.load(this.#words, word.wholePart), handedIn: this.#claimAt(word.handedIn) }
  }

  /** Takes away what the thread has not taken yet. Gives the window as it was, or undefined when nothing was left. */
  lower(slot: Slot): Window | undefined {
    for (;;) {
      const window = Atomics.load(this.#words, slot)
      const cursor = window >>> 16
      const limit = window & mask
      if (cursor >= limit) return undefined
      if (Atomics.compareExchange(this.#words, slot, window, (cursor << 16) | cursor) === window)
        return { cursor, limit }
    }
  }

  /** The published chunk, or undefined when there is none or it changes right now. */
  shownChunk(): { readonly line: string; readonly offset: number } | undefined {
    const version = Atomics.load(this.#words, word.lineVersion)
    if (version % 2 !== 0 || version === 0) return undefined
    const line = Buffer.from(this.#line.subarray(0, this.#words[word.lineLength])).toString('utf8')
    const offset = this.#words[word.offset]!
    return Atomics.load(this.#words, word.lineVersion) === version ? { line, offset } : undefined
  }

  /** The asynchronous tasks in progress. */
  pending(): readonly PendingTask[] {
    const found: PendingTask[] = []
    for (let place = 0; place < maxPending; place++) {
      const partHash = Atomics.load(this.#partHashes, place)
      if (partHash !== 0) found.push({ partHash, index: this.#indexes[place]! })
    }
    return found
  }

  #setClaim(at: number, claim: string): void {
    this.#words[at] = parseInt(claim.slice(0, 8), 16)
    this.#words[at + 1] = parseInt(claim.slice(8, 16), 16)
  }

  #claimAt(at: number): string {
    const half = (place: number) => (Atomics.load(this.#words, place) >>> 0).toString(16).padStart(8, '0')
    return half(at) + half(at + 1)
  }
}

export type Slot = 0 | 1

/** What a broadcast interrupts. */
export interface Inside {
  readonly slot: number
  readonly timeoutMs: number
}

export interface Window {
  /** The next task to take. */
  readonly cursor: number
  /** The first task not to take. */
  readonly limit: number
}

export interface BoardView {
  /** The slot of the running batch. */
  readonly slot: Slot | undefined
  /** Changes with every batch. */
  readonly batch: number
  /** The window index of the task whose code is on the stack; -1 for none, `reading` or `handingIn` for a chunk's as a whole. */
  readonly task: number
  /** The running chunk's limit for a task; 0 for none. */
  readonly timeoutMs: number
  /** How long the running batch was expected to take when it began; 0 for unknown. */
  readonly expectedMs: number
}

/** In `BoardView.task`: the shown chunk's inputs, or what its job shares, are being read. */
export const reading = -2
/** In `BoardView.task`: the results of a claim are being put together. */
export const handingIn = -3

/** A task in progress, by its index and a hash of its part (see `partHash`). */
export interface PendingTask {
  readonly partHash: number
  readonly index: number
}

/** The most asynchronous tasks that a thread runs at a time, whatever its tasks' `concurrency`. */
export const maxPending = 1024

/** How often a thread shows that its loop turns. */
export const turnEveryMs = 2000

/** The most tasks of one window. */
export const maxWindow = 0xffff

/** A number, never 0, for a job's part (FNV-1a). */
export function partHash({ job, incarnation }: { readonly job: string; readonly incarnation: string }): number {
  const text = `${job} ${incarnation}`
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash === 0 ? 1 : hash
}

/** A clock that all threads of the process share and that nobody sets. */
export function monotonicMs(): number {
  return performance.now() + originMs
}

/** `performance.now()` counts from the start of each thread. */
const originMs = Number(process.hrtime.bigint()) / 1e6 - performance.now()

const mask = 0xffff
/** A window whose size is not known yet: nothing is taken from it before it is. */
const unsized = mask
const noSlot = 2

// Words 0 and 1 are the windows of the two slots.
const word = {
  slot: 2,
  batch: 3,
  task: 4,
  timeoutMs: 5,
  lineVersion: 6,
  lineLength: 7,
  offset: 8,
  claims: 9,
  handedIn: 13,
  wholePart: 15,
  turns: 16,
  outside: 17,
  pending: 18,
  preparing: 19,
} as const
const time = { loopDeadline: 0, settled: 1, expected: 2 } as const

const wordCount = 20
const timesAt = wordCount * 4
const timeCount = 3
const lineAt = timesAt + timeCount * 8
const lineBytes = 1024
const hashesAt = lineAt + lineBytes
const indexesAt = hashesAt + maxPending * 4
const boardBytes = indexesAt + maxPending * 8

function emptyBoard(): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(boardBytes)
  const words = new Int32Array(buffer, 0, wordCount)
  words[word.slot] = noSlot
  words[word.task] = -1
  new Float64Array(buffer, timesAt, timeCount)[time.loopDeadline] = Infinity
  return buffer
}

const encoder = new TextEncoder()
