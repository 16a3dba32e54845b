/** The part of the plane that a picture shows. */
export interface View {
  /** Pixels. */
  readonly width: number
  readonly height: number
  /** The middle of the picture, and how much of the real axis it spans. */
  readonly re: number
  readonly im: number
  readonly span: number
  readonly iterations: number
}

/** Each pixel is the mean of this many points in both directions. */
const samples = 2

/** The colours of one row of the picture, three bytes for each pixel. */
export function renderRow(view: View, row: number): Uint8Array {
  const { width, height, re, im, span, iterations } = view
  const step = span / width / samples
  const sums = new Float64Array(width * 3)
  for (let line = 0; line < samples; line++) {
    const y = im - ((row - height / 2) * samples + line + 0.5) * step
    for (let point = 0; point < width * samples; point++) {
      const x = re + (point - (width * samples) / 2 + 0.5) * step
      paint(sums, Math.floor(point / samples) * 3, escapeTime(x, y, iterations))
    }
  }
  return Uint8Array.from(sums, sum => sum / samples ** 2)
}

/** How many steps of z → z² + c it takes to escape, with a fraction; undefined for a point that does not. */
export function escapeTime(re: number, im: number, iterations: number): number | undefined {
  let x = 0
  let y = 0
  for (let step = 0; step < iterations; step++) {
    const xx = x * x
    const yy = y * y
    // Far beyond 2, where escape is certain, the fraction is smooth from pixel to pixel.
    if (xx + yy > 65_536) return step + 1 - Math.log2(Math.log2(xx + yy) / 2)
    y = 2 * x * y + im
    x = xx - yy + re
  }
  return undefined
}

/** Adds the colour of a point; a point that does not escape is black. */
function paint(sums: Float64Array, at: number, time: number | undefined): void {
  if (time === undefined) return
  const phase = 1.9 * Math.log2(1 + Math.max(0, time))
  sums[at] = (sums[at] ?? 0) + 255 * (0.5 - 0.5 * Math.cos(phase + 1.3))
  sums[at + 1] = (sums[at + 1] ?? 0) + 255 * (0.5 - 0.5 * Math.cos(phase + 0.9))
  sums[at + 2] = (sums[at + 2] ?? 0) + 255 * (0.5 - 0.5 * Math.cos(phase + 0.2))
}
