/** The environment variable by which a kept process knows that it is one, and what this run of it is called. */
export const launchVariable = 'MILLRACE_LAUNCH'

/** Without the process that keeps it, whoever stopped that one wants this one to end as well, and soon. */
const farewellMs = 1000

/** The process that keeps this one, as this one sees it; see `keepProcess`. */
export interface Keeper {
  /** What it calls this run. */
  readonly launch: string
  /** From now on the process is worth being started again. */
  ready(): void
  /** Runs work whose signal is aborted when the keeper says so, or is gone, or at any signal; the keeper counts those. */
  stoppable(work: (signal: AbortSignal) => Promise<number>): Promise<number>
}

/** Undefined where nobody keeps this process. To be called once: processes that it starts are not kept. */
export function findKeeper(): Keeper | undefined {
  const launch = process.env[launchVariable]
  Reflect.deleteProperty(process.env, launchVariable)
  if (launch === undefined || !process.connected) return undefined
  return {
    launch,
    ready: () => {
      process.send?.({ type: 'ready' }, () => undefined)
    },
    stoppable: work => {
      const controller = new AbortController()
      const stop = () => {
        controller.abort()
      }
      for (const event of ['message', 'SIGINT', 'SIGTERM'] as const) process.on(event, stop)
      process.once('disconnect', () => {
        stop()
        setTimeout(() => process.kill(process.pid, 'SIGKILL'), farewellMs)
      })
      return work(controller.signal)
    },
  }
}
