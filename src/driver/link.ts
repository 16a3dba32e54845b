import { ConnectionClosedError, MillraceError } from '../errors.ts'
import { collectorChannel, controlChannel } from '../protocol/keys.ts'
import { decodeControl } from '../protocol/control.ts'
import { randomName } from '../protocol/names.ts'
import { decodeCollectorMessage } from '../protocol/run.ts'
import type { AnsweredMessage } from '../protocol/run.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import { Loop } from '../runtime/loop.ts'
import { isReady, openClient } from '../store/client.ts'
import { within } from '../runtime/within.ts'
import type { Client } from '../store/client.ts'
import type { LaneStore } from '../store/lane-store.ts'
import { Lanes } from '../store/lanes.ts'
import { isTransient, outcomeUnknown, refusalInWords, refusesWrites } from '../store/reply-error.ts'
import type { RedisTarget } from '../store/target.ts'
import type { DrivenJob, JobHost } from './driven-job.ts'
import type { Ended } from './drop-part.ts'
import { Dropper } from './dropper.ts'
import { Fleet } from './fleet.ts'
import { connectionClosed, redisRefused } from './job-errors.ts'
import { driverLeaseMs } from './part.ts'
import { Paces } from './paces.ts'

/** Longer than any script or snapshot's pause should take. */
const silenceMs = 10_000
const pollMs = 2000
const renewAtOnce = 1000

/**
 * A driver's connections: one for the commands of each lane, one that listens. Hands messages to the jobs they are for, renews the
 * leases of all jobs at once, and has every job compare itself with Redis after each reconnect and now and then.
 */
export class Link implements JobHost {
  /** Names this connection as a collector. */
  readonly token = randomName(16)
  readonly lanes: Lanes
  readonly fleet: Fleet
  readonly paces = new Paces()
  /** Where this driver is told of results and answers. */
  readonly channel: string
  readonly #subscriber: Client
  readonly #control: string
  readonly #jobs = new Map<string, DrivenJob>()
  readonly #answers = new Map<string, (message: AnsweredMessage) => void>()
  readonly #dropper: Dropper
  readonly #poll: Loop
  readonly #renew: Loop
  #lastError: Error | undefined
  readonly #onError = (error: unknown) => {
    this.#lastError = error instanceof Error ? error : undefined
  }
  readonly #renewing = new Set<LaneStore>()
  #agreeing = false
  #stopped = false

  constructor(target: RedisTarget, { namespace, queue }: { readonly namespace: string; readonly queue: string }) {
    const onError = this.#onError
    this.lanes = new Lanes({
      target,
      namespace,
      queue,
      role: { name: 'millrace:driver', silenceMs },
      onOpen: client => {
        client.on('error', onError)
        client.once('ready', () => {
          client.on('ready', () => {
            this.#reconcileAll()
            this.#dropper.dropAgain()
          })
        })
      },
    })
    this.#dropper = new Dropper({ drives: job => this.#jobs.has(job), onError })
    this.#subscriber = openClient(target, { name: 'millrace:driver:listen', silenceMs })
    this.fleet = new Fleet(this.lanes.first)
    this.channel = collectorChannel(namespace, queue, this.token)
    this.#control = controlChannel(namespace, queue)
    this.#subscriber.on('error', onError)
    this.#subscriber.on('ready', () => {
      // The client subscribes again by itself; this one's reply says that it has, and only then a look sees all.
      this.#subscribe().then(() => {
        // Workers may have come and gone meanwhile.
        this.fleet.changed()
        this.#reconcileAll()
      }, onError)
    })
    this.#subscriber.on('messageBuffer', (channel: Buffer, message: Buffer) => {
      this.#onMessage(channel.toString(), message)
    })
    // A connection that has died without a word is only noticed by a command that gets no answer.
    this.#poll = new Loop(() => this.#look(), { intervalMs: pollMs, onError })
    this.#renew = new Loop(() => this.#renewLeases(), { intervalMs: driverLeaseMs / 3, jitter: 0, onError })
  }

  /** The last thing that went wrong with a connection. */
  get lastError(): Error | undefined {
    return this.#lastError
  }

  /** Resolves when this driver is listening. */
  async start(): Promise<void> {
    await this.#subscribe()
    this.#poll.start()
    this.#renew.start()
  }

  /** Resolves when all that is to be said is said, or can't be, and the connections are closed. */
  async stop(withinMs: number): Promise<void> {
    this.#stopped = true
    this.#dropper.stop()
    if (this.lanes.clients.some(isReady)) await within(withinMs, this.#dropper.flush())
    this.fleet.changed()
    this.lanes.disconnect()
    this.#subscriber.disconnect()
    await Promise.all([this.#poll.stop(), this.#renew.stop()])
  }

  /**
   * Asks until there is an answer, whatever happens to the connection meanwhile: for what does no harm when it is asked
   * twice. Whoever attaches while Redis restarts, or refuses to write, waits like everybody else, and `waiter` says why.
   *
   * @throws {RedisRefusesWritesError} when Redis answers with an error that waiting does not change.
   * @throws {ConnectionClosedError} when this connection is closed meanwhile.
   */
  async ask<T>(question: () => Promise<T>, waiter?: { waitingFor: string | undefined }): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await question()
      } catch (error) {
        if (error instanceof MillraceError && !(error instanceof ConnectionClosedError)) throw error
        if (this.#stopped) throw connectionClosed()
        if (refusesWrites(error)) {
          if (waiter !== undefined) waiter.waitingFor = refusalInWords(error)
        } else if (!outcomeUnknown(error) && !isTransient(error)) throw redisRefused(error)
      }
      await new Promise(resolve => setTimeout(resolve, jitteredBackoffMs(attempt, { firstMs: 20, mostMs: 1000 })))
    }
  }

  get jobs(): readonly DrivenJob[] {
    return [...this.#jobs.values()]
  }

  // JobHost -------------------------------------------------------------------------------------------------------------

  adopt(job: DrivenJob): void {
    // Two that attach at once both found none to replace.
    this.replace(job.id)
    this.#jobs.set(job.id, job)
  }

  /** The same connection attaches to a job that it may drive already: only one of the two may go on. */
  replace(id: string): void {
    this.#jobs.get(id)?.replaced()
  }

  disown(job: DrivenJob): void {
    if (this.#jobs.get(job.id) === job) this.#jobs.delete(job.id)
  }

  dropSoon(ended: Ended): void {
    this.#dropper.dropSoon(ended)
  }

  drop(ended: Ended): ReturnType<Dropper['drop']> {
    return this.#dropper.drop(ended)
  }

  // Answers -------------------------------------------------------------------------------------------------------------

  /** Calls back for every answer to the broadcast, until the returned function is called. */
  onAnswers(broadcast: string, listener: (message: AnsweredMessage) => void): () => void {
    this.#answers.set(broadcast, listener)
    return () => this.#answers.delete(broadcast)
  }

  // ---------------------------------------------------------------------------------------------------------------------

  async #subscribe(): Promise<void> {
    await this.#subscriber.subscribe(this.channel, this.#control)
  }

  #onMessage(channel: string, message: Buffer): void {
    if (channel === this.#control) {
      const type = decodeControl(message)?.type
      if (type === 'joined' || type === 'left') this.fleet.changed()
      return
    }
    try {
      const decoded = decodeCollectorMessage(message)
      if (decoded.type === 'answered') this.#answers.get(decoded.broadcast)?.(decoded)
      else this.#jobs.get(decoded.job)?.onMessage(decoded)
    } catch {
      // Anybody may publish here; what is none of ours is ignored, and what was damaged is found in the Hash.
    }
  }

  #reconcileAll(): void {
    for (const job of this.#jobs.values()) job.reconcile()
  }

  /** Waits for no answer: a server that is away must not keep the others from being looked at. */
  #look(): Promise<void> {
    for (const job of this.#jobs.values()) job.reconciler.poll()
    for (const client of [...this.lanes.clients, this.#subscriber]) {
      if (isReady(client)) client.ping().catch(this.#onError)
    }
    if (this.lanes.mayGrow) this.#agree()
    return Promise.resolve()
  }

  #agree(): void {
    if (this.#agreeing) return
    this.#agreeing = true
    this.lanes
      .agree()
      .catch(this.#onError)
      .finally(() => {
        this.#agreeing = false
      })
  }

  #renewLeases(): Promise<void> {
    for (const store of this.lanes.all) {
      if (this.#renewing.has(store)) continue
      this.#renewing.add(store)
      this.#renewOn(store)
        .catch(this.#onError)
        .finally(() => this.#renewing.delete(store))
    }
    return Promise.resolve()
  }

  async #renewOn(store: LaneStore): Promise<void> {
    const leased = this.jobs.filter(job => job.leased && job.store === store)
    for (let from = 0; from < leased.length; from += renewAtOnce) {
      const some = leased.slice(from, from + renewAtOnce)
      const known = await store.parts.renewDriver(
        some.map(job => job.id),
        driverLeaseMs,
      )
      if (known < some.length) for (const job of some) job.reconcile()
    }
  }
}
