import type { FaultName } from './faults/index.ts'
import { faults } from './faults/index.ts'
import { between, seededRandom, shuffled } from './random.ts'
import type { Fault } from './world.ts'

/** One fault to come. The lane waits for the pause first, which is measured from the end of the fault before. */
export interface PlannedFault {
  readonly fault: FaultName
  readonly pauseMs: number
  /** Decides everything else about it. */
  readonly seed: number
}

const pausesMs: Readonly<Record<Fault['lane'], readonly [number, number]>> = {
  processes: [600, 1800],
  redis: [500, 1500],
}

/**
 * The faults of a lane without an end, the same for the same seed. Each round has every one of them once, in an order of its
 * own.
 */
export function* planLane(
  lane: Fault['lane'],
  names: readonly FaultName[],
  seed: number,
): Generator<PlannedFault, void> {
  const [least, most] = pausesMs[lane]
  const random = seededRandom(2 * seed + (lane === 'redis' ? 1 : 0))
  const own = namesOf(lane, names)
  while (own.length > 0) {
    for (const fault of shuffled(random, own)) {
      yield { fault, pauseMs: between(random, least, most), seed: Math.floor(random() * 2 ** 32) }
    }
  }
}

export function namesOf(lane: Fault['lane'], names: readonly FaultName[]): FaultName[] {
  return names.filter(name => faults[name].lane === lane)
}
