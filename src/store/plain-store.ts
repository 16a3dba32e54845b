import { setTimeout as sleep } from 'node:timers/promises'
import { plainKeys } from '../protocol/plain.ts'
import type { PlainNames } from '../protocol/plain.ts'
import { bury, declareDead, enroll, heartbeat, leave, register, retireClaim } from '../protocol/scripts/membership.ts'
import { plainAnswer, plainClaim, plainCommit, plainReturn } from '../protocol/scripts/plain.ts'
import type { Script } from '../protocol/script.ts'
import type { Client } from './client.ts'
import { isDamage, kindsOf, mendKeys } from './mend.ts'
import type { KindOfKey } from './mend.ts'
import { replyCode } from './reply-error.ts'
import { runScript } from './run-script.ts'
import type { ScriptCall } from './run-script.ts'

/** The outcome of an element as it is written: into the results Hash, or into the errors Hash. */
export interface PlainOutcome {
  readonly outcome: 'ok' | 'error'
  readonly value: string | Buffer
}

/** How long a full Redis is left alone when its List is empty. */
const fullPollMs = 200

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

  /**
   * Blocks until there is an element and moves it into the claim; null after `blockMs`, and sooner where Redis is over
   * its memory limit, and elements can be taken but not waited for.
   */
  async blockingClaim(claim: string, blockMs: number): Promise<Buffer | null> {
    const { list } = this.keys
    const key = this.keys.claim(claim)
    try {
      return await this.#read({ key, kind: 'list' }, () =>
        this.client.blmoveBuffer(list, key, 'RIGHT', 'LEFT', blockMs / 1000),
      )
    } catch (error) {
      if (replyCode(error) !== 'OOM') throw error
    }
    const element = await this.#run(plainClaim, { keys: { list, claim: key }, args: {} })
    if (element === null) await sleep(fullPollMs)
    return element
  }

  async deathsOf(element: Buffer): Promise<number> {
    const key = this.keys.deaths
    const deaths = await this.#read({ key, kind: 'hash' }, () => this.client.hget(key, element))
    return Number(deaths ?? 0)
  }

  /**
   * What is wrong with the keys that the user named, in a sentence; undefined when they are in order. What stands there
   * is the user's, and is left alone.
   */
  async complaint(): Promise<string | undefined> {
    const { list, results, errors } = this.keys
    const asked = [
      { key: list, must: 'list', effect: 'no element can be taken or handed back' },
      { key: results, must: 'hash', effect: 'no result can be written' },
      { key: errors, must: 'hash', effect: 'no result can be written' },
    ]
    const types = await Promise.all(asked.map(({ key }) => this.client.type(key)))
    const wrong = asked.flatMap(({ key, must, effect }, index) => {
      const type = types[index]
      return type === 'none' || type === must
        ? []
        : [`${JSON.stringify(key)} holds a ${type} and must be a ${must}, so that ${effect}`]
    })
    return wrong.length === 0
      ? undefined
      : `${wrong.join('; ')}. Rename or delete it: the worker waits, and then goes on with what it holds.`
  }

  commit(claim: string, element: Buffer, field: Buffer, { outcome, value }: PlainOutcome) {
    return this.#run(plainCommit, {
      keys: { ...this.keys, claim: this.keys.claim(claim) },
      args: { element, field, outcome, value },
    })
  }

  answer(field: Buffer, { outcome, value }: PlainOutcome) {
    return this.#run(plainAnswer, { keys: this.keys, args: { field, outcome, value } })
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
    const key = this.keys.claim(claim)
    return this.#read({ key, kind: 'list' }, () => this.client.lrangeBuffer(key, -64, -1))
  }

  register(worker: string, leaseMs: number, info: string, claims: readonly string[]) {
    return this.#run(register, {
      keys: this.#workerKeys(worker),
      args: { worker, leaseMs, info, control: `${this.keys.workers}:control` },
      moreArgs: claims,
    })
  }

  heartbeat(worker: string, leaseMs: number, threads: number) {
    return this.#run(heartbeat, {
      keys: this.#workerKeys(worker),
      args: { worker, leaseMs, threads, stats: '' },
    })
  }

  enroll(worker: string, claim: string) {
    return this.#run(enroll, { keys: this.#workerKeys(worker), args: { worker, claim } })
  }

  /** 'held' when the claim still holds elements. */
  retireClaim(worker: string, claim: string) {
    return this.#run(retireClaim, {
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
    return this.#run(leave, {
      keys: this.#workerKeys(worker),
      args: { worker, control: `${this.keys.workers}:control` },
      moreKeys: claims.map(claim => this.keys.claim(claim)),
    })
  }

  declareDead(leaseMs: number) {
    return this.#run(declareDead, { keys: this.keys, args: { leaseMs } })
  }

  claimsOf(worker: string): Promise<string[]> {
    const key = this.keys.claims(worker)
    return this.#read({ key, kind: 'set' }, () => this.client.smembers(key))
  }

  /** Claims that ended within the last half hour, from that position on; forgets those that ended before. */
  async retiredClaims(from: number, most: number): Promise<string[]> {
    const [seconds] = await this.client.time()
    const key = this.keys.retired
    return this.#read({ key, kind: 'zset' }, async () => {
      await this.client.zremrangebyscore(key, '-inf', String(Number(seconds) * 1000))
      return this.client.zrange(key, from, String(from + most - 1))
    })
  }

  bury(worker: string, claims: readonly string[]) {
    return this.#run(bury, {
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
    return this.#run(plainReturn, {
      keys: { ...this.keys, claim: this.keys.claim(claim) },
      args,
      moreArgs: fields,
    })
  }

  /** Runs a script. Where it stumbles over a key of ours, that is cleared away; the caller tries again in its manner. */
  async #run<K extends string, A extends string, R>(script: Script<K, A, R>, call: ScriptCall<K, A>): Promise<R> {
    try {
      return await runScript(this.client, script, call)
    } catch (error) {
      if (isDamage(error)) await this.#mend(kindsOf(script, call.keys, call.moreKeys))
      throw error
    }
  }

  /** Reads one of our keys, again where something else stood in it and was cleared away, by whomever. */
  async #read<T>(key: KindOfKey, read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (error) {
      if (!isDamage(error)) throw error
      await this.#mend([key])
      return read()
    }
  }

  #mend(keys: readonly KindOfKey[]): Promise<number> {
    const { list, results, errors, malformed } = this.keys
    const own = keys.filter(({ key }) => key !== list && key !== results && key !== errors)
    return mendKeys(this.client, malformed, own)
  }

  #workerKeys(worker: string) {
    const { lane, workers, dead, retired } = this.keys
    return { lane, workers, dead, retired, worker: this.keys.worker(worker), claims: this.keys.claims(worker) }
  }
}
