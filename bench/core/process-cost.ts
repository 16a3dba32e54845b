import { readdirSync, readFileSync } from 'node:fs'

/** Linux counts a process's time in these, and has done so on every architecture since 2.6. */
const ticksPerSecond = 100

/** The CPU seconds that a process has used so far, all its threads together, by `/proc/<pid>/stat`. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The program's name stands in brackets and may hold anything; the fields after it are numbered from 3.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

/** The memory of a process that is in RAM, in bytes. */
export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kilobytes ?? NaN) * 1024
}

/** The CPU nanoseconds of one process's threads, by thread id: finer than ticks, from the scheduler itself. */
export function threadCpuNanoseconds(pid: number): ReadonlyMap<number, number> {
  const threads = new Map<number, number>()
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const [ran] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')
    threads.set(Number(thread), Number(ran))
  }
  return threads
}

/** The CPU seconds of a process by the scheduler's count, which does not lose what is shorter than a tick. */
export function preciseCpuSeconds(pid: number): number {
  let nanoseconds = 0
  for (const ran of threadCpuNanoseconds(pid).values()) nanoseconds += ran
  return nanoseconds / 1e9
}
