import { setTimeout as sleep } from 'node:timers/promises'
import type { ResolvedTaskOptions } from '../code/task.ts'
import { decodeChunk } from '../protocol/chunk.ts'
import type { Chunk } from '../protocol/chunk.ts'
import { encodeEvidence } from '../protocol/evidence.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import type { Log } from '../runtime/log.ts'
import type { Lanes } from '../store/lanes.ts'
import { chargedChunks, chargedTasks, judgeChunk, judgeWhole } from './thread-death.ts'
import type { Charged, ChargedChunks, ChunkVerdict } from './thread-death.ts'
import type { ThreadExit, ThreadHandle, Verdict } from './thread-handle.ts'

export interface UndertakerOptions {
  readonly lanes: Lanes
  readonly hash: string
  /** The process, as `host:pid`. */
  readonly label: string
  readonly maxDeaths: number
  readonly limitsOf: (task: string) => ResolvedTaskOptions | undefined
  /** What is left in the claim is to be handed back. */
  readonly abandon: (claim: string, lane: number) => void
  readonly log: Log
}

/** A task that is set aside, of the job. */
type Quarantined = ChunkVerdict['quarantined'][number] & { readonly job: string }

/** Sees to the claims of threads that have ended: settles the tasks that are charged with it, and has the rest handed back. */
export class Undertaker {
  readonly #options: UndertakerOptions
  readonly #dying = new Set<string>()
  readonly #buried = new WeakSet<ThreadHandle>()

  constructor(options: UndertakerOptions) {
    this.#options = options
  }

  /** Whether the claim is one of a thread that ended, and not dealt with yet. */
  isDying(claim: string): boolean {
    return this.#dying.has(claim)
  }

  /**
   * Deals with what a thread held when it ended; `exit` is undefined for one that does not end. Should it do so later, this
   * is called again, and sees to what it may have claimed last.
   */
  async bury(thread: ThreadHandle, exit: ThreadExit | undefined): Promise<void> {
    const claims = [...thread.claims]
    thread.claims.clear()
    for (const [claim] of claims) this.#dying.add(claim)
    const { verdict } = thread
    const tasks = thread.drained ? [] : chargedTasks(thread.board, verdict)
    const chunks = thread.drained ? undefined : chargedChunks(thread.board, verdict)
    const evidence = this.#evidence(thread, exit)
    if (!thread.drained && verdict?.kind !== 'drain' && !this.#buried.has(thread))
      this.#options.log.warn(evidence.join('; '))
    this.#buried.add(thread)
    const worker = `${this.#options.label}/${thread.number}`
    // Side by side: a lane whose server is away keeps those of others waiting no longer.
    const each = claims.map(async ([claim, lane]) => {
      if (tasks.length > 0 || chunks !== undefined)
        await this.#charge(claim, lane, { tasks, chunks }, { evidence, worker })
      this.#options.abandon(claim, lane)
      this.#dying.delete(claim)
    })
    await Promise.all(each)
  }

  async #charge(
    claim: string,
    lane: number,
    { tasks, chunks }: { readonly tasks: readonly Charged[]; readonly chunks: ChargedChunks | undefined },
    { evidence, worker }: { readonly evidence: readonly string[]; readonly worker: string },
  ): Promise<void> {
    const { lanes, hash, maxDeaths, limitsOf, log } = this.#options
    const store = lanes.of(lane)
    const context = { maxDeaths, worker, evidence, limitsOf }
    // Noted when all is settled: where the answer to a commit was lost, the next attempt finds its chunk gone.
    const quarantined = new Map<string, Quarantined>()
    let isAlone: boolean | undefined
    for (let attempt = 1; attempt <= 20; attempt++) {
      try {
        const held = decodeWhatIsOne(await store.claims.readClaim(claim))
        const whole = held.filter(({ header }) => chunks?.has(claim, header) === true)
        // As it was when the thread ended: an attempt that came half its way leaves fewer.
        isAlone ??= chunks?.alone === true && whole.length === 1
        for (const chunk of held) {
          const payload = chunk.header.kind === 'held' ? await store.claims.readPayload(chunk.header) : undefined
          const verdict =
            chunks !== undefined && whole.includes(chunk)
              ? judgeWhole(chunk, chunks.charge, isAlone, context, payload ?? undefined)
              : judgeChunk(chunk, tasks, context, payload ?? undefined)
          if (verdict === undefined) continue
          const { commit } = verdict
          const { job } = commit.part
          for (const task of verdict.quarantined) quarantined.set(`${job} ${task.index}`, { ...task, job })
          const { word } = await store.claims.settle({ ...commit.part, hash }, claim, { ...commit, paceNs: 0 })
          if (word !== 'committed') for (const { index } of verdict.quarantined) quarantined.delete(`${job} ${index}`)
        }
        for (const { job, index, element, evidence: own } of quarantined.values()) {
          const entry = encodeEvidence({ at: Date.now(), worker, evidence: own })
          await store.upkeep.noteQuarantine(job, index, entry, element)
        }
        return
      } catch (error) {
        log.warn(`settling what a thread held when it ended failed and is tried again: ${(error as Error).message}`)
        await sleep(jitteredBackoffMs(attempt, { firstMs: 50, mostMs: 2000 }))
      }
    }
  }

  #evidence(thread: ThreadHandle, exit: ThreadExit | undefined): string[] {
    const { label } = this.#options
    const name = `thread ${label}/${thread.number}`
    const { verdict } = thread
    const error = exit?.error
    const how =
      verdict === undefined
        ? `${name} ended with exit code ${exit?.code ?? 'unknown'}${error === undefined ? '' : `: ${error.name}: ${error.message}`}`
        : `${name} was ended: ${reasonOf(verdict)}`
    const megabytes = Math.round(process.memoryUsage.rss() / 1024 / 1024)
    const stack =
      error?.stack
        ?.split('\n')
        .slice(1, 6)
        .map(line => line.trim()) ?? []
    const shown = thread.board.shownChunk()
    const ran = shown === undefined ? [] : [`it ran the chunk ${shown.line}`]
    return [
      how,
      ...stack,
      ...ran,
      `the process had ${megabytes} MB of memory`,
      ...thread.lastLines.map(line => `log: ${line}`),
    ]
  }
}

function reasonOf(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'cancel':
      return 'its task was cancelled and went on'
    case 'timeout':
      return 'its task was over its time limit'
    case 'memory':
      return `its process had ${verdict.megabytes} MB of memory, more than its rssMb of ${verdict.rssMb}, while this task ran`
    case 'standstill':
      return 'something that no task waits for any more kept its event loop from turning'
    case 'drain':
      return 'its worker ended'
  }
}

function decodeWhatIsOne(elements: readonly Buffer[]): Chunk[] {
  return elements.flatMap(element => {
    try {
      return [decodeChunk(element)]
    } catch {
      return []
    }
  })
}
