/**
 * The name of every key and channel. One function per name, so that a reader finds each by its word, and
 * `docs/protocol.md` (held against this file by a test) can list them with type, content and life.
 *
 * Every key of a lane carries the lane's hash tag in braces, so that Redis Cluster keeps the lane on one node.
 */

/** One shard of a queue: all of its keys share one Redis Cluster hash slot. */
export interface Lane {
  readonly namespace: string
  readonly queue: string
  readonly lane: number
}

export function laneTag({ namespace, queue, lane }: Lane): string {
  return `{${namespace}:${queue}:${lane}}`
}

/** The keys that belong to a lane as a whole. */
export function laneKeys(lane: Lane) {
  const tag = laneTag(lane)
  return {
    /** Hash: `turn` (counter of turns between jobs), `reapedAt` and `reapingSince` (ms): when a reaper last ran, and since when without a gap. */
    lane: `${tag}:lane`,
    /** Sorted set: every job with a part here, scored by its creation time (ms). */
    jobs: `${tag}:jobs`,
    /** Sorted set: windowed jobs, scored by the end of their driver's lease (ms). */
    driven: `${tag}:driven`,
    /** Sorted set: jobs with delayed chunks, scored by the earliest due time (ms). */
    due: `${tag}:due`,
    /** Sorted set: live workers, scored by the end of their lease (ms). */
    workers: `${tag}:workers`,
    /** Sorted set: workers declared dead, scored by the time (ms) at which their records may be deleted. */
    dead: `${tag}:dead`,
    /** Sorted set: claims that have ended, scored by when the janitor stops looking into them (ms). */
    retired: `${tag}:retired`,
    /** Hash: quarantined tasks by `<job>:<index>`, each with its evidence and its chunk. */
    quarantine: `${tag}:quarantine`,
    /** List: elements that no reader understood, newest first, at most 100. */
    malformed: `${tag}:malformed`,
  } as const
}

/** The keys through which chunks of one version of the code reach the threads that can run it. */
export function codeKeys(lane: Lane, hash: string) {
  const tag = laneTag(lane)
  return {
    /** List: chunks handed to blocked threads; threads compete for its tail by BLMOVE. */
    stage: `${tag}:stage:${hash}`,
    /** Sorted set: claims (threads) that block on the stage, scored by when they stop waiting (ms). */
    waiting: `${tag}:waiting:${hash}`,
    /** Sorted set: jobs with waiting chunks, scored by priority, then turn; lowest first. */
    ready: `${tag}:ready:${hash}`,
  } as const
}

/** The keys of a job's part on a lane. All share one expiry. */
export function partKeys(lane: Lane, job: string) {
  const tag = laneTag(lane)
  return {
    /** Hash: the part's record (see `records.ts`). */
    part: `${tag}:part:${job}`,
    /** List: waiting chunks; submitted at the head, claimed from the tail. */
    chunks: `${tag}:part:${job}:chunks`,
    /** Hash: packed runs of results by the index of their first task. */
    results: `${tag}:part:${job}:results`,
    /** Sorted set: chunks that wait for a retry, scored by their due time (ms). */
    delayed: `${tag}:part:${job}:delayed`,
    /** Hash: large payloads of chunks that are not settled, by `payloadField`. */
    payloads: `${tag}:part:${job}:payloads`,
    /** String: the job's `shared` value, encoded. */
    shared: `${tag}:part:${job}:shared`,
  } as const
}

/** The keys of one worker. */
export function workerKeys(lane: Lane, worker: string) {
  const tag = laneTag(lane)
  return {
    /** Hash: `info` (JSON: host, pid, threads, task names, code hash …) and `leaseMs`. */
    worker: `${tag}:worker:${worker}`,
    /** Set: the ids of the worker's claims, one per connection incarnation of a thread. */
    claims: `${tag}:worker:${worker}:claims`,
  } as const
}

/** List: the chunks that one connection incarnation of one thread holds, newest first. Its random id is the fence token. */
export function claimKey(lane: Lane, claim: string): string {
  return `${laneTag(lane)}:claim:${claim}`
}

/** Hash: the answers to one broadcast, by `<worker>/<thread>`. */
export function broadcastKey(lane: Lane, broadcast: string): string {
  return `${laneTag(lane)}:broadcast:${broadcast}`
}

/** Channel: what workers listen to: new work, cancellations, broadcasts. */
export function controlChannel(namespace: string, queue: string): string {
  return `${namespace}:${queue}:control`
}

/** Channel: what the collector with this token listens to: results, and its own replacement. */
export function collectorChannel(namespace: string, queue: string, collector: string): string {
  return `${namespace}:${queue}:collector:${collector}`
}

export type LaneKeys = ReturnType<typeof laneKeys>
export type CodeKeys = ReturnType<typeof codeKeys>
export type PartKeys = ReturnType<typeof partKeys>
export type WorkerKeys = ReturnType<typeof workerKeys>
