import { Cluster, Command, Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import { ConnectionClosedError } from '../errors.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import { refusesUser, replyCode } from './reply-error.ts'
import type { RedisTarget } from './target.ts'

/** A connection, or a Cluster's set of them. */
export type Client = Redis | Cluster

export interface ClientRole {
  /** Shown by CLIENT LIST, e.g. `millrace:driver`. */
  readonly name: string
  /**
   * How long Redis may be silent with a command under way before the connection is given up and made anew: the
   * half-open connection's end. A connection that blocks needs more than its block.
   */
  readonly silenceMs: number
}

/**
 * Opens a connection with our own settings. It reconnects for ever; commands given while it is down wait until it is
 * ready. A command that was under way when the connection broke is rejected and never sent again by the client: only
 * we know whether sending it twice is safe. Emits 'error' events that the caller must listen to.
 */
export function openClient(target: RedisTarget, role: ClientRole): Client {
  const common = {
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: null,
    enableOfflineQueue: true,
    enableReadyCheck: true,
    // Poll a loading server often: claims are to resume within two seconds of its end.
    maxLoadingRetryTime: 500,
    retryStrategy: (attempt: number) => jitteredBackoffMs(attempt, { firstMs: 50, mostMs: 1000 }),
    // A failover leaves us on a replica: connect anew to find the master.
    reconnectOnError: (error: Error) => replyCode(error) === 'READONLY',
    socketTimeout: role.silenceMs,
    connectTimeout: 5000,
    connectionName: role.name,
    autoResubscribe: true,
    disableClientInfo: true,
    replyMapping: 'legacy',
    lazyConnect: false,
  } satisfies RedisOptions
  if (target.kind === 'single') return rejectingUnanswered(new Redis({ ...target.options, ...common }))
  const { redisOptions, ...options } = target.options
  const cluster = new Cluster([...target.nodes], {
    ...options,
    enableReadyCheck: true,
    enableOfflineQueue: true,
    clusterRetryStrategy: (attempt: number) => jitteredBackoffMs(attempt, { firstMs: 50, mostMs: 1000 }),
    redisOptions: { ...redisOptions, ...nodeOptions(common) },
    lazyConnect: false,
  })
  cluster.on('+node', (node: Redis) => rejectingUnanswered(node))
  return cluster
}

/**
 * Without `autoResendUnfulfilledCommands` ioredis forgets the commands that were under way when a connection breaks:
 * their promises would stay pending for ever. Here they are rejected.
 */
function rejectingUnanswered(client: Redis): Redis {
  client.on('close', () => {
    for (let item = client.commandQueue.shift(); item !== undefined; item = client.commandQueue.shift()) {
      // The client's own commands (subscribing again, for one) have nobody who listens, which would end the process.
      if (item.command instanceof Command) item.command.promise.catch(() => undefined)
      item.command.reject(new ConnectionClosedError('The connection to Redis broke before the answer came.'))
    }
  })
  return client
}

/** A Cluster decides itself when to try a node again. */
function nodeOptions<T extends { retryStrategy: unknown; enableOfflineQueue: unknown }>(options: T) {
  const { retryStrategy: _retry, enableOfflineQueue: _queue, ...rest } = options
  return rest
}

/** Whether commands go out right now. */
export function isReady(client: Client): boolean {
  return client.status === 'ready'
}

/** Resolves when the client is ready, with false after `withinMs`, or at once when Redis refuses its user or password. */
export function whenReady(client: Client, withinMs: number): Promise<boolean> {
  if (isReady(client)) return Promise.resolve(true)
  return new Promise(resolve => {
    const done = (ready: boolean) => {
      clearTimeout(timer)
      client.off('ready', onReady)
      client.off('error', onError)
      resolve(ready)
    }
    const onError = (error: unknown) => {
      if (refusesUser(error)) done(false)
    }
    const onReady = () => {
      done(true)
    }
    const timer = setTimeout(() => {
      done(false)
    }, withinMs)
    client.on('ready', onReady)
    client.on('error', onError)
  })
}
