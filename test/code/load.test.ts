import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { buildPackage } from './built-package.ts'
import { makeProject } from './project.ts'
import { failInThread, loadInThread } from './thread.ts'

const built = await buildPackage()

describe('loadTasks', () => {
  test('collects tasks, reducers and setup from named exports', async () => {
    const project = await makeProject({
      'tasks.ts': `
        import { task, reducer } from 'millrace'
        let ready = false
        export async function setup(ctx: { worker: string; thread: number }) { ready = true; return ctx as never }
        export const one = task('one', () => ready)
        export const alias = one
        export const add = reducer('add', (a: number, b: number) => a + b)
        export const limit = 3, nothing = null`,
    })
    expect(await loadInThread(built, join(project, 'tasks.ts'))).toEqual({
      tasks: ['one'],
      reducers: ['add'],
      returned: { one: true },
      threw: {},
      setup: 'ran',
      setupSaw: { worker: 'host:1', thread: 3 },
    })
  })

  test('collects tasks from exported objects', async () => {
    const project = await makeProject({
      'tasks.ts': `
        import { task } from 'millrace'
        export const group = { two: task('two', () => 2) }
        export default { one: task('one', () => 1), inner: { three: task('three', () => 3) } }`,
    })
    const { returned } = await loadInThread(built, join(project, 'tasks.ts'))
    expect(returned).toEqual({ one: 1, two: 2, three: 3 })
  })

  test('collects tasks and setup from a CommonJS module', async () => {
    const project = await makeProject({
      'tasks.cjs': `
        const { task } = require('millrace')
        module.exports = { one: task('one', () => __filename), setup: () => undefined }`,
    })
    const { returned, setup } = await loadInThread(built, join(project, 'tasks.cjs'))
    expect({ returned, setup }).toEqual({ returned: { one: join(project, 'tasks.cjs') }, setup: 'ran' })
  })

  test.each([
    [
      'two tasks of one name',
      `export const a = task('same', () => 1), b = task('same', () => 2)`,
      /two tasks named "same"/,
    ],
    [
      'two reducers of one name',
      `export const t = task('t', () => 1), a = reducer('r', (x: 1) => x), b = reducer('r', (x: 2) => x)`,
      /two reducers named "r"/,
    ],
    [
      'no tasks',
      `export const add = reducer('add', (a: number) => a)`,
      /exports no task, .*: write export const square/,
    ],
    [
      'a setup that is no function',
      `export const t = task('t', () => 1), setup = { a: 1 }`,
      /setup that is no function/,
    ],
  ])('refuses a module with %s', async (_, code, message) => {
    const project = await makeProject({ 'tasks.ts': `import { task, reducer } from 'millrace'\n${code}\nvoid reducer` })
    const failure = await failInThread(built, join(project, 'tasks.ts'))
    expect(failure.code).toBe('TASK_MODULE')
    expect(failure.message).toMatch(message)
    expect(failure.message).toContain(join(project, 'tasks.ts'))
  })

  test("shows the user's own lines when a module throws while it is loaded", async () => {
    const project = await makeProject({
      'tasks.ts': `import { boom } from './lib/boom.ts'\n\nconst table: number = boom()\nexport default table\n`,
      'lib/boom.ts': `export interface Unused { a: 1 }\n\nexport function boom(): never {\n  throw new RangeError('no such table')\n}\n`,
    })
    const failure = await failInThread(built, join(project, 'tasks.ts'))
    expect(failure).toMatchObject({ code: 'TASK_MODULE', causeMessage: 'no such table' })
    expect(failure.message).toMatch(/failed while it was loaded.*RangeError: no such table/)
    const frames = failure.stack.split('\n').slice(1)
    expect(frames[0]).toContain(`${join(project, 'lib/boom.ts')}:4:9`)
    expect(frames[1]).toContain(`${join(project, 'tasks.ts')}:3:23`)
    expect(frames.filter(frame => /node:internal|load\.js/.test(frame))).toEqual([])
  })

  test('points at the line of a task that is defined wrongly', async () => {
    const project = await makeProject({
      'tasks.ts': `import { task } from 'millrace'\n\nexport const t = task('', () => 1)\n`,
    })
    const failure = await failInThread(built, join(project, 'tasks.ts'))
    expect(failure.message).toMatch(/UsageError: "" can't be the name of a task/)
    expect(failure.stack.split('\n')[1]).toContain(`${join(project, 'tasks.ts')}:3:18`)
  })

  test("shows the user's own lines when a task throws", async () => {
    const project = await makeProject({
      'tasks.ts': `import { task } from 'millrace'\ntype Unused = 1\nexport const t = task('t', () => {\n  throw new Error('in the task')\n})\n`,
    })
    const { threw } = await loadInThread(built, join(project, 'tasks.ts'))
    expect(threw['t']?.stack.split('\n')[1]).toContain(`${join(project, 'tasks.ts')}:4:9`)
  })

  test('says that a module is being loaded while it is, and only then', async () => {
    const project = await makeProject({
      'tasks.ts': `
        import { task, isLoadingTasks } from 'millrace'
        const before = isLoadingTasks()
        const later = await Promise.resolve().then(() => isLoadingTasks())
        export const loading = task('loading', () => [before, later, isLoadingTasks()])`,
    })
    const { returned } = await loadInThread(built, join(project, 'tasks.ts'))
    expect(returned).toEqual({ loading: [true, true, false] })
  })
})
