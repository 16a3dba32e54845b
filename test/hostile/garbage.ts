import { randomName } from '../../src/protocol/names.ts'
import { collectorChannel, controlChannel, laneTag } from '../../src/protocol/keys.ts'
import type { Client } from '../../src/store/client.ts'
import type { LaneStore } from '../../src/store/lane-store.ts'
import { mutated, textual, withOddWord } from '../protocol/support/mutations.ts'

/** What is written over, and how often, by kind. */
export type Tally = Map<string, number>

const scores = ['-inf', '0', '1', '-1e308', '1e308', '+inf', '1700000000000', '9007199254740993']

/**
 * Writes garbage into every key of a lane and onto both channels: random bytes, real elements that are cut or changed,
 * odd counts, other types. Keys and elements of jobs in `spared` are left alone.
 */
export class Vandal {
  readonly tally: Tally = new Map()
  readonly #client: Client
  readonly #store: LaneStore
  readonly #spared: ReadonlySet<string>
  readonly #next: () => number
  #samples: Buffer[] = []
  #keys: { readonly key: string; readonly type: string }[] = []

  constructor(client: Client, store: LaneStore, spared: ReadonlySet<string>, next: () => number) {
    this.#client = client
    this.#store = store
    this.#spared = spared
    this.#next = next
  }

  /** Looks what there is, and takes samples of real elements. */
  async look(): Promise<void> {
    const keys = (await this.#client.keys(`${laneTag(this.#store.lane)}:*`)).filter(key => !this.#isSpared(key))
    this.#keys = []
    this.#samples = this.#samples.slice(-200)
    for (const key of keys) {
      const type = await this.#client.type(key)
      this.#keys.push({ key, type })
      for (const element of await this.#elements(key, type)) if (!this.#isSpared(element)) this.#samples.push(element)
    }
  }

  /** One act. */
  async act(): Promise<void> {
    const dice = this.#next() % 100
    if (dice < 12) return this.#publish()
    if (this.#keys.length === 0) return
    const { key, type } = this.#pick(this.#keys)
    // Whole keys are lost less often than not, so that work goes on meanwhile.
    if (dice >= 98) return this.#replace(key)
    await this.#add(key, type)
  }

  async #add(key: string, type: string): Promise<void> {
    const bytes = this.#bytes()
    const name = this.#kindOf(key)
    this.#count(`${name} (${type})`)
    const ignore = () => undefined
    switch (type) {
      case 'list':
        await (this.#next() % 2 ? this.#client.lpush(key, bytes) : this.#client.rpush(key, bytes)).catch(ignore)
        break
      case 'hash': {
        const fields = await this.#client.hkeys(key).catch(() => [])
        const field = this.#next() % 3 && fields.length > 0 ? this.#pick(fields) : bytes.subarray(0, 40)
        await this.#client.hset(key, field, this.#next() % 2 ? bytes : this.#word()).catch(ignore)
        break
      }
      case 'zset':
        await this.#client.zadd(key, this.#pick(scores), this.#next() % 2 ? bytes : this.#word()).catch(ignore)
        break
      case 'set':
        await this.#client.sadd(key, bytes).catch(ignore)
        break
      default:
        await this.#client.set(key, bytes).catch(ignore)
    }
  }

  async #replace(key: string): Promise<void> {
    const bytes = this.#bytes()
    const kind = this.#next() % 5
    this.#count(`${this.#kindOf(key)} replaced`)
    const multi = this.#client.multi().del(key)
    if (kind === 0) multi.set(key, bytes)
    else if (kind === 1) multi.hset(key, 'field', bytes)
    else if (kind === 2) multi.lpush(key, bytes)
    else if (kind === 3) multi.zadd(key, this.#pick(scores), bytes)
    await multi.exec()
  }

  async #publish(): Promise<void> {
    const { namespace, queue } = this.#store.lane
    const prefix = collectorChannel(namespace, queue, '')
    const collectors = (await this.#client.call('pubsub', ['channels', `${prefix}*`])) as string[]
    const control = controlChannel(namespace, queue)
    const channel = this.#next() % 2 || collectors.length === 0 ? control : this.#pick(collectors)
    this.#count(channel === control ? 'control channel' : 'collector channel')
    await this.#client.publish(channel, this.#message())
  }

  #message(): Buffer {
    const victim = this.#victim()
    const messages = [
      `cancel ${victim} 0 1`,
      `joined ${randomName()}`,
      `broadcast b1 c0de 0 9e99 reply square\nx`,
      `results ${victim} 1 2.5\n0 4\n1 va`,
      `replaced ${victim} x\n`,
      `answered b w/0\n`,
    ]
    return this.#vary(this.#next() % 3 ? Buffer.from(this.#pick(messages)) : this.#bytes())
  }

  #bytes(): Buffer {
    const kind = this.#next() % 8
    if (kind === 0) return Buffer.from(Array.from({ length: this.#next() % 200 }, () => this.#next() & 0xff))
    if (kind === 1) return Buffer.alloc(this.#next() % 20 === 0 ? 2_000_000 : 300, this.#next() & 0xff)
    if (kind === 2) return this.#hugeChunk()
    if (this.#samples.length === 0) return Buffer.from(this.#word())
    return this.#vary(this.#pick(this.#samples))
  }

  #vary(bytes: Buffer): Buffer {
    const kind = this.#next() % 4
    if (kind === 0) return bytes.subarray(0, this.#next() % (bytes.length + 1))
    if (kind === 1) return withOddWord(bytes, this.#next)
    const other = this.#samples.length === 0 ? bytes : this.#pick(this.#samples)
    return mutated(bytes, other, this.#next, textual)
  }

  /** A chunk that says much more than it has. */
  #hugeChunk(): Buffer {
    const count = this.#pick(['999999999999999', '65535', '65536', '4294967296', '1'])
    const kind = this.#pick(['pack', 'range'])
    const payload = this.#pick(['0 1', '1e308 1e308', 'NaN 1', '\xdd\xff\xff\xff\xff', ''])
    const line = `${this.#victim()} ${randomName(4)} 0 ${count} 0 1 ${this.#next() % 5} ${kind} plain square`
    return Buffer.from(`${line}\n${payload}`, 'latin1')
  }

  #word(): string {
    return this.#pick(['0', '-1', '1e999', 'nan', 'x', '', '999999999999999999999', 'open', '1', '{"id":', 'null'])
  }

  #victim(): string {
    return `victim-${this.#next() % 4}`
  }

  #isSpared(bytes: string | Buffer): boolean {
    const text = bytes.toString('latin1')
    return [...this.#spared].some(job => text.includes(job))
  }

  /** A key by what stands before its own name. */
  #kindOf(key: string): string {
    const words = key.slice(laneTag(this.#store.lane).length + 1).split(':')
    const last = words.at(-1) ?? ''
    return words[0] === 'part' && words.length > 2
      ? last
      : words[0] === 'worker' && last === 'claims'
        ? last
        : words[0]!
  }

  async #elements(key: string, type: string): Promise<Buffer[]> {
    const client = this.#client
    if (type === 'list') return client.lrangeBuffer(key, -3, -1).catch(() => [])
    if (type === 'hash')
      return client.hvalsBuffer(key).then(
        values => values.slice(0, 5),
        () => [],
      )
    if (type === 'zset') return client.zrangeBuffer(key, 0, '2').catch(() => [])
    return []
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#next() % items.length]!
  }

  #count(what: string): void {
    this.tally.set(what, (this.tally.get(what) ?? 0) + 1)
  }
}
