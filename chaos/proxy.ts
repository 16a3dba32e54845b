import { createServer, connect } from 'node:net'
import type { Server, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * What the proxy does to the bytes. `delay`: both ways, in ms. `swallow replies`: requests arrive, answers are dropped.
 * `swallow`: a half-open connection; neither side hears from the other, nor that it is gone. `slice`: in pieces of
 * a few bytes.
 */
export type ProxyMode =
  | { readonly kind: 'pass' }
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'slice'; readonly bytes: number }
  | { readonly kind: 'swallow replies' }
  | { readonly kind: 'swallow' }

const pass: ProxyMode = { kind: 'pass' }
/** Of a long piece only the beginning is sliced: packets that small would take minutes. */
const slicedBytes = 512

/** Stands between Millrace and Redis, on 127.0.0.1. Connections that are made while Redis is away are refused like by Redis. */
export class Proxy {
  readonly #target: string
  readonly #server: Server
  readonly #pairs = new Set<Pair>()
  #mode: ProxyMode = pass
  /** Bytes that were dropped, and connections that were cut, by this proxy. */
  readonly counts = { swallowedBytes: 0, cut: 0 }

  /** `target`: the path of Redis's socket. */
  constructor(target: string) {
    this.#target = target
    this.#server = createServer({ noDelay: true }, socket => {
      this.#accept(socket)
    })
  }

  /** Resolves with the URL to give to Millrace. */
  async listen(): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(0, '127.0.0.1', resolve)
    })
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('the proxy got no port')
    return `redis://127.0.0.1:${address.port}`
  }

  /** Of all connections, those there are and those to come; but a half-open one stays half-open. */
  setMode(mode: ProxyMode): void {
    this.#mode = mode
    for (const pair of this.#pairs) if (pair.mode.kind !== 'swallow') pair.mode = mode
  }

  /** Of the connections there are, the share that `choose` picks. New ones are as before. */
  setModeOf(mode: ProxyMode, choose: () => boolean): number {
    const chosen = [...this.#pairs].filter(choose)
    for (const pair of chosen) pair.mode = mode
    return chosen.length
  }

  /** Breaks connections; gives how many. */
  cut(choose: () => boolean = () => true): number {
    const chosen = [...this.#pairs].filter(choose)
    for (const pair of chosen) pair.destroy()
    this.counts.cut += chosen.length
    return chosen.length
  }

  /** Connections that carry nothing, and that neither side has given up. */
  get silent(): number {
    return [...this.#pairs].filter(({ mode }) => mode.kind === 'swallow').length
  }

  cutSilent(): void {
    for (const pair of this.#pairs) if (pair.mode.kind === 'swallow') pair.destroy()
  }

  async close(): Promise<void> {
    for (const pair of this.#pairs) pair.destroy()
    await new Promise(resolve => this.#server.close(resolve))
  }

  #accept(client: Socket): void {
    const redis = connect(this.#target)
    const pair = new Pair(client, redis, this.#mode, bytes => {
      this.counts.swallowedBytes += bytes
    })
    this.#pairs.add(pair)
    client.once('close', () => this.#pairs.delete(pair))
  }
}

/** One connection through the proxy. */
class Pair {
  mode: ProxyMode
  readonly #client: Socket
  readonly #redis: Socket
  readonly #swallowed: (bytes: number) => void

  constructor(client: Socket, redis: Socket, mode: ProxyMode, swallowed: (bytes: number) => void) {
    this.mode = mode
    this.#client = client
    this.#redis = redis
    this.#swallowed = swallowed
    this.#carry(client, redis, 'requests')
    this.#carry(redis, client, 'replies')
  }

  destroy(): void {
    this.#client.destroy()
    this.#redis.destroy()
  }

  #carry(from: Socket, to: Socket, what: 'requests' | 'replies'): void {
    // One piece at a time, so that order is kept whatever a piece has to wait for.
    let carrying = Promise.resolve()
    from.on('data', piece => {
      from.pause()
      carrying = carrying
        .then(() => this.#deliver(piece, to, what))
        .then(
          () => from.resume(),
          () => {
            this.destroy()
          },
        )
        .then(() => undefined)
    })
    from.on('error', () => undefined)
    from.once('close', () => {
      // What is under way arrives first. A half-open connection hides that the other side is gone.
      carrying.then(() => this.#isSilent() || to.destroySoon()).catch(() => undefined)
    })
  }

  #isSilent(): boolean {
    return this.mode.kind === 'swallow' && !this.#client.destroyed
  }

  async #deliver(piece: Buffer, to: Socket, what: 'requests' | 'replies'): Promise<void> {
    const { mode } = this
    if (mode.kind === 'swallow' || (mode.kind === 'swallow replies' && what === 'replies')) {
      this.#swallowed(piece.length)
      return
    }
    if (mode.kind === 'delay') await sleep(mode.ms)
    if (mode.kind === 'slice') {
      const most = Math.min(piece.length, slicedBytes)
      for (let at = 0; at < most; at += mode.bytes) {
        await write(to, piece.subarray(at, Math.min(most, at + mode.bytes)))
        // Let the piece leave in a packet of its own.
        await new Promise(setImmediate)
      }
      await write(to, piece.subarray(most))
      return
    }
    await write(to, piece)
  }
}

async function write(to: Socket, piece: Buffer): Promise<void> {
  if (piece.length === 0 || to.destroyed || to.write(piece)) return
  await new Promise<void>(resolve => {
    const done = () => {
      to.off('drain', done)
      to.off('close', done)
      resolve()
    }
    to.once('drain', done)
    to.once('close', done)
  })
}
