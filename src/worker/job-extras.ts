import { MalformedDataError } from '../errors.ts'
import type { ChunkHeader } from '../protocol/chunk.ts'
import { decodeValue } from '../protocol/values.ts'
import type { Lanes } from '../store/lanes.ts'
import { partHash } from './board.ts'
import type { Board } from './board.ts'
import type { FromThread } from './messages.ts'

/** What a job's chunks don't carry themselves. */
export interface JobExtras {
  readonly shared: unknown
  /** The name of the reducer, or ''. */
  readonly reducer: string
}

const none: JobExtras = { shared: undefined, reducer: '' }
/** Shared values may be large, and a thread rarely works on more jobs than this at a time. */
const mostJobs = 4

/** The extras of the jobs that this thread worked on last. */
export class JobExtrasCache {
  readonly #board: Board
  readonly #lanes: Lanes
  readonly #send: (message: FromThread) => void
  readonly #known = new Map<string, Promise<JobExtras>>()
  readonly #asked = new Map<string, (bytes: SharedArrayBuffer | undefined) => void>()

  constructor(board: Board, lanes: Lanes, send: (message: FromThread) => void) {
    this.#board = board
    this.#lanes = lanes
    this.#send = send
  }

  /** @throws {MalformedDataError} when Redis does not have what the header says it should. */
  of(header: ChunkHeader, lane: number): JobExtras | Promise<JobExtras> {
    if (header.flags === 'plain') return none
    const key = `${header.job} ${header.incarnation}`
    let extras = this.#known.get(key)
    this.#known.delete(key)
    if (extras === undefined) {
      extras = this.#fetch(header, lane, key)
      // What failed is asked for again.
      extras.catch(() => this.#known.delete(key))
    }
    this.#known.set(key, extras)
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= mostJobs) break
      this.#known.delete(oldest)
    }
    return extras
  }

  /** The main thread's answer. */
  receive(job: string, incarnation: string, bytes: SharedArrayBuffer | undefined): void {
    const key = `${job} ${incarnation}`
    this.#asked.get(key)?.(bytes)
    this.#asked.delete(key)
  }

  async #fetch(header: ChunkHeader, lane: number, key: string): Promise<JobExtras> {
    const { job, incarnation, flags } = header
    const [shared, reducer] = await Promise.all([
      flags === 'reduce' ? undefined : this.#fetchShared(job, incarnation, lane, key),
      flags === 'shared'
        ? ''
        : this.#lanes
            .of(lane)
            .parts.readPart(job)
            .then(part => part?.reducer ?? ''),
    ])
    return { shared, reducer }
  }

  async #fetchShared(job: string, incarnation: string, lane: number, key: string): Promise<unknown> {
    const bytes = await new Promise<SharedArrayBuffer | undefined>(resolve => {
      this.#asked.set(key, resolve)
      this.#send({ type: 'shared', job, incarnation, lane })
    })
    if (bytes === undefined) throw new MalformedDataError(`The shared value of job ${job} is not in Redis any more.`)
    this.#board.enterReading(partHash({ job, incarnation }))
    try {
      return decodeValue(Buffer.from(bytes))
    } finally {
      this.#board.enter(-1)
    }
  }
}
