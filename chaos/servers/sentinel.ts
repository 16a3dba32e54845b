import { startSentinel } from '../../test/support/redis-sentinel.ts'
import type { SentinelSetup } from '../../test/support/redis-sentinel.ts'
import { until } from '../../test/support/until.ts'
import type { Persistence, ReplicatedServer } from '../server.ts'
import { persisting } from './persisting.ts'
import { isMaster, whenItFollows } from './roles.ts'

export async function startSentinels(persistence: Persistence): Promise<ReplicatedServer> {
  return new SentinelServer(await startSentinel({ redis: persisting(persistence) }), persistence)
}

class SentinelServer implements ReplicatedServer {
  readonly kind = 'sentinel'
  readonly persistence: Persistence
  readonly #setup: SentinelSetup

  constructor(setup: SentinelSetup, persistence: Persistence) {
    this.#setup = setup
    this.persistence = persistence
  }

  get url(): string {
    return this.#setup.url
  }

  async ask(_key: string, ...command: string[]): Promise<string> {
    return (await this.#setup.master()).cli(...command)
  }

  async askAll(...command: string[]): Promise<readonly string[]> {
    return [await this.ask('', ...command)]
  }

  async failOver(): Promise<string> {
    const former = await this.#setup.master()
    await former.kill()
    const begun = performance.now()
    const heir = await until(
      async () => {
        const master = await this.#setup.master()
        return master !== former && (await isMaster(master)) ? master : undefined
      },
      { what: 'the Sentinels have promoted the replica', timeoutMs: 30_000 },
    )
    const tookMs = Math.round(performance.now() - begun)
    // As the Sentinels would make it in the end; until then it would take writes that are lost.
    await former.restart({ replicaof: `127.0.0.1 ${String(heir.port)}` })
    await whenItFollows(former)
    await this.#allAgreeOn(heir.port)
    return `127.0.0.1:${heir.port} took over after ${tookMs} ms`
  }

  stop(): Promise<void> {
    return this.#setup.stop()
  }

  /** The next failover needs a majority that knows of this one. */
  async #allAgreeOn(port: number | undefined): Promise<void> {
    for (const sentinel of this.#setup.sentinels) {
      await until(async () => (await sentinel.cli('INFO', 'sentinel')).includes(`:${port},slaves=1`), {
        what: 'every Sentinel knows the new master',
        timeoutMs: 30_000,
      })
    }
  }
}
