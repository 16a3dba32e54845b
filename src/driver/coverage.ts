/** A half-open stretch of indexes: `[from, to)`. */
export type Stretch = readonly [from: number, to: number]

/** Which indexes are there: sorted stretches that neither touch nor overlap. */
export class Coverage {
  readonly #from: number[] = []
  readonly #to: number[] = []
  #tasks = 0

  /** How many indexes are covered. */
  get tasks(): number {
    return this.#tasks
  }

  covers(from: number, to: number): boolean {
    const at = this.#at(from)
    return from >= to || (at < this.#from.length && this.#from[at]! <= from && this.#to[at]! >= to)
  }

  /** Covers the stretch, and says which parts of it were not covered before. */
  add(from: number, to: number): Stretch[] {
    const fresh = this.gaps(from, to)
    if (fresh.length === 0) return fresh
    for (const [start, end] of fresh) this.#tasks += end - start
    // The stretches that the new one touches become one with it.
    let first = this.#at(from)
    if (first > 0 && this.#to[first - 1] === from) first--
    let last = first
    let [start, end] = [from, to]
    while (last < this.#from.length && this.#from[last]! <= to) {
      start = Math.min(start, this.#from[last]!)
      end = Math.max(end, this.#to[last]!)
      last++
    }
    this.#from.splice(first, last - first, start)
    this.#to.splice(first, last - first, end)
    return fresh
  }

  remove(from: number, to: number): void {
    let at = this.#at(from)
    while (at < this.#from.length && this.#from[at]! < to) {
      const [start, end] = [this.#from[at]!, this.#to[at]!]
      const left: Stretch[] = []
      if (start < from) left.push([start, from])
      if (end > to) left.push([to, end])
      this.#tasks -= Math.min(end, to) - Math.max(start, from)
      this.#from.splice(at, 1, ...left.map(stretch => stretch[0]))
      this.#to.splice(at, 1, ...left.map(stretch => stretch[1]))
      at += left.length
    }
  }

  /** The parts of a stretch that are not covered. */
  gaps(from: number, to: number): Stretch[] {
    const gaps: Stretch[] = []
    let next = from
    for (let at = this.#at(from); next < to && at < this.#from.length && this.#from[at]! < to; at++) {
      if (this.#from[at]! > next) gaps.push([next, this.#from[at]!])
      next = this.#to[at]!
    }
    if (next < to) gaps.push([next, to])
    return gaps
  }

  /** The first stretch that ends after `index`. Most arrivals are near the end, so the last is looked at first. */
  #at(index: number): number {
    let low = 0
    let high = this.#to.length
    if (high > 0 && this.#to[high - 1]! <= index) return high
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#to[middle]! > index) high = middle
      else low = middle + 1
    }
    return low
  }
}
