import type { Client } from '../client.ts'
import { readInfo, readSetting } from './info.ts'

/** Why Redis refuses writes at the moment. */
export interface Refusal {
  /** In words that can follow "waits for ". */
  readonly words: string
  /** Whether it refuses everything, not only what takes more memory: work under way can't be handed in either. */
  readonly isTotal: boolean
}

/** Asks whether the server refuses writes, and why; undefined when it does not. */
export async function readRefusal(client: Client): Promise<Refusal | undefined> {
  const info = await readInfo(client, 'memory', 'persistence', 'replication')
  return refusalOf({
    isReplica: info.text('role') === 'slave',
    snapshotFailed: info.text('rdb_last_bgsave_status') === 'err',
    stopsThen: (await readSetting(client, 'stop-writes-on-bgsave-error')) !== 'no',
    aofFailed: info.text('aof_last_write_status') === 'err',
    usedBytes: info.number('used_memory'),
    mostBytes: info.number('maxmemory'),
  })
}

export interface RefusalFacts {
  readonly isReplica: boolean
  readonly snapshotFailed: boolean
  /** Whether the server is set to refuse writes after a failed snapshot. */
  readonly stopsThen: boolean
  readonly aofFailed: boolean
  readonly usedBytes: number
  /** 0: no limit. */
  readonly mostBytes: number
}

export function refusalOf(facts: RefusalFacts): Refusal | undefined {
  const because = (reason: string, isTotal: boolean) => ({ words: `Redis to accept writes again: ${reason}`, isTotal })
  if (facts.isReplica) return because('it is a read-only replica', true)
  if (facts.aofFailed) return because("its append-only file can't be written", true)
  if (facts.snapshotFailed && facts.stopsThen)
    return because('its last snapshot failed (stop-writes-on-bgsave-error)', true)
  if (facts.mostBytes > 0 && facts.usedBytes >= facts.mostBytes)
    return because('it is over its memory limit (maxmemory)', false)
  return undefined
}
