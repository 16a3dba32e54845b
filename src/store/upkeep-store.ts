import { codeKeys, partKeys } from '../protocol/keys.ts'
import { park } from '../protocol/scripts/collect.ts'
import { forget } from '../protocol/scripts/forget.ts'
import { peekChunks } from '../protocol/scripts/peek-chunks.ts'
import { promote } from '../protocol/scripts/promote.ts'
import { noteQuarantine } from '../protocol/scripts/quarantine.ts'
import { retryQuarantined } from '../protocol/scripts/retry-quarantined.ts'
import { LaneAccess } from './lane-access.ts'

/** What keeps jobs in line after others died, and what is set aside for people to look at. */
export class UpkeepStore extends LaneAccess {
  /** The code hash that a job needs, or undefined when there is no such part or it is cancelled. */
  async hashOf(job: string): Promise<string | undefined> {
    const { part } = partKeys(this.lane, job)
    return (await this.read([{ key: part, kind: 'part' }], () => this.client.hget(part, 'hash'))) ?? undefined
  }

  /** What decides whether a part is in line: its code hash, and whether it is open and has tasks that wait, for a thread or a retry; undefined when it is gone. */
  async lineOf(job: string): Promise<{ readonly hash: string; readonly waits: boolean } | undefined> {
    const { part, delayed } = partKeys(this.lane, job)
    const [[hash, state, waiting], retries] = await this.read([{ key: part, kind: 'part' }], () =>
      Promise.all([this.client.hmget(part, 'hash', 'state', 'waiting'), this.client.exists(delayed)]),
    )
    return hash == null ? undefined : { hash, waits: state === 'open' && (Number(waiting) > 0 || retries > 0) }
  }

  /** The header lines of a page of a part's waiting and delayed chunks. */
  peekChunks(job: string, from: number, count: number) {
    return this.run(peekChunks, { keys: partKeys(this.lane, job), args: { from, count } })
  }

  /** Forgets a job whose part is gone. */
  forget(job: string, hash: string) {
    return this.run(forget, {
      keys: { ...partKeys(this.lane, job), ...this.keys, ready: codeKeys(this.lane, hash).ready },
      args: { job },
    })
  }

  promote(job: string, hash: string) {
    return this.run(promote, {
      keys: { ...partKeys(this.lane, job), ...codeKeys(this.lane, hash), ...this.keys },
      args: { job },
    })
  }

  park(job: string, hash: string) {
    return this.run(park, {
      keys: { ...partKeys(this.lane, job), ...this.keys, ready: codeKeys(this.lane, hash).ready },
      args: { job },
    })
  }

  /** Keeps the evidence of a quarantined task whose failure is committed, with a chunk that would run it again. */
  noteQuarantine(job: string, index: number, evidence: string, element: Buffer) {
    return this.run(noteQuarantine, {
      keys: { quarantine: this.keys.quarantine },
      args: { task: `${job}:${index}`, evidence: Buffer.concat([Buffer.from(`${evidence}\n`), element]) },
    })
  }

  /** Puts a quarantined task back in line, if nobody has seen its failure. `collector`: who was found not to listen. */
  retryQuarantined(part: { readonly job: string; readonly hash: string; readonly collector: string }, index: number) {
    return this.run(retryQuarantined, {
      keys: { ...partKeys(this.lane, part.job), ...codeKeys(this.lane, part.hash), ...this.keys },
      args: { job: part.job, index, collector: part.collector },
    })
  }
}
