import { decodeChunk } from './chunk.ts'
import type { Chunk } from './chunk.ts'
import { inputPreview } from './inputs.ts'

/** Why a task was quarantined: the first line of its entry in the quarantine, before the chunk that would run it again. */
export interface Evidence {
  /** When, in ms since the epoch, by the clock of whoever set it aside: the oldest entries are pruned first. */
  readonly at: number
  /** The worker that it took down last. */
  readonly worker: string
  /** What is known of its deaths, in words. */
  readonly evidence: readonly string[]
}

/** One line: JSON escapes the line breaks inside. `at` comes first, where pruning looks for it. */
export function encodeEvidence({ at, worker, evidence }: Evidence): string {
  return JSON.stringify({ at, worker, evidence })
}

/** What a person wants to know of a task that is set aside, besides how it ended. */
export function factsOf({ header, payload }: Chunk, index = header.first): string[] {
  return [`its input was ${inputPreview(header, payload, index)}`, `it was in attempt ${header.attempt}`]
}

/** A task in quarantine, as the Hash has it. */
export interface QuarantinedTask extends Evidence {
  readonly job: string
  readonly index: number
  /** The chunk that would run it again; undefined where what stands there is none. */
  readonly chunk: Chunk | undefined
}

/**
 * An entry of the quarantine: `<job>:<index>`, and a line of JSON before the chunk. Takes any bytes: what is damaged is
 * left empty.
 */
export function decodeQuarantined(field: string, entry: Buffer): QuarantinedTask {
  const colon = field.lastIndexOf(':')
  const index = field.slice(colon + 1)
  const end = entry.indexOf(0x0a)
  const { at, worker, evidence } = parseFacts(entry.toString('utf8', 0, end < 0 ? entry.length : end))
  return {
    job: field.slice(0, Math.max(0, colon)),
    index: /^\d{1,15}$/.test(index) ? Number(index) : NaN,
    at: typeof at === 'number' && Number.isFinite(at) ? at : 0,
    worker: typeof worker === 'string' ? worker : '',
    evidence: Array.isArray(evidence) ? evidence.filter(line => typeof line === 'string') : [],
    chunk: end < 0 ? undefined : chunkOf(entry.subarray(end + 1)),
  }
}

function chunkOf(element: Buffer): Chunk | undefined {
  try {
    return decodeChunk(element)
  } catch {
    return undefined
  }
}

function parseFacts(json: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** How a worker's process ended, as the process that had started it saw. */
export interface ProcessEnd {
  /** In words that follow its name: `was ended by SIGKILL`. */
  readonly how: string
  /** What it wrote last. */
  readonly lines: readonly string[]
}

export function processEnd(code: number | null, signal: string | null, lines: readonly string[]): ProcessEnd {
  return { how: signal === null ? `ended with exit code ${code ?? 'unknown'}` : `was ended by ${signal}`, lines }
}

export function encodeProcessEnd({ how, lines }: ProcessEnd): string {
  return JSON.stringify({ how, lines })
}

const mostLines = 20
const mostLength = 300

/** Takes any text: undefined for what is no process's end. */
export function decodeProcessEnd(json: string): ProcessEnd | undefined {
  const { how, lines } = parseFacts(json)
  return typeof how === 'string' && how !== '' ? { how: how.slice(0, mostLength), lines: textLines(lines) } : undefined
}

/** The lines among what should be some, bounded. */
export function textLines(lines: unknown): readonly string[] {
  if (!Array.isArray(lines)) return []
  const texts = lines.filter(line => typeof line === 'string')
  return texts.slice(-mostLines).map(line => line.slice(0, mostLength))
}
