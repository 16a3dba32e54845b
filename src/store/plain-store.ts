import { plainKeys } from '../protocol/plain.ts'
import type { PlainNames } from '../protocol/plain.ts'
import { bury, declareDead, enroll, heartbeat, leave, register, retireClaim } from '../protocol/scripts/membership.ts'
import { plainAnswer, plainCommit, plainReturn } from '../protocol/scripts/plain.ts'
import type { Client } from './client.ts'
import { runScript } from './run-script.ts'

/** The outcome of an element as it is written: into the results Hash, or into the errors Hash. */
export interface PlainOutcome {
  readonly outcome: 'ok' | 'error'
  readonly value: string | Buffer
}

/** The operations of plain-Redis mode over one connection. Membership and death are the same scripts as a lane's. */
export class PlainStore {
  readonly client: Client
  readonly names: PlainNames
  readonly keys: ReturnType<typeof plainKeys>

  constructor(client: Client, names: PlainNames) {
    this.client = client
    this.names = names
    this.keys = plainKeys(names)
  }

  over(client: Client): PlainStore {
    return new PlainStore(client, this.names)
  }

  /** Blocks until there is an element and moves it into the claim; null after `blockMs`. */
  blockingClaim(claim: string, blockMs: number): Promise<Buffer | null> {
    return this.client.blmoveBuffer(this.keys.list, this.keys.claim(claim), 'RIGHT', 'LEFT', blockMs / 1000)
  }

  async deathsOf(element: Buffer): Promise<number> {
    return Number((await this.client.hget(this.keys.deaths, element)) ?? 0)
  }

  commit(claim: string, element: Buffer, field: Buffer, { outcome, value }: PlainOutcome) {
    return runScript(this.client, plainCommit, {
      keys: { ...this.keys, claim: this.keys.claim(claim) },
      args: { element, field, outcome, value },
    })
  }

  answer(field: Buffer, { outcome, value }: PlainOutcome) {
    return runScript(this.client, plainAnswer, { keys: this.keys, args: { field, outcome, value } })
  }

  /** Returns what a claim holds, but for what the caller still runs. At most 64 a call; see `left`. */
  giveBack(claim: string, running: readonly Buffer[]) {
    return this.#giveBack(claim, { worker: '', reason: 'uncharged', maxDeaths: 0, failure: '' }, running)
  }

  /** `fields`: pairs of an element and its field, for those that end up quarantined. */
  giveBackOfDead(
    claim: string,
    death: { readonly worker: string; readonly maxDeaths: number; readonly failure: string },
    fields: readonly Buffer[],
  ) {
    return this.#giveBack(claim, { ...death, reason: 'death' }, fields)
  }

  /** What a claim holds, newest first, at most 64. */
  held(claim: string): Promise<Buffer[]> {
    return this.client.lrangeBuffer(this.keys.claim(claim), -64, -1)
  }

  register(worker: string, leaseMs: number, info: string, claims: readonly string[]) {
    return runScript(this.client, register, {
      keys: this.#workerKeys(worker),
      args: { worker, leaseMs, info, control: `${this.keys.workers}:control` },
      moreArgs: claims,
    })
  }

  heartbeat(worker: string, leaseMs: number, threads: number) {
    return runScript(this.client, heartbeat, {
      keys: this.#workerKeys(worker),
      args: { worker, leaseMs, threads, stats: '' },
    })
  }

  enroll(worker: string, claim: string) {
    return runScript(this.client, enroll, { keys: this.#workerKeys(worker), args: { worker, claim } })
  }

  /** 'held' when the claim still holds elements. */
  retireClaim(worker: string, claim: string) {
    return runScript(this.client, retireClaim, {
      keys: {
        claim: this.keys.claim(claim),
        claims: this.keys.claims(worker),
        waiting: this.keys.waiting,
        retired: this.keys.retired,
      },
      args: { claim },
    })
  }

  leave(worker: string, claims: readonly string[]) {
    return runScript(this.client, leave, {
      keys: this.#workerKeys(worker),
      args: { worker, control: `${this.keys.workers}:control` },
      moreKeys: claims.map(claim => this.keys.claim(claim)),
    })
  }

  declareDead(leaseMs: number) {
    return runScript(this.client, declareDead, { keys: this.keys, args: { leaseMs } })
  }

  claimsOf(worker: string): Promise<string[]> {
    return this.client.smembers(this.keys.claims(worker))
  }

  /** Claims that ended within the last half hour, a few at a time, and forgets those that ended before. */
  async retiredClaims(): Promise<string[]> {
    const [seconds] = await this.client.time()
    await this.client.zremrangebyscore(this.keys.retired, '-inf', String(Number(seconds) * 1000))
    return this.client.zrange(this.keys.retired, 0, '63')
  }

  bury(worker: string, claims: readonly string[]) {
    return runScript(this.client, bury, {
      keys: this.#workerKeys(worker),
      args: { worker },
      moreKeys: claims.map(claim => this.keys.claim(claim)),
    })
  }

  #giveBack(
    claim: string,
    args: { worker: string; reason: 'uncharged' | 'death'; maxDeaths: number; failure: string },
    fields: readonly Buffer[],
  ) {
    return runScript(this.client, plainReturn, {
      keys: { ...this.keys, claim: this.keys.claim(claim) },
      args,
      moreArgs: fields,
    })
  }

  #workerKeys(worker: string) {
    const { lane, workers, dead, retired } = this.keys
    return { lane, workers, dead, retired, worker: this.keys.worker(worker), claims: this.keys.claims(worker) }
  }
}
