import type { PartFields } from '../protocol/records.ts'

type TaskOfCode = Pick<PartFields, 'task' | 'hash'>

/** More tasks than that are begun with as if they were new. */
const mostTasks = 1000

/**
 * How long the tasks of earlier jobs took, in nanoseconds a task, so that the next job with the same task need not begin with
 * small packs and claims. Where it turns out slower, the threads find out: a claim that takes long gives back what it has not
 * touched, with its true pace.
 */
export class Paces {
  readonly #known = new Map<string, number>()

  /** 0 while unknown. */
  of(task: TaskOfCode): number {
    return this.#known.get(nameOf(task)) ?? 0
  }

  note(task: TaskOfCode, paceNs: number): void {
    if (paceNs <= 0) return
    const name = nameOf(task)
    if (!this.#known.has(name) && this.#known.size >= mostTasks) this.#known.clear()
    this.#known.set(name, paceNs)
  }
}

function nameOf({ task, hash }: TaskOfCode): string {
  return `${hash} ${task}`
}
