import type { RedisOptions } from 'ioredis'
import { ConnectionClosedError } from '../errors.ts'
import { jitteredBackoffMs } from '../runtime/backoff.ts'
import { clusterConnector } from './cluster-connector.ts'
import type { Place } from './cluster-connector.ts'
import { Command, Redis } from './ioredis.ts'
import { refusesUser, replyCode } from './reply-error.ts'
import type { RedisTarget } from './target.ts'

/** A connection to one server: the one there is, the master that Sentinel names, or one node of a Cluster. */
export type Client = Redis

export interface ClientRole {
  /** Shown by CLIENT LIST, e.g. `millrace:driver`. */
  readonly name: string
  /**
   * How long Redis may be silent with a command under way before the connection is given up and made anew: the
   * half-open connection's end. A connection that blocks needs more than its block.
   */
  readonly silenceMs: number
  /** Whether a command that a node of a Cluster has refused unread is to be rejected, not sent again to the right node. @default false */
  readonly once?: boolean
}

/**
 * Opens a connection with our own settings. It reconnects for ever; commands given while it is down wait until it is
 * ready. A command that was under way when the connection broke is rejected and never sent again by the client: only
 * we know whether sending it twice is safe. Emits 'error' events that the caller must listen to.
 *
 * `place` says to which node of a Cluster; it means nothing elsewhere.
 */
export function openClient(target: RedisTarget, role: ClientRole, place: Place = 'anywhere'): Client {
  let leaving = false
  const client = new Redis({
    ...howToFind(target, place),
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: null,
    enableOfflineQueue: true,
    enableReadyCheck: true,
    // Poll a loading server often: claims are to resume within two seconds of its end.
    maxLoadingRetryTime: 500,
    retryStrategy: (attempt: number) => jitteredBackoffMs(attempt, { firstMs: 50, mostMs: 1000 }),
    reconnectOnError: (error: Error) => {
      const reaction = reactionTo(error, target, role)
      // All commands under way are refused together, and the connection needs to be given up but once.
      if (reaction === 1 && leaving) return false
      leaving ||= reaction !== false
      return reaction
    },
    socketTimeout: role.silenceMs,
    connectTimeout: 5000,
    connectionName: role.name,
    autoResubscribe: true,
    disableClientInfo: true,
    replyMapping: 'legacy',
    lazyConnect: false,
  })
  client.on('close', () => {
    leaving = false
  })
  return endingForGood(comingBack(rejectingUnanswered(forgivingOwnCommands(client))))
}

/** Where the server is, or how it is found each time that the connection is made. */
function howToFind(target: RedisTarget, place: Place): RedisOptions {
  if (target.kind === 'cluster') return { ...target.options, Connector: clusterConnector(target, place) }
  return target.options.sentinels === undefined ? target.options : { ...target.options, ...sentinelOptions }
}

const sentinelOptions = {
  // A Sentinel that hangs must not keep the next one from being asked.
  sentinelCommandTimeout: 1500,
  // Sentinel demotes a former master only some ten seconds after it has promoted another: until then it would take
  // writes that are lost. So each connection has a Sentinel tell it.
  failoverDetector: true,
  sentinelMaxConnections: 1,
} satisfies RedisOptions

/** What a refusal calls for: nothing (false), connecting anew (1), or that and sending the command again (2). */
function reactionTo(error: Error, target: RedisTarget, role: ClientRole): false | 1 | 2 {
  switch (replyCode(error)) {
    case 'READONLY':
      // A failover leaves us on a replica: connect anew to find the master.
      return 1
    case 'MOVED':
    case 'CLUSTERDOWN':
      // The node does not serve the slot, so that nothing ran: like a server that is not there, until one serves it.
      if (target.kind !== 'cluster') return false
      return role.once === true ? 1 : 2
    default:
      return false
  }
}

/** What the client sends by itself once it is connected again: its channels, and its database. */
const ownCommands = new Set(['subscribe', 'psubscribe', 'ssubscribe', 'select'])

/**
 * Nobody listens to the outcome of the client's own commands. When a connection is closed while one is under way, its
 * rejection would end the process.
 */
function forgivingOwnCommands(client: Redis): Redis {
  const send = client.sendCommand.bind(client)
  client.sendCommand = (command, stream) => {
    if (command instanceof Command && ownCommands.has(command.name)) command.promise.catch(() => undefined)
    return send(command, stream)
  }
  return client
}

/**
 * Without `autoResendUnfulfilledCommands` ioredis forgets the commands that were under way when a connection breaks:
 * their promises would stay pending for ever. Here they are rejected.
 */
function rejectingUnanswered(client: Redis): Redis {
  client.on('close', () => {
    rejectAll(client.commandQueue, 'The connection to Redis broke before the answer came.')
  })
  return client
}

function rejectAll(queue: Redis['commandQueue'], reason: string): void {
  for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
    if (item.command instanceof Command) item.command.promise.catch(() => undefined)
    item.command.reject(new ConnectionClosedError(reason))
  }
}

/**
 * A client ends for good when its connector gives up looking for the server: with Sentinel, when it hears from a former
 * connection's failover detector that the master has changed just while it asks who that is. Unless it was we who closed
 * it, it connects anew.
 */
function comingBack(client: Redis): Redis {
  let closed = false
  const disconnect = client.disconnect.bind(client)
  client.disconnect = (reconnect = false) => {
    closed ||= !reconnect
    disconnect(reconnect)
  }
  client.on('end', () => {
    if (closed) return
    setTimeout(() => {
      if (!closed) client.connect().catch(() => undefined)
    }, comeBackMs)
  })
  return client
}

const comeBackMs = 100

/**
 * A client that is closed between two attempts to connect does nothing more in ioredis, and never rejects the commands
 * that wait for the next. Here it ends as in any other state, and who waits, or comes too late, is told in our words.
 */
function endingForGood(client: Redis): Redis {
  const disconnect = client.disconnect.bind(client)
  client.disconnect = (reconnect = false) => {
    disconnect(reconnect)
    if (reconnect) return
    rejectAll(Reflect.get(client, 'offlineQueue') as Redis['commandQueue'], closedForGood)
    if (client.status !== 'reconnecting') return
    // Then it has no socket whose end it could wait for, like one that is still to be connected.
    client.status = 'wait'
    disconnect(false)
  }
  const send = client.sendCommand.bind(client)
  client.sendCommand = (command, stream) => {
    if (client.status !== 'end') return send(command, stream)
    command.reject(new ConnectionClosedError(closedForGood))
    return command.promise
  }
  return client
}

const closedForGood = 'The connection to Redis is closed.'

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
