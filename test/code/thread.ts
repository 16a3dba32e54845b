import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { TaskBundle } from '../../src/code/bundle.ts'
import { bundleTasks } from '../../src/code/bundle.ts'
import type { SetupContext } from '../../src/code/task.ts'
import { writeBundle } from '../../src/code/write-bundle.ts'
import type { BuiltPackage } from './built-package.ts'
import { makeFolder } from './project.ts'

/** What a thread found in a bundle, and what its tasks returned, by name, when called with `undefined`. */
export interface Loaded {
  readonly tasks: readonly string[]
  readonly reducers: readonly string[]
  readonly returned: Readonly<Record<string, unknown>>
  /** What the tasks that threw threw, with its mapped stack. */
  readonly threw: Readonly<Record<string, { readonly message: string; readonly stack: string }>>
  readonly setup: 'none' | 'ran'
  readonly setupSaw: SetupContext | undefined
}

/** The error that `loadTasks` rejected with. */
export interface LoadFailure {
  readonly code: string
  readonly message: string
  readonly stack: string
  readonly causeMessage: string | undefined
}

const threadCode = `
const { parentPort, workerData } = require('node:worker_threads')
const describe = error => ({ message: error.message, stack: error.stack })
async function main() {
  const { loadTasks } = await import(workerData.load)
  let loaded
  try {
    loaded = await loadTasks(new URL(workerData.bundle), workerData.file)
  } catch (error) {
    return { failure: { ...describe(error), code: error.code, causeMessage: error.cause?.message } }
  }
  const setupSaw = await loaded.setup?.({ worker: 'host:1', thread: 3 })
  const returned = {}, threw = {}
  for (const [name, { fn }] of loaded.tasks) {
    try { returned[name] = await fn(undefined, {}) } catch (error) { threw[name] = describe(error) }
  }
  return { loaded: {
    tasks: [...loaded.tasks.keys()], reducers: [...loaded.reducers.keys()], returned, threw,
    setup: loaded.setup === undefined ? 'none' : 'ran', setupSaw,
  } }
}
main().then(answer => parentPort.postMessage(answer))
`

/** Bundles a task module for the built package, loads it in a thread of plain Node and calls its tasks. */
export async function loadInThread(built: BuiltPackage, file: string): Promise<Loaded> {
  const answer = await askThread(built, await bundleFor(built, file))
  if ('failure' in answer) throw new Error(`the thread could not load the bundle: ${answer.failure.stack}`)
  return answer.loaded
}

/** The same for a module that can't be loaded. */
export async function failInThread(built: BuiltPackage, file: string): Promise<LoadFailure> {
  const answer = await askThread(built, await bundleFor(built, file))
  if ('loaded' in answer) throw new Error('the thread loaded the bundle')
  return answer.failure
}

export function bundleFor(built: BuiltPackage, file: string): Promise<TaskBundle> {
  return bundleTasks(file, { packageEntry: { '.': built.url('index.js'), './worker': built.url('worker/index.js') } })
}

async function askThread(
  built: BuiltPackage,
  bundle: TaskBundle,
): Promise<{ readonly loaded: Loaded } | { readonly failure: LoadFailure }> {
  const url = await writeBundle(bundle, await makeFolder('cache'))
  const thread = new Worker(threadCode, {
    eval: true,
    workerData: { load: built.url('code/load.js').href, bundle: url.href, file: bundle.file },
    execArgv: [],
  })
  try {
    const [answer] = (await once(thread, 'message')) as [{ loaded: Loaded } | { failure: LoadFailure }]
    return answer
  } finally {
    await thread.terminate()
  }
}
