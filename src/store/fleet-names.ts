import { checkName } from '../protocol/names.ts'

/** What separates fleets on one Redis. */
export interface FleetNames {
  readonly namespace: string
  readonly queue: string
}

/**
 * The names that were given, else those of the environment, which `millrace run` sets from its flags. Set but empty is a
 * mistake, and refused: the work would go to another fleet than the one that was meant.
 *
 * @throws {UsageError}
 */
export function fleetNames(given: {
  readonly namespace?: string | undefined
  readonly queue?: string | undefined
}): FleetNames {
  const namespace = given.namespace ?? process.env['MILLRACE_NAMESPACE'] ?? 'millrace'
  const queue = given.queue ?? process.env['MILLRACE_QUEUE'] ?? 'default'
  return { namespace: checkName('namespace', namespace), queue: checkName('queue', queue) }
}
