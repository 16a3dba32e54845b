import type { Socket } from 'node:net'
import type { Redis } from 'ioredis'
import { replyCode } from '../reply-error.ts'

/** Where a server is, for messages. */
export function addressOf(server: Redis): string {
  const { path, host, port } = whereIs(server)
  return path ?? `${host}:${port}`
}

/** Where a connection leads: to the master that Sentinel named, of which the options say nothing, or where the user said. */
export function whereIs({ options, stream }: Redis): {
  readonly path?: string | undefined
  host: string
  port: number
} {
  if (options.sentinels == null)
    return { path: options.path, host: options.host ?? '127.0.0.1', port: options.port ?? 6379 }
  const { remoteAddress = 'the master of Sentinel', remotePort = 6379 } = stream as Partial<Socket>
  return { host: remoteAddress, port: remotePort }
}

/** Fields of INFO by their names. A server that leaves one out (a managed Redis does) is asked for it in vain. */
export interface Info {
  text(field: string): string | undefined
  /** NaN where the field is missing. */
  number(field: string): number
}

export async function readInfo(server: Redis, ...sections: readonly string[]): Promise<Info> {
  // Several sections in one INFO came with Redis 7.0, and this also has to tell an older server that it is too old.
  const texts = await Promise.all(sections.map(section => server.info(section)))
  const fields = new Map<string, string>()
  for (const line of texts.join('\n').split(/\r?\n/)) {
    const colon = line.indexOf(':')
    if (colon > 0 && !line.startsWith('#')) fields.set(line.slice(0, colon), line.slice(colon + 1))
  }
  return { text: field => fields.get(field), number: field => Number(fields.get(field) ?? NaN) }
}

/** A setting, or undefined where CONFIG is forbidden, as on most managed servers. */
export async function readSetting(server: Redis, name: string): Promise<string | undefined> {
  try {
    const reply: unknown = await server.call('config', ['get', name])
    return Array.isArray(reply) && typeof reply[1] === 'string' ? reply[1] : undefined
  } catch (error) {
    if (replyCode(error) === undefined) throw error
    return undefined
  }
}

/** A duration for people: `250 ms`, `3 s`, `4 min`, `2 h`, `5 days`. */
export function inWords(ms: number): string {
  if (!Number.isFinite(ms)) return 'an unknown time'
  const units = [
    [86_400_000, 'days'],
    [3_600_000, 'h'],
    [60_000, 'min'],
    [1000, 's'],
  ] as const
  for (const [size, unit] of units)
    if (ms >= 2 * size || (size === 1000 && ms >= size)) return `${Math.round(ms / size)} ${unit}`
  return `${Math.max(0, Math.round(ms))} ms`
}
