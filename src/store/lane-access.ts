import type { HeldPayload } from '../protocol/chunk.ts'
import { collectorChannel, controlChannel, laneKeys } from '../protocol/keys.ts'
import type { Lane } from '../protocol/keys.ts'
import type { Script } from '../protocol/script.ts'
import { expel } from '../protocol/scripts/mend.ts'
import type { Client } from './client.ts'
import { isDamage, kindsOf, mendKeys, mostDamages } from './mend.ts'
import type { KindOfKey } from './mend.ts'
import { runScript } from './run-script.ts'
import { runWithPayloads } from './run-with-payloads.ts'
import type { Argument, ScriptCall } from './run-script.ts'
import type { PreparedScript } from './prepared-script.ts'

/** Which job, in which incarnation: what every operation on a part names. */
export interface PartName {
  readonly job: string
  readonly incarnation: string
}

/**
 * One lane over one connection: its keys, and how a script or a read is done there, mending what hostile hands left.
 * Rejections are the client's: a reply error, or an unknown outcome (see `reply-error.ts`).
 */
export class LaneAccess {
  readonly lane: Lane
  readonly client: Client
  readonly keys: ReturnType<typeof laneKeys>

  constructor(client: Client, lane: Lane) {
    this.client = client
    this.lane = lane
    this.keys = laneKeys(lane)
  }

  /**
   * Reads keys, or blocks on them. Where something else stands in one than must, that is cleared away, and it is read
   * again, also when another process was first to clear it: what is not there is what every reader can cope with.
   */
  async read<T>(keys: readonly KindOfKey[], read: () => Promise<T>): Promise<T> {
    for (let damages = 0; ; damages++) {
      try {
        return await read()
      } catch (error) {
        if (!isDamage(error) || damages === mostDamages) throw error
        await this.mend(keys)
      }
    }
  }

  /** Clears away what must not be in these keys. Resolves with how many were deleted. */
  mend(keys: readonly KindOfKey[]): Promise<number> {
    return mendKeys(this.client, this.keys.malformed, keys)
  }

  /** Takes members that are no names out of one of the lane's sorted sets. */
  expel(set: string, members: readonly Buffer[]): Promise<number> {
    return this.run(expel, { keys: { set, malformed: this.keys.malformed }, args: {}, moreArgs: members })
  }

  /**
   * Runs a script. When it stumbles over something that is none of ours, that is cleared away; the script is not run
   * again, because it may have come half its way: every caller tries again in its own manner.
   */
  protected async run<K extends string, A extends string, R>(
    script: Script<K, A, R>,
    call: ScriptCall<K, A>,
  ): Promise<R> {
    try {
      return await runScript(this.client, script, call)
    } catch (error) {
      if (isDamage(error)) await this.mend(kindsOf(script, call.keys, call.moreKeys))
      throw error
    }
  }

  /**
   * The same for a call of which all but `rest` was prepared. What is in `payloads` is stored in that Hash just before the
   * script runs, in the same transaction.
   */
  protected async runPrepared<R>(
    prepared: PreparedScript<R>,
    rest: readonly Argument[],
    payloads: readonly HeldPayload[] = [],
  ): Promise<R> {
    try {
      if (payloads.length === 0) return await prepared.run(this.client, rest)
      return await runWithPayloads(this.client, prepared, rest, payloads)
    } catch (error) {
      if (isDamage(error)) await this.mend(kindsOf(prepared.script, prepared.keys))
      throw error
    }
  }

  protected control(): string {
    return controlChannel(this.lane.namespace, this.lane.queue)
  }

  protected channelPrefix(): string {
    return collectorChannel(this.lane.namespace, this.lane.queue, '')
  }
}
