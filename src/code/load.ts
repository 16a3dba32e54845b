import { fileURLToPath } from 'node:url'
import { TaskModuleError } from '../errors.ts'
import { isReducer, isTask } from './task.ts'
import type { Reducer, SetupContext, Task } from './task.ts'

/** What a task module holds, by name. */
export interface TaskModule {
  readonly tasks: ReadonlyMap<string, Task<unknown, unknown, unknown>>
  readonly reducers: ReadonlyMap<string, Reducer<unknown>>
  /** The module's exported `setup`, to be run once in each thread before the first task. */
  readonly setup?: (ctx: SetupContext) => void | Promise<void>
}

/**
 * Imports a bundle into this thread, which runs the module's top level, and collects the tasks and reducers that it
 * exports: by name, or within exported objects (`export default { square }`). From then on the stacks of this thread
 * show the lines of the sources.
 *
 * @param source the path that errors name.
 * @throws {TaskModuleError} when the module throws, exports no task, or gives one name to two tasks or reducers. Its
 * stack is that of the user's error.
 */
export async function loadTasks(bundle: URL, source = fileURLToPath(bundle)): Promise<TaskModule> {
  process.setSourceMapsEnabled(true)
  const exported = await importBundle(bundle, source)
  const found = {
    tasks: new Map<string, Task<unknown, unknown, unknown>>(),
    reducers: new Map<string, Reducer<unknown>>(),
  }
  const add = (value: unknown): void => {
    if (isTask(value)) addOnce(found.tasks, value, 'tasks', source)
    else if (isReducer(value)) addOnce(found.reducers, value, 'reducers', source)
  }
  eachExport(exported, add)
  if (found.tasks.size === 0) {
    throw new TaskModuleError(
      `The task module ${source} exports no task, so that there is nothing to run: write export const square = task('square', (x: number) => x * x).`,
    )
  }
  const setup = findSetup(exported, source)
  return setup === undefined ? found : { ...found, setup }
}

/** True while a task module's top level runs in this thread: what `connect` must refuse to be called in. */
export function isLoadingTasks(): boolean {
  return loadings() > 0
}

// On the global object, so that the answer is right whichever copy of this package loads and whichever asks.
const loadingKey = Symbol.for('millrace.loading')

function loadings(): number {
  return (globalThis as { [loadingKey]?: number })[loadingKey] ?? 0
}

async function importBundle(bundle: URL, source: string): Promise<object> {
  const counter = globalThis as { [loadingKey]?: number }
  counter[loadingKey] = loadings() + 1
  try {
    return (await import(bundle.href)) as object
  } catch (error) {
    throw describeLoadError(error, source)
  } finally {
    counter[loadingKey] = loadings() - 1
  }
}

function describeLoadError(error: unknown, source: string): TaskModuleError {
  const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  const failure = new TaskModuleError(
    `The task module ${source} failed while it was loaded, before any task ran: ${reason}. Correct what its top level does.`,
    { cause: error },
  )
  const frames = error instanceof Error ? userFrames(error.stack ?? '') : []
  failure.stack = [`${failure.name}: ${failure.message}`, ...frames].join('\n')
  return failure
}

/** The frames of a stack without those of Node, among which our own import stands. */
function userFrames(stack: string): string[] {
  const frames = stack.split('\n').filter(line => /^\s+at /.test(line))
  const firstOfNode = frames.findIndex(line => /\(?node:internal\/modules\//.test(line))
  return firstOfNode < 0 ? frames : frames.slice(0, firstOfNode)
}

/** A CommonJS module comes as the default export of its bundle, and its own `default` within that: hence two levels. */
function eachExport(exported: object, visit: (value: unknown) => void, levels = 3): void {
  for (const value of Object.values(exported)) {
    visit(value)
    if (levels > 1 && isPlainObject(value) && !isTask(value) && !isReducer(value)) eachExport(value, visit, levels - 1)
  }
}

function addOnce<T extends { readonly name: string }>(
  found: Map<string, T>,
  value: T,
  what: string,
  source: string,
): void {
  const known = found.get(value.name)
  if (known !== undefined && known !== value) {
    throw new TaskModuleError(
      `The task module ${source} exports two ${what} named ${JSON.stringify(value.name)}, so that a worker could run the wrong one: give each a name of its own.`,
    )
  }
  found.set(value.name, value)
}

function findSetup(exported: object, source: string): TaskModule['setup'] {
  const { setup = defaultOf(exported)?.['setup'] } = exported as { setup?: unknown }
  if (setup === undefined || isTask(setup) || isReducer(setup)) return undefined
  if (typeof setup !== 'function') {
    throw new TaskModuleError(
      `The task module ${source} exports a setup that is no function: setup(ctx) is run once in each thread; give it another name if it is not meant for that.`,
    )
  }
  return setup as NonNullable<TaskModule['setup']>
}

function defaultOf(exported: object): Record<string, unknown> | undefined {
  const { default: value } = exported as { default?: unknown }
  return isPlainObject(value) ? value : undefined
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
