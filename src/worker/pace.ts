/**
 * How long a task function takes, in nanoseconds a task, by what was measured last. It follows at once when tasks
 * become slower, since a claim that is far too large hurts, and by halves when they become faster. The first sample
 * counts for nothing once there is a second: it paid for compiling and for first touches.
 */
export class Pace {
  #ns = 0
  #samples = 0

  get ns(): number {
    return this.#ns
  }

  add(elapsedNs: number, tasks: number): void {
    if (tasks <= 0) return
    const sample = Math.max(1, elapsedNs / tasks)
    const share = this.#samples < 2 ? 1 : sample > this.#ns ? 0.7 : 0.5
    this.#ns += (sample - this.#ns) * share
    this.#samples++
  }
}
