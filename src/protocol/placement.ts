/** Where things are in Redis Cluster, and on which lane of a queue a job lives. All pure. */
import { laneTag } from './keys.ts'

/** A lane's number is below this, and a queue has at most 64 of them (see the script `agreeLanes`). */
const lanesBelow = 1000
const mostLanes = 64

/** The Redis Cluster hash slot of a key: CRC-16/XMODEM of its hash tag, or of all of it when it has none. */
export function keySlot(key: string): number {
  const open = key.indexOf('{')
  const close = open < 0 ? -1 : key.indexOf('}', open + 1)
  let crc = 0
  for (const byte of Buffer.from(close > open + 1 ? key.slice(open + 1, close) : key)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff
  }
  return crc % 16384
}

/**
 * The lane of a new job, from its id. Rendezvous hashing (Thaler & Ravishankar, 1998): every lane gives the id a
 * random-looking weight and the heaviest has the job, so that where two processes know different lists, or a list
 * grows, they differ for no more jobs than they must.
 */
export function laneOfJob(job: string, lanes: readonly number[]): number {
  let [chosen = 0] = lanes
  if (lanes.length < 2) return chosen
  let heaviest = -1
  for (const lane of lanes) {
    const weight = hashOf(`${lane} ${job}`)
    if (weight > heaviest) {
      heaviest = weight
      chosen = lane
    }
  }
  return chosen
}

/** The lane that a thread of this process waits on. Threads, and processes of one thread, spread over all. */
export function homeLane(thread: number, lanes: readonly number[]): number {
  return lanes[(process.pid + thread) % lanes.length] ?? 0
}

/** FNV-1a, and a last mixing (murmur3's) because names that differ in one character give sums that are close. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** The list of a queue's lanes as it stands in a lane's Hash: `0,1,4`. Anybody may have written there. */
export function decodeLanes(text: string): number[] {
  const numbers = text.slice(0, 1024).match(/\d+/g) ?? []
  return [...new Set(numbers.filter(number => number.length <= 3).map(Number))].slice(0, mostLanes)
}

/**
 * The lanes of a new queue: for each master the smallest number whose slot is the master's, in ascending order. Lane 0
 * is always one of them. A master with so few slots that no number below 1,000 falls on it has none.
 */
export function proposeLanes(
  queue: { readonly namespace: string; readonly queue: string },
  masterOf: (slot: number) => string | undefined,
  masters: number,
): number[] {
  const found = new Map<string, number>()
  for (let lane = 0; lane < lanesBelow && found.size < Math.min(masters, mostLanes); lane++) {
    const master = masterOf(keySlot(laneTag({ ...queue, lane })))
    if (master !== undefined && !found.has(master)) found.set(master, lane)
  }
  return found.size === 0 ? [0] : [...found.values()]
}
