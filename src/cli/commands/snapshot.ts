import { Command } from 'commander'
import { takeSnapshot } from '../../store/inspect/snapshot.ts'
import { wholeNumber, withJson, withRedis, type OutputFlags, type RedisFlags } from '../options.ts'
import { withQueue } from '../redis.ts'
import { formatBytes, formatDuration } from '../words.ts'

interface SnapshotFlags extends RedisFlags, OutputFlags {
  readonly timeout: number
}

/** `millrace snapshot`: has Redis write everything to its disk now. */
export function snapshotCommand(): Command {
  const command = new Command('snapshot')
    .summary('have Redis write its data to disk now')
    .description('Have Redis write a snapshot of all its data (BGSAVE), and wait until it is on disk.')
    .option('--timeout <seconds>', 'how long to wait for it', wholeNumber(1, 86_400), 60)
    .action(async (flags: SnapshotFlags) => {
      await withQueue(flags, async (lanes, where) => {
        const report = await lanes.withServers(servers => takeSnapshot(servers, { timeoutMs: flags.timeout * 1000 }))
        if (flags.json === true) {
          process.stdout.write(`${JSON.stringify(report)}\n`)
          return
        }
        const files = report.servers.map(({ file, bytes }) => {
          const size = bytes === undefined ? '' : ` (${formatBytes(bytes)})`
          return `${file === '' ? 'a file that the server does not name' : file}${size}`
        })
        process.stdout.write(
          `Snapshot of ${where} in ${formatDuration(report.durationMs)}: ${files.length === 1 ? files.join('') : files.map(file => `\n  ${file}`).join('')}\n`,
        )
      })
    })
  return withJson(withRedis(command))
}
