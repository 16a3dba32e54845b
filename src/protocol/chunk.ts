import { MalformedDataError } from '../errors.ts'

/**
 * A chunk is one List element: a header line of words, then the payload.
 *
 *     <job> <incarnation> <first> <count> <base> <attempt> <deaths> <kind> <flags> <task>\n<payload>
 *
 * The header is text so that a script can read it without decoding the payload, and a person can with `redis-cli`.
 * A chunk covers the tasks `first … first + count - 1`. Its payload may hold more: `base` is the index of the payload's
 * first input, so that halving a chunk, or handing back its tail, only rewrites the header.
 *
 * A large payload does not travel in the List: each step of its way would copy it. It lies in the part's `payloads` Hash
 * from the submit of its chunk, whose kind is `held`, until the commit that settles its task.
 */
export interface ChunkHeader {
  readonly job: string
  /** The random incarnation of the part that the chunk belongs to; a chunk of an earlier one is dropped. */
  readonly incarnation: string
  readonly first: number
  readonly count: number
  readonly base: number
  /** 1 for the first attempt; a retry has its own chunk with the next number. */
  readonly attempt: number
  /** How many processes or threads died while they ran this chunk alone. */
  readonly deaths: number
  /**
   * `pack`: the payload is a batch of inputs; `range`: the payload is `<start> <step>`, input = start + step × index;
   * `held`: the payload says how many bytes lie in the part's `payloads` Hash under `payloadField`: a batch of inputs
   * from `base` on, for the one task of the chunk, so that no other chunk needs them.
   */
  readonly kind: ChunkKind
  /** What the runner must fetch from the job's record first. */
  readonly flags: ChunkFlags
  readonly task: string
}

export type ChunkKind = 'pack' | 'range' | 'held'

/** `plain`: nothing; `shared`: the shared value; `reduce`: the reducer's name; `both`. */
export type ChunkFlags = 'plain' | 'shared' | 'reduce' | 'both'

export interface Chunk {
  readonly header: ChunkHeader
  /** The header line as it stands in Redis, without its newline. */
  readonly line: string
  readonly payload: Buffer
}

/** The most tasks that one chunk may cover when it is claimed: a thread counts them in 16 bits of shared memory. */
export const maxChunkTasks = 65_535

const headerLimitBytes = 1024
const newline = 0x0a
const headerPattern =
  /^(\S{1,200}) (\w{1,64}) (\d{1,15}) (\d{1,15}) (\d{1,15}) (\d{1,9}) (\d{1,9}) (pack|range|held) (plain|shared|reduce|both) ([^\p{Cc}]+)$/u

export function encodeHeader(header: ChunkHeader): string {
  const { job, incarnation, first, count, base, attempt, deaths, kind, flags, task } = header
  return `${job} ${incarnation} ${first} ${count} ${base} ${attempt} ${deaths} ${kind} ${flags} ${task}`
}

export function encodeChunk(header: ChunkHeader, payload: Uint8Array): Buffer {
  return lineAndBytes(`${encodeHeader(header)}\n`, payload)
}

/** One string for Redis: a line, with its line feed, and what follows it. */
export function lineAndBytes(line: string, bytes: Uint8Array): Buffer {
  const lineBytes = Buffer.byteLength(line)
  const both = Buffer.allocUnsafe(lineBytes + bytes.length)
  both.write(line)
  both.set(bytes, lineBytes)
  return both
}

/** @throws {MalformedDataError} when the element is not a chunk. The payload is a view of the element, not a copy. */
export function decodeChunk(element: Buffer): Chunk {
  const end = element.subarray(0, headerLimitBytes).indexOf(newline)
  const line = end < 0 ? '' : element.toString('utf8', 0, end)
  const header = parseHeader(line)
  if (header === undefined) {
    throw new MalformedDataError(
      `A List element is not a chunk: ${JSON.stringify(element.toString('latin1', 0, 60))}. Something else writes to this List; it was set aside.`,
    )
  }
  return { header, line, payload: element.subarray(end + 1) }
}

/** The header of a line, or undefined when the line is not one. */
export function parseHeader(line: string): ChunkHeader | undefined {
  const match = headerPattern.exec(line)
  if (match === null) return undefined
  const [, job = '', incarnation = '', first, count, base, attempt, deaths, kind, flags, task = ''] = match
  const header = {
    job,
    incarnation,
    first: Number(first),
    count: Number(count),
    base: Number(base),
    attempt: Number(attempt),
    deaths: Number(deaths),
    kind: kind as ChunkKind,
    flags: flags as ChunkFlags,
    task,
  }
  if (header.count === 0 || header.base > header.first || (header.kind === 'held' && header.count > 1)) return undefined
  return header
}

/** Payloads of one task from this size on are held beside the List; for smaller ones the copies cost less than the call that reads them. */
const leastHeldBytes = 64 * 1024

/** What lies in a part's `payloads` Hash for a held chunk. */
export interface HeldPayload {
  readonly field: string
  readonly payload: Buffer
}

/** A chunk as it is submitted: its element, and what is to be held for it. */
export function submittedChunk(
  header: ChunkHeader,
  payload: Buffer,
): { readonly element: Buffer; readonly held?: HeldPayload } {
  if (header.kind !== 'pack' || header.count > 1 || payload.length < leastHeldBytes) {
    return { element: encodeChunk(header, payload) }
  }
  const element = encodeChunk({ ...header, kind: 'held' }, Buffer.from(String(payload.length)))
  return { element, held: { field: payloadField(header), payload } }
}

/** Where the payload of a held chunk lies in its part's `payloads` Hash. */
export function payloadField({ incarnation, first }: Pick<ChunkHeader, 'incarnation' | 'first'>): string {
  return `${incarnation}:${first}`
}

export interface RangeSpec {
  readonly start: number
  readonly step: number
}

export function encodeRangePayload({ start, step }: RangeSpec): Buffer {
  return Buffer.from(`${start} ${step}`)
}

/** @throws {MalformedDataError} when the payload is not `<start> <step>`. */
export function decodeRangePayload(payload: Uint8Array): RangeSpec {
  const [start = NaN, step = NaN, ...rest] = Buffer.from(payload.subarray(0, 80))
    .toString('latin1')
    .split(' ')
    .map(Number)
  if (!Number.isFinite(start) || !Number.isFinite(step) || rest.length > 0 || payload.length > 80) {
    throw new MalformedDataError('A range chunk does not say its start and step; it was set aside.')
  }
  return { start, step }
}
