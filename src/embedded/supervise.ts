import { setTimeout as delay } from 'node:timers/promises'
import {
  announce,
  beat,
  BEAT_MS,
  draftAnnouncement,
  listAnnouncements,
  lookAt,
  sweep,
  touch,
  withdraw,
  type Announcement,
} from './announcement.ts'
import { ControlServer } from './control-server.ts'
import type { Appendfsync } from './control.ts'
import { boundLog, lastLines, quoteLines } from './log-file.ts'
import { stopOrphan } from './orphan.ts'
import type { Place } from './place.ts'
import { startRedis, type RedisExit, type RedisProcess } from './redis-process.ts'

/** Why a supervisor ends: nobody needs Redis, a signal asked it to, or its files were taken away. */
type Ending = 'idle' | 'signal' | 'lost'

const LOOK_AGAIN_MS = 10
/** How long a failed start stays to be told, if nobody has heard of it yet. */
const FAILURE_TOLD_MS = 5_000
const LOG_CHECK_MS = 60_000
const FIRST_RESTART_MS = 50
const LONGEST_RESTART_MS = 5_000
/** A server that ran this long owes nothing to earlier failures. */
const STEADY_MS = 10_000

/**
 * The life of a supervisor: become the one of its project (or resolve at once, if there is another), keep Redis running while
 * clients need it, then let it save, and take the sockets away. Resolves when nothing is left of it but the data.
 */
export async function supervise(place: Place, program: string): Promise<void> {
  const supervisor = new Supervisor(place, program)
  await supervisor.run()
}

class Supervisor {
  readonly #place: Place
  readonly #program: string
  readonly #announcement: Announcement
  readonly #control: ControlServer
  readonly #ended: Promise<Ending>
  #resolveEnded: (ending: Ending) => void = () => undefined
  #ending: Ending | undefined
  #redis: RedisProcess | undefined
  #ready = false
  #appendfsync: Appendfsync = 'everysec'
  #progress = 0

  constructor(place: Place, program: string) {
    this.#place = place
    this.#program = program
    this.#announcement = draftAnnouncement(place)
    this.#ended = new Promise(resolve => {
      this.#resolveEnded = resolve
    })
    this.#control = new ControlServer({
      beforeReady: async claim => {
        if (claim.appendfsync === 'always') await this.#syncAlways()
      },
      onIdle: () => {
        // Told in the turn that decides it, so that nobody is counted who will not be served.
        this.#control.tell({ state: 'stopping' })
        this.#end('idle')
      },
    })
  }

  async run(): Promise<void> {
    for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(name, () => {
        this.#end('signal')
      })
    }
    await this.#control.listen(this.#announcement.controlPath)
    await announce(this.#announcement)
    const other = await this.#becomeHolder()
    if (other === undefined) await this.#serve()
    else if (other !== 'holder') await this.#fail(other)
    await withdraw(this.#announcement, this.#place)
    await this.#control.close()
  }

  /** Undefined if this supervisor holds the project now, 'holder' if another has or will; else why it cannot be had. */
  async #becomeHolder(): Promise<string | undefined> {
    for (;;) {
      const announcements = await listAnnouncements(this.#place)
      const others = announcements.filter(({ id }) => id !== this.#announcement.id)
      const sightings = await Promise.all(
        others.map(async other => ({ other, seen: await lookAt(other, this.#place) })),
      )
      const living = sightings.filter(({ seen }) => seen !== 'dead')
      for (const { other, seen } of sightings) if (seen === 'dead') await withdraw(other, this.#place)
      if (living.length === 0) return undefined
      const unreachable = living.find(({ seen }) => seen === 'elsewhere')
      if (unreachable !== undefined) return heldElsewhere(this.#place, unreachable.other)
      if (living.some(({ other, seen }) => seen === 'holder' || other.id < this.#announcement.id)) return 'holder'
      await delay(LOOK_AGAIN_MS)
    }
  }

  async #serve(): Promise<void> {
    const beats = setInterval(() => {
      // A supervisor that cannot look after its files must not go on.
      this.#beat().catch(() => {
        this.#end('lost')
      })
    }, BEAT_MS)
    const logChecks = setInterval(() => {
      boundLog(this.#place.logFile)
    }, LOG_CHECK_MS)
    this.#starting()
    await sweep(this.#place)
    boundLog(this.#place.logFile)
    await stopOrphan(this.#place, () => {
      this.#starting(this.#progress + 1)
    })
    const failure = await this.#keepRunning()
    if (failure !== undefined) await this.#fail(failure)
    clearInterval(beats)
    clearInterval(logChecks)
  }

  /** Runs Redis, again after each of its deaths. Resolves when it is stopped; to a reason if it could not start the first time. */
  async #keepRunning(): Promise<string | undefined> {
    let served = false
    let failures = 0
    while (this.#ending === undefined) {
      const startedAt = performance.now()
      const redis = startRedis(this.#place, this.#program, this.#appendfsync)
      this.#redis = redis
      const ready = redis.untilReady(loadedBytes => {
        this.#starting(loadedBytes)
      })
      if ((await Promise.race([ready, this.#ended])) === true) {
        served = true
        this.#ready = true
        this.#control.tell({ state: 'ready', socketPath: this.#place.redisSocket })
      }
      const outcome = await Promise.race([redis.exited, this.#ended])
      this.#ready = false
      if (typeof outcome === 'string') {
        await this.#stop(redis, outcome)
        return undefined
      }
      process.stderr.write(`millrace: ${this.#program} ended (${outcome.how})\n`)
      // A first start that ends by itself would end so again. After that the data were fine once: the disk may have filled up.
      if (!served && outcome.code !== undefined) return cannotStart(this.#place, this.#program, redis, outcome)
      failures = performance.now() - startedAt > STEADY_MS ? 1 : failures + 1
      this.#starting()
      await Promise.race([delay(Math.min(FIRST_RESTART_MS * 2 ** (failures - 1), LONGEST_RESTART_MS)), this.#ended])
    }
    return undefined
  }

  async #stop(redis: RedisProcess, ending: Ending): Promise<void> {
    this.#control.tell({ state: 'stopping' })
    // Without the announcement another supervisor may already have started a server here: this one must not save over its files.
    if (ending === 'lost') redis.kill()
    else await redis.stop()
    await redis.exited
  }

  async #fail(reason: string): Promise<void> {
    this.#control.tell({ state: 'failed', reason })
    const until = performance.now() + FAILURE_TOLD_MS
    while (!this.#control.wasClaimed && performance.now() < until) await delay(LOOK_AGAIN_MS)
  }

  async #beat(): Promise<void> {
    if (!(await beat(this.#announcement))) this.#end('lost')
    // A server whose socket was taken away serves nobody new: it is started again, with a new socket.
    else if (!(await touch(this.#place.redisSocket)) && this.#ready) await this.#redis?.stop()
  }

  #starting(progress = this.#progress): void {
    this.#progress = progress
    if (this.#ending === undefined) this.#control.tell({ state: 'starting', progress })
  }

  #end(ending: Ending): void {
    this.#ending ??= ending
    this.#resolveEnded(ending)
  }

  async #syncAlways(): Promise<void> {
    // The stricter wish wins, and holds for every later start of this server.
    if (this.#appendfsync === 'always') return
    this.#appendfsync = 'always'
    await this.#redis?.setAppendfsync('always')
  }
}

function heldElsewhere(place: Place, other: Announcement): string {
  return (
    `The data folder ${place.dataDir} is in use by a Millrace supervisor that cannot be reached from here ` +
    `(process ${other.pid} on ${other.host}; another machine or container, or another path to the same folder): ` +
    `let it end, or give the URL of a Redis that both can reach.`
  )
}

function cannotStart(place: Place, program: string, redis: RedisProcess, exit: RedisExit): string {
  return (
    `${program} could not start on ${place.dataDir} (${exit.how}): see its last lines below. If the append only file is damaged, ` +
    `repair it with redis-check-aof --fix, or move the folder away to begin empty; if the disk is full, make room. ` +
    `The whole log is ${place.logFile}.${quoteLines(lastLines(place.logFile, 8, redis.logMark))}`
  )
}
