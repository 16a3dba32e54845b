import { claimKey, codeKeys, workerKeys } from '../protocol/keys.ts'
import {
  bury,
  declareDead,
  enroll,
  heartbeat,
  leave,
  noteEnd,
  register,
  retireClaim,
} from '../protocol/scripts/membership.ts'
import { LaneAccess } from './lane-access.ts'

/** The workers of a lane: who lives, which claims are whose, who is declared dead and buried. */
export class MemberStore extends LaneAccess {
  register(
    worker: string,
    registration: { readonly leaseMs: number; readonly info: string; readonly claims: readonly string[] },
  ) {
    return this.run(register, {
      keys: { ...this.keys, ...workerKeys(this.lane, worker) },
      args: { worker, leaseMs: registration.leaseMs, info: registration.info, control: this.control() },
      moreArgs: registration.claims,
    })
  }

  heartbeat(worker: string, beat: { readonly leaseMs: number; readonly threads: number; readonly stats: string }) {
    return this.run(heartbeat, {
      keys: { ...this.keys, ...workerKeys(this.lane, worker) },
      args: { worker, ...beat },
    })
  }

  enroll(worker: string, claimId: string) {
    return this.run(enroll, {
      keys: { ...this.keys, ...workerKeys(this.lane, worker) },
      args: { worker, claim: claimId },
    })
  }

  retireClaim(worker: string, claimId: string, hash: string) {
    return this.run(retireClaim, {
      keys: {
        claim: claimKey(this.lane, claimId),
        claims: workerKeys(this.lane, worker).claims,
        waiting: codeKeys(this.lane, hash).waiting,
        retired: this.keys.retired,
      },
      args: { claim: claimId },
    })
  }

  leave(worker: string, claims: readonly string[]) {
    return this.run(leave, {
      keys: { ...this.keys, ...workerKeys(this.lane, worker) },
      args: { worker, control: this.control() },
      moreKeys: claims.map(claimId => claimKey(this.lane, claimId)),
    })
  }

  /** Declares lapsed workers dead, and lists those that are dead and not yet buried. */
  declareDead(leaseMs: number) {
    return this.run(declareDead, { keys: this.keys, args: { leaseMs } })
  }

  bury(worker: string, claims: readonly string[]) {
    return this.run(bury, {
      keys: { ...this.keys, ...workerKeys(this.lane, worker) },
      args: { worker },
      moreKeys: claims.map(claimId => claimKey(this.lane, claimId)),
    })
  }

  /** Its process has ended: `note` says how, as an encoded `ProcessEnd`. */
  noteEnd(worker: string, note: string) {
    return this.run(noteEnd, { keys: { ...this.keys, ...workerKeys(this.lane, worker) }, args: { worker, note } })
  }

  /** The ids of a worker's claims. */
  claimsOf(worker: string): Promise<string[]> {
    const { claims } = workerKeys(this.lane, worker)
    return this.read([{ key: claims, kind: 'set' }], () => this.client.smembers(claims))
  }
}
