import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Server } from './redis-server.ts'

/** A command as a client sent it. */
export interface SeenCommand {
  readonly seconds: number
  /** The client's address. */
  readonly client: string
  readonly name: string
}

/**
 * What clients send while something happens, by MONITOR. Those that scripts call are marked there, and not given. It
 * costs Redis time, so nothing is timed meanwhile.
 */
export async function watchCommands(server: Server, during: () => Promise<unknown>): Promise<readonly SeenCommand[]> {
  const program = spawn('redis-cli', ['-p', String(server.port), 'monitor'], { stdio: ['ignore', 'pipe', 'ignore'] })
  try {
    const lines = createInterface({ input: program.stdout })
    const [ok] = (await once(lines, 'line')) as [string]
    if (ok !== 'OK') throw new Error(`MONITOR answered ${ok}.`)
    const seen: SeenCommand[] = []
    const end = 'the end of the watch'
    const heard = new Promise<void>(resolve => {
      lines.on('line', line => {
        const [, seconds, client = '', name = ''] = /^(\S+) \[\d+ (\S+)\] "(\w+)"/.exec(line) ?? []
        if (line.includes(end)) resolve()
        else if (client !== 'lua' && client !== '') seen.push({ seconds: Number(seconds), client, name })
      })
    })
    await during()
    // What was sent before this has been seen when this is.
    await server.client.echo(end)
    await heard
    return seen
  } finally {
    program.kill('SIGKILL')
  }
}
