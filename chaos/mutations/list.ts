/** A way to break the product, and what has to notice. */
export interface Mutation {
  readonly name: string
  readonly file: string
  /** Stands exactly once in the file. */
  readonly from: string
  readonly to: string
  /** Test files, or the faults of a run whose checker must go red. */
  readonly caughtBy: TestsThatNotice | { readonly faults: string; readonly seconds?: number }
}

export interface TestsThatNotice {
  readonly tests: readonly string[]
  /** Only those whose name holds this. */
  readonly named?: string
}

const scripts = 'src/protocol/scripts'

export const mutations: readonly Mutation[] = [
  {
    name: 'commits are not fenced',
    file: `${scripts}/settle.ts`,
    from: "if not element then return refuse('fenced') end",
    to: 'if not element then break end',
    caughtBy: { tests: ['test/protocol/scripts-settle.test.ts'] },
  },
  {
    name: 'the reaper does not look again whether the worker is dead',
    file: `${scripts}/give-back.ts`,
    from: "if reason == 'death' and not redis.call('ZSCORE', deadKey, worker) then return { 'alive', 0, 0, 0 } end",
    to: '',
    caughtBy: { tests: ['test/protocol/scripts-give-back.test.ts'] },
  },
  {
    name: 'commits are refused by a full Redis',
    file: `${scripts}/settle.ts`,
    from: "  flags: ['allow-oom'],\n",
    to: '',
    caughtBy: { tests: ['test/protocol/scripts-oom.test.ts'] },
  },
  {
    name: 'no re-read after a new subscription',
    file: 'src/driver/link.ts',
    from: `      this.#subscribe().then(() => {
        // Workers may have come and gone meanwhile.
        this.fleet.changed()
        this.#reconcileAll()
      }, onError)`,
    to: '      this.#subscribe().catch(onError)',
    caughtBy: { tests: ['test/driver/resubscribe.test.ts'] },
  },
  {
    name: 'the driver never compares itself with Redis',
    file: 'src/driver/reconciler.ts',
    from: '    const belief = this.#belief()\n    if (!belief.created',
    to: '    const belief = this.#belief()\n    if (belief.created || !belief.created',
    caughtBy: { tests: ['test/driver/recovery.test.ts'], named: 'a kill of a Redis that keeps nothing' },
  },
  {
    name: 'the reaper knows no grace after a stall',
    file: `${scripts}/membership.ts`,
    from: 'if now - since >= lease then',
    to: 'if true then',
    caughtBy: { tests: ['test/protocol/scripts-membership.test.ts'] },
  },
  {
    name: 'claims are named by a counter in Redis',
    file: 'src/worker/claim-ids.ts',
    from: 'id: randomName(), lane,',
    to: "id: String(await this.#stores.of(lane).client.incr(this.#stores.of(lane).keys.lane + ':tokens')).padStart(16, '0'), lane,",
    caughtBy: { faults: 'redis-flushall' },
  },
  {
    name: 'a batch that is sent again is inserted again',
    file: `${scripts}/submit.ts`,
    from: "if cursor ~= from then return refuse('out of step', cursor) end",
    to: '',
    caughtBy: { tests: ['test/protocol/scripts-submit.test.ts'] },
  },
  {
    name: 'attach leaves the former collector in its place',
    file: `${scripts}/collect.ts`,
    from: "if record[3] ~= 'cancelled' then redis.call('HSET', partKey, 'collector', collector) end",
    to: '',
    caughtBy: { tests: ['test/protocol/scripts-collect.test.ts'] },
  },
  {
    name: 'a run that came after Redis went back is released with an earlier one',
    file: `${scripts}/collect.ts`,
    from: "if value and string.match(value, '^%d+') == count then",
    to: 'if value then',
    caughtBy: { tests: ['test/driver/rewind.test.ts'] },
  },
  {
    name: 'a checkpoint moves over results that Redis has lost',
    file: `${scripts}/collect.ts`,
    from: "elseif mustHaveAll or (value and accumulator ~= '') then",
    to: "elseif value and accumulator ~= '' then",
    caughtBy: { tests: ['test/driver/rewind.test.ts'] },
  },
  {
    name: 'a checkpoint moves from wherever it is',
    file: `${scripts}/collect.ts`,
    from: "if mustHaveAll and (record[3] or '0') ~= from then return 'clash' end",
    to: '',
    caughtBy: { tests: ['test/protocol/scripts-collect.test.ts'] },
  },
  {
    name: 'anybody may release results',
    file: `${scripts}/collect.ts`,
    from: "if record[2] ~= collector then return 'replaced' end\nlocal mustHaveAll",
    to: 'local mustHaveAll',
    caughtBy: { tests: ['test/protocol/scripts-collect.test.ts'] },
  },
  {
    name: 'what Redis comes back with is not dropped again',
    file: 'src/driver/link.ts',
    from: '            this.#dropper.dropAgain()\n',
    to: '',
    caughtBy: { tests: ['test/driver/dropper.test.ts'] },
  },
  {
    name: 'what a thread left in a claim stays there',
    file: 'src/worker/claim-keeper.ts',
    from: '    await emptyClaim(store, claim, ({ job }, jobHash) => store.claims.giveBack(job, jobHash, claim))\n',
    to: '',
    caughtBy: { tests: ['test/worker/claim-keeper.test.ts'] },
  },
  {
    name: 'a claim whose answer was lost is forgotten',
    file: 'src/worker/feed.ts',
    from: "      else ids.abandon(claim, waits !== 'never')\n",
    to: '',
    caughtBy: { faults: 'net-drop-replies' },
  },
  {
    name: 'a claim takes from the stage what a thread that is about to block was to have',
    file: `${scripts}/claim.ts`,
    from: '  local first = jobs[1]\n',
    to: '  local first = nil\n',
    caughtBy: { tests: ['test/protocol/scripts-claim.test.ts'] },
  },
  {
    name: 'a large result of a refused commit stays',
    file: `${scripts}/settle.ts`,
    from: "  for _, field in ipairs(held) do redis.call('HDEL', payloadsKey, field) end\n",
    to: '',
    caughtBy: { tests: ['test/protocol/scripts-held.test.ts'] },
  },
  {
    name: 'each attempt to hand in a large result uses the same name',
    file: 'src/protocol/run.ts',
    from: 'return `r:${randomName()}`',
    to: "return randomName() === '' ? '' : 'r:same'",
    caughtBy: { tests: ['test/protocol/scripts-held.test.ts'] },
  },
  {
    name: 'any death in company counts against a task',
    file: `${scripts}/give-back.ts`,
    from: 'if alone and chunk.deaths > 0 then',
    to: 'if true then',
    caughtBy: { tests: ['test/protocol/scripts-give-back.test.ts'] },
  },
  {
    name: 'a job that began anew takes results of its former life',
    file: `${scripts}/settle.ts`,
    from: "if record[1] ~= incarnation or record[2] == 'cancelled' then",
    to: 'if false then',
    caughtBy: { tests: ['test/protocol/scripts-settle.test.ts'] },
  },
  {
    name: 'a worker does not notice that Redis forgot it',
    file: 'src/worker/membership.ts',
    from: "stats: stats() })) === 'unknown') {",
    to: "stats: stats() })) === 'unknown' && threads === 0) {",
    caughtBy: { tests: ['test/driver/recovery.test.ts'], named: 'results that were only announced' },
  },
  {
    name: 'a dead worker is buried at once',
    file: `${scripts}/membership.ts`,
    from: "if tonumber(till) > clock() then return 'waiting' end",
    to: '',
    caughtBy: { tests: ['test/protocol/scripts-membership.test.ts'] },
  },
  {
    name: 'a job that ended leaves its results behind',
    file: `${scripts}/collect.ts`,
    from: "redis.call('UNLINK', partKey, chunksKey, resultsKey, delayedKey, payloadsKey, sharedKey)",
    to: "redis.call('UNLINK', partKey, chunksKey, delayedKey, payloadsKey, sharedKey)",
    caughtBy: { tests: ['test/protocol/scripts-collect.test.ts'] },
  },
  {
    name: 'tasks over their time limit go on',
    file: 'src/worker/watchdog.ts',
    from: 'const overtime = task >= 0 && timeoutMs > 0',
    to: 'const overtime = task >= 0 && timeoutMs < 0',
    caughtBy: { tests: ['test/worker/deciding.test.ts'] },
  },
]
