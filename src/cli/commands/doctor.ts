import { Command } from 'commander'
import { diagnose } from '../../store/inspect/diagnose.ts'
import type { Check } from '../../store/inspect/reports.ts'
import { exitCodes } from '../exit-codes.ts'
import { withJson, withRedis, type OutputFlags, type RedisFlags } from '../options.ts'
import { withQueue } from '../redis.ts'
import { styleFor, type Style } from '../style.ts'

/** `millrace doctor`: whether Redis and the workers are fit for the work, and what a crash would lose now. */
export function doctorCommand(end: (exitCode: number) => void): Command {
  const command = new Command('doctor')
    .summary('check Redis, workers and jobs')
    .description(
      'Check Redis, workers and jobs: what is wrong, what a crash would lose now, and what to do. Exits with 1 when something is wrong.',
    )
    .action(async (flags: RedisFlags & OutputFlags) => {
      await withQueue(flags, async (lanes, where) => {
        const checks = await lanes.withServers(servers => diagnose(servers, lanes.all))
        if (checks.some(check => check.status === 'fail')) end(exitCodes.failed)
        const text =
          flags.json === true
            ? JSON.stringify({ redis: where, checks })
            : renderChecks(checks, where, styleFor(process.stdout))
        process.stdout.write(`${text}\n`)
      })
    })
  return withJson(withRedis(command))
}

function renderChecks(checks: readonly Check[], where: string, style: Style): string {
  const signs = { ok: style.green('✓'), warn: style.yellow('!'), fail: style.red('✗') }
  const width = Math.max(...checks.map(check => check.name.length))
  const lines = checks.map(({ name, status, detail, advice }) => {
    const line = `${signs[status]} ${name.padEnd(width)}  ${detail}`
    return advice === undefined ? line : `${line}\n  ${' '.repeat(width)}  ${style.dim(`→ ${advice}`)}`
  })
  return [style.bold(where), ...lines].join('\n')
}
