import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { laneTag } from '../../src/protocol/keys.ts'
import { decodeLanes, homeLane, keySlot, laneOfJob, proposeLanes } from '../../src/protocol/placement.ts'
import { useRedis } from '../store/support/lane.ts'

describe('keySlot', () => {
  const redis = useRedis({ config: { 'cluster-enabled': 'yes' } })

  test('is what Redis says', async () => {
    const keys = fc.sample(fc.string({ unit: fc.constantFrom('a', 'b', '{', '}', 'é', ':') }), 300)
    for (const key of ['', '{}', '{}{a}', 'a{b}c', '{{a}}', '123456789', ...keys])
      expect(Number(await redis.process.cli('CLUSTER', 'KEYSLOT', key)), key).toBe(keySlot(key))
  })
})

describe('laneOfJob', () => {
  const lists = fc.uniqueArray(fc.nat(999), { minLength: 1, maxLength: 12 })

  test('spreads jobs evenly', () => {
    const counts = new Map<number, number>()
    for (let i = 0; i < 9000; i++) {
      const lane = laneOfJob(`job-${i}`, [0, 1, 4])
      counts.set(lane, (counts.get(lane) ?? 0) + 1)
    }
    for (const lane of [0, 1, 4]) expect(counts.get(lane)).toBeGreaterThan(2700)
  })

  test('is on the list, whatever its order', () => {
    fc.assert(
      fc.property(fc.string(), lists, (job, lanes) => {
        const lane = laneOfJob(job, lanes)
        expect(lanes).toContain(lane)
        expect(laneOfJob(job, [...lanes].reverse())).toBe(lane)
      }),
    )
  })

  test('of a list that grows is the same or a new one', () => {
    fc.assert(
      fc.property(fc.string(), lists, fc.nat(999), (job, lanes, added) => {
        expect([laneOfJob(job, lanes), added]).toContain(laneOfJob(job, [...lanes, added]))
      }),
    )
  })
})

describe('proposeLanes', () => {
  const queue = { namespace: 'millrace', queue: 'default' }

  test.each([1, 2, 3, 5, 16])('gives each of %i masters the smallest number that is its own', masters => {
    const masterOf = (slot: number) => String(Math.floor((slot * masters) / 16384))
    const lanes = proposeLanes(queue, masterOf, masters)
    const owners = lanes.map(lane => masterOf(keySlot(laneTag({ ...queue, lane }))))
    expect(new Set(owners).size).toBe(masters)
    expect(lanes).toEqual([...lanes].sort((a, b) => a - b))
    expect(lanes[0]).toBe(0)
    for (let lane = 0; lane < lanes.at(-1)!; lane++) {
      if (lanes.includes(lane)) continue
      const owner = masterOf(keySlot(laneTag({ ...queue, lane })))
      expect(lanes[owners.indexOf(owner)]).toBeLessThan(lane)
    }
  })

  test('is lane 0 where nothing is known', () => {
    expect(proposeLanes(queue, () => undefined, 0)).toEqual([0])
  })
})

test('homeLane has a thread on every lane when there are enough', () => {
  expect(new Set([7, 8, 9].map(thread => homeLane(thread, [0, 1, 4])))).toEqual(new Set([0, 1, 4]))
})

test('decodeLanes takes any text', () => {
  expect(decodeLanes('0,1,4')).toEqual([0, 1, 4])
  expect(decodeLanes('')).toEqual([])
  expect(decodeLanes('4,x,-1,1000,4,99999999999')).toEqual([4, 1])
  fc.assert(
    fc.property(fc.string({ maxLength: 5000 }), text => {
      const lanes = decodeLanes(text)
      expect(lanes.length).toBeLessThanOrEqual(64)
      for (const lane of lanes) expect(lane >= 0 && lane < 1000).toBe(true)
    }),
  )
})
