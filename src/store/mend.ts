import type { Script } from '../protocol/script.ts'
import { mend } from '../protocol/scripts/mend.ts'
import type { Client } from './client.ts'
import { replyCode } from './reply-error.ts'
import { runScript } from './run-script.ts'

/** What must stand in a key: a type of Redis, or a Hash whose counts are numbers. */
export type KeyKind = 'list' | 'hash' | 'zset' | 'set' | 'string' | 'part' | 'lane'

export interface KindOfKey {
  readonly key: string
  readonly kind: KeyKind
}

/** By the names that scripts have for their keys. */
const kinds: Readonly<Record<string, KeyKind>> = {
  claim: 'list',
  chunks: 'list',
  stage: 'list',
  claims: 'set',
  part: 'part',
  lane: 'lane',
  results: 'hash',
  payloads: 'hash',
  worker: 'hash',
  quarantine: 'hash',
  broadcast: 'hash',
  delayed: 'zset',
  due: 'zset',
  driven: 'zset',
  jobs: 'zset',
  ready: 'zset',
  waiting: 'zset',
  deaths: 'hash',
  workers: 'zset',
  dead: 'zset',
  retired: 'zset',
  shared: 'string',
}

/** The keys of a call, each with what must stand in it. */
export function kindsOf(
  script: Pick<Script, 'name' | 'keys'>,
  keys: Readonly<Record<string, string>>,
  moreKeys: readonly string[] = [],
): KindOfKey[] {
  const named = script.keys.flatMap(name => {
    const kind = kinds[name]
    const key = keys[name]
    return kind === undefined || key === undefined ? [] : [{ key, kind }]
  })
  const more = moreKeys.map((key, i): KindOfKey => ({ key, kind: kindOfMore(script.name, i) }))
  return [...named, ...more]
}

/** Those of `claim` are the part and the chunks of each job, by turns; those of the others are claims. */
function kindOfMore(script: string, at: number): KeyKind {
  return script === 'claim' && at % 2 === 0 ? 'part' : 'list'
}

/** After so many calls in a row that stumble over damaged keys a caller gives up: what damages them does not stop. */
export const mostDamages = 20

/** Whether the reply says that what stands in a key can't be worked with. */
export function isDamage(error: unknown): boolean {
  const code = replyCode(error)
  // ERR: among others, a count that is no number.
  return code === 'WRONGTYPE' || code === 'ERR'
}

/** Clears away what must not be in these keys. Never rejects: whoever asks has an error to deal with already. */
export async function mendKeys(client: Client, malformed: string, keys: readonly KindOfKey[]): Promise<number> {
  try {
    return await runScript(client, mend, {
      keys: { malformed },
      args: {},
      moreKeys: keys.map(({ key }) => key),
      moreArgs: keys.map(({ kind }) => kind),
    })
  } catch {
    return 0
  }
}
