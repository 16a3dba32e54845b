/**
 * Plain-Redis mode: any client that knows LPUSH, HGET and PUBLISH can have tasks run, under names that the user picks.
 * Besides the user's three names there are a few keys of our own, which carry the List's hash tag.
 */
export interface PlainNames {
  /** List: elements are pushed at its head by anybody and taken from its tail. */
  readonly list: string
  /** Hash: results by field. */
  readonly results: string
  /** Channel: a message is run by every worker that listens. */
  readonly channel?: string | undefined
}

export function plainKeys({ list, results }: PlainNames) {
  // The List's own hash tag if it has one, by Redis Cluster's rule: the first non-empty {…}.
  const tag = /\{([^}]+)\}/.exec(list)?.[1] ?? list
  const own = `{${tag}}:millrace`
  return {
    list,
    results,
    /** Hash: the errors of failed elements by field, as JSON. */
    errors: `${results}:errors`,
    /** Hash: how often a process died with an element: 1 suspect, n + 1: n certain deaths. */
    deaths: `${own}:deaths`,
    lane: `${own}:lane`,
    workers: `${own}:workers`,
    dead: `${own}:dead`,
    /** Sorted set: claims that have ended, scored by when nobody looks into them any more (ms). */
    retired: `${own}:retired`,
    /** List: notes of keys that were deleted, because they held what they never may. */
    malformed: `${own}:malformed`,
    /** Never filled: nobody waits on a stage here. */
    waiting: `${own}:waiting`,
    worker: (id: string) => `${own}:worker:${id}`,
    claims: (id: string) => `${own}:worker:${id}:claims`,
    /** List: the elements that one connection incarnation of one worker holds. */
    claim: (id: string) => `${own}:claim:${id}`,
  } as const
}

export interface PlainElement {
  /** The field of the results Hash; the element's own bytes unless it is a JSON object with `id` and `input`. */
  readonly field: Buffer
  readonly input: unknown
}

/** What an element asks for: the string itself, or the `input` of a JSON object that also has an `id`. Never throws. */
export function readPlainElement(element: Buffer): PlainElement {
  const text = element.toString('utf8')
  if (text.startsWith('{')) {
    try {
      const value = JSON.parse(text) as Record<string, unknown>
      const id = value['id']
      if (Object.hasOwn(value, 'input') && (typeof id === 'string' || typeof id === 'number')) {
        return { field: Buffer.from(String(id)), input: value['input'] }
      }
    } catch {
      // Not JSON: a string that happens to begin with a brace.
    }
  }
  return { field: element, input: text }
}

/** How a result is written: a string or bytes as they are, anything else as JSON. */
export function encodePlainResult(value: unknown): string | Buffer {
  if (typeof value === 'string') return value
  if (Buffer.isBuffer(value)) return value
  // JSON has no undefined; a task without a result leaves the JSON of null.
  const json = JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? item.toString() : item)) as
    string | undefined
  return json ?? 'null'
}
