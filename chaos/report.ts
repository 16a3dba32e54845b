import { tally } from './check/check.ts'
import type { Verdict } from './check/check.ts'
import type { Spread } from './check/recovery.ts'
import type { Violation } from './check/violation.ts'
import { trendsOf } from './memory.ts'
import type { Sample, Trend } from './memory.ts'
import type { ChaosOptions } from './options.ts'
import type { Injected } from './run.ts'

/** What a run shows. */
export interface Report extends Omit<Verdict, 'violations'> {
  readonly options: ChaosOptions
  readonly ok: boolean
  readonly violations: readonly Violation[]
  readonly faults: Readonly<Record<string, number>>
  readonly log: readonly Injected[]
  /** With `--sample`. */
  readonly memory: Readonly<Record<string, Trend>>
  /** The folder of the histories, one file for each process and thread. */
  readonly histories: string
}

export interface Findings {
  readonly folder: string
  readonly injected: readonly Injected[]
  readonly verdict: Verdict
  /** What the harness saw itself. */
  readonly violations: readonly Violation[]
  readonly samples: readonly Sample[]
}

export function makeReport(options: ChaosOptions, findings: Findings): Report {
  const { folder, injected, verdict, samples } = findings
  const faults = {
    ...tally(injected.flatMap(({ fault, note }) => (note === undefined ? [] : [fault]))),
    ...harmDone(options, verdict.counts),
  }
  const violations = [...findings.violations, ...verdict.violations, ...checkVacuous(options, faults, verdict)]
  const log = [...injected].sort((a, b) => a.atMs - b.atMs)
  return {
    options,
    ok: violations.length === 0,
    ...verdict,
    violations,
    faults,
    log,
    memory: trendsOf(samples),
    histories: folder,
  }
}

/** Harmful tasks that have come to their end. */
function harmDone({ workloads }: ChaosOptions, { failures, burns }: Verdict['counts']): Record<string, number> {
  return {
    ...(workloads.includes('poison') && { poison: failures }),
    ...(workloads.includes('burn') && { burn: burns }),
  }
}

/** A run that shows nothing is no green run. */
function checkVacuous(
  { faults: asked, workloads }: ChaosOptions,
  counts: Readonly<Record<string, number>>,
  { counts: { results }, lateCommits }: Verdict,
): Violation[] {
  const wanted = [...asked, ...workloads.filter(name => name === 'poison' || name === 'burn')]
  const idle = wanted.filter(fault => (counts[fault] ?? 0) === 0).map(fault => `the fault ${fault} never happened`)
  if (results === 0) idle.push('no driver saw a result')
  // Others may disturb it: only where workers are frozen and nothing else is done, each freeze must show a late commit.
  if (lateCommits.idle > 0 && asked.every(fault => fault === 'worker-freeze'))
    idle.push(`${lateCommits.idle} workers that were frozen did not try to commit what they had held`)
  return idle.map(what => ({ rule: 'vacuous', what, events: [] }))
}

const shownViolations = 20
const shownEvents = 6

export function reportText({
  options,
  ok,
  violations,
  faults,
  counts,
  lateCommits,
  recovery,
  resumption,
  memory,
  histories,
}: Report): string {
  const { seed, seconds, server, persistence, workers, threads, leaseMs, keep } = options
  const line = (name: string, text: string) => `${name.padEnd(14)} ${text}`
  const pairs = (of: Readonly<Record<string, number>>) =>
    Object.entries(of)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ') || 'none'
  const ms = (value: number | undefined) => (value === undefined ? '–' : `${(value / 1000).toFixed(1)} s`)
  const after = ({ p50Ms, p90Ms, p99Ms, mostMs }: Spread) =>
    `after ${ms(p50Ms)} (p50), ${ms(p90Ms)} (p90), ${ms(p99Ms)} (p99), ${ms(mostMs)} (most)`
  const recovered = (times: Spread) => `${times.count} chunks of killed workers ran again ${after(times)}`
  const shown = violations
    .slice(0, shownViolations)
    .flatMap(({ rule, what, events }) => [
      `  ${rule}: ${what}`,
      ...events.slice(0, shownEvents).map(event => `      ${JSON.stringify(event)}`),
    ])
  return [
    line(
      'seed',
      `${seed} (${seconds} s, ${server}, ${persistence}, ${workers} workers of ${threads} threads, lease ${leaseMs} ms)`,
    ),
    line('faults', pairs(faults)),
    line(
      'jobs',
      `${counts.jobs}, of ${counts.tasks} tasks; ${counts.results} results and ${counts.failures} failures were seen`,
    ),
    line('submits', pairs(counts.submits)),
    line('commits', pairs(counts.commits)),
    line(
      'late commits',
      `${lateCommits.freezes} freezes, ${lateCommits.attempted} attempted, ${lateCommits.accepted} accepted`,
    ),
    line('recovery', `${recovered(recovery.all)}; the bar is ${ms(leaseMs + 2000)} (p99)`),
    line('', `of them without another fault between: ${recovered(recovery.undisturbed)}`),
    line(
      'restarts',
      `${resumption.count} of Redis; once it had loaded, threads claimed again ${after(resumption)}; the bar is 2.0 s`,
    ),
    ...Object.entries(memory).map(([name, { first, last, most }]) =>
      line(name, `${first} first, ${last} last, ${most} most`),
    ),
    line('typed ends', pairs(counts.reported)),
    line('verdict', ok ? 'green' : `RED: ${violations.length} violations`),
    ...shown,
    ...(ok && !keep ? [] : [line('histories', histories)]),
  ].join('\n')
}
