import { encodeControl } from '../protocol/control.ts'
import type { ControlMessage } from '../protocol/control.ts'
import { broadcastKey } from '../protocol/keys.ts'
import type { Lane } from '../protocol/keys.ts'
import { decodeLanes } from '../protocol/placement.ts'
import { encodeAnswered } from '../protocol/run.ts'
import { agreeLanes } from '../protocol/scripts/agree-lanes.ts'
import { answer } from '../protocol/scripts/answer.ts'
import type { Client } from './client.ts'
import { runScript } from './run-script.ts'
import { LaneAccess } from './lane-access.ts'
import { PartStore } from './part-store.ts'
import { ClaimStore } from './claim-store.ts'
import { MemberStore } from './member-store.ts'
import { UpkeepStore } from './upkeep-store.ts'

/** The operations of one lane, over one connection, by who needs them: the scripts by what they do, with their keys filled in. */
export class LaneStore extends LaneAccess {
  readonly parts: PartStore
  readonly claims: ClaimStore
  readonly members: MemberStore
  readonly upkeep: UpkeepStore

  constructor(client: Client, lane: Lane) {
    super(client, lane)
    this.parts = new PartStore(client, lane)
    this.claims = new ClaimStore(client, lane)
    this.members = new MemberStore(client, lane)
    this.upkeep = new UpkeepStore(client, lane)
  }

  /** The same operations over another connection. */
  over(client: Client): LaneStore {
    return new LaneStore(client, this.lane)
  }

  /** Says something to all workers of the queue. A Cluster passes it on to those that listen on another node. */
  async publishControl(message: ControlMessage): Promise<void> {
    await this.client.publish(this.control(), encodeControl(message))
  }

  /** Stores a thread's answer to a broadcast under `field`, `<worker>/<thread>`, and tells whoever asked. */
  answer(
    broadcast: string,
    field: string,
    reply: { readonly answer: Buffer; readonly keepMs: number; readonly replyChannel: string },
  ) {
    return this.run(answer, {
      keys: { broadcast: broadcastKey(this.lane, broadcast) },
      args: { thread: field, ...reply, message: encodeAnswered(broadcast, field) },
    })
  }

  /** The queue's lanes that are known here; none in a queue of one lane. */
  async readLanes(): Promise<number[]> {
    return decodeLanes((await this.client.hget(this.keys.lane, 'lanes')) ?? '')
  }

  /** Makes these lanes of the queue known here, and resolves with all that are: see the script. */
  agreeLanes(lanes: readonly number[]): Promise<number[]> {
    return runScript(this.client, agreeLanes, { keys: { lane: this.keys.lane }, args: { lanes: lanes.join(',') } })
  }
}
