import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Pick } from './check/slices.ts'
import type { Event, Happening } from './events.ts'

/** Appends events to a file of its own. A line is one write, so only a process that is killed leaves half of one. */
export class History {
  readonly #file: number
  readonly #by: string

  constructor(folder: string, by: string) {
    this.#by = by
    this.#file = openSync(join(folder, `${by.replaceAll('/', '-')}.jsonl`), 'a')
  }

  write(happening: Happening): void {
    writeSync(this.#file, `${JSON.stringify({ at: Date.now(), by: this.#by, ...happening })}\n`)
  }
}

/** What is picked of a run's events, in the order of their time; that of one process in the order that it wrote it. */
export function readHistories(folder: string, pick: Pick = event => event): Event[] {
  const picked: Event[] = []
  for (const name of namesIn(folder)) {
    for (const event of eventsOf(join(folder, name))) {
      const part = pick(event)
      if (part !== undefined) picked.push(part)
    }
  }
  return picked.sort((a, b) => a.at - b.at)
}

/** What all files of a run come to, in bytes. */
export function historyBytes(folder: string): number {
  return namesIn(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
}

/** The events of one file, as `eventsOf` gives them. */
export function readHistory(path: string, pieceBytes?: number): Event[] {
  return [...eventsOf(path, pieceBytes)]
}

/**
 * The events of one file. Its last line may be torn, and is ignored then.
 * @throws for a line in the middle that is no event: the history itself can't be trusted.
 */
function* eventsOf(path: string, pieceBytes = 1024 * 1024): Generator<Event> {
  let lines = 0
  for (const line of linesOf(path, pieceBytes)) {
    lines++
    let event: Event
    try {
      event = JSON.parse(line) as Event
    } catch (error) {
      throw new Error(`line ${lines} of the history ${path} is no event`, { cause: error })
    }
    yield event
  }
}

function namesIn(folder: string): string[] {
  return readdirSync(folder).filter(name => name.endsWith('.jsonl'))
}

/**
 * The finished lines of a file, which may be longer than a string can be: hours of churn write gigabytes. A line without
 * its line feed was not finished; it can't be told from a torn one that happens to be JSON.
 */
function* linesOf(path: string, pieceBytes: number): Generator<string> {
  const file = openSync(path, 'r')
  try {
    // Most of the thousands of files are small, and each large Buffer has all of the memory looked through for garbage.
    const piece = Buffer.allocUnsafe(Math.min(pieceBytes, fstatSync(file).size + 1))
    let rest = Buffer.alloc(0)
    for (let bytes = readSync(file, piece); bytes > 0; bytes = readSync(file, piece)) {
      const read = piece.subarray(0, bytes)
      const text = rest.length === 0 ? read : Buffer.concat([rest, read])
      const end = text.lastIndexOf(0x0a) + 1
      rest = Buffer.from(text.subarray(end))
      if (end > 0) yield* text.toString('utf8', 0, end - 1).split('\n')
    }
  } finally {
    closeSync(file)
  }
}
