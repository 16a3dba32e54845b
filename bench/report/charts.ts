import { metg } from '../core/metg.ts'
import type { RowReport } from '../core/report.ts'
import { round } from '../core/table.ts'
import { dot, line, logAxis, path, svg, text } from './svg.ts'

const width = 760

/** Tasks per second of every side, on a log axis: a dot for the median, a line from the slowest round to the fastest. */
export function throughputChart({ sides: all }: RowReport): string {
  const sides = [...all].sort((a, b) => b.median - a.median)
  const [left, right, top, step] = [130, width - 110, 76, 34]
  const bottom = top + sides.length * step
  const { at, decades } = logAxis(
    sides.flatMap(({ min, max }) => [min, max]),
    left,
    right,
  )
  const elements = [
    text(24, 54, 'tasks per second by map, results checked and in order; log axis', 'quiet'),
    ...decades.flatMap(decade => [
      line(at(decade), top - 8, at(decade), bottom, 'grid'),
      text(at(decade), bottom + 20, short(decade), 'quiet', 'middle'),
    ]),
    ...sides.flatMap(({ side, median, min, max }, place) => {
      const y = top + place * step + 14
      const className = side.startsWith('Millrace') ? 'ours' : 'other'
      return [
        text(left - 12, y + 4, side, '', 'end'),
        line(at(min), y, at(max), y, className, 3),
        dot(at(median), y, 6, className),
        text(at(Math.max(max, median)) + 14, y + 4, round(median)),
      ]
    }),
  ]
  return svg(width, bottom + 38, 'No-op tasks: throughput', elements)
}

const colours = ['ours', 'b', 'c']

/** Efficiency over granularity for every side, with the line that METG(50 %) is read from. */
export function metgChart({ curves = [] }: RowReport): string {
  const [left, right, top, bottom] = [64, width - 40, 110, 380]
  const points = curves.flatMap(curve => curve.points)
  const { at, decades } = logAxis(
    points.map(({ granularityUs }) => granularityUs),
    left,
    right,
  )
  const height = (efficiency: number) => bottom - Math.min(1.1, efficiency) * ((bottom - top) / 1.1)
  const elements = [
    text(24, 54, 'share of two cores spent in tasks, over wall time × threads ÷ tasks; log axis', 'quiet'),
    ...[0, 0.25, 0.5, 0.75, 1].flatMap(share => [
      line(left, height(share), right, height(share), share === 0.5 ? 'limit' : 'grid'),
      text(left - 8, height(share) + 4, `${share * 100} %`, 'quiet', 'end'),
    ]),
    ...decades.flatMap(decade => [
      line(at(decade), top, at(decade), bottom, 'grid'),
      text(at(decade), bottom + 20, micro(decade), 'quiet', 'middle'),
    ]),
    ...curves.flatMap(({ side, points: ofSide }, place) => {
      const className = colours[place % colours.length] ?? 'other'
      const sorted = [...ofSide].sort((a, b) => a.workUs - b.workUs)
      const crossing = metg(sorted)
      const reached = crossing.kind === 'at' ? '' : `${crossing.kind} `
      return [
        path(
          sorted.map(point => [at(point.granularityUs), height(point.efficiency)]),
          `${className} line`,
        ),
        ...sorted.map(point => dot(at(point.granularityUs), height(point.efficiency), 3, className)),
        dot(left + place * 235, 84, 5, className),
        text(left + 12 + place * 235, 88, `${side}: ${reached}${round(crossing.us)} µs`, className),
        ...(crossing.kind === 'at' ? [dot(at(crossing.us), height(0.5), 6, className)] : []),
      ]
    }),
  ]
  return svg(width, bottom + 38, 'METG(50 %): how small tasks may be', elements)
}

function short(value: number): string {
  if (value >= 1e6) return `${value / 1e6} M`
  return value >= 1000 ? `${value / 1000} k` : String(value)
}

function micro(value: number): string {
  if (value >= 1e6) return `${value / 1e6} s`
  return value >= 1000 ? `${value / 1000} ms` : `${value} µs`
}
