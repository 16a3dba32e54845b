import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Report } from '../report.ts'
import type { Mutation } from './list.ts'
import type { Tree } from './tree.ts'

/** What the tests or the run said: `red` with the names of what failed. */
export type Proof =
  | { readonly colour: 'green' }
  | { readonly colour: 'red'; readonly what: readonly string[] }
  /** Neither: it could not be run. */
  | { readonly colour: 'broken'; readonly what: readonly string[] }

const seconds = 10

export function commandOf({ caughtBy }: Pick<Mutation, 'caughtBy'>): readonly string[] {
  if ('tests' in caughtBy) {
    const { tests, named } = caughtBy
    return [
      join('node_modules', 'vitest', 'vitest.mjs'),
      'run',
      ...tests,
      ...(named === undefined ? [] : ['-t', named]),
    ]
  }
  const time = ['--seconds', String(caughtBy.seconds ?? seconds), '--drain', '20', '--workers', '3']
  return [
    '--import',
    'tsx',
    join('chaos', 'main.ts'),
    '--seed',
    '1',
    '--persistence',
    'always',
    ...time,
    '--fault',
    caughtBy.faults,
    '--json',
  ]
}

/** Runs what should notice the mutation in a tree that is built. */
export async function prove(tree: Tree, mutation: Pick<Mutation, 'caughtBy'>): Promise<Proof> {
  return 'tests' in mutation.caughtBy ? proveByTests(tree, mutation) : proveByRun(tree, mutation)
}

async function proveByTests(tree: Tree, mutation: Pick<Mutation, 'caughtBy'>): Promise<Proof> {
  const reportPath = join(tree.folder, 'report.json')
  // One red test is enough.
  const args = [...commandOf(mutation), '--bail=1', '--reporter=json', `--outputFile=${reportPath}`]
  const { code, stderr } = await tree.run(args, 180_000)
  if (code === 0) return { colour: 'green' }
  const failed = failedTests(reportPath)
  return failed.length > 0 ? { colour: 'red', what: failed } : { colour: 'broken', what: [stderr.slice(-1000)] }
}

function failedTests(reportPath: string): string[] {
  const report = JSON.parse(readFileSync(reportPath, 'utf8')) as {
    testResults: { assertionResults: { status: string; fullName: string }[] }[]
  }
  const tests = report.testResults.flatMap(({ assertionResults }) => assertionResults)
  return tests.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName)
}

async function proveByRun(tree: Tree, mutation: Pick<Mutation, 'caughtBy'>): Promise<Proof> {
  const { code, stdout, stderr } = await tree.run(commandOf(mutation), 180_000)
  if (code === 0) return { colour: 'green' }
  if (code !== 1 || stdout === '') return { colour: 'broken', what: [stderr.slice(-1000)] }
  const { violations } = JSON.parse(stdout) as Report
  // That nothing happened, or a process gave up, is no proof that the mutation was noticed.
  const rules = violations.map(({ rule }) => rule).filter(rule => rule !== 'vacuous')
  const counts = [...new Set(rules)].map(rule => `${rule} (${rules.filter(other => other === rule).length})`)
  return counts.length > 0
    ? { colour: 'red', what: counts }
    : { colour: 'broken', what: ['nothing happened in the run'] }
}
